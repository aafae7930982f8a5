"""Keys of a limit that have another rate than its own, or none.

The limit stays what it is in all else: its name, its slot and so its counters, its key, cost, delay and ban. The rate
is part of what names a limit in a store (`limit_identity`), so a key whose rate changes begins with a fresh count.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from headgate.limits.meter import LONGEST
from headgate.model.config import UNLIMITED, Tier
from headgate.model.rate import rate
from headgate.model.snapshot import LimitState, Overrides


class Tuned(NamedTuple):
    """A limit, and what decides on keys in its place: None for nothing. tiers: the same by what the keys have."""

    state: LimitState
    keys: Mapping[bytes, LimitState | None]
    tiers: Mapping[Tier, LimitState | None]


def tuned(state: LimitState, overrides: Overrides | None, before: Tuned | None = None) -> Tuned:
    """The limit with its overrides. before: as it was in the snapshot before this one.

    Stores know a limit by its identity, so each tier is one object, and what is the same as before is the same object:
    what they remember of it goes on, and a thousand snapshots leave them no more to remember than one.
    """
    kept: Mapping[Tier, LimitState | None] = {}
    if before is not None and before.state == state:
        state, kept = before.state, before.tiers
    if overrides is None:
        return Tuned(state, {}, {})
    tiers = {tier: kept[tier] if tier in kept else having(state, tier) for tier in overrides.tiers}
    own = [tiers[tier] for tier in overrides.tiers]
    return Tuned(state, {key: own[tier] for key, tier in overrides.keys.items()}, tiers)


def state_of(state: LimitState, overrides: Overrides | None, key: bytes) -> LimitState | None:
    """What decides on one key: the limit itself, or what the key has in its place."""
    if overrides is None or key not in overrides.keys:
        return state
    return having(state, overrides.tiers[overrides.keys[key]])


def at_rate(state: LimitState, text: str, tiers: Mapping[str, Tier]) -> LimitState | None:
    """The limit at what a function, or an operator, says: the name of a tier, a rate, or that there is none.

    Raises ValueError, for a text that begins with that one, when it is none of these or cannot stand for the rate.
    """
    try:
        return at_tier(state, tiers.get(text) or Tier(None if text == UNLIMITED else rate(text), state.limit.burst))
    except ValueError as error:
        nor = "" if text in tiers else f", nor a tier (known: {', '.join(tiers) or 'none'})"
        raise ValueError(f"{error}{nor}") from None


def at_tier(state: LimitState, tier: Tier) -> LimitState | None:
    """The same for a tier that nobody has looked at.

    Raises ValueError, for a text that begins with that name, when it cannot stand for the limit's own rate: in no time
    everything would pass.
    """
    limit, own = state.limit, tier.rate
    if own is None:
        return None
    if (own.period > 0) is not (limit.rate.period > 0):
        raise ValueError(f'is "{own}", which cannot stand for "{limit.rate}"')
    burst = tier.burst if limit.algorithm == "gcra" else 0
    if burst * own.period > LONGEST * own.limit:
        raise ValueError(f"is too slow for a burst of {burst}")
    return having(state, Tier(own, burst))


def having(state: LimitState, tier: Tier) -> LimitState | None:
    """The limit with the rate of a tier, None where that has none. To be made once: stores know it by its identity."""
    if tier.rate is None:
        return None
    lease = min(state.limit.lease, max(1, tier.rate.limit // 10))  # as large as the configuration lets it be
    return replace(state, limit=replace(state.limit, rate=tier.rate, burst=tier.burst, lease=lease))
