"""Places in the shared cells: who has which, and when one may be given to somebody else. Pure.

A slot names its owner in every worker for as long as any of them may still count in it. So a slot that is given up
rests until every worker serves a snapshot without it and nothing is in flight there; only then it is cleared and free.
An owner that comes back while its slot rests gets the same slot again, with its counters.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from headgate.errors import UserError

K = TypeVar("K", bound=Hashable)


class Slots(Generic[K]):
    """The slots 0 to size - 1 of one kind and their owners."""

    def __init__(self, size: int, kind: str) -> None:
        """kind: what a slot is for, in the plural, for the message when there are too many."""
        self._size = size
        self._kind = kind
        self._owned: dict[K, int] = {}
        self._resting: dict[K, tuple[int, int]] = {}  # owner: slot, the first version without it
        self._free = deque(range(size))

    def require(self, owners: Iterable[K]) -> None:
        """Raises UserError when there is not a slot for each of these and all who have one already."""
        news = {owner for owner in owners if owner not in self._owned and owner not in self._resting}
        if len(news) > len(self._free):
            raise UserError(f"there is room for {self._size} {self._kind}; {len(news) - len(self._free)} too many")

    def take(self, owner: K) -> int:
        """The owner's slot, as long as it does not give it up. Raises UserError when none is free."""
        if owner in self._owned:
            return self._owned[owner]
        if owner in self._resting:
            slot, _ = self._resting.pop(owner)
        else:
            self.require([owner])
            slot = self._free.popleft()
        self._owned[owner] = slot
        return slot

    def give_up(self, owner: K, version: int) -> None:
        """The owner leaves. version: of the first snapshot in which it is not."""
        self._resting[owner] = (self._owned.pop(owner), version)

    def reclaim(self, adopted: int, idle: Callable[[int], bool]) -> list[int]:
        """The slots that are free again by now; the caller clears them before it takes another.

        adopted: the oldest version that a worker still serves. idle: whether nothing is in flight in a slot.
        """
        done = [owner for owner, (slot, version) in self._resting.items() if version <= adopted and idle(slot)]
        slots = [self._resting.pop(owner)[0] for owner in done]
        self._free.extend(slots)
        return slots

    @property
    def rests(self) -> bool:
        """Whether `reclaim` has something to wait for."""
        return bool(self._resting)

    def in_use(self) -> list[int]:
        """The slots that workers may be counting in."""
        return [*self._owned.values(), *(slot for slot, _ in self._resting.values())]
