"""One request and its response: the one way a request goes, told from top to bottom in `Exchange._tell`.

The story is a generator. It runs when something happens and yields when it must wait: for the store, for a connection
to a server, for a response's head, for the end of its body. Whoever has what it waits for calls `resume`, whoever met
a failure calls `fail`, which raises it where the story stands. On the usual way (limit on this machine, a warm
connection) it waits just once. Bodies do not go through it: they pass from connection to connection.
docs/life-of-a-request.md tells the same story in prose.
"""

import logging
from asyncio import Task
from collections.abc import Generator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from headgate.balance.retry import IDEMPOTENT
from headgate.errors import (
    BadRequest,
    ClientGone,
    ConnectFailed,
    ExchangeError,
    InternalError,
    Limited,
    NoRoute,
    NoServer,
    Overdue,
    Overloaded,
    RequestTimeout,
    ServerError,
    ServerReset,
    ServerTimeout,
    StoreUnavailable,
    TunnelIdle,
)
from headgate.http1.request import RequestHead
from headgate.http1.response import UNTIL_CLOSE, ResponseHead
from headgate.http1.upgrade import allowed
from headgate.limits.decision import Decision, Delayed
from headgate.model.config import Timeouts
from headgate.store.base import Check
from headgate.store.gate import Gate
from headgate.wire.cells import ServerCell
from headgate.worker.absent import Absent
from headgate.worker.answers import limit_fields, longest_refusal
from headgate.worker.attempts import Attempts
from headgate.worker.functions import ask
from headgate.worker.phase import (
    ANSWERS,
    CONNECT,
    OVER,
    QUEUE,
    REQUEST_BODY,
    RESPONSE_BODY,
    RESPONSE_HEAD,
    STORE,
    TUNNEL,
    WAITS,
)
from headgate.worker.places import Places
from headgate.worker.plan import Group, LiveRoute
from headgate.worker.server import Server
from headgate.worker.settle import Settling
from headgate.worker.tunnel import Tunnel, require_agreement
from headgate.worker.upload import Upload
from headgate.worker.upstream import ServerConnection

if TYPE_CHECKING:
    from headgate.worker.downstream import Downstream
    from headgate.worker.process import Worker

logger = logging.getLogger("headgate.worker")

_CLOSE = b"Connection: close\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
_UPGRADE = b"Connection: upgrade\r\nUpgrade: %b\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_SMALL = 16384  # bytes of a body up to which copying it behind the head is cheaper than a second buffer
_NEVER = float("inf")

Story = Generator[None, None, None]

_IN_FLIGHT = int(ServerCell.IN_FLIGHT)
_FAILURES = {
    "UF": ServerCell.CONNECT_FAILURES,
    "UC": ServerCell.RESETS,
    "UPE": ServerCell.BAD_RESPONSES,
    "UT": ServerCell.TIMEOUTS,
}


