"""The shared cells: 64-bit counters that workers write and the supervisor reads.

One anonymous file holds a row for each worker. A cell has exactly one writer, the worker of its row (or the
supervisor once that worker is dead), so no lock is needed: an aligned 8-byte store is whole. A row is

    worker cells | LIMITS x limit cells | SERVERS x server cells

and after the last row come the turns of the upstreams' round robins: the one region that all workers write,
under a lock of theirs.

Counters only grow while the worker's row lives, over crashes too: a replacement worker goes on counting in the row of
the one it replaces. Gauges (connections, in flight) are zeroed by the supervisor when a worker dies.
A slot (of a server or a limit) is given out by the supervisor; its cells are zeroed before it is given out again.
"""

import mmap
import os
from enum import IntEnum, auto

from headgate import errors

SERVERS = 4096
LIMITS = 256
TURNS = 1024  # upstreams whose round robin goes on over the workers; further ones share a cell

# The flags of local answers, each with its own counter; the position is part of the layout.
FLAGS = ("BR", "DT", "DC", "NR", "RL", "RLSE", "UH", "SD", "UF", "UC", "UPE", "UT", "IE", "OM", "SI", "UO")

# Histogram bucket k counts latencies below 2**(k + LATENCY_SHIFT) microseconds: 64 us, 128 us, ... 33.6 s, and beyond.
LATENCY_SHIFT = 6
LATENCY_BUCKETS = 21


class _Counting(IntEnum):
    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count


class WorkerCell(_Counting):
    """The cells of a worker itself; `FLAG` is the first of as many as there are flags, and `STORE_LATENCY` of
    LATENCY_BUCKETS.
    """

    VERSION = auto()  # of the adopted snapshot
    CONNECTIONS = auto()  # open client connections (gauge)
    ACCEPTED = auto()
    TURNED_AWAY = auto()  # connections beyond what one address may have
    LAG = auto()  # microseconds that the loop was late lately, at the worst (gauge)
    IN_FLIGHT = auto()  # exchanges begun and not ended (gauge)
    WAITING = auto()  # requests in queues for a server (gauge)
    REQUESTS = auto()
    LOG_DROPPED = auto()  # access log lines that could not be written
    STORE_DOWN = auto()  # 1 while the worker's breaker to Redis is open (gauge)
    HEADGATES = auto()  # that lived on its Redis when it last heard (gauge)
    STORE_ERRORS = auto()
    RETRIES = auto()
    RETRIES_REFUSED = auto()  # by the budget
    FLAG = auto()
    STORE_LATENCY_SUM = 40  # microseconds that Redis took, for the questions that were timed
    STORE_LATENCY = 41


class LimitCell(_Counting):
    """The cells of a limit."""

    ALLOWED = auto()
    REFUSED = auto()
    STORE_ERRORS = auto()  # decisions that `on_store_error` made
    DRY_REFUSED = auto()  # what a limit that is only tried would have refused
    NEAR = auto()  # allowed, and then a fifth or less was left
    DELAYED = auto()  # allowed, and held back
    BANNED = auto()  # refused because of a ban
    FUNCTION_ERRORS = auto()  # calls of users' functions in whose place `on_error` was used
    IN_FLIGHT = auto()  # places held, of a limit on what is in flight (gauge)


class ServerCell(_Counting):
    """The cells of a server; `CLASS` is the first of 6 (index: status // 100), `LATENCY` of LATENCY_BUCKETS."""

    IN_FLIGHT = auto()  # gauge
    IDLE = auto()  # idle connections in the pool (gauge)
    CONNECTS = auto()
    CONNECT_FAILURES = auto()
    RESETS = auto()
    TIMEOUTS = auto()
    BAD_RESPONSES = auto()
    RETRIES = auto()  # requests that were tried elsewhere after failing here
    EJECTIONS = auto()
    EJECTED_UNTIL = auto()  # milliseconds on the monotonic clock (gauge)
    LATENCY_SUM = auto()  # microseconds, from choosing the server to the end of the response
    CLASS = auto()
    LATENCY = 17  # CLASS + 6


WORKER_CELLS = 64
LIMIT_CELLS = 16
SERVER_CELLS = 40
ROW_CELLS = WORKER_CELLS + LIMITS * LIMIT_CELLS + SERVERS * SERVER_CELLS
_WORKER_GAUGES = (
    WorkerCell.CONNECTIONS,
    WorkerCell.IN_FLIGHT,
    WorkerCell.WAITING,
    WorkerCell.STORE_DOWN,
    WorkerCell.HEADGATES,
    WorkerCell.LAG,
)
_GAUGES = (ServerCell.IN_FLIGHT, ServerCell.IDLE, ServerCell.EJECTED_UNTIL)

