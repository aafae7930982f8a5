"""Who the client is: the peer, or, behind proxies that are trusted, what they say.

X-Forwarded-For is read from its end: each entry was written by the hop before it, so the first address that is not a
trusted proxy is the client, and whatever stands before it is only hearsay.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


def plain_address(text: str) -> str:
    """The address in its usual form: without a zone, and IPv4 where IPv6 only carries it (`::ffff:10.0.0.1`).

    Raises ValueError for what is no address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


class Networks:
    """Some networks."""

    def __init__(self, networks: Iterable[str]) -> None:
        """networks: in CIDR form."""
        self._networks = tuple(ip_network(network, strict=False) for network in networks)

    def __contains__(self, address: str) -> bool:
        """Whether the address (in its usual form) is in one of them."""
        return bool(self._networks) and _is_in(address, self._networks)


class TrustedProxies(Networks):
    """The networks whose word is believed."""

    def client(self, peer: str, forwarded_for: bytes | None) -> str:
        """The client's address. peer: in its usual form; forwarded_for: all X-Forwarded-For values in their order.

        An entry that is no address ends the search: the last proxy that was understood stands for the client.
        """
        if forwarded_for is None or peer not in self:
            return peer
        client = peer
        for entry in reversed(forwarded_for.split(b",")):
            address = _address(entry) if len(entry) <= _LONGEST else None
            if address is None:
                return client
            client = address
            if client not in self:
                return client
        return client


# Behind a proxy every request asks about the same few addresses, and each answer costs some microseconds: the latest
# are remembered. Entries are short, so this much is some hundred kilobytes whatever is sent.
_REMEMBERED = 2048
_LONGEST = 64  # bytes of an entry that can be an address, with its white space, brackets, zone and port


@lru_cache(_REMEMBERED)
def _is_in(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


@lru_cache(_REMEMBERED)
def _address(entry: bytes) -> str | None:
    """The address that an entry names, or None."""
    text = entry.strip(b" \t").decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return plain_address(text)
    except ValueError:
        return None
