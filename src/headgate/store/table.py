"""The memory in which this machine counts limits: a table of slots, and what guards it.

It is set-associative:

    header (seed, size) | stripes (locks) | buckets of 8 slots, slot = hash, ends, value | places (held.py)

A key's hash picks the bucket and names the slot in it. A new key takes a free slot, else one whose state has ended,
else the one that ends soonest: a full table forgets, it never refuses wrongly. A bucket belongs to one stripe, which
whoever reads or writes its slots holds.

`ends` is a double, as is the `value` of a schedule (gcra): Python reads and writes these in half the time of large
integers, and what they hold are whole numbers below 2**53. The hash is a number when it is read as a double, for the
same reason. A schedule may be noted as a later moment and by how much it is before that (`ways.py`): its `value` is
then more than one microsecond. To whoever looks for a slot such a state ends at that moment, by the time of a burst too
late at the most: its limit, which would say more, is not known to him.

A process may be killed between any two writes. So a slot is emptied (hash 0) before it is given to another key, and
the value is written before its end is: what a torn slot says is "empty" or "over", never "refused". One of a schedule
is emptied when it is written anew, too, as is one that is banned: its old end with the new value may refuse.

Only `directory.py` builds on it, and `shared.py` on that, which reads and writes the cells of the usual request itself,
without a call.
"""

import mmap
import os
from collections.abc import Sequence
from hashlib import blake2b

from headgate.limits.meter import BANNED
from headgate.store import held, stripes
from headgate.store.stripes import Stripe

_MAGIC = 0x4845414447415433  # "HEADGAT3"
_HEADER = 4096  # magic, buckets, seed (4 cells); a page of its own
_SEED = slice(16, 48)
_STRIPES = 64
_TABLE = _HEADER + (_STRIPES + 2) * stripes.SIZE
_WAYS = 8
_SLOT = 3  # cells: hash, ends, value
_BUCKET = _WAYS * _SLOT


class Table:
    """The table as one process sees it. Slots are named by the index of their first cell.

    spare_lock: one that the store does not use itself, for what else the same processes share. name: a random one of
    this memory, so of all the processes that share it. secret: the same, for what is to be seen by nobody else.
    """

    def __init__(self, fd: int) -> None:
        """fd: of the memory that `create` made; it may be closed afterwards."""
        self._fd = os.dup(fd)
        self._map = mmap.mmap(fd, 0)
        self._cells = memoryview(self._map).cast("Q")
        self._doubles = memoryview(self._map).cast("d")
        if self._cells[0] != _MAGIC:
            raise ValueError("not the memory of a limit store")
        self._buckets = self._cells[1]
        self._end = _TABLE + self._buckets * _BUCKET * 8
        self._seed = self._map[_SEED]
        self.secret = self.secret_of(fd)
        self.name = blake2b(b"name", key=self._seed, digest_size=8).hexdigest().encode()
        *self._stripes, self.spare_lock, self._owners_lock = stripes.attach(self._map, _HEADER, _STRIPES + 2, self._fd)
        self._me = self._stripes[0].me

    @staticmethod
    def create(room: int = 1 << 20) -> int:
        """A descriptor of a fresh table for about so many keys, close-on-exec. Pages cost nothing until written."""
        buckets = 1 << max(0, (room // _WAYS - 1).bit_length())
        fd = os.memfd_create("headgate-limits")
        os.ftruncate(fd, _TABLE + buckets * _BUCKET * 8 + held.size(min(buckets, held.BUCKETS)))
        mapping = mmap.mmap(fd, 0)
        mapping[:8] = _MAGIC.to_bytes(8, "little")
        mapping[8:16] = buckets.to_bytes(8, "little")
        mapping[_SEED] = os.urandom(32)
        stripes.create(mapping, _HEADER, _STRIPES + 2)
        return fd

    @staticmethod
    def knows(fd: int) -> bool:
        """Whether the memory is laid out as `create` of this version does it."""
        return os.pread(fd, 8, 0) == _MAGIC.to_bytes(8, "little")

    @staticmethod
    def secret_of(fd: int) -> bytes:
        """The secret of the memory that `create` made."""
        return blake2b(b"secret", key=os.pread(fd, 32, _SEED.start), digest_size=32).digest()

    def close(self) -> None:
        """Closes the descriptor; the mapping goes with the process, because locks live in it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _bucket(self, hash_: int) -> tuple[int, Stripe]:
        """The first slot of the hash's bucket, and what guards it."""
        bucket = hash_ % self._buckets
        return _TABLE // 8 + bucket * _BUCKET, self._stripes[bucket % _STRIPES]

    def _find(self, hash_: int, now: int, claimed: Sequence[int] = ()) -> int:
        """The slot of the hash in its bucket, or the one that it may take: empty, over, or ending soonest."""
        base = _TABLE // 8 + hash_ % self._buckets * _BUCKET
        cells = self._cells[base : base + _BUCKET].tolist()
        hashes = cells[::_SLOT]
        if hash_ in hashes and (at := base + hashes.index(hash_) * _SLOT) not in claimed:
            return at
        ends = [end if held else 0 for held, end in zip(hashes, cells[1::_SLOT], strict=True)]
        for way in sorted(range(_WAYS), key=ends.__getitem__):
            if base + way * _SLOT not in claimed:
                return base + way * _SLOT
        return base  # more than 8 new keys of one decision in one bucket: they share, as if evicted by each other

    def _read(self, at: int, hash_: int, limit: int) -> tuple[int, int]:
        """The value and the end of a slot if it is the hash's, else of a key that was never seen.

        limit: of a schedule, whose value is a double and may be more than one microsecond; else 0.
        """
        if self._cells[at] != hash_:
            return 0, 0
        value, ends = self._cells[at + 2], int(self._doubles[at + 1])
        if limit and value != BANNED:
            earlier, value = divmod(int(self._doubles[at + 2]), limit)
            ends -= earlier
        return value, ends

    def _write(self, at: int, hash_: int, value: int, ends: int, limit: int) -> None:
        """Writes a slot such that it is harmless after each single write."""
        is_new = limit > 0 or self._cells[at] != hash_
        if is_new:
            self._cells[at] = 0
            self._doubles[at + 1] = ends
        if limit and value != BANNED:
            self._doubles[at + 2] = value
        else:
            self._cells[at + 2] = value
        if is_new:
            self._cells[at] = hash_
        else:
            self._doubles[at + 1] = ends
