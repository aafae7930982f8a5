"""Who holds how many places, in memory that the processes of a machine share: exact, and healed when one dies.

    end of the last ban | owners | buckets of 16 slots, slot = hash, total | a column of counts for each owner

A slot is a key under a limit on what is in flight. Its total is what decides, under the stripe that guards its bucket;
beside it every process writes into its own column how much of it is its own. So what a killed process held is known,
and is given back when it would be in somebody's way: a total that would refuse is added up anew from the columns of
those that live. Usually no column but one's own is looked at.

The total is never less than what the living hold: it is raised before the column and lowered after it. So a process
that is killed between any two writes leaves a total that is right or too high, and the next one that would be refused
because of it puts it right. A slot whose total is 0 is free for another key. What dead processes left in the columns of
a slot is of no account, whoever has it next, for it is only ever added up of the living. A key that is held is never
forgotten, so a bucket can be full: then `find` says so, and the caller lets pass what it cannot count.

Pages cost nothing until they are written: a process costs four bytes for each slot that it ever used.
"""

import logging
import mmap
from collections.abc import Callable, Collection

from headgate.store.stripes import Stripe

logger = logging.getLogger("headgate.store")

BUCKETS = 4096  # at the most: 65,536 keys that are held at the same time
NOWHERE = -1
_HEADER = 8  # cells, of which one is used
_WAYS = 16
_OWNERS = 512  # processes at once: two Headgates with as many workers as may be, while one takes over from the other
_TRUST = 10_000  # microseconds for which a process that lives is believed to go on
_LOOKED = 4096  # slots of which a process remembers when it added them up
_AGAIN = 1_000_000  # microseconds after which a process that has no column tries to get one again
_BRIEFLY = 0.02  # seconds for which it then waits for a lock, and with it all that it serves


def size(buckets: int) -> int:
    """Bytes that it takes."""
    return (_HEADER + _OWNERS) * 8 + buckets * _WAYS * (2 * 8 + _OWNERS * 4)


