"""Keys of a limit that have another rate than its own, or none.

The limit stays what it is in all else: its name, its slot and so its counters, its key, cost, delay and ban. The rate
is part of what names a limit in a store (`limit_identity`), so a key whose rate changes begins with a fresh count.
"""

from collections.abc import Mapping
from dataclasses import replace

from headgate.model.config import Tier
from headgate.model.snapshot import LimitState, Overrides


def tuned(state: LimitState, overrides: Overrides | None) -> Mapping[bytes, LimitState | None]:
    """What decides on keys in place of the limit, None for nothing; each tier is one object, as stores want it."""
    if overrides is None:
        return {}
    own = [_having(state, tier) for tier in overrides.tiers]
    return {key: own[tier] for key, tier in overrides.keys.items()}


def state_of(state: LimitState, overrides: Overrides | None, key: bytes) -> LimitState | None:
    """What decides on one key: the limit itself, or what the key has in its place."""
    if overrides is None or key not in overrides.keys:
        return state
    return _having(state, overrides.tiers[overrides.keys[key]])


def _having(state: LimitState, tier: Tier) -> LimitState | None:
    if tier.rate is None:
        return None
    lease = min(state.limit.lease, max(1, tier.rate.limit // 10))  # as large as the configuration lets it be
    return replace(state, limit=replace(state.limit, rate=tier.rate, burst=tier.burst, lease=lease))
