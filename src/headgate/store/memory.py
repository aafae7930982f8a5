"""Limits in a dict of this process: the plainest store, for tests and for programs that are a single process.

It calls the reference arithmetic (`headgate.limits`) for each check, so the other stores are compared with it.
"""

import heapq
from collections.abc import Callable, Sequence

from headgate.limits.decision import Decision, decision
from headgate.limits.keys import limit_identity
from headgate.limits.memo import PerLimit
from headgate.limits.meter import BANNED, Meter
from headgate.limits.standing import Standing, standing
from headgate.model.snapshot import LimitState
from headgate.store.base import Check, Resume, settle
from headgate.store.ways import Tally

_Key = tuple[str, bytes]


class MemoryStore:
    """A store in a dict."""

    def __init__(self, clock: Callable[[], int], room: int = 1 << 20) -> None:
        """clock: microseconds, monotonic. room: keys that are kept; beyond, those that end soonest go."""
        self._clock = clock
        self._room = room
        self._meters = PerLimit(lambda limit: Meter(limit.limit))
        self._states: dict[_Key, tuple[int, int]] = {}
        self._held: dict[_Key, int] = {}  # apart from the states: a ban must not forget them, nor a lack of room

    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision]:
        """The decisions; always at once."""
        now = self._clock()
        taken: dict[_Key, tuple[int, int]] = {}
        held: dict[_Key, int] = {}
        decisions = []
        kept: dict[_Key, tuple[int, int]] = {}
        for limit, name, cost in checks:
            key = (limit_identity(limit.limit), name)
            meter = self._meters.of(limit)
            value, ends = taken.get(key) or self._states.get(key, (0, 0))
            if meter.holds and (value != BANNED or now >= ends):
                value, ends = held.get(key, self._held.get(key, 0)), 0
            after = meter.decide(value, ends, now, cost)
            if meter.holds:
                held[key] = after.value
            else:
                taken[key] = (after.value, after.ends)
            if limit.limit.count_refused:
                kept[key] = taken[key]
            decisions.append(decision(after, limit, value == BANNED, meter.holds))
        passes = settle(decisions, checks)
        if passes:
            self._held.update({key: count for key, count in held.items() if count})
        if states := taken if passes else kept:
            self._states.update(states)
            if len(self._states) > self._room:
                self._forget(now)
        return decisions

    def charge(self, checks: Sequence[Check]) -> None:
        """Takes without asking, or gives back."""
        now = self._clock()
        for limit, name, cost in checks:
            key = (limit_identity(limit.limit), name)
            if key in self._states or cost > 0:
                value, ends = self._states.get(key, (0, 0))
                self._states[key] = self._meters.of(limit).charge(value, ends, now, cost)
        if len(self._states) > self._room:
            self._forget(now)

    def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on, for so long."""
        self._states[limit_identity(limit.limit), key] = BANNED, self._clock() + round(seconds * 1_000_000)

    def way(self, checks: Sequence[Check], tallies: Sequence[Tally]) -> None:
        """There is no shorter way than `hit`."""

    def gate(self, check: Check, tally: Tally) -> None:
        """Nor here."""

    async def come_free(self, limit: LimitState, key: bytes) -> None:
        """There is nothing to wait for."""

    def look(self, limit: LimitState, key: bytes) -> Standing:
        """How the key stands."""
        name, meter, now = (limit_identity(limit.limit), key), self._meters.of(limit), self._clock()
        value, ends = self._states.get(name, (0, 0))
        if meter.holds and (value != BANNED or now >= ends):
            value, ends = self._held.get(name, 0), 0
        return standing(meter, value, ends, now, limit.limit.cost)

    def reset(self, limit: LimitState, key: bytes, *, ban_only: bool = False) -> bool:
        """Forgets the key's count and its ban, or the ban alone; whether there was something to forget."""
        name = (limit_identity(limit.limit), key)
        value, ends = self._states.get(name, (0, 0))
        if ends <= self._clock() or (ban_only and value != BANNED):
            return False
        del self._states[name]
        return True

    def release(self, checks: Sequence[Check]) -> None:
        """Gives places back."""
        self.hold([(limit, name, -cost) for limit, name, cost in checks])

    def hold(self, checks: Sequence[Check]) -> None:
        """Takes places without asking."""
        for limit, name, cost in checks:
            key = (limit_identity(limit.limit), name)
            held, _ = self._meters.of(limit).charge(self._held.pop(key, 0), 0, 0, cost)
            if held:
                self._held[key] = held

    def close(self) -> None:
        """Forgets everything."""
        self._states.clear()
        self._held.clear()

    def _forget(self, now: int) -> None:
        for key in [key for key, (_, ends) in self._states.items() if ends <= now]:
            del self._states[key]
        excess = len(self._states) - self._room
        if excess > 0:
            # An eighth more than needed, so that a full store does not search for room at each new key.
            for key in heapq.nsmallest(excess + self._room // 8, self._states, key=lambda key: self._states[key][1]):
                del self._states[key]
