"""Limits in memory that all workers of this machine share: exact over every process, at 0.6 us a check.

The supervisor makes the memory (`create`) and each worker maps it. It is a set-associative table:

    header (seed, size) | stripes (locks) | buckets of 8 slots | slot = hash, ends, value

A key's 64-bit hash picks the bucket and names the slot in it. The hash is keyed with a random seed that stays in the
memory, so a client cannot choose addresses that crowd one bucket, and with the limit's identity, so limits never meet.
A new key takes a free slot, else one whose state has ended, else the one that ends soonest: a full table forgets, it
never refuses wrongly. A bucket belongs to one stripe; a decision over several limits takes their stripes in rising
order, so no two can wait for each other.

A process may be killed between any two writes. So a slot is emptied (hash 0) before it is given to another key, and
the value is written before its end is: what a torn slot says is "empty" or "over", never "refused".
"""

import mmap
import os
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b

from headgate.limits.decision import Banned, Decision, decision
from headgate.limits.keys import limit_identity
from headgate.limits.meter import BANNED, Meter
from headgate.limits.sliding_window import MASK, SHIFT
from headgate.limits.standing import Standing, standing
from headgate.model.snapshot import LimitState
from headgate.store import stripes, ways
from headgate.store.base import Check, Counter, Resume, settle, undecided
from headgate.store.stripes import Stripe
from headgate.store.ways import Slot, Step, Way

_MAGIC = 0x4845414447415445  # "HEADGATE"
_HEADER = 4096  # magic, buckets, seed (4 cells); a page of its own
_SEED = slice(16, 48)
_STRIPES = 64
_TABLE = _HEADER + (_STRIPES + 1) * stripes.SIZE
_WAYS = 8
_SLOT = 3  # cells: hash, ends, value
_BUCKET = _WAYS * _SLOT
_MEMO = 16384  # keys of a limit whose place a process remembers
_ENTRIES = 1024  # limits that a process remembers

_Place = tuple[int, int, Callable[..., bool], Stripe]  # hash, the slot's cell when last seen, the lock's acquire, lock


class _Entry:
    """A limit, ready for use. It holds the limit, so that its id() stays its own.

    short: for the algorithms that have one, the short way of a request that passes.
    """

    __slots__ = (
        "burst",
        "counts_refused",
        "decide",
        "hash_key",
        "is_plain_window",
        "limit",
        "meter",
        "most",
        "period",
        "places",
        "short",
    )

    def __init__(self, limit: LimitState, seed: bytes) -> None:
        self.limit = limit
        self.most = limit.limit.rate.limit
        self.meter = meter = Meter(limit.limit)
        self.decide = meter.decide
        self.counts_refused = meter.counts_refused
        self.is_plain_window = meter.is_window and meter.is_plain
        self.period = meter.period
        self.burst = meter.burst * meter.period
        is_plain = meter.is_plain and meter.unit == 1 and meter.most > 0
        self.short = _SHORT.get(limit.limit.algorithm) if is_plain else None
        self.hash_key = blake2b(limit_identity(limit.limit).encode(), key=seed).digest()
        self.places: dict[bytes, _Place] = {}