assert WorkerCell.FLAG + len(FLAGS) <= WorkerCell.STORE_LATENCY_SUM
assert WorkerCell.STORE_LATENCY + LATENCY_BUCKETS <= WORKER_CELLS
assert ServerCell.LATENCY == ServerCell.CLASS + 6
assert ServerCell.LATENCY + LATENCY_BUCKETS <= SERVER_CELLS


class Cells:
    """The rows of all workers, mapped into this process."""

    def __init__(self, fd: int, workers: int) -> None:
        """fd: of the memory that `create` made; it may be closed afterwards."""
        self.workers = workers
        self._map = mmap.mmap(fd, (workers * ROW_CELLS + TURNS) * 8)
        self._all = memoryview(self._map).cast("Q")
        self.turns = self._all[workers * ROW_CELLS :]

    @staticmethod
    def create(workers: int) -> int:
        """A descriptor of fresh, zeroed memory for so many workers, close-on-exec. Pages cost nothing until written."""
        fd = os.memfd_create("headgate-cells")
        os.ftruncate(fd, (workers * ROW_CELLS + TURNS) * 8)
        return fd

    def worker(self, index: int) -> memoryview:
        """The worker cells of a row, indexed by WorkerCell."""
        start = index * ROW_CELLS
        return self._all[start : start + WORKER_CELLS]

    def limit(self, index: int, slot: int) -> memoryview:
        """The cells of a limit in a row, indexed by LimitCell."""
        start = index * ROW_CELLS + WORKER_CELLS + slot * LIMIT_CELLS
        return self._all[start : start + LIMIT_CELLS]

    def server(self, index: int, slot: int) -> memoryview:
        """The cells of a server in a row, indexed by ServerCell."""
        start = index * ROW_CELLS + WORKER_CELLS + LIMITS * LIMIT_CELLS + slot * SERVER_CELLS
        return self._all[start : start + SERVER_CELLS]

    def server_total(self, slot: int, cell: int) -> int:
        """The sum of a server's cell over all workers."""
        return sum(self.server(index, slot)[cell] for index in range(self.workers))

    def worker_total(self, cell: int) -> int:
        """The sum of a worker cell over all workers."""
        return sum(self.worker(index)[cell] for index in range(self.workers))

    def worker_most(self, cell: int) -> int:
        """The greatest of a worker cell over all workers."""
        return max(self.worker(index)[cell] for index in range(self.workers))

    def limit_total(self, slot: int, cell: int) -> int:
        """The sum of a limit's cell over all workers."""
        return sum(self.limit(index, slot)[cell] for index in range(self.workers))

    def clear_server(self, slot: int) -> None:
        """Zeroes a server's cells in every row, before its slot is given out again."""
        for index in range(self.workers):
            cells = self.server(index, slot)
            for cell in range(SERVER_CELLS):
                cells[cell] = 0

    def clear_limit(self, slot: int) -> None:
        """Zeroes a limit's cells in every row, before its slot is given out again."""
        for index in range(self.workers):
            cells = self.limit(index, slot)
            for cell in range(LIMIT_CELLS):
                cells[cell] = 0

    def worker_died(self, index: int, slots: list[int]) -> None:
        """Zeroes the gauges that the dead worker of the row left behind; `slots` are the servers' in use."""
        worker = self.worker(index)
        for gauge in _WORKER_GAUGES:
            worker[gauge] = 0
        for limit in range(LIMITS):
            self.limit(index, limit)[LimitCell.IN_FLIGHT] = 0
        for slot in slots:
            cells = self.server(index, slot)
            for cell in _GAUGES:
                cells[cell] = 0

    def flag_total(self, flag: str) -> int:
        """How many exchanges ended with the flag, over all workers."""
        return self.worker_total(WorkerCell.FLAG + FLAGS.index(flag))


def _known_flags() -> set[str]:
    """The flags that errors.py can produce, so that an import fails when one has no counter."""
    found: set[str] = set()
    classes: list[type[errors.ExchangeError]] = [errors.ExchangeError]
    while classes:
        kind = classes.pop()
        classes += kind.__subclasses__()
        if hasattr(kind, "flag"):
            found.add(kind.flag)
    return found


assert _known_flags() <= set(FLAGS)
