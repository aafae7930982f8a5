"""`headgate tier`: the rates that have a name in a running Headgate, listed and changed through its admin API."""

import json
from urllib.parse import quote

import click

from headgate.cli.admin import Admin, Json, with_admin
from headgate.cli.answers import Tiers, TierShown, TierUnset, read
from headgate.cli.limit_names import AS_JSON, with_burst
from headgate.cli.tables import say, table

_TIERS = "/api/v1/tiers"
_HEADS = ("NAME", "RATE", "BURST", "SOURCE")


@click.group
def tier() -> None:
    """See and change the tiers of a running Headgate: rates with a name, for keys of limits.

    What keys have which tier: `headgate limit overrides`.
    """


@tier.command("list")
@AS_JSON
@with_admin
def list_tiers(admin: Admin, as_json: bool) -> None:
    """List the tiers of the configuration and of run time."""
    answer = admin.ask("GET", _TIERS)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    rows = [(one.name, one.rate, one.burst or "", one.source) for one in read(answer, Tiers).tiers]
    click.echo(table(_HEADS, rows) if rows else "no tiers")


@tier.command("set")
@click.argument("name")
@click.argument("rate", metavar="RATE|unlimited")
@click.option("--burst", type=click.IntRange(0), help="With gcra: requests that pass at once (as many as the rate's).")
@with_admin
def set_tier(admin: Admin, name: str, rate: str, burst: int | None) -> None:
    """Define a tier, or change it for all keys that have it.

    RATE is written "1000/minute", or "20 in flight" for limits on what is in flight.
    """
    body: Json = {"rate": rate} if burst is None else {"rate": rate, "burst": burst}
    found = read(admin.ask("PUT", _path(name), body), TierShown)
    say(f"tier {found.name} is {with_burst(found.rate, found.burst)} now")


@tier.command("unset")
@click.argument("name")
@with_admin
def unset_tier(admin: Admin, name: str) -> None:
    """Make a tier what the configuration says.

    One that it has not is gone.
    """
    found = read(admin.ask("DELETE", _path(name)), TierUnset)
    if found.rate is None:
        say(f"tier {found.name} is gone")
    else:
        say(f"tier {found.name} is {with_burst(found.rate, found.burst)} again, as the configuration says")


def _path(name: str) -> str:
    return f"{_TIERS}/{quote(name, safe='', errors='surrogateescape')}"
