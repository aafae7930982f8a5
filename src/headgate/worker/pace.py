"""Which clients are too slow: the least rates at which they must send and take bodies, where a route has them.

Only the sweep looks at them: a body that passes between two sweeps is never seen here. Of time, it counts what is the
client's own. A request's body counts from its first piece, for before that a client may be waiting for 100 Continue,
until its response begins, for then it may be given up; and not while its server takes no more. A response counts while
some of it waits here, and anew when all that waited was taken, for since then the server may have been awaited. Where
Headgate itself was busy, which shows in a late sweep, nothing counts.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from headgate.errors import ClientGone, ExchangeError, RequestTimeout
from headgate.model.config import Timeouts

if TYPE_CHECKING:
    from headgate.worker.absent import Absent
    from headgate.worker.downstream import Downstream
    from headgate.worker.passage import Passage

# One exchange: its client's connection, and when it began. Not the exchange itself, which would be kept by it.
_Key = tuple["Downstream | Absent", float]


class Pace:
    """What moves of a body in one window of a client's time after the other.

    goal: how much will have moved when all is taken that waited when that was last looked at.
    """

    __slots__ = ("_elapsed", "_moved", "goal")

    def __init__(self, moved: int) -> None:
        """moved: bytes of the body up to now."""
        self._moved = moved
        self._elapsed = 0.0
        self.goal = 0

    def is_below(self, rate: int, window: float, moved: int, step: float) -> bool:
        """Whether a window ends, in which fewer bytes a second than `rate` moved.

        moved: bytes of the body up to now. step: seconds since this was last asked.
        """
        self._elapsed += step
        if self._elapsed < window:
            return False
        is_below = moved - self._moved < rate * self._elapsed
        self._moved, self._elapsed = moved, 0.0
        return is_below


class _Response(NamedTuple):
    """What was written of a response. begun: when its exchange began."""

    begun: float
    sent: int
    timeouts: Timeouts


class Paces:
    """The paces of a worker's clients."""

    __slots__ = ("_answered", "_sending", "_taking")

    def __init__(self) -> None:
        self._sending: dict[_Key, Pace] = {}
        self._taking: dict[_Key, Pace] = {}
        self._answered: dict[Downstream | Absent, _Response] = {}

    # What the data path tells it.

    def resumes(self, client: "Downstream", exchange: "Passage") -> None:
        """The client was not read, for its server's sake, and now is again: it begins anew."""
        self._sending.pop((client, exchange.started), None)

    def answered(self, exchange: "Passage") -> None:
        """The response is complete. What still waits for the client is watched as long as no other can follow it."""
        client = exchange.client
        if (client.paused or exchange.head.close) and client.untaken():
            self._answered[client] = _response_of(exchange)

    def goes_on(self, client: "Downstream") -> None:
        """The client took enough of what waited for it that another response may follow."""
        self._answered.pop(client, None)

    # The sweep.

    def sweep(self, clients: Iterable["Downstream | Absent"], step: float) -> None:
        """Ends what is too slow.

        clients: those that have an exchange. step: seconds since the last sweep; 0 when this one is late.
        """
        sending, self._sending = self._sending, {}
        taking, self._taking = self._taking, {}
        slow: list[tuple[Passage, ExchangeError]] = []
        for client in clients:
            exchange = client.exchange
            assert exchange is not None
            if self._sends_slowly(sending, exchange, step):
                slow.append((exchange, RequestTimeout("request body sent too slowly")))
            elif exchange.is_relaying and self._takes_slowly(taking, client, _response_of(exchange), step):
                slow.append((exchange, ClientGone("response taken too slowly")))
        for client, response in list(self._answered.items()):
            if not client.untaken():
                del self._answered[client]
            elif self._takes_slowly(taking, client, response, step):
                client.abort()
        for exchange, error in slow:  # not before: one that ends may let others go on, and these begin anew
            exchange.fail(error)

    def _sends_slowly(self, before: dict[_Key, Pace], exchange: "Passage", step: float) -> bool:
        rate, received = exchange.timeouts.request_min_rate, exchange.received()
        if not rate or not received:
            return False
        key = exchange.client, exchange.started
        pace = before.get(key)
        if pace is None:
            pace, step = Pace(received), 0.0
        self._sending[key] = pace
        return pace.is_below(rate, exchange.timeouts.min_rate_window, received, step)

    def _takes_slowly(
        self, before: dict[_Key, Pace], client: "Downstream | Absent", response: _Response, step: float
    ) -> bool:
        rate, untaken = response.timeouts.response_min_rate, client.untaken()
        if not rate or not untaken:
            return False
        key, taken = (client, response.begun), response.sent - untaken
        pace = before.get(key)
        if pace is None or taken >= pace.goal:
            pace, step = Pace(taken), 0.0
        self._taking[key] = pace
        pace.goal = response.sent
        return pace.is_below(rate, response.timeouts.min_rate_window, taken, step)


def _response_of(exchange: "Passage") -> _Response:
    return _Response(exchange.started, exchange.sent, exchange.timeouts)
