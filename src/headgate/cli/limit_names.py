"""Which limit and which key a command of `headgate limit` is about."""

from urllib.parse import quote

import click

from headgate.cli.admin import Admin
from headgate.cli.answers import Limits, read

LIMITS = "/api/v1/limits"
RATE = click.option("--rate", metavar="RATE", help="What is counted at this rate or tier, where a function says rates.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the admin API's answer as it is.")


def named(admin: Admin, names: tuple[str, ...]) -> tuple[str, str]:
    """The limit and the key; the limit is asked for where it was left out."""
    if len(names) > 2:
        raise click.UsageError(f"expected [LIMIT] KEY, found {' '.join(names)} (a key with blanks needs quotes)")
    if len(names) == 2:
        return names[0], names[1]
    return _only(known_limits(admin)), names[0]


def which(admin: Admin, names: tuple[str, ...]) -> tuple[str, str | None]:
    """The same where the key may be left out too: a single word that is no limit's name is a key."""
    if len(names) > 1:
        return named(admin, names)
    known = known_limits(admin)
    if not names or (names[0] not in known and len(known) == 1):
        return _only(known), names[0] if names else None
    return names[0], None


def one_of(admin: Admin, name: str | None) -> str:
    """The limit of that name; the only one where it was left out."""
    return name or _only(known_limits(admin))


def known_limits(admin: Admin) -> list[str]:
    """The names of all limits."""
    return [one.name for one in read(admin.ask("GET", LIMITS), Limits).limits]


def _only(known: list[str]) -> str:
    if len(known) != 1:
        raise click.UsageError(f"which limit? (known: {', '.join(known) or 'none'})")
    return known[0]


def path_of(name: str, key: str | None = None, part: str = "keys") -> str:
    """The path of a limit, or of a key of it. part: what of the key."""
    path = f"{LIMITS}/{quote(name, safe='')}"
    return path if key is None else f"{path}/{part}/{quote(key, safe='', errors='surrogateescape')}"


def at_rate(path: str, rate: str | None) -> str:
    """The path of what is counted at a rate that a function said; the path itself where none is named."""
    return path if rate is None else f"{path}?rate={quote(rate, safe='')}"


def with_burst(rate: str | None, burst: int) -> str:
    """A rate and, where there is one, its burst, as a sentence says them."""
    return f"{rate} with a burst of {burst}" if burst else str(rate)
