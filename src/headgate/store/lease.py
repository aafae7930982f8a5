"""Places that a worker took ahead of a limit in Redis (`lease`): for limits so high that asking each time is too much.

The first request of a key takes so many at once, or what is left; those after it pass without asking until they are
used up or the window ends. One question is on its way for a key at most: who comes meanwhile waits for its answer.
No more pass in all than the limit has. What a worker took and does not use is lost until the window ends, so of a
limit up to (lease - 1) times the number of workers may be missing; and what a worker holds still passes, up to
lease - 1 requests of a key, after somebody else banned the key or reset its count.
"""

from collections.abc import Sequence

from headgate.limits.decision import Decision, Leased
from headgate.model.snapshot import LimitState
from headgate.store.base import Check, Resume

_ROOM = 65536  # keys of a limit of which places are held
TICK = 0.001  # seconds; what Redis says of a window's end is at most so much too late

Waiter = tuple[Sequence[Check], Resume]


class _Held:
    """left: places of this worker. rest: of the limit beside them, when it was asked last. until: on the loop's clock.

    waiters: who waits for the answer to a question; None when there is none on its way. is_given_up: whether the places
    that it brings are of no use.
    """

    __slots__ = ("is_given_up", "left", "rest", "until", "waiters")

    def __init__(self) -> None:
        self.is_given_up = False
        self.left = self.rest = 0
        self.until = 0.0
        self.waiters: list[Waiter] | None = None


class Leases:
    """What a worker holds of one limit. size: places that it takes at once."""

    __slots__ = ("_held", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: dict[bytes, _Held] = {}

    def take(self, limit: LimitState, key: bytes, now: float) -> Decision | None:
        """Passes a request at a place of the key; None when there is none left."""
        held = self._held.get(key)
        if held is None or not held.left or now >= held.until:
            return None
        held.left -= 1
        return Decision(True, limit, held.left + held.rest, int((held.until - now) * 1_000_000) or 1)

    def joins(self, waiter: Waiter, key: bytes) -> bool:
        """Whether a question is on its way for the key; then the waiter is told of its answer. Else he must ask."""
        held = self._held.get(key)
        if held is None:
            if len(self._held) >= _ROOM:
                self._forget()
            held = self._held[key] = _Held()
        if held.waiters is None:
            held.waiters = []
            return False
        held.waiters.append(waiter)
        return True

    def answered(self, key: bytes, decision: Decision, asked: float) -> list[Waiter]:
        """Redis answered, or somebody in its place, what was asked then. Who waited for it, and must be told."""
        held = self._held[key]
        waiters, held.waiters = held.waiters or [], None
        held.left = 0
        if isinstance(decision, Leased) and not held.is_given_up:
            held.left, held.rest = decision.taken - 1, decision.remaining - (decision.taken - 1)
            held.until = asked + decision.reset_after / 1_000_000 - TICK
        held.is_given_up = False
        return waiters

    def drop(self, key: bytes) -> None:
        """Gives up what is held of the key, which is banned."""
        if held := self._held.get(key):
            held.left = 0
            held.is_given_up = held.waiters is not None

    def _forget(self) -> None:
        """Makes room: but who waits must be told."""
        self._held = {key: held for key, held in self._held.items() if held.waiters is not None}
