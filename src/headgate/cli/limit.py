"""`headgate limit`: what the limits of a running Headgate count, and for whom that is changed."""

import json
from math import ceil
from urllib.parse import quote

import click

from headgate.cli.admin import Admin, Json, with_admin
from headgate.cli.answers import KeyShown, Limits, LimitShown, LimitStore, Reset, Unbanned, read
from headgate.cli.tables import Row, printable, span, table

_LIMITS = "/api/v1/limits"
_HEADS = ("NAME", "RATE", "KEY", "ALGORITHM", "MODE", "ALLOWED", "REFUSED", "NEAR", "DELAYED", "BANNED", "STORE ERRORS")
_NAMES = click.argument("names", metavar="[LIMIT] KEY", nargs=-1, required=True)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the admin API's answer as it is.")


@click.group
def limit() -> None:
    """See and change what the limits of a running Headgate count.

    LIMIT may be left out where there is only one. KEY is what the limit counts by, such as a client's address.
    """


@limit.command("list")
@_JSON
@with_admin
def list_limits(admin: Admin, as_json: bool) -> None:
    """List the limits and what they decided so far."""
    answer = admin.ask("GET", _LIMITS)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    found = read(answer, Limits)
    click.echo(table(_HEADS, [_row(one) for one in found.limits]) if found.limits else "no limits")
    _said(_where(found.store))


@limit.command
@click.argument("names", metavar="[LIMIT] [KEY]", nargs=-1)
@_JSON
@with_admin
def show(admin: Admin, names: tuple[str, ...], as_json: bool) -> None:
    """Show a limit, or what is left of it for a key."""
    name, key = _which(admin, names)
    if key is None:
        answer = admin.ask("GET", _path(name))
        click.echo(json.dumps(answer, indent=2) if as_json else _shown(answer))
        return
    answer = admin.ask("GET", _path(name, key))
    click.echo(json.dumps(answer, indent=2) if as_json else _standing(read(answer, KeyShown)))


@limit.command
@_NAMES
@with_admin
def reset(admin: Admin, names: tuple[str, ...]) -> None:
    """Forget what was counted of a key, and its ban."""
    name, key = _named(admin, names)
    found = read(admin.ask("DELETE", _path(name, key)), Reset)
    had = "begins anew" if found.reset else "had nothing counted"
    _said(f"{found.key} {had} under {found.limit}")


@limit.command
@_NAMES
@click.option("--for", "period", metavar="TIME", help='How long, such as "30m" (as the limit\'s own `ban` says).')
@with_admin
def ban(admin: Admin, names: tuple[str, ...], period: str | None) -> None:
    """Refuse everything of a key for a time."""
    name, key = _named(admin, names)
    body: Json = {} if period is None else {"for": period}
    _said(_standing(read(admin.ask("PUT", _path(name, key) + "/ban", body), KeyShown)))


@limit.command
@_NAMES
@with_admin
def unban(admin: Admin, names: tuple[str, ...]) -> None:
    """Let a key in again that was banned; what was counted of it is forgotten."""
    name, key = _named(admin, names)
    found = read(admin.ask("DELETE", _path(name, key) + "/ban"), Unbanned)
    _said(f"{found.key} {'is banned no more' if found.unbanned else 'was not banned'} under {found.limit}")


def _named(admin: Admin, names: tuple[str, ...]) -> tuple[str, str]:
    """The limit and the key; the limit is asked for where it was left out."""
    if len(names) > 2:
        raise click.UsageError(f"expected [LIMIT] KEY, found {' '.join(names)} (a key with blanks needs quotes)")
    if len(names) == 2:
        return names[0], names[1]
    return _only(_known(admin)), names[0]


def _which(admin: Admin, names: tuple[str, ...]) -> tuple[str, str | None]:
    """The same where the key may be left out too: a single word that is no limit's name is a key."""
    if len(names) > 1:
        return _named(admin, names)
    known = _known(admin)
    if not names or (names[0] not in known and len(known) == 1):
        return _only(known), names[0] if names else None
    return names[0], None


def _known(admin: Admin) -> list[str]:
    return [one.name for one in read(admin.ask("GET", _LIMITS), Limits).limits]


def _only(known: list[str]) -> str:
    if len(known) != 1:
        raise click.UsageError(f"which limit? (known: {', '.join(known) or 'none'})")
    return known[0]


def _path(name: str, key: str | None = None) -> str:
    path = f"{_LIMITS}/{quote(name, safe='')}"
    return path if key is None else f"{path}/keys/{quote(key, safe='', errors='surrogateescape')}"


def _row(one: LimitShown) -> Row:
    counters = one.counters
    refused = counters.dry_run_refused if one.dry_run else counters.refused
    return (
        one.name,
        one.rate,
        one.key,
        one.algorithm,
        "dry run" if one.dry_run else "on",
        counters.allowed,
        refused,
        counters.near,
        counters.delayed,
        counters.banned,
        counters.store_errors,
    )


def _shown(answer: Json) -> str:
    one = read(answer, LimitShown)
    store = read(answer["store"], LimitStore)
    return f"{table(_HEADS, [_row(one)])}\n{printable(_where(store))}"


def _standing(found: KeyShown) -> str:
    if found.banned_until is not None:
        left = span(ceil(found.reset_after))
        return printable(f"{found.key} is banned under {found.limit} until {found.banned_until} ({left})")
    line = f"{found.key} has {found.remaining} left under {found.limit}"
    if found.retry_after:
        line += f", a request passes in {span(ceil(found.retry_after))}"
    if found.reset_after:
        line += f", all of it is there again in {span(ceil(found.reset_after))}"
    return printable(line)


def _where(store: LimitStore) -> str:
    where = "in Redis" if store.kind == "redis" else "on this machine"
    down = f" (out of reach of {store.down} workers: on_store_error decides)" if store.down else ""
    return f"limits are counted {where}{down}"


def _said(line: str) -> None:
    click.echo(printable(line))
