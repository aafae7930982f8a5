"""Locks in shared memory that survive the death of their holder.

A stripe is a POSIX semaphore and an owner cell, both inside the memory that it guards. So it has no name that could be
left behind in /dev/shm, and taking and giving it back costs 0.06 us (a file lock costs 1.2 us, a robust mutex cannot
be had without a compiler). What a semaphore lacks is that the kernel frees it when its holder is killed; that is made
up for here:

- The holder writes its identity into the owner cell after taking the semaphore and clears it before giving it back.
- Who finds the semaphore taken waits some milliseconds, then looks. A dead owner is succeeded: the newcomer writes its
  own identity over it and holds the stripe, the semaphore stays as it is. Only one can do so: it happens under a file
  lock, which the kernel does free on death.
- Death between the semaphore and the owner cell leaves the cell blank. A stripe that was blank at every look for a
  quarter of a second is succeeded, too; a living process passes through that gap in less than a microsecond.
- A living owner that does not go on (stopped by a debugger, say) is waited for once, then the stripe is `stuck` for a
  second and its callers do without it, so that no event loop stands still.

Holding takes less than a microsecond and never spans anything that waits. What is guarded must be whole, or harmless,
after each single write.
"""

import asyncio
import ctypes
import fcntl
import mmap
import os
import time
from _multiprocessing import SemLock
from collections.abc import Callable, Iterator

SIZE = 64  # bytes of a stripe: a cache line
_OWNER = 48  # offset of the owner cell; a sem_t has at most 32 bytes (glibc and musl, 64 bit)
_SEMAPHORE = 1  # the kind of SemLock that any thread may give back
_PID_BITS = 22  # PID_MAX_LIMIT of the kernel

_LOOK_EVERY = 0.005
_BLANK_LOOKS = 50


def create(mapping: mmap.mmap, offset: int, count: int) -> None:
    """Makes `count` free stripes in the mapping. Raises OSError where the C library has no shared semaphores."""
    set_value = setter()
    start = address(mapping) + offset
    for index in range(count):
        set_value(start + index * SIZE, 1)


def setter() -> Callable[[int, int], None]:
    """What makes a semaphore at an address, free so many times. It raises OSError where that cannot be had.

    One that is there already may be made anew as long as nobody waits for it and no other gives it back: who only tries
    to take it does so before or after, for he compares its value when he writes the new one.
    """
    sem_init = ctypes.CDLL(None, use_errno=True).sem_init
    sem_init.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint)

    def set_value(address: int, value: int) -> None:
        if sem_init(address, 1, value):
            raise OSError(ctypes.get_errno(), "no semaphore in shared memory")

    return set_value


def semaphore(address: int, most: int = 1) -> SemLock:
    """The semaphore at an address, as this process uses it. most: how often it may be free."""
    found = SemLock._rebuild(address, _SEMAPHORE, most, None)
    # Never collected: its end would be sem_close(), which is for named semaphores only and crashes on musl.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(found))
    return found


def attach(mapping: mmap.mmap, offset: int, count: int, fd: int) -> "list[Stripe]":
    """The stripes that `create` made, as this process uses them. fd: of the same memory, for the file locks."""
    cells = memoryview(mapping).cast("Q")
    start = address(mapping)
    return [Stripe(cells, start, offset + index * SIZE, index, fd) for index in range(count)]


def fence() -> Callable[[], None]:
    """What makes all that was written before it seen by others before what is read or written after it.

    Giving a semaphore back is a release, taking one an acquire, and the second is not done before the first.
    """
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    setter()(address(memory), 0)
    mine = semaphore(address(memory))

    def passes(post: Callable[[], None] = mine.release, take: Callable[..., bool] = mine.acquire) -> None:
        assert memory  # as long as this is there, so is the semaphore
        post()
        take(False)

    return passes


