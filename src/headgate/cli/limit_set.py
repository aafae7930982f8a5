"""`headgate limit set`, `unset` and `overrides`: keys of a limit that have another rate, or none."""

import json

import click

from headgate.cli.admin import Admin, Json, with_admin
from headgate.cli.answers import AllOverrides, Overrides, OverrideShown, OverrideUnset, read
from headgate.cli.limit_names import AS_JSON, named, path_of, with_burst
from headgate.cli.tables import Row, say, table

_UNLIMITED = "unlimited"
_HEADS = ("LIMIT", "KEY", "TIER", "RATE", "BURST", "SOURCE", "WITHOUT EFFECT")
_ALL = "/api/v1/overrides"


@click.command("set")
@click.argument("names", metavar="[LIMIT] KEY RATE|TIER|unlimited", nargs=-1, required=True)
@click.option("--burst", type=click.IntRange(0), help="With gcra: requests that pass at once (as many as the rate's).")
@with_admin
def set_override(admin: Admin, names: tuple[str, ...], burst: int | None) -> None:
    """Give a key a rate of its own, a tier, or no limit.

    A rate is written "20/minute", or "20 in flight" where the limit is on what is in flight.
    """
    *of, what = names
    if not of:
        raise click.UsageError(f"expected [LIMIT] KEY and a rate, a tier or {_UNLIMITED}, found {what}")
    name, key = named(admin, tuple(of))
    # The names of tiers have neither slashes nor blanks.
    body: Json = {"rate" if what == _UNLIMITED or "/" in what or " " in what else "tier": what}
    if burst is not None:
        body["burst"] = burst
    found = read(admin.ask("PUT", path_of(name, key, "overrides"), body), OverrideShown)
    if found.rate == _UNLIMITED:
        say(f"{found.key} has no limit under {name} now{_of_tier(found)}")
    else:
        say(f"{found.key} has {with_burst(found.rate, found.burst)} under {name} now{_of_tier(found)}")


@click.command("unset")
@click.argument("names", metavar="[LIMIT] KEY", nargs=-1, required=True)
@with_admin
def unset_override(admin: Admin, names: tuple[str, ...]) -> None:
    """Let a key come under the limit as all others do.

    Also of a LIMIT that the configuration has no more.
    """
    name, key = named(admin, names)
    found = read(admin.ask("DELETE", path_of(name, key, "overrides")), OverrideUnset)
    if found.inert is None:
        say(f"{found.key} comes under {found.limit} as all others do now")
    else:
        say(f"what was kept for {found.key} under {found.limit} is gone; it had no effect: {found.inert}")


@click.command("overrides")
@click.argument("name", metavar="[LIMIT]", required=False)
@AS_JSON
@with_admin
def list_overrides(admin: Admin, name: str | None, as_json: bool) -> None:
    """List the keys that have another rate than their limit.

    Those of LIMIT, or of all limits; also what is kept for limits that the configuration has no more.
    """
    answer = admin.ask("GET", f"{path_of(name)}/overrides" if name else _ALL)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    found = [read(answer, Overrides)] if name else read(answer, AllOverrides).limits
    rows = [_row("" if name else of.limit, one) for of in found for one in of.overrides]
    click.echo(table(_HEADS, rows) if rows else "no overrides")


def _row(limit: str, one: OverrideShown) -> Row:
    rate = one.rate or ("?" if one.tier else "the limit's own")
    return (limit, one.key, one.tier or "", rate, one.burst or "", one.source, one.inert or "")


def _of_tier(found: OverrideShown) -> str:
    return f" (tier {found.tier})" if found.tier else ""
