"""The turn of a round robin, one for all workers.

Requests that come one by one get the servers in turn whichever worker takes them, and under load the counts of two
servers of equal weight differ by one at most for each worker. The turn is a shared cell under a shared lock that is
only ever tried: a worker that finds it taken goes by a turn of its own for this once, so no worker waits for another,
and one that is killed while it holds the lock leaves the others with turns of their own.
"""

from headgate.store.stripes import Stripe

_LAST = 2**64 - 1  # of a cell; counting begins anew there


class SharedTurn:
    """The turn of one upstream."""

    __slots__ = ("_acquire", "_cell", "_cells", "_lock", "_own", "_release")

    def __init__(self, cells: memoryview, cell: int, lock: Stripe) -> None:
        """cells[cell]: where the turns are counted for all who share cells and lock."""
        self._cells = cells
        self._cell = cell
        self._lock = lock  # keeps the memory that the semaphore stands in
        self._acquire, self._release = lock.acquire, lock.release
        self._own = 0

    def take(self) -> int:
        """The number of the next turn."""
        if not self._acquire(False):
            self._own += 1
            return self._own
        turn = self._cells[self._cell]
        self._cells[self._cell] = (turn + 1) & _LAST
        self._release()
        return turn

    def take_alone(self) -> int:
        """The same for an only worker, which needs no lock."""
        turn = self._cells[self._cell]
        self._cells[self._cell] = (turn + 1) & _LAST
        return turn
