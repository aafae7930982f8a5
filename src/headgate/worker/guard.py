"""How many connections each client has: the coarse guard against floods, before anything is read of a request.

A client is what limits take for one (`limits/keys.py`): an IPv4 address, or the /64 of an IPv6 address. Whoever has one
IPv6 address has 2**64 of them.

They are counted with and without a limit, so that one that comes with a reload is right from its first moment.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headgate.limits.keys import client_ip
from headgate.routing.client import TrustedProxies
from headgate.worker.absent import Absent

if TYPE_CHECKING:
    from headgate.worker.downstream import Downstream


class Guard:
    """Counts connections by client. most: of one client, 0 for no limit."""

    __slots__ = ("_counts", "most")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self.most = 0

    def enters(self, address: str) -> bool:
        """Whether one more connection of this address's client may be; it is counted then."""
        key = client_ip(address)
        count = self._counts.get(key, 0)
        if count >= self.most > 0:
            return False
        self._counts[key] = count + 1
        return True

    def leaves(self, address: str) -> None:
        """A connection that counted is gone, or counts no more."""
        key = client_ip(address)
        count = self._counts.pop(key) - 1
        if count:
            self._counts[key] = count

    def trust(self, clients: "Iterable[Downstream | Absent]", proxies: TrustedProxies) -> None:
        """Other proxies are believed, also on the connections that they have; those of others count, however many."""
        for client in clients:
            trusted = client.ip in proxies
            if trusted is client.trusted or isinstance(client, Absent):
                continue
            client.trusted = trusted
            if trusted:
                self.leaves(client.ip)
            else:
                key = client_ip(client.ip)
                self._counts[key] = self._counts.get(key, 0) + 1

    def __len__(self) -> int:
        """How many clients are counted."""
        return len(self._counts)
