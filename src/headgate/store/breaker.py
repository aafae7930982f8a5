"""Whether Redis is asked, and when a lost one is tried again. Pure: time and chance are arguments.

            OPENED                 FAILED
    OPENING ------> READY  ------------------> DOWN     CLOSE leads from everywhere to CLOSED.
       |              ^           OPENED         |
       | FAILED       +--------------------------+
       +--------------------------------------> DOWN

OPENING is the short time at the start when nothing has failed yet: requests may wait for the first connection, within
their deadline, so that a limit is exact from the first request on.
"""

from enum import Enum

_FIRST_DELAY = 0.05
_MAX_DELAY = 2.0
_TRUSTED_AFTER = 2.0  # seconds without a failure after which the next one is taken for the first again


class State(Enum):
    """What is known of Redis."""

    OPENING = "opening"
    READY = "ready"
    DOWN = "down"
    CLOSED = "closed"


class Event(Enum):
    """What can happen to a connection."""

    OPENED = "opened"  # connected, logged in, and a script was run
    FAILED = "failed"
    CLOSE = "close"


_NEXT = {
    (State.OPENING, Event.OPENED): State.READY,
    (State.OPENING, Event.FAILED): State.DOWN,
    (State.READY, Event.FAILED): State.DOWN,
    (State.DOWN, Event.OPENED): State.READY,
    (State.DOWN, Event.FAILED): State.DOWN,
    (State.OPENING, Event.CLOSE): State.CLOSED,
    (State.READY, Event.CLOSE): State.CLOSED,
    (State.DOWN, Event.CLOSE): State.CLOSED,
    (State.CLOSED, Event.CLOSE): State.CLOSED,
}


class Breaker:
    """The state of one store's Redis."""

    def __init__(self) -> None:
        self.state = State.OPENING
        self._failures = 0
        self._ready_since = 0.0

    @property
    def accepts(self) -> bool:
        """Whether Redis is asked; otherwise each limit's `on_store_error` decides at once."""
        return self.state in (State.OPENING, State.READY)

    def note(self, event: Event, now: float) -> None:
        """Changes the state. Raises KeyError for an event that cannot happen in it."""
        before = self.state
        self.state = _NEXT[before, event]
        if event is Event.OPENED:
            self._ready_since = now
        elif event is Event.FAILED:
            if before is State.READY and now - self._ready_since >= _TRUSTED_AFTER:
                self._failures = 0
            self._failures += 1

    def delay(self, chance: float) -> float:
        """Seconds until the next attempt: 0.05 doubling to 2, of which a random half. chance: from 0 to 1."""
        # A Redis that comes back is not met by all workers of all machines in the same moment.
        longest = min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** min(self._failures - 1, 10))
        return longest * (0.5 + chance / 2)
