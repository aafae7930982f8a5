"""`headgate server`: the servers of a running Headgate, listed and changed through its admin API."""

import json

import click

from headgate.cli.admin import Admin, full_address, servers_path, with_admin
from headgate.cli.answers import Server, Servers, Status, read
from headgate.cli.status import servers_table
from headgate.cli.tables import say

_NAMES = click.argument("names", nargs=-1, required=True, metavar="[UPSTREAM] ADDRESS")


@click.group
def server() -> None:
    """List and change the servers of a running Headgate.

    UPSTREAM may be left out where there is only one. An ADDRESS is host:port, unix:/path, or a port of this machine.
    """


@server.command("list")
@click.argument("upstream", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the admin API's answer as it is.")
@with_admin
def list_servers(admin: Admin, upstream: str | None, as_json: bool) -> None:
    """List the servers of UPSTREAM, or of all."""
    if upstream:
        answer = admin.ask("GET", servers_path(upstream))
        click.echo(json.dumps(answer, indent=2) if as_json else _listed(read(answer, Servers).servers))
        return
    whole = admin.ask("GET", "/api/v1/status")
    if as_json:
        click.echo(json.dumps({"upstreams": whole.get("upstreams")}, indent=2))
        return
    upstreams = read(whole, Status).upstreams
    heads = [f"upstream {found.name}\n" if len(upstreams) > 1 else "" for found in upstreams]
    click.echo("\n\n".join(head + _listed(found.servers) for head, found in zip(heads, upstreams, strict=True)))


@server.command
@_NAMES
@click.option("--weight", type=click.IntRange(0, 256), help="Its share of the requests (1).")
@with_admin
def add(admin: Admin, names: tuple[str, ...], weight: int | None) -> None:
    """Add a server to UPSTREAM; it gets requests at once."""
    upstream, address = _names(admin, names)
    body: dict[str, object] = {"address": address} if weight is None else {"address": address, "weight": weight}
    found = read(admin.ask("POST", servers_path(upstream), body), Server)
    say(f"{found.address} is in {upstream} now, with weight {found.weight}")


@server.command
@_NAMES
@click.option("--drain", type=click.FloatRange(0), metavar="SECONDS", help="How long requests in flight may take.")
@with_admin
def remove(admin: Admin, names: tuple[str, ...], drain: float | None) -> None:
    """Remove a server, once its requests in flight are done."""
    upstream, address = _names(admin, names)
    admin.ask("DELETE", servers_path(upstream, address) + ("" if drain is None else f"?drain={drain:g}"))
    say(f"{address} takes nothing new and leaves {upstream} when its requests are done")


@server.command
@_NAMES
@with_admin
def drain(admin: Admin, names: tuple[str, ...]) -> None:
    """Give a server nothing new; what it has, it finishes."""
    _change(admin, names, {"mode": "drain"}, "takes nothing new")


@server.command
@_NAMES
@with_admin
def maint(admin: Admin, names: tuple[str, ...]) -> None:
    """Give a server nothing new and do not probe it."""
    _change(admin, names, {"mode": "maint"}, "takes nothing new and is not probed")


@server.command
@_NAMES
@with_admin
def ready(admin: Admin, names: tuple[str, ...]) -> None:
    """Give a server requests again."""
    _change(admin, names, {"mode": "ready"}, "takes requests")


@server.command
@_NAMES
@click.argument("weight", type=click.IntRange(0, 256))
@with_admin
def weight(admin: Admin, names: tuple[str, ...], weight: int) -> None:
    """Set a server's share of the requests."""
    _change(admin, names, {"weight": weight}, f"has weight {weight}")


def _change(admin: Admin, names: tuple[str, ...], change: dict[str, object], means: str) -> None:
    upstream, address = _names(admin, names)
    found = read(admin.ask("PATCH", servers_path(upstream, address), change), Server)
    say(f"{found.address} of {upstream} {means}")


def _names(admin: Admin, names: tuple[str, ...]) -> tuple[str, str]:
    """The upstream and the address; the upstream is asked for where it was left out."""
    if len(names) > 2:
        raise click.UsageError(f"expected [UPSTREAM] ADDRESS, found {' '.join(names)}")
    address = full_address(names[-1])
    if len(names) == 2:
        return names[0], address
    known = [upstream.name for upstream in read(admin.ask("GET", "/api/v1/status"), Status).upstreams]
    if len(known) != 1:
        raise click.UsageError(f"which upstream? (known: {', '.join(known) or 'none'})")
    return known[0], address


def _listed(servers: list[Server]) -> str:
    return servers_table(servers) if servers else "no servers"
