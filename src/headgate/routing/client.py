"""Who the client is: the peer, or, behind proxies that are trusted, what they say.

X-Forwarded-For is read from its end: each entry was written by the hop before it, so the first address that is not a
trusted proxy is the client, and whatever stands before it is only hearsay.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


def plain_address(text: str) -> str:
    """The address in its usual form: without a zone, and IPv4 where IPv6 only carries it (`::ffff:10.0.0.1`).

    Raises ValueError for what is no address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


class TrustedProxies:
    """The networks whose word is believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        """networks: in CIDR form."""
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network, strict=False) for network in networks]

    def __contains__(self, address: str) -> bool:
        """Whether the address (in its usual form) is one of a trusted proxy."""
        if not self._networks:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def client(self, peer: str, forwarded_for: bytes | None) -> str:
        """The client's address. peer: in its usual form; forwarded_for: all X-Forwarded-For values in their order.

        An entry that is no address ends the search: the last proxy that was understood stands for the client.
        """
        client = peer
        if forwarded_for is None or peer not in self:
            return client
        for entry in reversed(forwarded_for.decode("latin-1").split(",")):
            try:
                client = plain_address(_without_port(entry.strip()))
            except ValueError:
                return client
            if client not in self:
                return client
        return client


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    if entry.count(":") == 1:
        return entry.partition(":")[0]
    return entry