def _short_gcra(entry: _Entry, cells: memoryview, at: int, now: int) -> Decision | None:
    """What `gcra.step` says to a request that passes, and writes it; None for all others, and they change nothing."""
    most, value = entry.most, cells[at + 2]
    wanted = (cells[at + 1] - now) * most - value
    wanted = wanted + entry.period if wanted > 0 else entry.period
    if wanted > entry.burst or value == BANNED:
        return None
    until = -(-wanted // most)
    cells[at + 2] = until * most - wanted
    cells[at + 1] = now + until
    return Decision(True, entry.limit, (entry.burst - wanted) // entry.period, until)


def _short_sliding_window(entry: _Entry, cells: memoryview, at: int, now: int) -> Decision | None:
    """The same of `sliding_window.step`, for a request in the window of the one before it."""
    value, period = cells[at + 2], entry.period
    left = cells[at + 1] - now  # of two periods
    if not period < left <= 2 * period or value == BANNED:
        return None
    room = (entry.most - (value >> SHIFT)) * period - (value & MASK) * (left - period)
    if room < period:
        return None
    cells[at + 2] = value + (1 << SHIFT)
    return Decision(True, entry.limit, room // period - 1, left)


_SHORT = {"gcra": _short_gcra, "sliding_window": _short_sliding_window}


def monotonic_us() -> int:
    """Microseconds of CLOCK_MONOTONIC, which is one clock for all processes of a machine."""
    return time.monotonic_ns() // 1000


class SharedStore:
    """A store in memory shared by the processes of this machine. An object belongs to the process that made it.

    spare_lock: one that the store does not use itself, for what else the same processes share. name: a random one of
    this memory, so of all the processes that share it. secret: the same, for what is to be seen by nobody else.
    """

    def __init__(self, fd: int, clock: Callable[[], int] = monotonic_us) -> None:
        """fd: of the memory that `create` made; it may be closed afterwards. clock: microseconds, one for all."""
        self._fd = os.dup(fd)
        self._map = mmap.mmap(fd, 0)
        self._cells = memoryview(self._map).cast("Q")
        if self._cells[0] != _MAGIC:
            raise ValueError("not the memory of a limit store")
        self._buckets = self._cells[1]
        self._seed = self._map[_SEED]
        self.secret = self.secret_of(fd)
        self.name = blake2b(b"name", key=self._seed, digest_size=8).hexdigest().encode()
        *self._stripes, self.spare_lock = stripes.attach(self._map, _HEADER, _STRIPES + 1, self._fd)
        self._me = self._stripes[0].me
        self._clock = clock
        self._nanoseconds = time.monotonic_ns if clock is monotonic_us else lambda: clock() * 1000
        self._entries: dict[int, _Entry] = {}

    @staticmethod
    def create(room: int = 1 << 20) -> int:
        """A descriptor of a fresh table for about so many keys, close-on-exec. Pages cost nothing until written."""
        buckets = 1 << max(0, (room // _WAYS - 1).bit_length())
        fd = os.memfd_create("headgate-limits")
        os.ftruncate(fd, _TABLE + buckets * _BUCKET * 8)
        mapping = mmap.mmap(fd, 0)
        mapping[:8] = _MAGIC.to_bytes(8, "little")
        mapping[8:16] = buckets.to_bytes(8, "little")
        mapping[_SEED] = os.urandom(32)
        stripes.create(mapping, _HEADER, _STRIPES + 1)
        return fd

    @staticmethod
    def knows(fd: int) -> bool:
        """Whether the memory is laid out as `create` of this version does it."""
        return os.pread(fd, 8, 0) == _MAGIC.to_bytes(8, "little")

    @staticmethod
    def secret_of(fd: int) -> bytes:
        """The secret of the memory that `create` made."""
        return blake2b(b"secret", key=os.pread(fd, 32, _SEED.start), digest_size=32).digest()

    def hit(self, checks: Sequence[Check], resume: Resume | None = None) -> Sequence[Decision]:
        """The decisions; always at once.

        One check of a fixed window is the usual case and is written out here, without a call it could do without.
        """
        if len(checks) != 1:
            return self._hit_all(checks)
        limit, key, cost = checks[0]
        entry = self._entries.get(id(limit)) or self._enter(limit)
        hash_, at, acquire, stripe = entry.places.get(key) or self._place(entry, key)
        if not acquire(False) and not stripe.wait():
            return [undecided(limit)]
        cells = self._cells
        owner = stripe.owner
        cells[owner] = self._me
        try:
            # The clock is read under the lock: a window then never seems to begin in another process's future.
            now = self._clock()
            if cells[at] != hash_ or cost != 1:
                return [self._hit_in_full(entry, key, now, cost)]
            if entry.short is not None and (passed := entry.short(entry, cells, at, now)) is not None:
                return [passed]
            if not entry.is_plain_window:
                return [self._hit_in_full(entry, key, now, cost)]
            left = cells[at + 1] - now
            if left <= 0:
                return [self._hit_in_full(entry, key, now, cost)]
            count = cells[at + 2]
            if count < entry.most:
                cells[at + 2] = count = count + 1
                return [Decision(True, limit, entry.most - count, left)]
            if count == BANNED:
                return [Banned(False, limit, 0, left)]
            return [Decision(False, limit, 0, left)]
        finally:
            cells[owner] = 0
            stripe.release()

    def charge(self, checks: Sequence[Check]) -> None:
        """Takes without asking, or gives back; nothing where another process keeps the lock for too long."""
        for limit, key, cost in checks:
            entry = self._entries.get(id(limit)) or self._enter(limit)
            hash_, at, _, stripe = entry.places.get(key) or self._place(entry, key)
            if stripe.enter():
                try:
                    self._charge(entry.meter, hash_, at, cost)
                finally:
                    stripe.leave()

    def _charge(self, meter: Meter, hash_: int, at: int, cost: int) -> None:
        now, cells = self._clock(), self._cells
        at = self._find(hash_, at, now)
        is_known = cells[at] == hash_
        if is_known or cost > 0:  # nobody loses his slot for what is nothing
            value, ends = (cells[at + 2], cells[at + 1]) if is_known else (0, 0)
            self._write(at, hash_, *meter.charge(value, ends, now, cost))

    def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on, for so long."""
        entry = self._entries.get(id(limit)) or self._enter(limit)
        hash_, at, _, stripe = entry.places.get(key) or self._place(entry, key)
        if stripe.enter():
            try:
                now = self._clock()
                self._write(self._find(hash_, at, now), hash_, BANNED, now + round(seconds * 1_000_000))
            finally:
                stripe.leave()

    def way(self, checks: Sequence[Check], counters: Sequence[Counter]) -> Way | None:
        """A short way for requests with these keys that surely pass."""
        steps: list[Step] = []
        for (limit, key, cost), counter in zip(checks, counters, strict=True):
            if cost != 1:
                return None
            entry = self._entries.get(id(limit)) or self._enter(limit)
            hash_, at, _, stripe = entry.places.get(key) or self._place(entry, key)
            slot = Slot(self._cells, at, hash_, stripe, self._nanoseconds)
            steps.append(Step(entry.meter, limit.limit.algorithm, slot, counter))
        return ways.way(steps)

    def look(self, limit: LimitState, key: bytes) -> Standing | None:
        """How the key stands; None when a process that does not go on keeps the lock."""
        entry = self._entries.get(id(limit)) or self._enter(limit)
        hash_, at, _, stripe = entry.places.get(key) or self._place(entry, key)
        if not stripe.enter():
            return None
        try:
            now = self._clock()
            value, ends = self._read(self._find(hash_, at, now), hash_)
        finally:
            stripe.leave()
        return standing(entry.meter, value, ends, now, limit.limit.cost)

    def reset(self, limit: LimitState, key: bytes, *, ban_only: bool = False) -> bool | None:
        """Forgets the key's count and its ban, or the ban alone; whether there was something to forget.

        None when a process that does not go on keeps the lock.
        """
        entry = self._entries.get(id(limit)) or self._enter(limit)
        hash_, at, _, stripe = entry.places.get(key) or self._place(entry, key)
        if not stripe.enter():
            return None
        try:
            now = self._clock()
            at = self._find(hash_, at, now)
            value, ends = self._read(at, hash_)
            if ends <= now or (ban_only and value != BANNED):
                return False
            self._cells[at] = 0
            return True
        finally:
            stripe.leave()

    def close(self) -> None:
        """Closes the descriptor; the mapping goes with the process, because locks live in it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _hit_in_full(self, entry: _Entry, key: bytes, now: int, cost: int) -> Decision:
        """The decision for a key, wherever its slot is and whatever its state."""
        hash_, at, acquire, stripe = entry.places[key]
        cells = self._cells
        value = ends = 0
        if cells[at] != hash_:  # not in the slot where it was last seen, or never was anywhere
            at = self._find(hash_, at, now)
            entry.places[key] = hash_, at, acquire, stripe
        if cells[at] == hash_:
            value, ends = cells[at + 2], cells[at + 1]
        after = entry.decide(value, ends, now, cost)
        if after.allowed or entry.counts_refused:
            self._write(at, hash_, after.value, after.ends)
        return decision(after, entry.limit, value == BANNED)

    def _enter(self, limit: LimitState) -> _Entry:
        if len(self._entries) >= _ENTRIES:
            self._entries.clear()
        entry = self._entries[id(limit)] = _Entry(limit, self._seed)
        return entry

    def _place(self, entry: _Entry, key: bytes) -> _Place:
        """Where the key may be, remembered for the next time."""
        if len(entry.places) >= _MEMO:
            entry.places.clear()
        digest = blake2b(key, digest_size=8, key=entry.hash_key).digest()
        hash_ = int.from_bytes(digest, "little") or 1  # 0 means an empty slot
        bucket = hash_ % self._buckets
        stripe = self._stripes[bucket % _STRIPES]
        place = entry.places[key] = hash_, _TABLE // 8 + bucket * _BUCKET, stripe.acquire, stripe
        return place

    def _find(self, hash_: int, at: int, now: int, claimed: Sequence[int] = ()) -> int:
        """The slot of the hash in the bucket of `at`, or the one that it may take: empty, over, or ending soonest."""
        base = at - (at - _TABLE // 8) % _BUCKET
        cells = self._cells[base : base + _BUCKET].tolist()
        hashes = cells[::_SLOT]
        if hash_ in hashes:
            return base + hashes.index(hash_) * _SLOT
        ends = [end if held else 0 for held, end in zip(hashes, cells[1::_SLOT], strict=True)]
        for way in sorted(range(_WAYS), key=ends.__getitem__):
            if base + way * _SLOT not in claimed:
                return base + way * _SLOT
        return base  # more than 8 new keys of one decision in one bucket: they share, as if evicted by each other

    def _read(self, at: int, hash_: int) -> tuple[int, int]:
        """The value and the end of a slot if it is the hash's, else of a key that was never seen."""
        cells = self._cells
        return (cells[at + 2], cells[at + 1]) if cells[at] == hash_ else (0, 0)

    def _write(self, at: int, hash_: int, value: int, ends: int) -> None:
        """Writes a slot such that it is harmless after each single write."""
        cells = self._cells
        if cells[at] == hash_:
            cells[at + 2] = value
            cells[at + 1] = ends
        else:
            cells[at] = 0
            cells[at + 1] = ends
            cells[at + 2] = value
            cells[at] = hash_

    def _hit_all(self, checks: Sequence[Check]) -> Sequence[Decision]:
        """The decisions over several limits, under the locks of all of them."""
        entries = [self._entries.get(id(limit)) or self._enter(limit) for limit, _, _ in checks]
        places = [
            entry.places.get(key) or self._place(entry, key) for entry, (_, key, _) in zip(entries, checks, strict=True)
        ]
        held: list[Stripe] = []
        try:
            for stripe in sorted({place[3] for place in places}, key=lambda stripe: stripe.index):
                if not stripe.enter():
                    return [undecided(limit) for limit, _, _ in checks]
                held.append(stripe)
            return self._decide(entries, places, checks)
        finally:
            for stripe in held:
                stripe.leave()

    def _decide(self, entries: list[_Entry], places: list[_Place], checks: Sequence[Check]) -> list[Decision]:
        now = self._clock()
        cells = self._cells
        taken: dict[int, tuple[int, int, int]] = {}  # hash -> slot, value, ends
        kept: list[int] = []  # of them those that count although the request is refused
        claimed: list[int] = []
        decisions = []
        for entry, place, (_, key, cost) in zip(entries, places, checks, strict=True):
            hash_, at, acquire, stripe = place
            if hash_ in taken:  # the same limit and key twice in one decision counts twice
                at, value, ends = taken[hash_]
            else:
                if cells[at] != hash_:
                    at = self._find(hash_, at, now, claimed)
                    entry.places[key] = hash_, at, acquire, stripe
                value, ends = (cells[at + 2], cells[at + 1]) if cells[at] == hash_ else (0, 0)
                claimed.append(at)
            after = entry.decide(value, ends, now, cost)
            taken[hash_] = at, after.value, after.ends
            if entry.counts_refused:
                kept.append(hash_)
            decisions.append(decision(after, entry.limit, value == BANNED))
        for hash_ in taken if settle(decisions, checks) else kept:
            at, value, ends = taken[hash_]
            self._write(at, hash_, value, ends)
        return decisions
