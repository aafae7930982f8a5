"""Who each limit refuses most: what a worker knows of the last minute or two, and tells the supervisor.

Only refused requests come here. Each costs a step in a summary of bounded size (`limits/heavy_hitters.py`), and every
other second the summaries that changed are told. A summary is of the time since the minute before this one began, so
who stopped is forgotten.
"""

from collections.abc import Callable, Sequence

from headgate.limits.decision import Decision
from headgate.limits.heavy_hitters import HeavyHitters, Summary, merged
from headgate.model.snapshot import LimitState
from headgate.store.base import Check
from headgate.wire.messages import Message, Top, Tops

_ROOM = 128  # counters of a limit: who makes up 1 % of its refusals is told
_TELL = 2.0  # seconds between two messages
_TURN = 60.0  # seconds of one summary


class _Recent:
    """A limit's refusals, since this minute and the one before it began. told: how many the supervisor knows of."""

    __slots__ = ("before", "identity", "name", "now", "told")

    def __init__(self, limit: LimitState) -> None:
        self.name = limit.limit.name
        self.identity = _identity(limit)
        self.now = HeavyHitters(_ROOM)
        self.before = HeavyHitters(_ROOM).summary()
        self.told = (0, 0)

    def turn(self) -> None:
        """The next minute begins."""
        self.before = self.now.summary()
        self.now = HeavyHitters(_ROOM)

    def summary(self) -> Summary:
        """What is known of both."""
        return merged([self.before, self.now.summary()], _ROOM)


class Refused:
    """The refused keys of all limits of a worker."""

    def __init__(self, send: Callable[[Message], None], now: float) -> None:
        """send: tells the supervisor. now: on the worker's clock."""
        self._send = send
        self._recent: dict[int, _Recent] = {}  # by the limit's slot, as what follows
        self._add: dict[int, Callable[[bytes], None]] = {}
        self._forgotten: set[str] = set()
        self._tell_at = now + _TELL
        self._turn_at = now + _TURN

    def note(self, checks: Sequence[Check], refusals: Sequence[Decision]) -> None:
        """A request was refused by these, which are decisions on some of the checks."""
        if len(checks) == 1:
            limit, key, _ = checks[0]
            (self._add.get(limit.slot) or self._enter(limit))(key)
            return
        # By slot: what a store elsewhere could not decide was decided by a part of the limit.
        asked = {limit.slot: (limit, key) for limit, key, _ in checks}
        for refusal in refusals:
            limit, key = asked[refusal.limit.slot]
            (self._add.get(limit.slot) or self._enter(limit))(key)

    def keep(self, limits: Sequence[LimitState]) -> None:
        """These are the limits from now on. What is known of others, or of what they were, is forgotten."""
        kept = {limit.slot: _identity(limit) for limit in limits}
        for slot, recent in list(self._recent.items()):
            if kept.get(slot) != recent.identity:
                self._forget(slot)

    def sweep(self, now: float) -> None:
        """Tells what changed, when it is time to."""
        if now < self._tell_at:
            return
        self._tell_at = now + _TELL
        if now >= self._turn_at:
            self._turn()
            self._turn_at = now + _TURN
        tops = [Top(name) for name in self._forgotten]
        self._forgotten.clear()
        for recent in self._recent.values():
            counted = (recent.before.total, recent.now.total)
            if counted != recent.told:
                recent.told = counted
                tops.append(Top(recent.name, *recent.summary()))
        if tops:
            self._send(Tops(tuple(tops)))

    def _turn(self) -> None:
        for slot, recent in list(self._recent.items()):
            recent.turn()
            self._add[slot] = recent.now.add
            if not recent.before.total:
                self._forget(slot)

    def _enter(self, limit: LimitState) -> Callable[[bytes], None]:
        recent = self._recent[limit.slot] = _Recent(limit)
        self._forgotten.discard(recent.name)
        add = self._add[limit.slot] = recent.now.add
        return add

    def _forget(self, slot: int) -> None:
        self._forgotten.add(self._recent.pop(slot).name)
        del self._add[slot]


def _identity(limit: LimitState) -> str:
    """What makes its keys what they are; whatever the rate is, which keys may have for themselves."""
    return f"{limit.limit.name}:{limit.limit.key}:{limit.limit.private}"
