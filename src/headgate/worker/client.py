"""Who is at the other end of a client's connection, as its requests have to know it.

What one request had to find out is kept for the next one: the fields that tell a server whom it serves, what the limits
of the route have to decide, and the short way through them (`store/ways.py`, `store/gate.py`).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headgate.http1.forwarded import believed_fields, forwarding_fields
from headgate.http1.request import RequestHead
from headgate.store.base import Check
from headgate.store.ways import Way
from headgate.worker.plan import LiveRoute

if TYPE_CHECKING:
    from headgate.worker.exchange import Exchange
    from headgate.worker.process import Worker


def _unsought(now: float) -> bool:
    """In the place of a client's short way until its second request: many clients send just one."""
    return False


def _nowhere(now: float) -> bool:
    """In the place of a client's short way where there is none."""
    return False


class Client:
    """One client, as long as it stays connected.

    ip: the peer's address; address: the same as bytes. trusted: whether it is a proxy whose word is believed.
    exchange: the one that it has now. way: the short way through the limits of `route` for requests of `counted`;
    leave: what gives back the place that one holds which went it, None where there is none.
    """

    __slots__ = (
        "_added",
        "_added_host",
        "_checks",
        "address",
        "counted",
        "exchange",
        "ip",
        "leave",
        "route",
        "trusted",
        "way",
        "worker",
    )

    address: bytes

    def __init__(self, worker: "Worker") -> None:
        self.worker = worker
        self.exchange: Exchange | None = None
        self._added_host = b""
        self._added = b""
        self.route: LiveRoute | None = None
        self.counted = ""
        self._checks: Sequence[Check] = ()
        self.way: Way = _unsought
        self.leave: Callable[[], None] | None = None
        self.ip = ""
        self.trusted = False

    def client_of(self, head: RequestHead) -> str:
        """The address of the client that a request is for."""
        if head.claims is None:
            return self.ip
        return self.worker.plan.trusted.client(self.ip, head.claims.get(b"x-forwarded-for"))

    def fields_for(self, head: RequestHead) -> bytes:
        """The fields that tell the server whom it serves."""
        if head.claims is not None:
            return believed_fields(self.address, head.host, b"http", head.claims)
        if head.host != self._added_host or not self._added:
            self._added_host = head.host
            self._added = forwarding_fields(self.address, head.host, b"http")
        return self._added

    def checks(self, route: LiveRoute, client: str, head: RequestHead) -> Sequence[Check]:
        """What the limits of the route have to decide; none where all let it pass at once.

        Where a client's requests all have one key, this is kept for the next request, and that finds the short way.
        """
        if route is self.route and client == self.counted:
            if self.way is _unsought and self._finds_way(route):
                return ()
            return self._checks
        if not route.by_address:
            return route.checks(route.limits, client, head)
        self.route, self.counted = route, client
        # A tuple: a store may keep what it makes of one that does not change.
        self._checks, self.way = tuple(route.checks(route.limits, client, head)), _unsought
        return self._checks

    def _finds_way(self, route: LiveRoute) -> bool:
        """Whether there is a short way for the requests of this client, and the present one goes it."""
        exchange = self.exchange
        assert exchange is not None
        self.way = self._short_way(route) or _nowhere
        if not self.way(exchange.started):
            return False
        exchange.leave = self.leave
        return True

    def _short_way(self, route: LiveRoute) -> Way | None:
        """The way for the requests of this client: there is one where its limits say nothing to it."""
        self.leave = None
        if route.tells or not self._checks:
            return None
        account = self.worker.account
        if route.holds:
            if len(self._checks) > 1 or route.tried:
                return None
            gate = self.worker.store.gate(self._checks[0], account.tally(self._checks[0][0]))
            if gate is None:
                return None
            self.leave = gate.leave
            return gate.enter
        return self.worker.store.way(self._checks, [account.tally(limit) for limit, _, _ in self._checks])
