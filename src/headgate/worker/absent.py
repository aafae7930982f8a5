"""What stands in for a client that has gone while its request goes on, where the route says so (`on_client_gone`).

Some requests are worth their end although nobody waits for it any more: an order, an import. What the server sends for
the one that has gone is read and thrown away. To the exchange and to the worker it is a client like any other.
"""

from typing import TYPE_CHECKING

from headgate.errors import ClientGone

if TYPE_CHECKING:
    from headgate.worker.passage import Passage
    from headgate.worker.process import Worker


class Absent:
    """The client of an exchange whose client has gone."""

    __slots__ = ("_worker", "address", "deadline", "draining", "exchange", "ip", "is_idle", "paused", "trusted")

    def __init__(self, worker: "Worker", exchange: "Passage", address: bytes, deadline: float) -> None:
        """address: of the one that has gone. deadline: of the exchange."""
        self._worker = worker
        self.exchange: Passage | None = exchange
        self.address = address
        self.ip = address.decode()
        self.deadline = deadline
        self.is_idle = False
        self.draining = True
        self.trusted = True  # no connection is counted for it
        self.paused = False  # it takes everything at once

    def write(self, data: object) -> None:
        """Nobody is there."""

    def update_reading(self) -> None:
        """Nothing comes."""

    def ahead(self, data: bytes | memoryview) -> None:
        """Nothing comes."""

    def took_some(self) -> bool:
        """Nothing waits."""
        return False

    def untaken(self) -> int:
        """Nothing waits."""
        return 0

    def ended(self, keep: bool) -> None:
        """The exchange is over, and with it the need for this."""
        self.exchange = None
        self._worker.closed(self)

    def cut(self, *, reset: bool) -> None:
        """The same, whatever the reason."""
        self.ended(False)

    def linger(self) -> None:
        """The same."""
        self.ended(False)

    def expire(self, now: float) -> None:
        """The exchange's deadline has passed."""
        if self.exchange is not None:
            self.exchange.expire(now)

    def drain(self, quiet: float = 0.0) -> None:
        """The exchange has the time of all others."""

    def abort(self) -> None:
        """Ends the exchange at once."""
        if self.exchange is not None:
            self.exchange.fail(ClientGone())
