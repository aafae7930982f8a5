"""A want of file descriptors, as of a machine that has none left."""

import itertools
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


def leave_none(pid: int) -> None:
    """From now on another process can open nothing more until it has closed something."""
    own = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = next(number for number in itertools.count() if number not in own)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, free))


@contextmanager
def none_left() -> Iterator[None]:
    """While it lasts this process can open nothing more; what is open stays so."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
