"""The limit of the refusals of a limit that bans.

It counts in the same store, by the same keys: who was refused so often within such a time is banned. When a ban is
lifted or a key is reset, these refusals are forgotten too.
"""

from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState

REFUSALS = "!refusals"  # what its name has behind that of its limit; no name in a configuration has such a sign


def refusals(limit: LimitState) -> LimitState | None:
    """The limit of the limit's refusals; None for one that bans nobody."""
    one, ban = limit.limit, limit.limit.ban
    if ban is None:
        return None
    rate = Rate(ban.refusals, ban.within)
    return LimitState(Limit(f"{one.name}{REFUSALS}", rate, one.key, on_store_error=one.on_store_error), limit.slot)
