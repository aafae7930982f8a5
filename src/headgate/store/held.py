"""Who holds how many places, in memory that the processes of a machine share: exact, and healed when one dies.

    end of the last ban | owners | buckets of 16 slots, slot = hash | semaphores of the slots | a column for each owner

A slot is a key under a limit on what is in flight. Each process writes into its own column how many places it holds of
it, and nobody else does. So what is held is the sum of what stands in the columns of those that live; what the dead
held is of no account, and nothing has to be healed. Giving a place back is one write, without a lock.

Taking a place must look at all others. That is done under the stripe that guards the slot's bucket, and mostly done
ahead for many: while more than a fifth of the places is free, who finds no token and has the lock puts tokens into the
slot's semaphore, one for each place that is free before that fifth. Whoever draws one of them takes his place without a
lock. The rule is

    places held + tokens <= limit

which holds because tokens are put there under the lock alone, and only when there are none, and because a process
writes the place into its column *before* it draws the token, and takes it back when it got none. So for a moment a
place may be counted twice, never not at all. A token is drawn once; who gives a place back puts none back, for others
might see that before they see that the place is free.

Who has the lock decides by the sum and what tokens there are; when these would be too many he takes them all out and
adds up again. What he may still see then is a place that another, who got no token, is about to take back. If he is
refused because of it, that is as if the other had come first: that one asks for the lock next, and the place is free
for him. Only where he is stopped just there a third may have it before him, and the limit is one less for as long as he
is; that is the side on which to err, and what would tell the two apart would cost every request another write.

A slot that nobody holds places of is free for another key, once its tokens are taken out. A key that is held is never
forgotten, so a bucket can be full: then `find` says so, and the caller lets pass what it cannot count.

Pages cost nothing until they are written: a process costs four bytes for each slot that it ever used. It has the same
numbers once more as a list, of 512 KiB at the most.
"""

import logging
import mmap
import platform
from _multiprocessing import SemLock
from collections.abc import Callable, Collection

from headgate.store import stripes
from headgate.store.stripes import Stripe

logger = logging.getLogger("headgate.store")

BUCKETS = 4096  # at the most: 65,536 keys that are held at the same time
NOWHERE = -1
_HEADER = 8  # cells, of which one is used
_WAYS = 16
_SEMAPHORE = 32  # bytes
_MANY = 2**31 - 1  # tokens that there can be (SEM_VALUE_MAX)
_OWNERS = 512  # processes at once: two Headgates with as many workers as may be, while one takes over from the other
_TRUST = 10_000  # microseconds for which a process that lives is believed to go on
_FEW = 8  # tokens that are put one by one in less time than all at once
_AGAIN = 1_000_000  # microseconds after which a process that has no column tries to get one again
_BRIEFLY = 0.02  # seconds for which it then waits for a lock, and with it all that it serves
# Where every atomic operation is a full barrier, a place is seen by all before the token that was drawn after it.
_IS_ORDERED = platform.machine() in ("x86_64", "AMD64", "i386", "i686")


def size(buckets: int) -> int:
    """Bytes that it takes."""
    return (_HEADER + _OWNERS) * 8 + buckets * _WAYS * (8 + _SEMAPHORE + _OWNERS * 4)


