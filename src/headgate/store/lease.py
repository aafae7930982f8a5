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


class _Lot:
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

    __slots__ = ("_lots", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._lots: dict[bytes, _Lot] = {}

    def take(self, limit: LimitState, key: bytes, now: float) -> Decision | None:
        """Passes a request at a place of the key; None when there is none left."""
        lot = self._lots.get(key)
        if lot is None or not lot.left or now >= lot.until:
            return None
        lot.left -= 1
        return Decision(True, limit, lot.left + lot.rest, int((lot.until - now) * 1_000_000) or 1)

    def joins(self, waiter: Waiter, key: bytes) -> bool:
        """Whether a question is on its way for the key; then the waiter is told of its answer. Else he must ask."""
        lot = self._lots.get(key)
        if lot is None:
            if len(self._lots) >= _ROOM:
                self._forget()
            lot = self._lots[key] = _Lot()
        if lot.waiters is None:
            lot.waiters = []
            return False
        lot.waiters.append(waiter)
        return True

    def answered(self, key: bytes, decision: Decision, asked: float) -> list[Waiter]:
        """Redis answered, or somebody in its place, what was asked then. Who waited for it, and must be told."""
        lot = self._lots[key]
        waiters, lot.waiters = lot.waiters or [], None
        lot.left = 0
        if isinstance(decision, Leased) and not lot.is_given_up:
            lot.left, lot.rest = decision.taken - 1, decision.remaining - (decision.taken - 1)
            lot.until = asked + decision.reset_after / 1_000_000 - TICK
        lot.is_given_up = False
        return waiters

    def drop(self, key: bytes) -> None:
        """Gives up what is held of the key, which is banned."""
        if lot := self._lots.get(key):
            lot.left = 0
            lot.is_given_up = lot.waiters is not None

    def _forget(self) -> None:
        """Makes room: but who waits must be told."""
        self._lots = {key: lot for key, lot in self._lots.items() if lot.waiters is not None}
