"""`headgate limit`: what the limits of a running Headgate count, and for whom that is changed."""

import json
from math import ceil

import click

from headgate.cli.admin import Admin, Json, with_admin
from headgate.cli.answers import KeyShown, Limits, LimitShown, LimitStore, Reset, Top, Unbanned, read
from headgate.cli.limit_names import AS_JSON, LIMITS, RATE, at_rate, named, one_of, path_of, which
from headgate.cli.limit_set import list_overrides, set_override, unset_override
from headgate.cli.tables import Row, printable, say, span, table
from headgate.model.words import counted

_HEADS = (
    "NAME",
    "RATE",
    "KEY",
    "ALGORITHM",
    "MODE",
    "ALLOWED",
    "REFUSED",
    "NEAR",
    "DELAYED",
    "BANNED",
    "STORE ERRORS",
    "FUNCTION ERRORS",
    "MOST REFUSED OF LATE",
)
# Settings that are shown elsewhere, or mean nothing without others; and what those that are always there usually say.
_ELSEWHERE = ("name", "rate", "key", "algorithm", "dry_run", "python", "counters", "top", "store")
_USUAL = {"on_store_error": "local", "headers": "refused", "cost": 1, "lease": 1}
_NAMES = click.argument("names", metavar="[LIMIT] KEY", nargs=-1, required=True)


@click.group
def limit() -> None:
    """See and change what the limits of a running Headgate count.

    LIMIT may be left out where there is only one. KEY is what the limit counts by, such as a client's address.
    """


@limit.command("list")
@AS_JSON
@with_admin
def list_limits(admin: Admin, as_json: bool) -> None:
    """List the limits and what they decided so far."""
    answer = admin.ask("GET", LIMITS)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    found = read(answer, Limits)
    click.echo(table(_HEADS, [_row(one) for one in found.limits]) if found.limits else "no limits")
    say(_where(found.store))


@limit.command
@click.argument("names", metavar="[LIMIT] [KEY]", nargs=-1)
@RATE
@AS_JSON
@with_admin
def show(admin: Admin, names: tuple[str, ...], rate: str | None, as_json: bool) -> None:
    """Show a limit, or what is left of it for a key."""
    name, key = which(admin, names)
    if key is None:
        answer = admin.ask("GET", path_of(name))
        click.echo(json.dumps(answer, indent=2) if as_json else _shown(answer))
        return
    answer = admin.ask("GET", at_rate(path_of(name, key), rate))
    click.echo(json.dumps(answer, indent=2) if as_json else _standing(read(answer, KeyShown)))


@limit.command
@click.argument("name", metavar="[LIMIT]", required=False)
@click.option("--count", type=click.IntRange(1, 128), default=20, show_default=True, help="How many keys.")
@AS_JSON
@with_admin
def top(admin: Admin, name: str | None, count: int, as_json: bool) -> None:
    """Show whom a limit refused most in the last minute or two."""
    answer = admin.ask("GET", f"{path_of(one_of(admin, name))}/top?count={count}")
    click.echo(json.dumps(answer, indent=2) if as_json else _top(read(answer, Top)))


@limit.command
@_NAMES
@RATE
@with_admin
def reset(admin: Admin, names: tuple[str, ...], rate: str | None) -> None:
    """Forget what was counted of a key, and its ban."""
    name, key = named(admin, names)
    found = read(admin.ask("DELETE", at_rate(path_of(name, key), rate)), Reset)
    had = "begins anew" if found.reset else "had nothing counted"
    say(f"{found.key} {had} under {found.limit}")


@limit.command
@_NAMES
@click.option("--for", "period", metavar="TIME", help='How long, such as "30m" (as the limit\'s own `ban` says).')
@RATE
@with_admin
def ban(admin: Admin, names: tuple[str, ...], period: str | None, rate: str | None) -> None:
    """Refuse everything of a key for a time."""
    name, key = named(admin, names)
    body: Json = {} if period is None else {"for": period}
    say(_standing(read(admin.ask("PUT", at_rate(path_of(name, key) + "/ban", rate), body), KeyShown)))


@limit.command
@_NAMES
@RATE
@with_admin
def unban(admin: Admin, names: tuple[str, ...], rate: str | None) -> None:
    """Let a key in again that was banned.

    What was counted of it is forgotten.
    """
    name, key = named(admin, names)
    found = read(admin.ask("DELETE", at_rate(path_of(name, key) + "/ban", rate)), Unbanned)
    say(f"{found.key} {'is banned no more' if found.unbanned else 'was not banned'} under {found.limit}")


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
        counters.function_errors or "",  # few limits have functions: with no errors there is no column
        one.top.keys[0].key if one.top.keys else "",
    )


def _shown(answer: Json) -> str:
    one = read(answer, LimitShown)
    store = read(answer["store"], LimitStore)
    lines = [table(_HEADS[:-1], [_row(one)[:-1]]), *_set_besides(answer), printable(_where(store))]
    if one.top.keys:
        lines += ["", "refused most in the last minute or two:", _top(one.top)]
    return "\n".join(lines)


def _set_besides(answer: Json) -> list[str]:
    """The settings that the table has no column for, where they are not as usual, as a file has them."""
    found = [
        f"{key} = {json.dumps(value)}"
        for key, value in answer.items()
        if key not in _ELSEWHERE and value and value != _USUAL.get(key)
    ]
    return [printable(f"set besides: {', '.join(found)}")] if found else []


def _top(found: Top) -> str:
    if not found.keys:
        return "nobody was refused in the last minute or two"
    shown = table(("KEY", "REFUSED", "AT LEAST"), [(one.key, one.refused, one.at_least) for one in found.keys])
    most = "once" if found.unlisted_at_most == 1 else counted(found.unlisted_at_most, "time")
    others = f"; each other key at most {most}" if found.unlisted_at_most else ""
    return f"{shown}\n{counted(found.refused, 'request')} refused in all{others}"


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
    down = f" (out of reach of {counted(store.down, 'worker')}: on_store_error decides)" if store.down else ""
    return f"limits are counted {where}{down}"


for command in (set_override, unset_override, list_overrides):
    limit.add_command(command)