def identity(pid: int) -> int:
    """A process as one number that no later process has (its id and its start), or 0 when it is dead or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19]) << _PID_BITS | pid


class Stripe:
    """One lock. The holder does: `acquire(False) or wait()`, `cells[owner] = me`, its work, `leave()`.

    It keeps the memory mapped; `acquire` and `release` alone do not, so whoever keeps these keeps the stripe, too.
    """

    __slots__ = ("_cells", "_fd", "_stuck_until", "acquire", "index", "me", "owner", "patience", "release")

    def __init__(self, cells: memoryview, start: int, offset: int, index: int, fd: int) -> None:
        lock = semaphore(start + offset)
        self.acquire: Callable[..., bool] = lock.acquire
        self.release: Callable[[], None] = lock.release
        self.owner = (offset + _OWNER) // 8
        self.index = index
        self.me = _brief(identity(os.getpid()))
        self.patience = 1.0  # seconds that a living owner is waited for
        self._cells = cells
        self._fd = fd
        self._stuck_until = 0.0

    def enter(self, patience: float | None = None) -> bool:
        """Takes the stripe; False when a living process keeps it. patience: instead of the usual one."""
        if not self.acquire(False) and not self.wait(patience):
            return False
        self._cells[self.owner] = self.me
        return True

    def leave(self) -> None:
        """Gives the stripe back."""
        self._cells[self.owner] = 0
        self.release()

    def wait(self, patience: float | None = None) -> bool:
        """Takes the stripe after a first attempt failed; False when a living process keeps it for too long."""
        patience = self.patience if patience is None else patience
        begin = time.monotonic()
        if begin < self._stuck_until:
            return False
        looks = self._looks(begin, patience)
        while not self.acquire(True, _LOOK_EVERY):
            if (found := next(looks)) is not None:
                return found
        return True

    async def come_free(self) -> bool:
        """Waits as `wait` does, but holds up no event loop, until the stripe can be taken; False when it cannot.

        It is not taken: what is held must not wait, and a task that was cancelled would keep it. Who takes it at once
        waits only if another came in this very moment, which is over in a microsecond.
        """
        begin = time.monotonic()
        if begin < self._stuck_until:
            return False
        looks = self._looks(begin, self.patience)
        while not self.acquire(False):
            await asyncio.sleep(_LOOK_EVERY)
            if (found := next(looks)) is False:
                return False
            if found:
                break
        self.leave()
        return True

    def _looks(self, begin: float, patience: float) -> Iterator[bool | None]:
        """What is seen at each look at a stripe that is taken: None when it is to be waited for.

        True: its owner was dead, and it is taken now. False: a living one has kept it for too long since `begin`.
        """
        blank = 0
        while True:
            owner = self._cells[self.owner]
            blank = 0 if owner else blank + 1
            orphaned = not _holds_on(owner) if owner else blank >= _BLANK_LOOKS
            if orphaned and self._succeed(owner):
                yield True
            elif time.monotonic() - begin > patience:
                self._stuck_until = time.monotonic() + 1.0
                yield False
            else:
                yield None

    def _succeed(self, owner: int) -> bool:
        """Takes over from a dead owner, unless another did so first."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self.index)
        except BlockingIOError:
            return False
        try:
            if self.acquire(False):  # it was given back after all
                return True
            if self._cells[self.owner] != owner:
                return False
            self._cells[self.owner] = self.me
            return True
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self.index)


def is_alive(owner: int) -> bool:
    """Whether the process of an `identity` lives; where that cannot be seen, because no descriptor is left, it does."""
    return _now(owner) == owner


def _brief(identity: int) -> int:
    """The process in 30 bits, which Python writes into memory in half the time: its id, and a byte of its start."""
    return (identity >> _PID_BITS & 0xFF) << _PID_BITS | identity & (1 << _PID_BITS) - 1


def _holds_on(owner: int) -> bool:
    """Whether the process of an owner cell lives.

    Where its id is another's by now, it is taken for alive once in 256 times; then it is waited for as for one that
    does not go on.
    """
    return _brief(_now(owner)) == owner


def _now(owner: int) -> int:
    """The identity of the process that has the id of this one; this one where no descriptor is left to look."""
    try:
        return identity(owner & (1 << _PID_BITS) - 1)
    except OSError:
        return owner


def address(mapping: mmap.mmap) -> int:
    """Where the mapping is in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))
