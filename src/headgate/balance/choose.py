"""Availability, applied in one place: a policy only orders, so a policy cannot send traffic to a dead server."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """What `choose` asks of a server.

    admitted: the operator wants it to take requests and the prober does not say it is down.
    ejected_until: until when the data path leaves it alone, in seconds on the clock of `now`.
    max_requests: how many requests it may have at once, 0 for no limit; has_room: whether it has fewer.
    """

    admitted: bool
    ejected_until: float
    max_requests: int

    def has_room(self) -> bool:
        """Asked only where there is a limit."""


S = TypeVar("S", bound=Candidate)


def is_available(server: Candidate, now: float) -> bool:
    """Whether the server should get requests."""
    return server.admitted and server.ejected_until <= now


def usable(servers: Sequence[S], now: float) -> list[S]:
    """The servers that a policy should share requests among: the available ones.

    When every admitted server is ejected they are all used again (panic): an ejected server that might answer is
    better than none, and being wrong about one costs less than refusing everybody.
    """
    admitted = [server for server in servers if server.admitted]
    return [server for server in admitted if server.ejected_until <= now] or admitted


def choose(order: Iterable[S], now: float, tried: Collection[S] = ()) -> S | None:
    """The first server of the order that is available, has room and was not tried.

    Where there is none, one that is only ejected; but while an available one has as many requests as it may, None: that
    one is worth waiting for.
    """
    spare: S | None = None
    waits = False
    for server in order:
        if server.admitted and server not in tried:
            if server.ejected_until <= now:
                if not server.max_requests or server.has_room():
                    return server
                waits = True
            elif spare is None and (not server.max_requests or server.has_room()):
                spare = server
    return None if waits else spare