class Held:
    """The places as one process sees them. Slots are named by the index of their first cell.

    first: the first of all slots. mine: the column of this process, by slot; None until there is one to be had.
    bans: the cell that says until when any key under such a limit may be banned, so that nobody looks for bans usually.
    Whoever calls anything but `__init__` has the stripe of the hash, and `now` is in microseconds.
    """

    def __init__(
        self,
        mapping: mmap.mmap,
        offset: int,
        buckets: int,
        *,
        me: int,
        lock: Stripe,
        is_alive: Callable[[int], bool],
    ) -> None:
        """offset: where it begins in the mapping. me: this process among the owners. lock: of the owners' table."""
        whole = memoryview(mapping)
        self._cells = whole.cast("Q")
        self._buckets = buckets
        self._slots = slots = buckets * _WAYS
        self.bans = offset // 8
        self._owners = self._cells[self.bans + _HEADER :][:_OWNERS]
        self.first = self.bans + _HEADER + _OWNERS
        columns = self.first * 8 + slots * 16
        self._columns = whole[columns : columns + _OWNERS * slots * 4].cast("I")
        self._me = me
        self._is_alive = is_alive
        self._alive: dict[int, int] = {}  # owners, and until when they are believed to live
        self._looked: dict[int, int] = {}
        self._lock = lock
        self._tried = 0  # when it was tried last to get a column
        self._missing = ""  # why there is none
        self.mine = self._claim()

    def claim(self, now: int) -> bool:
        """Whether this process has a column. Without one it tries to get one now and again, and says what came of it.

        Else a process would count nothing until it is replaced, because another was stopped when it began.
        """
        if self.mine is None and now - self._tried >= _AGAIN:
            self._tried = now
            self.mine = self._claim(_BRIEFLY)
        return self.mine is not None

    def _claim(self, patience: float | None = None) -> memoryview | None:
        """The column of this process, None when it cannot be had."""
        column, missing = None, "another process keeps the lock of its table"
        if self._lock.enter(patience):
            try:
                column, missing = self._free_column(), f"{_OWNERS} processes have all places of its table"
            finally:
                self._lock.leave()
        if column is not None:
            missing = ""
        if missing and missing != self._missing:
            logger.warning("limits on what is in flight are left to on_store_error here: %s", missing)
        elif self._missing and not missing:
            logger.info("limits on what is in flight are counted here again")
        self._missing = missing
        return column

    def _free_column(self) -> memoryview | None:
        """The column of this process: its own, a fresh one, or one of a dead process."""
        owners = self._owners.tolist()
        if self._me in owners:
            return self._column(owners.index(self._me))
        for place, owner in enumerate(owners):
            if not owner or not self._is_alive(owner):
                column = self._column(place)
                if owner:  # before the column has a new owner, or he would seem to hold this
                    column[:] = memoryview(bytes(4 * self._slots)).cast("I")
                self._owners[place] = self._me
                return column
        return None

    def _column(self, place: int) -> memoryview:
        return self._columns[place * self._slots : (place + 1) * self._slots]

    def banned(self, until: int) -> None:
        """A key is about to be banned until then."""
        is_alone = self._lock.enter()  # else two may write at once, and a ban be overlooked; better than none at all
        self._cells[self.bans] = max(self._cells[self.bans], until)
        if is_alone:
            self._lock.leave()

    def bucket(self, hash_: int) -> int:
        """The first slot of the hash's bucket."""
        return self.first + hash_ % self._buckets * _WAYS * 2

    def find(self, hash_: int, now: int, claimed: Collection[int] = ()) -> int:
        """The slot of the hash, else one that it may take, else NOWHERE. claimed: slots that are not to be had."""
        if (at := self.where(hash_)) != NOWHERE and at not in claimed:
            return at
        base = self.bucket(hash_)
        slots = range(base, base + _WAYS * 2, 2)
        for is_last in (False, True):
            for at in slots:
                if not self._cells[at + 1] and at not in claimed:
                    return at
            if not is_last:
                for at in slots:
                    self.recount(at, now)
        return NOWHERE

    def where(self, hash_: int) -> int:
        """The slot of the hash, NOWHERE when it has none."""
        base = self.bucket(hash_)
        hashes = self._cells[base : base + _WAYS * 2 : 2].tolist()
        return base + hashes.index(hash_) * 2 if hash_ in hashes else NOWHERE

    def total(self, at: int, hash_: int) -> int:
        """What is held of the key whose slot it is, or may become."""
        return self._cells[at + 1] if self._cells[at] == hash_ else 0

    def living(self, hash_: int, now: int) -> int:
        """What the living hold of a key."""
        if (at := self.where(hash_)) == NOWHERE:
            return 0
        self.recount(at, now)
        return self.total(at, hash_)

    def recount(self, at: int, now: int) -> None:
        """Adds up what the living hold, and forgets what the dead held; not again within a hundredth of a second."""
        if now - self._looked.get(at, -_TRUST) < _TRUST:
            return
        if len(self._looked) >= _LOOKED:
            self._looked.clear()
        self._looked[at] = now
        total, cell = 0, (at - self.first) // 2
        for owner in self._owners:
            if not owner:
                break
            if count := self._columns[cell]:
                if self._lives(owner, now):
                    total += count
                else:
                    self._columns[cell] = 0
            cell += self._slots
        self._cells[at + 1] = total

    def _lives(self, owner: int, now: int) -> bool:
        if owner == self._me or now < self._alive.get(owner, now):
            return True
        if not self._is_alive(owner):
            self._alive.pop(owner, None)
            return False
        self._alive[owner] = now + _TRUST
        return True

    def add(self, at: int, hash_: int, cost: int) -> None:
        """Takes places of the slot, which `find` gave for the hash."""
        assert self.mine is not None
        cells = self._cells
        if cells[at] != hash_:
            cells[at + 1] = 0
            cells[at] = hash_
        cells[at + 1] += cost
        self.mine[(at - self.first) // 2] += cost

    def give_back(self, at: int, cost: int) -> None:
        """Gives back places of the slot, no more than this process has."""
        if self.mine is not None:
            cell = (at - self.first) // 2
            cost = min(cost, self.mine[cell])
            self.mine[cell] -= cost
            self._cells[at + 1] -= cost
