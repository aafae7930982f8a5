"""Requests that wait for a server of one upstream, because each that could take them has as many as it may.

First come, first served, within a worker. A slot that a request of this worker leaves is given on in the next turn of
the loop. What other workers leave nobody tells: it is found by looking every few milliseconds while anybody waits.
Where requests wait in other workers too, a worker looks for its own slots no earlier than for theirs, at random times,
so that none takes everything. Two workers cannot both take the last slot: see `Server.enter`.

The queue outlives its group: a new snapshot's group takes it over, and a server that came with it takes who waits.
"""

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headgate.errors import NoServer, Overloaded
from headgate.wire.cells import Cells, WorkerCell

if TYPE_CHECKING:
    from headgate.worker.course import Course
    from headgate.worker.plan import Group
    from headgate.worker.server import Server

_LOOK = 0.002  # seconds between two looks at what other workers left, on average

Later = Callable[[float, Callable[[], None]], object]


class Queue:
    """Who waits for a server of one upstream, in this worker. group: whose servers they are now; size: the most."""

    __slots__ = ("_cells", "_later", "_looks", "_row", "_waiting", "group", "size")

    group: "Group"

    def __init__(self, cells: Cells, row: int, later: Later) -> None:
        """row: of this worker in the cells. later: calls something after so many seconds."""
        self.size = 0
        self._cells = cells
        self._row = row
        self._later = later
        self._looks = False  # whether a look is due
        self._waiting: dict[Course, Sequence[Server]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def join(self, exchange: "Course", tried: "Sequence[Server]") -> None:
        """The exchange waits from now on; it is resumed with a server that it has entered, and that it has not tried.

        Raises Overloaded when too many wait already.
        """
        if len(self._waiting) >= self.size:
            raise Overloaded(f"the queue for the servers of {self.group.name} is full: {len(self._waiting)} wait")
        self._waiting[exchange] = tried
        self._cells.worker(self._row)[WorkerCell.WAITING] += 1
        self._look_soon(_LOOK)

    def leave(self, exchange: "Course") -> None:
        """The exchange waits no more, for whatever reason."""
        if exchange in self._waiting:
            del self._waiting[exchange]
            self._cells.worker(self._row)[WorkerCell.WAITING] -= 1

    def left(self) -> None:
        """A request of this worker left a server."""
        if self._waiting:
            self._look_soon(_LOOK if self._others_wait() else 0.0)

    def look(self) -> None:
        """Gives those who wait what servers there are for them."""
        self._looks = False
        while self._waiting:
            exchange, tried = next(iter(self._waiting.items()))
            server = self.group.enter(exchange.now, tried)
            if server is not None:
                self.leave(exchange)
                exchange.resume(server)
            elif self.group.is_full:
                self._look_soon(_LOOK)
                return
            else:
                self.leave(exchange)
                exchange.fail(NoServer(f"no server of {self.group.name} is available any more"))

    def _look_soon(self, seconds: float) -> None:
        if not self._looks:
            self._looks = True
            self._later(seconds * random.uniform(0.5, 1.5), self.look)

    def _others_wait(self) -> bool:
        return self._cells.worker_total(WorkerCell.WAITING) > self._cells.worker(self._row)[WorkerCell.WAITING]
