"""What the kernel says a process and all its children have used: CPU time, memory, and which cores there are.

CPU time comes from each process's CPU clock: nanoseconds, up to this moment, threads that ended included. `stat` has
ticks of 10 ms, too coarse for rounds of a second, and `schedstat` forgets threads that ended. A process that ends has
taken its account with it, so a reading carries the ids it was made of and `since` refuses to subtract others.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TOPOLOGY = Path("/sys/devices/system/cpu")


class TreeChanged(Exception):
    """A process of the tree ended or began between two readings: what it used is unknown."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The CPU time that a tree has used so far, in seconds, and when (monotonic seconds) that was read."""

    pids: frozenset[int]
    used: float
    at: float

    def since(self, before: "Reading") -> "Spent":
        """What was used from that reading to this one. Raises TreeChanged when they are not of the same processes."""
        if self.pids != before.pids:
            raise TreeChanged(f"processes {sorted(before.pids)} became {sorted(self.pids)} during the round")
        return Spent(self.used - before.used, self.at - before.at)


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds used in so many seconds of real time."""

    cpu: float
    elapsed: float


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the proxy, and the cores of the load, the backend and Redis."""

    proxy: frozenset[int]
    load: frozenset[int]

    @property
    def apart(self) -> bool:
        """Whether the load runs on other cores than the proxy."""
        return not self.proxy & self.load


def share_out(available: frozenset[int], siblings: dict[int, frozenset[int]]) -> Cores:
    """One core for the proxy and the rest for the load.

    siblings: for each core, the hardware threads of the same physical core; the proxy's stay idle when the load has
    three cores without them.
    """
    proxy = min(available)
    rest = available - {proxy}
    quiet = rest - siblings.get(proxy, frozenset())
    return Cores(frozenset({proxy}), (quiet if len(quiet) >= 3 else rest) or available)


def find_cores() -> Cores:
    """The cores that this process may use, shared out."""
    available = frozenset(os.sched_getaffinity(0))
    return share_out(available, {core: _siblings(core) for core in available})


def tree(root: int) -> frozenset[int]:
    """The ids of a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = set[int](), [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children.get(pid, ())
    return frozenset(found)


def read(root: int) -> Reading:
    """The CPU time that the tree of this process has used so far."""
    pids = tree(root)
    return Reading(pids, sum(map(_used, pids)), time.monotonic())


def memory(root: int) -> int:
    """The bytes of memory of the tree: proportional set size, so that what its processes share counts once."""
    return sum(_pss(pid) for pid in tree(root))


def _parent(entry: Path) -> int | None:
    try:
        # The name in parentheses may hold spaces and parentheses itself: the last one ends it.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _used(pid: int) -> float:
    # What clock_getcpuclockid(3) returns for a process: the scheduler's clock of all its threads, the ended ones too.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError as error:
        raise TreeChanged(f"process {pid} ended during the round") from error


def _pss(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TreeChanged(f"process {pid} ended while its memory was read") from error
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _siblings(core: int) -> frozenset[int]:
    try:
        text = (TOPOLOGY / f"cpu{core}" / "topology" / "thread_siblings_list").read_text()
    except OSError:
        return frozenset()
    return frozenset(parse_list(text))


def parse_list(text: str) -> list[int]:
    """The numbers of a kernel list such as `0-2,5`."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
