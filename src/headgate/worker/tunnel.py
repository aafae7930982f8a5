"""An upgraded connection: two connections that are one, whose bytes nobody looks at any more (RFC 9110 section 7.8).

Each direction ends for itself: when one side says that it will send no more, the other is told so after all that is on
its way, and goes on for as long as it likes. When both have ended the exchange is over. How long nothing may come is
the exchange's affair.
"""

from typing import TYPE_CHECKING

from headgate.errors import BadResponse
from headgate.http1.upgrade import name_of, protocols
from headgate.worker.upstream import ServerConnection

if TYPE_CHECKING:
    from headgate.worker.downstream import Downstream

# What the server is asked for, and the client is told.
UPGRADE = b"Connection: upgrade\r\nUpgrade: %b\r\n"


class Tunnel:
    """The two ends of a tunnel."""

    __slots__ = ("_client", "_client_ended", "_connection", "_server_ended")

    def __init__(self, client: "Downstream", connection: ServerConnection) -> None:
        self._client = client
        self._connection = connection
        self._client_ended = False
        self._server_ended = False

    @property
    def is_ending(self) -> bool:
        """Whether one direction has ended, and the other should soon follow."""
        return self._client_ended or self._server_ended

    def client_ended(self) -> None:
        """The client sends no more."""
        self._client_ended = True
        self._connection.end_writing()
        self._close_when_over()

    def server_ended(self) -> None:
        """The server sends no more."""
        self._server_ended = True
        self._client.end_writing()
        self._close_when_over()

    def _close_when_over(self) -> None:
        if self._client_ended and self._server_ended:
            self._connection.transport.close()  # it is lost when all is written, and then the exchange ends

    def took_some(self) -> bool:
        """Whether something waits for either end and some of it was taken since this was last asked."""
        client, server = self._client.took_some(), self._connection.took_some()
        return client or server


def require_agreement(asked: bytes, agreed: bytes) -> None:
    """Raises BadResponse for a 101 that upgrades to what the server was not asked for, or does not say to what."""
    names = {name_of(protocol) for protocol in protocols([agreed])}
    if not names or not names <= {name_of(protocol) for protocol in protocols([asked])}:
        raise BadResponse("101 that upgrades to nothing that was asked for")
