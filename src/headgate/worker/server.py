"""A server as a worker knows it: its idle connections, its recent failures, its cells.

The object lives from snapshot to snapshot (its slot is its identity), so that connections and failures are kept when
anything else changes.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headgate.http1.reuse import IdleTime
from headgate.model.config import Ejection
from headgate.model.server import Mode, Probe, ServerState
from headgate.model.words import counted
from headgate.wire.cells import ServerCell

if TYPE_CHECKING:
    from headgate.worker.upstream import ServerConnection

logger = logging.getLogger("headgate.worker")

_IN_FLIGHT = int(ServerCell.IN_FLIGHT)
_QUIET = 10.0  # seconds in which further failures of a server are counted and not logged


class Server:
    """One server of one upstream. failures: in a row, so a response sets them to 0."""

    __slots__ = (
        "_ejection",
        "_idle_time",
        "_now",
        "_on_eject",
        "_quiet_until",
        "_rows",
        "admitted",
        "cells",
        "ejected_until",
        "failures",
        "idle",
        "label",
        "max_requests",
        "name",
        "reusable_for",
        "state",
        "upstream",
    )

    def __init__(self, upstream: str, state: ServerState, cells: memoryview, rows: Sequence[memoryview] = ()) -> None:
        """cells: what this worker counts of it. rows: the same of every worker."""
        self.upstream = upstream
        self.max_requests = state.max_requests
        self._rows = rows or (cells,)
        self.name = str(state.address)
        self.label = f"{upstream} {self.name}".encode()
        self.cells = cells
        self.idle: list[ServerConnection] = []  # in the order of their last use
        self._idle_time = IdleTime()
        self.reusable_for = self._idle_time.reusable_for
        self._now = 0.0
        self.ejected_until = 0.0
        cells[ServerCell.EJECTED_UNTIL] = 0
        self.failures = 0
        self._quiet_until = 0.0
        self._ejection = Ejection()
        self._on_eject: Callable[[float], None] = _nothing
        self.state = state
        self.admitted = _is_admitted(state)

    def update(self, state: ServerState, ejection: Ejection, on_eject: Callable[[float], None]) -> None:
        """Takes over what a new snapshot says. on_eject: called with the time when the server is to be left alone."""
        if self.state.probe is Probe.DOWN and state.probe is Probe.UP:
            self.readmit()
        self.state = state
        self.admitted = _is_admitted(state)
        self.max_requests = state.max_requests
        self._ejection = ejection
        self._on_eject = on_eject
        if not self.admitted:
            self.close_idle()

    def retire(self) -> None:
        """The server is in no snapshot any more; what is in flight ends by itself."""
        self.admitted = False
        self.close_idle()

    def has_room(self) -> bool:
        """Whether it has fewer requests than it may, of all workers."""
        return sum(row[_IN_FLIGHT] for row in self._rows) < self.max_requests

    def enter(self) -> bool:
        """Counts one more request; whether it may have that many. `leave` takes it back.

        Counted first and looked at then: of two workers that take the last slot at once at least one sees both, so
        there are never too many (a store is seen everywhere long before Python comes to the next line). That both may
        see both costs them a moment.
        """
        self.cells[_IN_FLIGHT] += 1
        if not self.max_requests or sum(row[_IN_FLIGHT] for row in self._rows) <= self.max_requests:
            return True
        self.cells[_IN_FLIGHT] -= 1
        return False

    def leave(self) -> None:
        """A request that entered is over."""
        self.cells[_IN_FLIGHT] -= 1

    def failed(self, cell: int, now: float, why: str) -> None:
        """Counts a failure of a connection or response; after too many in a row the server is left alone."""
        self.cells[cell] += 1
        if now < self.ejected_until:  # what was in flight when it was ejected is old news, however much it was
            return
        self.failures += 1
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            logger.info("server %s of %s failed: %s", self.name, self.upstream, why)
        if not self._ejection.failures or self.failures < self._ejection.failures:
            return
        # The first failure after the pause is enough for the next one; a success clears the count.
        self.failures = self._ejection.failures - 1
        self.ejected_until = now + self._ejection.base
        self.cells[ServerCell.EJECTIONS] += 1
        self.cells[ServerCell.EJECTED_UNTIL] = int(self.ejected_until * 1000)
        self.close_idle()
        logger.warning(
            "server %s of %s ejected for %g s: %s in a row, the last: %s",
            *(self.name, self.upstream, self._ejection.base, counted(self._ejection.failures, "failure"), why),
        )
        self._on_eject(now)

    def readmit(self) -> None:
        """Ends an ejection early."""
        self.failures = 0
        self.ejected_until = 0.0
        self.cells[ServerCell.EJECTED_UNTIL] = 0

    def take(self, now: float, sure: bool = False) -> "ServerConnection | None":
        """An idle connection that may still be used, the one used last; it is the caller's now.

        sure: whether the system is asked if the server has closed it, for a request that cannot be sent twice.
        """
        idle = self.idle
        while idle:
            connection = idle[-1]
            if now - connection.since >= self.reusable_for or now >= connection.deadline:
                break
            del idle[-1]
            # Closing: a reset that was seen already and is told in the next turn of the loop.
            if not (connection.is_lost or connection.transport.is_closing() or (sure and connection.has_news())):
                return connection
            connection.close()
        return None

    def sweep(self, now: float) -> None:
        """Closes what was idle for too long. The oldest one stays, to show how long the server keeps it."""
        self._now = now
        idle = self.idle
        if idle:
            self._idle_time.survived(now - idle[0].since)
            self.reusable_for = self._idle_time.reusable_for
        while idle and idle[0].deadline <= now:
            idle.pop(0).close()
        while len(idle) > 1 and now - idle[1].since >= self.reusable_for:
            idle.pop(1).close()
        self.cells[ServerCell.IDLE] = len(idle)

    def keeps(self, seconds: float) -> None:
        """The server says for how long it keeps an idle connection."""
        self._idle_time.announced(seconds)
        self.reusable_for = self._idle_time.reusable_for

    def closed_idle(self, connection: "ServerConnection") -> None:
        """The server closed a connection that nobody used."""
        if connection in self.idle:
            self.idle.remove(connection)
            self._idle_time.closed(self._now - connection.since)
            self.reusable_for = self._idle_time.reusable_for

    def close_idle(self) -> None:
        """Closes all idle connections."""
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()


def _is_admitted(state: ServerState) -> bool:
    return state.mode is Mode.READY and state.probe is not Probe.DOWN and state.weight > 0


def _nothing(now: float) -> None:
    """Nobody asked to hear of ejections yet."""