class Held:
    """The places as one process sees them. Slots are named by the index of their cell.

    first: the first of all slots. mine: the column of this process, by slot; None until there is one to be had. own:
    the same numbers, to be read in half the time.
    bans: the cell that says until when any key under such a limit may be banned, so that nobody looks for bans usually.
    Whoever calls anything but `__init__`, `where`, `drawer` and `give_back` has the stripe of the hash, and `now` is in
    microseconds.
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
        self._semaphores = stripes.address(mapping) + (self.first + slots) * 8
        columns = (self.first + slots) * 8 + slots * _SEMAPHORE
        self._columns = whole[columns : columns + _OWNERS * slots * 4].cast("I")
        self._me = me
        self._is_alive = is_alive
        self._alive: dict[int, int] = {}  # owners, and until when they are believed to live
        self._dead: set[int] = set()  # owners whose columns nobody has taken yet
        self._tokens: dict[int, SemLock] = {}  # of a slot
        self._drawers: dict[int, Callable[[bool], bool]] = {}
        self._set = stripes.setter()
        self._fence = stripes.fence()
        self.own: list[int] = []
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
            self.own = [0] * self._slots  # as is the column of who is new
        if missing and missing != self._missing:
            logger.warning("limits on what is in flight are left to on_store_error here: %s", missing)
        elif self._missing and not missing:
            logger.info("limits on what is in flight are counted here again")
        self._missing = missing
        return column

    def _free_column(self) -> memoryview | None:
        """A column for this process: a fresh one, or one of a dead process."""
        owners = self._owners.tolist()
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
        return self.first + hash_ % self._buckets * _WAYS

    def where(self, hash_: int) -> int:
        """The slot of the hash, NOWHERE when it has none."""
        base = self.bucket(hash_)
        hashes = self._cells[base : base + _WAYS].tolist()
        return base + hashes.index(hash_) if hash_ in hashes else NOWHERE

    def find(self, hash_: int, now: int, claimed: Collection[int] = ()) -> int:
        """The slot of the hash, else one that it may take, else NOWHERE. claimed: slots that are not to be had."""
        if (at := self.where(hash_)) != NOWHERE and at not in claimed:
            return at
        base = self.bucket(hash_)
        slots = [at for at in range(base, base + _WAYS) if at not in claimed]
        for at in slots:
            if not self._cells[at]:
                return at
        for at in slots:
            if not self.sum(at, now):
                self.withdraw(at)
                if not self.sum(at, now):  # nobody drew one meanwhile
                    return at
        return NOWHERE

    def held(self, at: int, hash_: int, now: int, more: int = 0, limit: int = 0) -> int:
        """What the living hold of the key whose slot it is, or may become.

        more, limit: whether that and so many more are more than the limit is about to be decided. Then there are no
        tokens left with which it could become so meanwhile.
        """
        if self._cells[at] != hash_:
            return 0
        tokens = self._token(at)._get_value()
        held = self.sum(at, now)
        if tokens and held + tokens + more > limit:
            self.withdraw(at)
            held = self.sum(at, now)
        return held

    def living(self, hash_: int, now: int) -> int:
        """What the living hold of a key."""
        at = self.where(hash_)
        return 0 if at == NOWHERE else self.sum(at, now)

    def sum(self, at: int, now: int) -> int:
        """What stands in the columns of the living.

        Not even what the dead held is cleared here: the column may be another's the moment after it was looked at.
        """
        if not _IS_ORDERED:
            self._fence()
        total, cell = 0, at - self.first
        for owner in self._owners:
            if not owner:
                break
            if (count := self._columns[cell]) and self._lives(owner, now):
                total += count
            cell += self._slots
        return total

    def _lives(self, owner: int, now: int) -> bool:
        if owner == self._me or now < self._alive.get(owner, now):
            return True
        if owner in self._dead:
            return False
        if not self._is_alive(owner):
            self._alive.pop(owner, None)
            self._dead.intersection_update(self._owners)
            self._dead.add(owner)
            return False
        self._alive[owner] = now + _TRUST
        return True

    def add(self, at: int, hash_: int, cost: int, far: int, now: int) -> None:
        """Takes places of the slot, which `find` gave for the hash. far: so many of them may be taken by tokens."""
        if self._cells[at] != hash_:
            self._cells[at] = hash_
        self._hold(at - self.first, cost)
        if cost != 1:
            self.withdraw(at)
        elif self.drawer(at)(False):
            return
        self.restock(at, far, now)

    def restock(self, at: int, far: int, now: int) -> int:
        """What is held of a slot that has no tokens; where that is less than so many, it has some again."""
        held = self.sum(at, now)
        if held < far:
            self._put(at, far - held)
        return held

    def give_back(self, at: int, cost: int) -> None:
        """Gives back places of the slot, no more than this process has."""
        if self.mine is not None:
            cell = at - self.first
            self._hold(cell, -min(cost, self.own[cell]))

    def _hold(self, cell: int, more: int) -> None:
        assert self.mine is not None
        self.own[cell] = self.mine[cell] = self.own[cell] + more

    # Tokens.

    def drawer(self, at: int) -> Callable[[bool], bool]:
        """What draws a token of the slot, if there is one, when it is called with False: after the place for it is
        written.
        """
        return self._drawers.get(at) or self._make_drawer(at)

    def _make_drawer(self, at: int) -> Callable[[bool], bool]:
        draw: Callable[[bool], bool] = self._token(at).acquire
        fence = self._fence

        def draw_after(blocking: bool) -> bool:
            fence()
            return draw(blocking)

        return self._drawers.setdefault(at, draw if _IS_ORDERED else draw_after)

    def _put(self, at: int, count: int) -> None:
        if count <= _FEW:
            give = self._token(at).release
            for _ in range(count):
                give()
        else:
            self._set(self._address(at), count)

    def withdraw(self, at: int) -> None:
        """Takes all tokens out of the slot: who adds up now sees the places of all who drew one."""
        self._set(self._address(at), 0)
        self._fence()

    def _token(self, at: int) -> SemLock:
        return self._tokens.get(at) or self._tokens.setdefault(at, stripes.semaphore(self._address(at), _MANY))

    def _address(self, at: int) -> int:
        return self._semaphores + (at - self.first) * _SEMAPHORE
