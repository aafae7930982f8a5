"""How many connections each client has: the coarse guard against floods, before anything is read of a request.

A client is what limits take for one (`limits/keys.py`): an IPv4 address, or the /64 of an IPv6 address. Whoever has one
IPv6 address has 2**64 of them.

They are counted with and without a limit, so that one that comes with a reload is right from its first moment.
"""

from headgate.limits.keys import client_ip


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
        """A connection that entered is gone."""
        key = client_ip(address)
        count = self._counts.pop(key) - 1
        if count:
            self._counts[key] = count

    def __len__(self) -> int:
        """How many clients are counted."""
        return len(self._counts)
