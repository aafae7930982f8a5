"""One request and its response: the one way a request goes, told from top to bottom in `Exchange._tell`.

The story is a generator. It runs when something happens and yields when it must wait: for the store, for a connection
to a server, for a response's head, for the end of its body. Whoever has what it waits for calls `resume`, whoever met
a failure calls `fail`, which raises it where the story stands. On the usual way (limit on this machine, a warm
connection) it waits just once. Bodies do not go through it: they pass from connection to connection.
docs/life-of-a-request.md tells the same story in prose.
"""

from asyncio import Task
from collections.abc import Generator, Sequence
from enum import Enum
from time import perf_counter
from typing import TYPE_CHECKING

from headgate.balance.retry import may_send_again
from headgate.errors import (
    BadRequest,
    BadResponse,
    ClientGone,
    ConnectFailed,
    ExchangeError,
    Limited,
    NoRoute,
    NoServer,
    RequestTimeout,
    ServerError,
    ServerTimeout,
    StoreUnavailable,
)
from headgate.http1.body import Chunked
from headgate.http1.request import CHUNKED, RequestHead
from headgate.http1.response import UNTIL_CLOSE, ResponseHead
from headgate.limits.decision import Decision
from headgate.wire.cells import ServerCell
from headgate.worker.plan import LiveRoute
from headgate.worker.server import Server
from headgate.worker.upstream import ServerConnection

if TYPE_CHECKING:
    from headgate.worker.downstream import Downstream
    from headgate.worker.process import Worker

_CLOSE = b"Connection: close\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
_SMALL = 16384  # bytes of a body up to which copying it behind the head is cheaper than a second buffer
_NEVER = float("inf")

Story = Generator[None, object, None]


class Phase(Enum):
    """What the exchange waits for, which decides what its deadline means."""

    STORE = "store"
    CONNECT = "connect"
    REQUEST_BODY = "request_body"
    RESPONSE_HEAD = "response_head"
    RESPONSE_BODY = "response_body"
    OVER = "over"