class Exchange:
    """One request and its response.

    id: what names it in logs and to the server. status, sent, flag, server: what came of it. connection: the
    server's, from the moment that the request is sent until its response is complete.
    """

    __slots__ = (
        "_asked",
        "_connecting",
        "_event",
        "_framing",
        "_holds",
        "_phase",
        "_places",
        "_route",
        "_story",
        "_tunnel",
        "_until",
        "_upload",
        "_worker",
        "client",
        "client_ip",
        "connection",
        "decisions",
        "flag",
        "head",
        "id",
        "sent",
        "server",
        "started",
        "status",
    )

    _route: LiveRoute
    _event: object  # what the story waited for

    def __init__(self, worker: "Worker", client: "Downstream", head: RequestHead) -> None:
        self.started = perf_counter()
        self._worker = worker
        self.client: Downstream | Absent = client
        self.head = head
        worker.number = number = worker.number + 1
        self.id = b"%b%x" % (worker.id_prefix, number)
        self.client_ip = client.ip
        if head.claims is not None:
            self.id = head.claims.get(b"x-request-id", self.id)
            self.client_ip = client.client_of(head)
        self.server: Server | None = None
        self._holds: Server | None = None  # the one that counts this among its requests
        self.connection: ServerConnection | None = None
        self.decisions: Sequence[Decision] = ()  # of limits, for the client to be told
        self.status = 0
        self.sent = 0
        self.flag = "-"
        self._phase = STORE
        self._upload = Upload(head.length) if head.length else None
        self._framing = False  # whether the response is chunked here because its server marks the end by closing
        self._connecting: Task[None] | None = None
        self._until = _NEVER  # when all attempts together must be over
        self._asked = b""  # what the server is asked to upgrade to
        self._tunnel: Tunnel | None = None
        self._places: Places | Gate | None = None  # under limits on what is in flight

    @property
    def now(self) -> float:
        """The worker's coarse clock."""
        return self._worker.now

    @property
    def timeouts(self) -> Timeouts:
        """Those of the route: it has one from the very beginning, or is over at once."""
        return self._route.timeouts

    @property
    def is_relaying(self) -> bool:
        """Whether a response's body is on its way."""
        return self._phase is RESPONSE_BODY

    # How it is driven.

    def begin(self, client: "Downstream", rest: bytes | memoryview) -> None:
        """Starts the story. rest: what came after the request's head."""
        self._story = self._tell(client, rest)
        next(self._story, None)

    def resume(self, event: object) -> None:
        """Goes on with the story: what it waited for is here."""
        self._event = (
            event  # and not sent: so the end of the story raises no StopIteration, which would cost as much again
        )
        next(self._story, None)

    def fail(self, error: ExchangeError) -> None:
        """Raises a failure where the story stands; nothing where it has ended."""
        try:
            self._story.throw(error)
        except StopIteration:
            pass
        except ExchangeError:  # thrown into a story that has ended, which hands it straight back
            assert self._phase is OVER

    # The story.

    def _tell(self, client: "Downstream", rest: bytes | memoryview) -> Story:
        head, worker = self.head, self._worker
        settling: Settling | None = None
        try:
            if rest or self._upload is not None:
                self._take(rest)
                client.update_reading()
            # match
            plan = worker.plan
            router = plan.router_of(client.listener) if plan.routers else plan.router
            route = router.match(head.host, head.target)
            if route is None:
                raise NoRoute("no route matches")
            self._route = route
            if route.timeouts.total:
                self._until = worker.now + route.timeouts.total
            # admit
            if route.limits and (
                asked := (yield from self._ask(route)) if route.asks else client.checks(route, self.client_ip, head)
            ):
                decisions = (self._counted() if route.holds else worker.store).hit(asked, self.resume)
                if decisions is None:
                    client.deadline = self._until  # the store keeps its own
                    yield
                    decisions = self._event  # type: ignore[assignment]
                if not self._admit(asked, decisions, route):  # type: ignore[arg-type]
                    return self._account()
                if route.costs:
                    settling = Settling(route.costs, asked, decisions)  # type: ignore[arg-type]
                if route.delays:
                    yield from self._hold(decisions)  # type: ignore[arg-type]
            if route.tried:
                self._try(route)
            # choose and forward
            fields = self._added_fields(client, route) if head.upgrade else client.fields_for(head)
            request = b"".join((head.lines, fields, b"X-Request-ID: ", self.id, b"\r\n\r\n"))
            attempts: Attempts | None = None
            group = route.group
            group.budget.requests += 1
            while True:
                server = group.enter(worker.now) if attempts is None else self._choose_again(group, attempts)
                if server is None:
                    server = yield from self._wait(route, attempts)
                self.server = self._holds = server
                try:
                    connection = None
                    if attempts is None or not attempts.is_fresh:
                        connection = server.take(worker.now, head.method != b"GET" and not self._is_replayable())
                    if connection is None:
                        connection = yield from self._connect(server, route)
                    self._send(connection, request, route)
                    yield
                    response: ResponseHead = self._event  # type: ignore[assignment]
                    if response.status not in route.unwanted or not (left := self._leaves(server, attempts)):
                        break
                    attempts = left
                except ServerError as error:
                    attempts = self._again(error, server, attempts)
            server.failures = 0
            if settling is not None:
                settling.response = response
            # relay
            if response.status == 101:
                self._open_tunnel(response)
                yield
            elif not self._relay_head(connection, response):
                yield
            self._finish(connection, server, response)
        except ExchangeError as error:
            self._failed(error)
            error.__traceback__ = None  # it leads to frames that hold the error: a cycle, and all this would stay
        except Exception:
            # Whatever is wrong here must not cost more than this exchange: nothing may stay open or counted for ever.
            logger.exception("request %s failed by a mistake of Headgate", self.id.decode("latin-1"))
            self._failed(InternalError("see the log"))
        if settling is not None:
            settling.end(self, worker, self._route.name)
        return self._account()

    def _account(self) -> None:
        """The end of every story."""
        self._worker.account.ended(self)
        if self.client.exchange is self:
            self.client.ended(not self.head.close)

    def _ask(self, route: LiveRoute) -> Generator[None, None, Sequence[Check]]:
        """What the limits of a route have to decide, some of which ask functions of users; it waits for async ones."""
        asked = self._worker.ask(ask(route.limits, self.client_ip, self.head, route.name))
        if not isinstance(asked, Task):
            return asked
        self.client.deadline = self._until  # each has a time of its own
        asked.add_done_callback(self.resume)
        try:
            yield
        finally:
            asked.cancel()  # where the client has gone, or the time of all is over
        if asked.cancelled():  # by the end of the loop, and so of all
            raise ClientGone
        return asked.result()

    def _admit(self, asked: Sequence[Check], decisions: Sequence[Decision], route: LiveRoute) -> bool:
        """Whether every limit allows it; else it is answered."""
        refusals = self._worker.account.decided(decisions)
        if refusals:
            self.decisions = refusals
            if route.bans:
                self._worker.bans.refused(asked, refusals)
            if longest_refusal(refusals).unavailable:
                raise StoreUnavailable("limit not known")
            self._worker.refused.note(asked, refusals)
            self._refuse(refusals)
            return False
        if route.tells:
            self.decisions = decisions
        return True

    def _refuse(self, refusals: Sequence[Decision]) -> None:
        """Answers a request that is over its limits: `_failed`, without what it would undo if there were more to it."""
        client, head = self.client, self.head
        self._phase, self.flag, self.status = OVER, Limited.flag, Limited.status
        lingers = self._is_uploading()
        out = self._worker.refusal(refusals, self._connection_field(lingers), head_only=head.method == b"HEAD")
        self.sent = len(out)
        client.write(out)
        if lingers:
            client.linger()

    def _hold(self, decisions: Sequence[Decision]) -> Story:
        """Holds the request back for as long as the limits say that delay it; they have counted it already."""
        delayed = [decision for decision in decisions if isinstance(decision, Delayed)]
        if not delayed:
            return
        for decision in delayed:
            self._worker.account.delayed(decision.limit)
        wait = max(decision.wait for decision in delayed)
        self.client.deadline = self._until
        timer = self._worker.later(wait / 1_000_000, lambda: self.resume(None))
        try:
            yield
        finally:
            timer.cancel()

    def _try(self, route: LiveRoute) -> None:
        """Counts the request under the limits that are only tried, each for itself; nobody waits for them."""
        worker, places = self._worker, self._counted() if route.holds else None
        if not route.asks:
            worker.tried(route.checks(route.tried, self.client_ip, self.head), places)
        elif isinstance(asked := worker.ask(ask(route.tried, self.client_ip, self.head, route.name)), Task):
            asked.add_done_callback(lambda task: None if task.cancelled() else worker.tried(task.result(), places))
        else:
            worker.tried(asked, places)

    def entered(self, gate: Gate) -> None:
        """It took its place under the only limit that it has, on the short way; it gives it back there."""
        self._places = gate

    def _counted(self) -> Places:
        """The places of this request, which is to hold some until it ends."""
        if self._places is None:
            self._places = Places(self._worker.store, self._worker.account)
        assert isinstance(self._places, Places)  # a gate is for routes where nothing else is asked
        return self._places

    def _give_back(self) -> None:
        """Gives back the places that it holds, once.

        Before the last of the response is written: who has all of it may ask again at once, also of another worker.
        """
        places, self._places = self._places, None
        if places is not None:
            places.leave()

    def _added_fields(self, client: "Downstream", route: LiveRoute) -> bytes:
        """The fields that the server is told beside the client's own, of a request that may upgrade."""
        self._asked = allowed(self.head.upgrade, route.upgrades)
        fields = client.fields_for(self.head)
        return fields + _UPGRADE % self._asked if self._asked else fields

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
        elif len(upload.backlog) <= _SMALL:
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

    def _relay_head(self, connection: ServerConnection, response: ResponseHead) -> bool:
        """Passes the response's head on, with what is there of its body. Returns whether that is all of it."""
        client, head = self.client, self.head
        length = response.length
        extra = b""
        if length == UNTIL_CLOSE and head.minor == 1:
            self._framing = True
            extra = b"Transfer-Encoding: chunked\r\n"
        if (
            head.close
            or (self._upload is not None and self._is_uploading())
            or (length < 0 and head.minor == 0)
            or self._worker.draining
        ):
            head.close = True
            extra += _CLOSE
        elif head.minor == 0:
            extra += _KEEP_ALIVE
        if self.decisions:
            extra += limit_fields(self.decisions)
        body, complete = connection.begin_body(response, head.minor == 1)
        if self._framing and body:
            body = b"%x\r\n%b\r\n" % (len(body), bytes(body))
        self.status = response.status
        if complete and self._places is not None:
            self._give_back()
        if len(body) <= _SMALL:
            out = b"".join((response.lines, extra, b"\r\n", body))
            self.sent = len(out)
            client.write(out)
        else:
            out = b"%b%b\r\n" % (response.lines, extra)
            self.sent = len(out) + len(body)
            client.write(out)
            client.write(body)
        if not complete:
            self._phase = RESPONSE_BODY
            self._allow(self._route.timeouts.response_body)
            if client.paused:
                connection.pause_reading()
        return complete

    def _open_tunnel(self, response: ResponseHead) -> None:
        """The server agreed to speak something else: from here on both connections are one."""
        connection, client = self.connection, self.client
        assert connection is not None
        if isinstance(client, Absent):
            raise ClientGone
        first, _ = connection.begin_body(response, True)
        out = b"%b%b\r\n%b" % (response.lines, _UPGRADE % response.upgrade, bytes(first))
        self.head.close = True
        self.status = response.status
        self.sent = len(out)
        client.write(out)
        self._until = _NEVER
        self._tunnel = Tunnel(client, connection)
        self._phase = TUNNEL
        self.goes_on()
        if early := client.take_ahead():
            connection.write(early)
        client.update_reading()
        if client.paused:
            connection.pause_reading()

    def _finish(self, connection: ServerConnection, server: Server, response: ResponseHead) -> None:
        """The response is complete: gives the connection back and lets the client go on."""
        if self._framing:
            self.client.write(_LAST_CHUNK)
            self.sent += len(_LAST_CHUNK)
        uploading = self._upload is not None and self._is_uploading()
        self.connection = None
        self._leave()
        if response.keeps is not None:
            server.keeps(response.keeps)
        timeouts = self._route.timeouts
        keep_for = timeouts.server_idle
        connection.release(self._worker.now, keep_for, reuse=not response.close and not uploading and server.admitted)
        self._phase = OVER
        if timeouts.response_min_rate:
            self._worker.paces.answered(self)
        if uploading:
            self.client.linger()

    def _is_replayable(self) -> bool:
        """Whether the request could be sent again should an idle connection turn out to be closed."""
        return self.head.method in IDEMPOTENT and (self._upload is None or self._upload.is_complete)

    def _is_uploading(self) -> bool:
        return self._upload is not None and not self._upload.is_complete

    def _detach(self, connection: ServerConnection) -> None:
        connection.exchange = None
        self.connection = None

    def _leave(self) -> None:
        """The server has one request less."""
        server, self._holds = self._holds, None
        if server is not None:
            server.cells[_IN_FLIGHT] -= 1  # `leave`, without the call
            if server.max_requests:
                self._route.group.queue.left()

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

    def _failed(self, error: ExchangeError) -> None:
        """The story ends early: the client gets an answer where one is still possible."""
        client, head = self.client, self.head
        self.flag = error.flag
        if isinstance(error, ServerError) and self.connection is not None:
            self._lost(self.connection.server, error, counts=self._phase is not TUNNEL)
        self._let_go()
        self._give_back()
        begun = self.status != 0
        self._phase = OVER
        if isinstance(error, ClientGone) or begun:
            # Only a reset tells a client that a body without length and framing is not complete.
            client.cut(reset=head.minor == 0 or self.status == 101 or isinstance(error, ClientGone))
            return
        lingers = self._is_uploading() or isinstance(error, BadRequest)
        field = self._connection_field(lingers)
        out = self._worker.answer(error, field, self.decisions, head_only=head.method == b"HEAD")
        self.status = error.status
        self.sent = len(out)
        client.write(out)
        if lingers:
            client.linger()

    def _connection_field(self, lingers: bool) -> bytes:
        """What an answer of Headgate says of the connection, decided here. lingers: it closes for what still comes."""
        head = self.head
        head.close = head.close or lingers or self._worker.draining
        return _CLOSE if head.close else _KEEP_ALIVE if head.minor == 0 else b""

    # What the connections tell it meanwhile.

    def uploaded(self, data: bytes) -> None:
        """More of the request's body came, or of requests after it, or for the tunnel."""
        if self._phase is TUNNEL:
            assert self.connection is not None
            self.connection.write(data)
            return self.goes_on()
        try:
            self._take(data)
        except BadRequest as error:
            self.fail(error)
        return None

    def _take(self, data: bytes | memoryview) -> None:
        """Sends what belongs to the request's body on its way, and keeps the rest for its turn."""
        upload = self._upload
        if upload is None or upload.is_complete:
            self.client.ahead(data)
            return
        part, rest = upload.take(data)
        if rest:
            self.client.ahead(rest)
        if self.connection is None:
            upload.keep(part)
            return
        upload.is_whole = False
        self.connection.write(part)
        upload.received += len(data)
        if self._phase is REQUEST_BODY:
            timeouts = self._route.timeouts
            if self._is_uploading():
                wait = timeouts.request_body
            else:
                self._phase = RESPONSE_HEAD
                wait = timeouts.response_head
            self._allow(wait)

    def received(self) -> int:
        """Bytes that came of the request's body after its first read, as long as all that is awaited is the rest."""
        if self._phase is not REQUEST_BODY or not self.takes_body():
            return 0
        return 0 if self._upload is None else self._upload.received

    def takes_body(self) -> bool:
        """Whether what the client sends now can be used."""
        if self.connection is None:
            return not self._is_uploading()
        return not self.connection.paused

    def interim(self, response: ResponseHead) -> None:
        """Passes a 1xx response on; an HTTP/1.0 client does not know them (RFC 9110 section 15.2)."""
        if self.head.minor == 1:
            self.client.write(response.lines + b"\r\n")

    def require_upgrade(self, response: ResponseHead) -> None:
        """Raises BadResponse for a 101 that nobody asked for."""
        require_agreement(self._asked, response.upgrade)

    def client_ended(self) -> bool:
        """The client sends no more. Whether its connection stays open, for what the server still sends: in a tunnel, or
        where the route says that a request is finished although its client may have gone.
        """
        if self._tunnel is None or self._phase is not TUNNEL:
            return self._is_finished_anyway()
        self._tunnel.client_ended()
        self.goes_on()
        return True

    def goes_on_alone(self) -> bool:
        """The client is gone. Whether the request goes on, for the server's sake."""
        if not self._is_finished_anyway():
            return False
        self.flag = ClientGone.flag
        client = self.client
        self.client = Absent(self._worker, self, client.address, min(client.deadline, self._until))
        self._worker.absent(self.client)
        if self.connection is not None:
            self.connection.resume_reading()
        return True

    def _is_finished_anyway(self) -> bool:
        """Whether the route has it that the server answers to the end; from now on within the time that it says."""
        if self._phase not in ANSWERS or self._is_uploading() or not self._route.on_client_gone:
            return False
        self._until = min(self._until, self._worker.now + self._route.on_client_gone)
        return True

    def server_ended(self) -> bool:
        """The same of the server."""
        if self._tunnel is None or self._phase is not TUNNEL:
            return False
        self._tunnel.server_ended()
        self.goes_on()
        return True

    def relay(self, data: bytes) -> None:
        """Passes on a piece of the response's body, or of what comes through the tunnel."""
        if self._framing:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.sent += len(data)
        self.client.write(data)
        if self._phase is TUNNEL:
            self.goes_on()
        else:
            self._allow(self._route.timeouts.response_body)

    def relay_last(self, data: bytes) -> None:
        """Passes on the last of the response's body, or of the tunnel, if any is left, and goes on with the story."""
        if self._places is not None:
            self._give_back()
        if data:
            self.relay(data)
        self.resume(None)

    def goes_on(self) -> None:
        """What held a body up is over: whoever is to send next has the whole time for it."""
        if self._phase in WAITS:
            timeouts = self._route.timeouts
            wait = getattr(timeouts, self._phase.value)
            if self._tunnel is not None and self._tunnel.is_ending:
                wait = min(wait, timeouts.response_body)
            self._allow(wait)

    def _allow(self, seconds: float) -> None:
        """Whoever is to do the next thing has so many seconds for it, if all of the exchange has."""
        deadline, until = self._worker.now + seconds, self._until
        self.client.deadline = deadline if deadline < until else until  # noqa: FURB136 (min is slower)

    def expire(self, now: float) -> None:
        """The deadline has passed: what was awaited decides whose fault it is."""
        client = self.client
        client.deadline = _NEVER
        if now >= self._until:
            return self.fail(Overdue("not answered in the time that all attempts have together"))
        if self._phase is QUEUE:
            return self.fail(Overloaded("no server had room in time"))
        if self._phase is CONNECT:
            if self._connecting is not None:
                self._connecting.cancel()
            return self.fail(ConnectFailed("no connection in time"))
        if self._phase is REQUEST_BODY and self.connection is not None:
            if not self.connection.paused:
                return self.fail(RequestTimeout("request body not sent in time"))
            if self.connection.took_some():
                return self.goes_on()
        if self._tunnel is not None and self._phase is TUNNEL:
            if self._tunnel.took_some():
                return self.goes_on()
            return self.fail(TunnelIdle("nothing came through the tunnel in time"))
        if self._phase is RESPONSE_BODY and client.paused:
            if client.took_some():
                return self.goes_on()
            return self.fail(ClientGone("response not taken in time"))
        return self.fail(ServerTimeout("no response in time"))
