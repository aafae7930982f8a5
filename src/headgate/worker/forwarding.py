"""The chapter of the story in which the request goes to a server, and to another where that one fails it.

The loop over the attempts is in the story. `attempts.py` knows what may be sent again.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

from headgate.balance.retry import IDEMPOTENT
from headgate.errors import ConnectFailed, NoServer, ServerError, ServerReset
from headgate.http1.upgrade import allowed
from headgate.wire.cells import ServerCell
from headgate.worker.attempts import Attempts
from headgate.worker.passage import SMALL, Passage
from headgate.worker.phase import CONNECT, QUEUE, REQUEST_BODY, RESPONSE_HEAD
from headgate.worker.plan import Group, LiveRoute
from headgate.worker.server import Server
from headgate.worker.tunnel import UPGRADE
from headgate.worker.upstream import ServerConnection

if TYPE_CHECKING:
    from headgate.worker.downstream import Downstream

_FAILURES = {
    "UF": ServerCell.CONNECT_FAILURES,
    "UC": ServerCell.RESETS,
    "UPE": ServerCell.BAD_RESPONSES,
    "UT": ServerCell.TIMEOUTS,
}


class Forwarding(Passage):
    """An exchange and its server."""

    __slots__ = ()

    def _added_fields(self, client: "Downstream", route: LiveRoute) -> bytes:
        """The fields that the server is told beside the client's own, of a request that may upgrade."""
        self._asked = allowed(self.head.upgrade, route.upgrades)
        fields = client.fields_for(self.head)
        return fields + UPGRADE % self._asked if self._asked else fields

    def _is_replayable(self) -> bool:
        """Whether the request could be sent again should an idle connection turn out to be closed."""
        return self.head.method in IDEMPOTENT and (self._upload is None or self._upload.is_complete)

    def _connect(self, server: Server, route: LiveRoute) -> Generator[None, None, ServerConnection]:
        self._phase = CONNECT
        self._allow(route.timeouts.connect)
        self._connecting = self._worker.connect(server, self)
        yield
        self._connecting, connection = None, self._event
        assert isinstance(connection, ServerConnection)
        if connection.is_lost:  # accepted and closed at once: nothing was sent, so any request may go elsewhere
            raise ConnectFailed("connection closed at once")
        return connection

    def _send(self, connection: ServerConnection, request: bytes, route: LiveRoute) -> None:
        self.connection = connection
        upload = self._upload
        connection.exchange = self
        if upload is None or not upload.backlog:
            connection.write(request)
        elif len(upload.backlog) <= SMALL:
            connection.write(b"%b%b" % (request, upload.backlog))  # type: ignore[str-format]  # a buffer will do
        else:
            connection.write(request)
            connection.write(upload.backlog)
        if upload is None or upload.is_complete:
            self._phase = RESPONSE_HEAD
            self._allow(route.timeouts.response_head)
        else:
            self._phase = REQUEST_BODY
            self._allow(route.timeouts.request_body)
            self.client.update_reading()

    # Where it was not the first server's to answer.

    def _choose_again(self, group: Group, attempts: Attempts) -> Server | None:
        """The server for the next attempt, which has entered it; None when one must be waited for."""
        server = group.enter(self._worker.now, attempts.tried)
        if (server is None and not group.is_full) or not attempts.is_afforded():
            if server is not None:
                server.leave()
            raise attempts.failure
        self._worker.account.retried(attempts.last)
        return server

    def _wait(self, route: LiveRoute, attempts: Attempts | None) -> Generator[None, None, Server]:
        """The server for the next attempt, when one of those that have as many requests as they may has room again."""
        if attempts is None and not route.group.is_full:
            raise NoServer(f"no server of {route.group.name} is available")
        self._phase = QUEUE
        self._allow(route.timeouts.queue)
        queue = route.group.queue
        queue.join(self, () if attempts is None else attempts.tried)
        try:
            yield
        finally:
            queue.leave(self)
        assert isinstance(self._event, Server)
        return self._event

    def _again(self, error: ServerError, server: Server, attempts: Attempts | None) -> Attempts:
        """The attempts with this failure, when the request may go out once more; else raises it."""
        error.__traceback__ = None  # as in `_tell`
        connection, upload = self.connection, self._upload
        is_stale = isinstance(error, ServerReset) and connection is not None and connection.is_stale
        self._lost(server, error, counts=not is_stale)
        attempts = attempts or Attempts(self._route, self._worker.account)
        attempts.failed(
            error,
            server,
            self.head.method,
            was_sent=connection is not None,
            is_stale=is_stale,
            replayable=upload is None or upload.is_whole,
        )
        return attempts

    def _leaves(self, server: Server, attempts: Attempts | None) -> Attempts | None:
        """The attempts, when the request goes to another server although this one answered; None to take its answer."""
        attempts = attempts or Attempts(self._route, self._worker.account)
        replayable = self._upload is None or (self._upload.is_whole and self._upload.is_complete)
        others = [*attempts.tried, server]
        if self._route.group.choose(self._worker.now, others) is None:
            return None
        if not attempts.may_leave(server, self.head.method, replayable=replayable):
            return None
        self._let_go()
        return attempts

    def _lost(self, server: Server, error: ServerError, *, counts: bool) -> None:
        """A server failed: its connection is of no use any more."""
        self._let_go()
        if counts:
            server.failed(_FAILURES[error.flag], self._worker.now, str(error))
        if self._is_uploading():
            self.client.update_reading()

    def _let_go(self) -> None:
        """Closes the connection to the server, or gives up making one."""
        if self.connection is not None:
            connection = self.connection
            self._detach(connection)
            connection.close()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._leave()

    def _detach(self, connection: ServerConnection) -> None:
        connection.exchange = None
        self.connection = None
