"""Rise and fall: what a row of passed and failed probes says of one server.

A server that was never probed is taken for available, and its first probe decides at once: waiting for `fall` failures
would send requests to a dead server for several intervals after a start. From then on it takes `fall` failures in a
row to go down and `rise` passes in a row to come back.

The machine is the table below and one method that walks it. The checker feeds it and the fleet holds one for each
server; whether the server gets requests is decided elsewhere, from this verdict and two other axes.
"""

from enum import Enum, auto

from headgate.model.server import Probe


class State(Enum):
    """How far the prober's opinion of a server has come."""

    UNKNOWN = auto()  # never probed, or not since its maintenance
    UP = auto()
    FALLING = auto()  # up, and the last probes failed, though fewer than `fall`
    DOWN = auto()
    RISING = auto()  # down, and the last probes passed, though fewer than `rise`


class Event(Enum):
    """What a probe brings. LAST_ is the probe that makes the row long enough."""

    PASS = auto()
    LAST_PASS = auto()
    FAIL = auto()
    LAST_FAIL = auto()
    FORGET = auto()  # the server goes to maintenance or loses its health check


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.UNKNOWN, Event.PASS): State.UP,
    (State.UNKNOWN, Event.LAST_PASS): State.UP,
    (State.UNKNOWN, Event.FAIL): State.DOWN,
    (State.UNKNOWN, Event.LAST_FAIL): State.DOWN,
    (State.UP, Event.PASS): State.UP,
    (State.UP, Event.LAST_PASS): State.UP,
    (State.UP, Event.FAIL): State.FALLING,
    (State.UP, Event.LAST_FAIL): State.DOWN,
    (State.FALLING, Event.PASS): State.UP,
    (State.FALLING, Event.LAST_PASS): State.UP,
    (State.FALLING, Event.FAIL): State.FALLING,
    (State.FALLING, Event.LAST_FAIL): State.DOWN,
    (State.DOWN, Event.PASS): State.RISING,
    (State.DOWN, Event.LAST_PASS): State.UP,
    (State.DOWN, Event.FAIL): State.DOWN,
    (State.DOWN, Event.LAST_FAIL): State.DOWN,
    (State.RISING, Event.PASS): State.RISING,
    (State.RISING, Event.LAST_PASS): State.UP,
    (State.RISING, Event.FAIL): State.DOWN,
    (State.RISING, Event.LAST_FAIL): State.DOWN,
    **{(state, Event.FORGET): State.UNKNOWN for state in State},
}

_VERDICT = {
    State.UNKNOWN: Probe.UNKNOWN,
    State.UP: Probe.UP,
    State.FALLING: Probe.UP,
    State.DOWN: Probe.DOWN,
    State.RISING: Probe.DOWN,
}


class Health:
    """The prober's opinion of one server."""

    __slots__ = ("_passing", "row", "state")

    def __init__(self) -> None:
        self.state = State.UNKNOWN
        self.row = 0  # how many probes in a row ended like the last one
        self._passing = False

    @property
    def verdict(self) -> Probe:
        """What the workers are told."""
        return _VERDICT[self.state]

    def observe(self, passed: bool, rise: int, fall: int) -> bool:
        """Takes the result of one probe; whether the verdict changed by it. rise, fall: >= 1."""
        self.row = self.row + 1 if passed is self._passing else 1
        self._passing = passed
        if passed:
            return self._move(Event.LAST_PASS if self.row >= rise else Event.PASS)
        return self._move(Event.LAST_FAIL if self.row >= fall else Event.FAIL)

    def forget(self) -> bool:
        """Goes back to knowing nothing; whether the verdict changed by it."""
        self.row = 0
        return self._move(Event.FORGET)

    def _move(self, event: Event) -> bool:
        before = self.verdict
        self.state = TRANSITIONS[self.state, event]
        return self.verdict is not before
