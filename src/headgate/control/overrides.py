"""Tiers and overrides of limits, as the configuration, the admin API and the state file write them."""

import re
from collections.abc import Mapping
from dataclasses import replace

from headgate.control import limit_values, tuning, values
from headgate.control.report import Place, Report, Said, unknown
from headgate.control.values import Kind, Kinds
from headgate.limits.keys import is_hashed
from headgate.limits.meter import LONGEST
from headgate.model.config import UNLIMITED, Limit, Override, Rate, Tier

_IN_FLIGHT = re.compile(r"(\d{1,7}) in flight", re.ASCII)


def _rate(place: Place, value: object) -> Rate | None:
    if value == UNLIMITED:
        return None
    if isinstance(value, str) and (match := _IN_FLIGHT.fullmatch(value.strip())):
        return Rate(limit_values.IN_FLIGHT.read(place, int(match[1])), 0.0)
    return values.RATE.read(place, value)


MOST_BURST = 1_000_000_000
BURST = values.number(0, MOST_BURST)
TIER: Kinds = {"rate": Kind(f'rate, `"20 in flight"` or `"{UNLIMITED}"`', _rate), "burst": BURST}


def rate_of(text: str) -> Rate | None:
    """The rate that a text says, None for any number of requests. Raises ValueError when it is none."""
    return _rate(Place(Report()), text)


def rate_text(rate: Rate | None) -> str:
    """The text of a rate, which `rate_of` reads as exactly this rate."""
    if rate is None:
        return UNLIMITED
    text = str(rate)
    return f"{rate.limit}/{rate.period!r}s".replace(".0s", "s") if text.endswith("s") else text  # that is rounded


def overdue(burst: int, rate: Rate | None) -> str | None:
    """Why a burst is too large for its rate; None when it is not."""
    if rate is None or burst * rate.period <= LONGEST * rate.limit:
        return None
    years = burst * rate.period / rate.limit / (365 * 86400)
    return f"all of it is there again after {years:.0f} years (expected at most 10)"


def misplaced(tier: Tier) -> str | None:
    """Why a tier's burst is none; None when it may have it."""
    if tier.burst and (tier.rate is None or not tier.rate.period):
        return f'not with "{rate_text(tier.rate)}" (expected only beside a rate such as "100/minute")'
    return overdue(tier.burst, tier.rate)


def tier_name(text: str) -> str:
    """The name of a tier. Raises ValueError when it cannot be one."""
    values.name(text, "a tier")
    if text == UNLIMITED:
        raise ValueError(f'"{UNLIMITED}" is no name for a tier: it means that there is no limit')
    return text


def read_tier(place: Place, value: object, name: str = "") -> Tier:
    """The tier that a table says. name: its own, where it has one."""
    if name:
        tier_name(name)
    tier = Tier(**values.table(place, value, TIER, "a setting of a tier", ["rate"]))  # type: ignore[arg-type]
    if why_not := misplaced(tier):
        (place / "burst").say(why_not)
        raise Said
    return tier


def override_of(text: str) -> Override:
    """The override that one word says: a rate, no limit, or a tier's name. Raises ValueError when it is none."""
    if text == UNLIMITED or "/" in text or _IN_FLIGHT.fullmatch(text.strip()):
        return Tier(rate_of(text))
    return tier_name(text)


def _override(place: Place, value: object) -> Override:
    if isinstance(value, str):
        return override_of(value)
    if not isinstance(value, dict):
        raise ValueError(f"expected a tier's name, a rate or a table, found {values.kind_of(value)}")
    return read_tier(place, value)


# Read when all of the configuration is known that they need: `with_overrides`.
OVERRIDES: Kind[dict[str, object]] = Kind(f'table of keys: tier, rate, `"{UNLIMITED}"` or table', values.entries)


def with_overrides(place: Place, limit: Limit, tiers: Mapping[str, Tier | None], secret: str) -> Limit:
    """The limit with its overrides read, by the one text of each key; what is wrong with them is said.

    place: of the overrides. tiers: those that are defined, None for one that could not be read. secret: the store's.
    """
    found: dict[str, Override] = {}
    for text, value in limit.overrides.items():
        at = place if is_hashed(limit) else place / text  # a secret stands in no message
        with at.reporting():
            key = tuning.key_text(text, limit, secret)
            if key in found:
                raise ValueError(f"{key} is there twice")
            found[key] = _override(at, value)
            _check(limit, found[key], tiers)
    return replace(limit, overrides=found) if limit.overrides else limit


def _check(limit: Limit, what: Override, tiers: Mapping[str, Tier | None]) -> None:
    if isinstance(what, str) and what not in tiers:
        raise ValueError(unknown(what, "a tier", tiers))
    if isinstance(what, Tier) and what.burst and limit.algorithm != "gcra":
        raise ValueError(f'burst: only with algorithm = "gcra", and this is "{limit.algorithm}"')
    tier = tiers[what] if isinstance(what, str) else what
    if tier is not None and (why_not := tuning.unfit(limit, tier)):
        raise ValueError(why_not)
