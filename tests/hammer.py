"""Processes that do the same at the same time, and a witness of how many of them hold something."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from headgate.store.shared import SharedStore


def together(script: str, count: int, *arguments: str, fds: Sequence[int] = ()) -> list[tuple[int, ...]]:
    """The numbers that each of so many processes prints in the end.

    The script prints "ready", waits for a line, and then prints them. fds: descriptors that the processes inherit.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            pass_fds=fds,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [tuple(map(int, process.communicate(timeout=60)[0].split())) for process in processes]


class Witness:
    """How many hold something at once, over all processes: counted under a lock, beside the store that is tested.

    fds: what another process makes the same one of; the first is the memory of a store, of which only a lock is used.
    """

    def __init__(self, limits: int, seen: int) -> None:
        self.fds = limits, seen
        self._lock = SharedStore(limits).spare_lock
        self._cells = memoryview(mmap.mmap(seen, mmap.PAGESIZE)).cast("q")

    def add(self, by: int) -> None:
        """So many more hold something from now on, or fewer."""
        while not self._lock.enter():
            pass
        self._cells[0] += by
        self._cells[1] = max(self._cells[:2])
        self._lock.leave()

    @property
    def now(self) -> int:
        """How many hold something."""
        return self._cells[0]

    @property
    def most(self) -> int:
        """How many ever did at the same time."""
        return self._cells[1]


@contextmanager
def witness() -> Iterator[Witness]:
    """One that has seen nothing yet."""
    limits, seen = SharedStore.create(), os.memfd_create("seen")
    os.ftruncate(seen, mmap.PAGESIZE)
    yield Witness(limits, seen)
    os.close(limits)
    os.close(seen)
