"""One request and its response: the one way a request goes, told from top to bottom in `Exchange._tell`.

The story is a generator. It runs when something happens and yields when it must wait: for the store, for a connection
to a server, for a response's head, for the end of its body. Whoever has what it waits for calls `resume`, whoever met
a failure calls `fail`, which raises it where the story stands. On the usual way (limit on this machine, a warm
connection) it waits just once. Bodies do not go through it: they pass from connection to connection.
docs/life-of-a-request.md tells the same story in prose.

The steps of a chapter are where it has its module: `admission.py`, `forwarding.py`, `relaying.py`. `course.py` has what
is known of an exchange and how it is driven, `passage.py` what its connections tell it.
"""

import logging
from typing import TYPE_CHECKING

from headgate.errors import BadRequest, ClientGone, ExchangeError, InternalError, NoRoute, ServerError
from headgate.http1.response import ResponseHead
from headgate.worker.admission import Admission
from headgate.worker.attempts import Attempts
from headgate.worker.course import Story
from headgate.worker.forwarding import Forwarding
from headgate.worker.phase import OVER, TUNNEL
from headgate.worker.relaying import Relaying
from headgate.worker.settle import Settling

if TYPE_CHECKING:
    from headgate.worker.downstream import Downstream


logger = logging.getLogger("headgate.worker")


class Exchange(Admission, Forwarding, Relaying):
    """One request and its response, whose story this tells."""

    __slots__ = ()

    def begin(self, client: "Downstream", rest: bytes | memoryview) -> None:
        """Starts the story. rest: what came after the request's head."""
        self._story = self._tell(client, rest)
        next(self._story, None)

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
            if not route.limits:
                pass
            elif route is client.route and self.client_ip == client.counted and client.way(self.started):
                self.leave = client.leave
            elif asked := (yield from self._ask(route)) if route.asks else client.checks(route, self.client_ip, head):
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

    def _account(self) -> None:
        """The end of every story."""
        self._worker.account.ended(self)
        if self.client.exchange is self:
            self.client.ended(not self.head.close)
