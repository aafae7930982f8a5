"""What is kept of a request's failed attempts. Made at the first failure: most requests never have one."""

from headgate.balance.retry import may_send_again
from headgate.errors import ServerError
from headgate.worker.server import Server


class Attempts:
    """The attempts of one request so far.

    tried: the servers that failed it. failure: the last one.
    is_fresh: whether the next one takes a new connection, because an idle one had been closed by its server.
    """

    __slots__ = ("_sends", "failure", "is_fresh", "tried")

    failure: ServerError

    def __init__(self) -> None:
        self.tried: list[Server] = []
        self._sends = 0
        self.is_fresh = False

    def failed(
        self, error: ServerError, server: Server, method: bytes, *, was_sent: bool, is_stale: bool, replayable: bool
    ) -> None:
        """Notes a failure; raises it when the request must not go out again.

        was_sent: whether anything of the request went to the server. is_stale: whether an idle connection died, which
        says nothing about the server. replayable: whether all that was sent is still here.
        """
        self._sends += was_sent
        self.failure = error
        if not may_send_again(method, sends=self._sends, replayable=replayable):
            raise error
        if is_stale:
            self.is_fresh = True
        else:
            self.tried.append(server)
