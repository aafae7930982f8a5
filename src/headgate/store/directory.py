"""What a process remembers of the shared memory, so that the next request finds it at once.

Its limits made ready, where their keys are, and the short ways of its clients. All of it can be forgotten at any time.
"""

from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from struct import Struct
from typing import TypeVar

from headgate.limits import concurrency
from headgate.model.snapshot import LimitState
from headgate.store import held, ways
from headgate.store.base import Check
from headgate.store.entry import Entry, Place
from headgate.store.gate import Gate, gate
from headgate.store.held import Held
from headgate.store.table import Table
from headgate.store.ways import Slot, Step, Tally, Way

T = TypeVar("T")

_CELL, _DOUBLE = Struct("Q"), Struct("d")
_MEMO = 16384  # keys of a limit whose place a process remembers
_ENTRIES = 1024  # limits that a process remembers
_SHARED = 1024  # short ways, and as many gates, that it has ready for a client's next connection


class Directory(Table):
    """The table, and what this process remembers of it."""

    def __init__(self, fd: int, owner: int, is_alive: Callable[[int], bool]) -> None:
        """fd: of the memory that `create` made. owner, is_alive: as `SharedStore` has them."""
        super().__init__(fd)
        self._owner = owner
        self._is_alive = is_alive
        self._held: Held | None = None  # made when it is needed
        self._entries: dict[int, Entry] = {}
        # A client's connections share one, so the next one finds in the CPU's caches what the last one used.
        self._ways: dict[Hashable, Way] = {}
        self._gates: dict[Hashable, Gate] = {}

    def way(self, checks: Sequence[Check], tallies: Sequence[Tally]) -> Way | None:
        """A short way for requests with these keys that surely pass."""
        steps: list[Step] = []
        for (limit, key, cost), tally in zip(checks, tallies, strict=True):
            if cost != 1:
                return None
            entry, slot = self._slot(limit, key)
            steps.append(Step(entry.meter, limit.limit.algorithm, slot, tally))
        asked = tuple((meter, slot.at, slot.mark, tally) for meter, _, slot, tally in steps)
        return self._ways.get(asked) or _keep(self._ways, asked, ways.way(steps))

    def gate(self, check: Check, tally: Tally) -> Gate | None:
        """A short way in and out for requests of this key."""
        limit, key, cost = check
        entry, slot = self._slot(limit, key)
        if entry.held is None or entry.far < 1 or cost != 1 or limit.limit.ban is not None:
            return None
        asked = entry, slot.at, slot.mark, tally
        return self._gates.get(asked) or _keep(self._gates, asked, gate(entry.held, slot, entry.far, tally))

    # `hit` has the first written out.

    def _at(self, limit: LimitState, key: bytes) -> tuple[Entry, Place]:
        """The limit, and where the key may be."""
        entry = self._entries.get(id(limit)) or self._enter(limit)
        return entry, entry.places.get(key) or self._place(entry, key)

    def _slot(self, limit: LimitState, key: bytes) -> tuple[Entry, Slot]:
        """The same for who goes a short way."""
        entry, (hash_, at, _, stripe) = self._at(limit, key)
        return entry, Slot(self._cells, self._doubles, at, _DOUBLE.unpack(_CELL.pack(hash_))[0], stripe)

    def _enter(self, limit: LimitState) -> Entry:
        if len(self._entries) >= _ENTRIES:
            self._entries.clear()
        places = self._places() if limit.limit.algorithm == concurrency.NAME else None
        entry = self._entries[id(limit)] = Entry(limit, self._seed, places)
        return entry

    def _places(self) -> Held:
        if self._held is None:
            buckets = min(self._buckets, held.BUCKETS)
            self._held = Held(
                self._map, self._end, buckets, me=self._owner, lock=self._owners_lock, is_alive=self._is_alive
            )
        return self._held

    def _place(self, entry: Entry, key: bytes) -> Place:
        """Where the key may be, remembered for the next time."""
        if len(entry.places) >= _MEMO:
            entry.places.clear()
        digest = blake2b(key, digest_size=8, key=entry.hash_key).digest()
        # 0 means an empty slot, and as a double it must be a number.
        hash_ = int.from_bytes(digest, "little") >> 2 | 1 << 60
        at, stripe = self._bucket(hash_)
        if entry.held is not None:
            at = entry.held.bucket(hash_)
        place = entry.places[key] = hash_, at, stripe.acquire, stripe
        return place


def _keep(ready: dict[Hashable, T], asked: Hashable, made: T | None) -> T | None:
    if made is not None:
        if len(ready) >= _SHARED:
            ready.clear()
        ready[asked] = made
    return made
