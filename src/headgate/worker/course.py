"""Where an exchange stands: all that is known of it, what its story waits for, and how long that may take.

The story is a generator (`exchange.py`). It yields when it must wait. Whoever has what it waits for calls `resume`,
whoever met a failure calls `fail`, which raises it where the story stands. All that is waited for has one deadline,
which is the client's: the worker's sweep looks at it and calls `expire`, and what was awaited decides whose fault it
is.

Whatever an exchange waits for knows it as a `Course`; its connections know it as a `Passage` (`passage.py`). The rest
is the story's own: its chapters are in `admission.py`, `forwarding.py` and `relaying.py`. They are classes that
`Exchange` is made of, so that a step in another module costs no call and no look-up more.
"""

from asyncio import Task
from collections.abc import Callable, Generator, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from headgate.errors import (
    ClientGone,
    ConnectFailed,
    ExchangeError,
    Overdue,
    Overloaded,
    RequestTimeout,
    ServerTimeout,
    TunnelIdle,
)
from headgate.http1.request import RequestHead
from headgate.limits.decision import Decision
from headgate.model.config import Timeouts
from headgate.wire.cells import ServerCell
from headgate.worker.absent import Absent
from headgate.worker.phase import CONNECT, OVER, QUEUE, REQUEST_BODY, RESPONSE_BODY, STORE, TUNNEL, WAITS
from headgate.worker.plan import LiveRoute
from headgate.worker.server import Server
from headgate.worker.tunnel import Tunnel
from headgate.worker.upload import Upload
from headgate.worker.upstream import ServerConnection

if TYPE_CHECKING:
    from headgate.worker.downstream import Downstream
    from headgate.worker.places import Places
    from headgate.worker.process import Worker


Story = Generator[None, None, None]

NEVER = float("inf")
_IN_FLIGHT = int(ServerCell.IN_FLIGHT)


class Course:
    """One request and its response.

    id: what names it in logs and to the server. status, sent, flag, server: what came of it. connection: the
    server's, from the moment that the request is sent until its response is complete. leave: what gives back the places
    that it holds under limits on what is in flight.
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
        "leave",
        "sent",
        "server",
        "started",
        "status",
    )

    _story: Story
    _route: LiveRoute
    _event: object  # what the story waited for
    _places: "Places"  # that `leave` gives back, where it is not a gate's

    def __init__(self, worker: "Worker", client: "Downstream", head: RequestHead) -> None:
        self.started = monotonic()
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
        self._until = NEVER  # when all attempts together must be over
        self._asked = b""  # what the server is asked to upgrade to
        self._tunnel: Tunnel | None = None
        self.leave: Callable[[], None] | None = None

    @property
    def now(self) -> float:
        """The worker's coarse clock."""
        return self._worker.now

    @property
    def timeouts(self) -> Timeouts:
        """Those of the route: it has one from the very beginning, or is over at once."""
        return self._route.timeouts

    @property
    def target(self) -> bytes:
        """The target as the access log shows it: what private limits count by is hidden."""
        route: LiveRoute | None = getattr(self, "_route", None)
        hide = self._worker.plan.hide if route is None else route.hide
        return self.head.target if hide is None else hide(self.head.target)

    @property
    def is_relaying(self) -> bool:
        """Whether a response's body is on its way."""
        return self._phase is RESPONSE_BODY

    # How it is driven.

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

    # The time that it has.

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
        client.deadline = NEVER
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

    # What it holds.

    def _give_back(self) -> None:
        """Gives back the places that it holds, once.

        Before the last of the response is written: who has all of it may ask again at once, also of another worker.
        """
        leave, self.leave = self.leave, None
        if leave is not None:
            leave()

    def _leave(self) -> None:
        """The server has one request less."""
        server, self._holds = self._holds, None
        if server is not None:
            server.cells[_IN_FLIGHT] -= 1  # `leave`, without the call
            if server.max_requests:
                self._route.group.queue.left()