class Exchange:
    """One request and its response.

    status, sent, flag, server: what came of it, for the account. connection: the server's, from the moment that the
    request is sent until its response is complete.
    """

    __slots__ = (
        "_backlog",
        "_body",
        "_connecting",
        "_framing",
        "_left",
        "_story",
        "_whole",
        "client",
        "client_ip",
        "connection",
        "decision",
        "flag",
        "head",
        "number",
        "phase",
        "route",
        "sent",
        "server",
        "started",
        "status",
        "worker",
    )

    def __init__(self, worker: "Worker", client: "Downstream", head: RequestHead) -> None:
        self.worker = worker
        self.client = client
        self.head = head
        self.started = perf_counter()
        self.number = worker.next_number()
        self.client_ip = client.ip if head.claims is None else client.client_of(head)
        self.route: LiveRoute | None = None
        self.server: Server | None = None
        self.connection: ServerConnection | None = None
        self.decision: Decision | None = None
        self.status = 0
        self.sent = 0
        self.flag = "-"
        self.phase = Phase.STORE
        self._left = head.length  # bytes of the request's body still to come, or CHUNKED
        self._body: Chunked | None = None
        self._framing = False  # whether the response is chunked here because the server marks its end by closing
        self._whole = True  # whether all of the request that was sent to a server is still here
        self._backlog = b""
        self._connecting: Task[None] | None = None

    # How it is driven.

    def begin(self, rest: bytes) -> None:
        """Starts the story. rest: what came after the request's head."""
        client = self.client
        try:
            if self._left == 0:
                if rest:
                    client.ahead(rest)
            elif rest or self._left == CHUNKED:
                self._backlog = self._body_part(rest)
            if self._left != 0:
                client.update_reading()
            self._story = self._tell()
            next(self._story)
        except StopIteration:
            pass
        except BadRequest as error:  # the body is no chunked body: no server has seen anything of the request yet
            self._failed(error)
            self._account()

    def resume(self, event: object) -> None:
        """Goes on with the story: what it waited for is here."""
        try:  # noqa: SIM105
            self._story.send(event)
        except StopIteration:  # the story has come to its end; contextlib.suppress would cost more than the rest
            pass

    def fail(self, error: ExchangeError) -> None:
        """Raises a failure where the story stands; nothing where it has ended."""
        try:  # noqa: SIM105
            self._story.throw(error)
        except StopIteration:
            pass

    # The story.

    def _tell(self) -> Story:
        client, head, worker = self.client, self.head, self.worker
        try:
            # match
            self.route = route = worker.plan.router.match(head.host, head.target)
            if route is None:
                raise NoRoute("no route matches")
            # admit
            if route.limits:
                key = client.key_of(self.client_ip)
                decisions = worker.store.hit([(limit, key) for limit in route.limits], self.resume)
                if decisions is None:
                    client.deadline = _NEVER  # the store keeps its own
                    decisions = yield  # type: ignore[assignment]
                self._settle(decisions)  # type: ignore[arg-type]
            # choose and forward
            request = b"%b%bX-Request-ID: %b\r\n\r\n" % (head.lines, client.fields_for(head), self.request_id())
            response = yield from self._forward(route, request)
            # relay
            if not self._relay_head(response):
                yield
            self._finish(response)
        except ExchangeError as error:
            self._failed(error)
        # account
        self._account()

    def _settle(self, decisions: Sequence[Decision]) -> None:
        worker = self.worker
        refused: Decision | None = None
        for decision in decisions:
            worker.account.decided(decision)
            if not decision.allowed and (refused is None or decision.reset_after > refused.reset_after):
                refused = decision
        if refused is not None:
            self.decision = refused
            raise StoreUnavailable("limit not known") if refused.unavailable else Limited(refused.limit.limit.name)

    def _forward(self, route: LiveRoute, request: bytes) -> Generator[None, object, ResponseHead]:
        """Sends the request to a server, and to another where that is safe, until one responds."""
        worker, group = self.worker, route.group
        tried: list[Server] = []
        sends = 0
        fresh = False
        failure: ExchangeError = NoServer(f"no server of {group.name} is available")
        while True:
            server = group.choose(worker.now, tried)
            if server is None:
                raise failure
            self.server = server
            connection = None if fresh else server.take(worker.now)
            try:
                if connection is None:
                    connection = yield from self._connect(server, route)
                sends += 1
                self._send(connection, request, route)
                response = yield
                server.succeeded()
                return response  # type: ignore[return-value]
            except ServerError as error:
                failure = error
                stale = connection is not None and connection.reused and not isinstance(error, ServerTimeout)
                self._lost(server, error, counts=not stale)
                if not may_send_again(self.head.method, sends=sends, replayable=self._whole):
                    raise
                # A reused connection that dies says nothing about its server, only that it closed idle ones.
                if stale:
                    fresh = True
                else:
                    tried.append(server)
                server.cells[ServerCell.RETRIES] += 1
                worker.account.retried()

    def _connect(self, server: Server, route: LiveRoute) -> Generator[None, object, ServerConnection]:
        self.phase = Phase.CONNECT
        self.client.deadline = self.worker.now + route.timeouts.connect
        self._connecting = self.worker.connect(server, self)
        connection = yield
        self._connecting = None
        assert isinstance(connection, ServerConnection)
        return connection

    def _send(self, connection: ServerConnection, request: bytes, route: LiveRoute) -> None:
        connection.server.cells[ServerCell.IN_FLIGHT] += 1
        self.connection = connection
        if self._backlog or self._left != 0:
            request += self._backlog
        connection.send(self, request)
        if self._left == 0:
            self.phase = Phase.RESPONSE_HEAD
            self.client.deadline = self.worker.now + route.timeouts.response_head
        else:
            self.phase = Phase.REQUEST_BODY
            self.client.deadline = self.worker.now + route.timeouts.request_body
            self.client.update_reading()

    def _relay_head(self, response: ResponseHead) -> bool:
        """Passes the response's head on, with what is there of its body. Returns whether that is all of it."""
        connection, client, minor = self.connection, self.client, self.head.minor
        assert connection is not None
        assert self.route is not None
        extra = b""
        self._framing = response.length == UNTIL_CLOSE and minor == 1
        if self._framing:
            extra = b"Transfer-Encoding: chunked\r\n"
        until_close = minor == 0 and response.length < 0
        if self._left != 0 or self.head.close or until_close or self.worker.draining:
            self.head.close = True
            extra += _CLOSE
        elif minor == 0:
            extra += _KEEP_ALIVE
        body, complete = connection.begin_body(response, minor == 1)
        self.status = response.status
        if self._framing and body:
            body = b"%x\r\n%b\r\n" % (len(body), bytes(body))
        self.sent = len(response.lines) + len(extra) + 2 + len(body)
        if len(body) <= _SMALL:
            client.write(b"%b%b\r\n%b" % (response.lines, extra, body))  # type: ignore[str-format]  # a buffer will do
        else:
            client.write(b"%b%b\r\n" % (response.lines, extra))
            client.write(body)
        if not complete:
            self.phase = Phase.RESPONSE_BODY
            client.deadline = self.worker.now + self.route.timeouts.response_body
            if client.paused:
                connection.pause_reading()
        return complete

    def _finish(self, response: ResponseHead) -> None:
        """The response is complete: gives the connection back and lets the client go on."""
        connection, client = self.connection, self.client
        assert connection is not None
        assert self.route is not None
        if self._framing:
            client.write(b"0\r\n\r\n")
        self._detach(connection)
        if (
            response.close
            or self._left != 0
            or response.length == UNTIL_CLOSE
            or not connection.server.admitted
            or not connection.is_clean()
            or connection.is_lost
        ):
            connection.close()
        else:
            connection.release(self.worker.now, self.route.timeouts.server_idle)
        self.phase = Phase.OVER
        if self._left != 0:
            client.linger()

    def _detach(self, connection: ServerConnection) -> None:
        connection.exchange = None
        self.connection = None
        connection.server.cells[ServerCell.IN_FLIGHT] -= 1

    def _lost(self, server: Server, error: ServerError, *, counts: bool) -> None:
        """A server failed: its connection is of no use any more."""
        if self.connection is not None:
            connection = self.connection
            self._detach(connection)
            connection.close()
            if self._left != 0:
                self.client.update_reading()
        if counts:
            cell = ServerCell.CONNECT_FAILURES if isinstance(error, ConnectFailed) else _CELLS[error.flag]
            server.failed(cell, self.worker.now, str(error))

    def _failed(self, error: ExchangeError) -> None:
        """The story ends early: the client gets an answer where one is still possible."""
        client = self.client
        self.flag = error.flag
        if self.connection is not None:
            if isinstance(error, ServerError):
                self._lost(self.connection.server, error, counts=True)
            else:
                connection = self.connection
                self._detach(connection)
                connection.close()
        if self._connecting is not None:
            self._connecting.cancel()
        begun = self.phase is Phase.RESPONSE_BODY
        self.phase = Phase.OVER
        if isinstance(error, ClientGone):
            return
        if begun:
            # Only a reset tells a client that a body without length and framing is not complete.
            self.head.close = True
            client.cut(reset=self.head.minor == 0)
            return
        self.status = error.status
        last = self._left != 0 or self.head.close or isinstance(error, BadRequest) or self.worker.draining
        self.head.close = last
        connection_field = _CLOSE if last else _KEEP_ALIVE if self.head.minor == 0 else b""
        out = self.worker.answer(error, connection_field, self.decision, head_only=self.head.method == b"HEAD")
        self.sent = len(out)
        client.write(out)
        if self._left != 0 or isinstance(error, BadRequest):
            client.linger()

    def _account(self) -> None:
        self.worker.account.ended(self)
        if self.client.exchange is self:
            self.client.ended(not self.head.close)

    def request_id(self) -> bytes:
        """The request's id: that of a trusted proxy, or a new one."""
        claims = self.head.claims
        if claims is not None and b"x-request-id" in claims:
            return claims[b"x-request-id"]
        return b"%b%x" % (self.worker.id_prefix, self.number)

    # What the connections tell it meanwhile.

    def uploaded(self, data: bytes) -> None:
        """More of the request's body came, or of requests after it."""
        if self._left == 0:
            return self.client.ahead(data)
        try:
            part = self._body_part(data)
        except BadRequest as error:
            return self.fail(error)
        connection = self.connection
        if connection is None:
            self._backlog += part
            return None
        self._whole = False
        connection.write(part)
        assert self.route is not None
        if self.phase is not Phase.REQUEST_BODY:
            return None
        timeouts = self.route.timeouts
        if self._left == 0:
            self.phase = Phase.RESPONSE_HEAD
            self.client.deadline = self.worker.now + timeouts.response_head
        else:
            self.client.deadline = self.worker.now + timeouts.request_body
        return None

    def _body_part(self, data: bytes) -> bytes:
        """The part of the data that belongs to the request's body, checked; the rest waits for its turn."""
        if self._left > 0:
            if len(data) <= self._left:
                self._left -= len(data)
                return data
            part, rest = data[: self._left], data[self._left :]
            self._left = 0
            self.client.ahead(rest)
            return part
        if self._body is None:
            self._body = Chunked(True, BadRequest)
        part = self._body.feed(data)
        if self._body.done:
            self._left = 0
            if self._body.rest:
                self.client.ahead(self._body.rest)
        return part

    def takes_body(self) -> bool:
        """Whether more of the request's body can be used now."""
        if self.connection is None:
            return self._left == 0
        return not self.connection.paused

    def interim(self, head: ResponseHead) -> None:
        """Passes a 1xx response on; an HTTP/1.0 client does not know them (RFC 9110 section 15.2)."""
        if self.head.minor == 1:
            self.client.write(head.lines + b"\r\n")

    def relay(self, data: bytes) -> None:
        """Passes on a piece of the response's body."""
        if self._framing:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.sent += len(data)
        self.client.write(data)
        assert self.route is not None
        self.client.deadline = self.worker.now + self.route.timeouts.response_body

    def expire(self, now: float) -> None:
        """The deadline has passed: what it was for decides what is told."""
        client = self.client
        if self.phase is Phase.CONNECT:
            if self._connecting is not None:
                self._connecting.cancel()
            return self.fail(ConnectFailed("no connection in time"))
        if self.phase is Phase.REQUEST_BODY and self.connection is not None and not self.connection.paused:
            return self.fail(RequestTimeout("request body not sent in time"))
        if self.phase is Phase.RESPONSE_BODY and client.paused:
            # A slow client is fine as long as it takes some of what waits for it.
            waiting = client.transport.get_write_buffer_size()
            if waiting < client.waiting:
                client.waiting = waiting
                assert self.route is not None
                client.deadline = now + self.route.timeouts.response_body
                return None
            return self.fail(ClientGone("response not taken in time"))
        client.deadline = _NEVER
        return self.fail(ServerTimeout("no response in time"))


_CELLS = {
    "UC": ServerCell.RESETS,
    "UPE": ServerCell.BAD_RESPONSES,
    "UT": ServerCell.TIMEOUTS,
    "UF": ServerCell.CONNECT_FAILURES,
}
assert BadResponse.flag in _CELLS
