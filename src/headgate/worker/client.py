"""Who is at the other end of a client's connection, as its requests have to know it.

What one request had to find out is kept for the next one: the fields that tell a server whom it serves, what the limits
of the route have to decide, and the short way through them (`store/ways.py`, `store/gate.py`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headgate.http1.forwarded import believed_fields, forwarding_fields
from headgate.http1.request import RequestHead
from headgate.store.base import Check
from headgate.store.gate import Gate
from headgate.store.ways import Way
from headgate.worker.plan import LiveRoute

if TYPE_CHECKING:
    from headgate.worker.exchange import Exchange
    from headgate.worker.process import Worker


def _not_looked_for() -> bool:
    """In the place of a client's way through a limit until the second request: many clients send just one."""
    return False


class Client:
    """One client, as long as it stays connected.

    ip: the peer's address; address: the same as bytes. trusted: whether it is a proxy whose word is believed.
    exchange: the one that it has now.
    """

    __slots__ = (
        "_added",
        "_added_host",
        "_checked_ip",
        "_checked_route",
        "_checks",
        "_gate",
        "_way",
        "address",
        "exchange",
        "ip",
        "trusted",
        "worker",
    )

    address: bytes

    def __init__(self, worker: "Worker") -> None:
        self.worker = worker
        self.exchange: Exchange | None = None
        self._added_host = b""
        self._added = b""
        self._checked_route: LiveRoute | None = None
        self._checked_ip = ""
        self._checks: Sequence[Check] = ()
        self._way: Way | None = None
        self._gate: Gate | None = None
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

        Where a client's requests all have one key, they and the short way are kept for the next request.
        """
        if route is self._checked_route and client == self._checked_ip:
            way = self._way
            if way is not None and (way() or (way is _not_looked_for and self._finds_way(route))):
                if route.holds:
                    self.exchange.places = self._gate  # type: ignore[union-attr]
                return ()
            return self._checks
        if not route.by_address:
            return route.checks(route.limits, client, head)
        self._checked_route, self._checked_ip = route, client
        # A tuple: a store may keep what it makes of one that does not change.
        self._checks, self._way = tuple(route.checks(route.limits, client, head)), _not_looked_for
        return self._checks

    def _finds_way(self, route: LiveRoute) -> bool:
        """Whether there is a short way for the requests of this client, and one goes it."""
        self._way = way = self._short_way(route)
        return way is not None and way()

    def _short_way(self, route: LiveRoute) -> Way | None:
        """The way for the requests of this client: there is one where its limits say nothing to it."""
        if route.tells or not self._checks:
            return None
        account = self.worker.account
        if route.holds:
            one = len(self._checks) == 1 and not route.tried
            self._gate = self.worker.store.gate(self._checks[0], account.tally(self._checks[0][0])) if one else None
            return None if self._gate is None else self._gate.enter
        return self.worker.store.way(self._checks, [account.passed(limit) for limit, _, _ in self._checks])
