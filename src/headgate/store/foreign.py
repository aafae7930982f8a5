"""Values under our keys in Redis that are none of ours: somebody else's, or damaged.

Such a value is the trouble of its key alone, whose requests `on_store_error` decides, and no reason to leave Redis. It
stays until somebody removes it: `headgate limit reset`, or DEL. So the log says which it is, though only now and then,
for whoever could write one could write many. Only `redis.py` and `counts.py` ask here.
"""

import logging
from collections.abc import Sequence

from headgate.limits.keytext import shown
from headgate.store.base import Check

logger = logging.getLogger("headgate.store")

_EVERY = 60.0  # seconds between two lines
_SAID = ("WRONGTYPE", "not an integer", "would overflow")  # by Redis and by the scripts


def is_foreign(text: str) -> bool:
    """Whether the error says that a value is none of ours."""
    return any(phrase in text for phrase in _SAID)


class Finds:
    """Tells of what one worker came upon."""

    def __init__(self) -> None:
        self._quiet_until = -_EVERY

    def add(self, checks: Sequence[Check], now: float) -> None:
        """Of these keys one at least has such a value. now: seconds, monotonic."""
        if now < self._quiet_until:
            return
        self._quiet_until = now + _EVERY
        logger.warning(
            "what Redis holds of %s is no count; on_store_error decides until it is removed (headgate limit reset)",
            " or ".join(f"{shown(key)} (limit {limit.limit.name})" for limit, key, _ in checks),
        )
