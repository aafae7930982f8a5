"""A server as a worker knows it: its idle connections, its recent failures, its cells.

The object lives from snapshot to snapshot (its slot is its identity), so that connections and failures are kept when
anything else changes.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from headgate.model.config import Ejection
from headgate.model.server import Mode, Probe, ServerState
from headgate.wire.cells import ServerCell

if TYPE_CHECKING:
    from headgate.worker.upstream import ServerConnection

logger = logging.getLogger("headgate.worker")

_QUIET = 10.0  # seconds in which further failures of a server are counted and not logged


class Server:
    """One server of one upstream. failures: in a row, so a response sets them to 0."""

    __slots__ = (
        "_ejection",
        "_on_eject",
        "_quiet_until",
        "admitted",
        "cells",
        "ejected_until",
        "failures",
        "idle",
        "label",
        "name",
        "state",
        "upstream",
    )

    def __init__(self, upstream: str, state: ServerState, cells: memoryview) -> None:
        self.upstream = upstream
        self.name = str(state.address)
        self.label = f"{upstream} {self.name}".encode()
        self.cells = cells
        self.idle: list[ServerConnection] = []
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
        self._ejection = ejection
        self._on_eject = on_eject
        if not self.admitted:
            self.close_idle()

    def retire(self) -> None:
        """The server is in no snapshot any more; what is in flight ends by itself."""
        self.admitted = False
        self.close_idle()

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
            "server %s of %s ejected for %g s: %d failures in a row, the last: %s",
            *(self.name, self.upstream, self._ejection.base, self._ejection.failures, why),
        )
        self._on_eject(now)

    def readmit(self) -> None:
        """Ends an ejection early."""
        self.failures = 0
        self.ejected_until = 0.0
        self.cells[ServerCell.EJECTED_UNTIL] = 0

    def take(self, now: float) -> "ServerConnection | None":
        """An idle connection that may still be used, the one used last; it is the caller's now."""
        while self.idle:
            connection = self.idle.pop()
            # Closing: a reset that was seen already and is told in the next turn of the loop.
            if now < connection.deadline and not connection.is_lost and not connection.transport.is_closing():
                return connection
            connection.close()
        return None

    def sweep(self, now: float) -> None:
        """Closes what was idle for too long; the oldest stand first."""
        while self.idle and self.idle[0].deadline <= now:
            self.idle.pop(0).close()
        self.cells[ServerCell.IDLE] = len(self.idle)

    def close_idle(self) -> None:
        """Closes all idle connections."""
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()


def _is_admitted(state: ServerState) -> bool:
    return state.mode is Mode.READY and state.probe is not Probe.DOWN and state.weight > 0


def _nothing(now: float) -> None:
    """Nobody asked to hear of ejections yet."""
