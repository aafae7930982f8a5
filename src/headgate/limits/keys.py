"""What a limit counts by: bytes that name a client, and bytes that name the limit itself.

The worker asks for a key once per client connection and keeps it; the stores never look inside one.
"""

from ipaddress import AddressValueError, IPv6Address

from headgate.limits.step import period_us
from headgate.model.config import Limit


def client_ip(address: str) -> bytes:
    """The key of a client's address, as readable text.

    IPv4 counts by address, IPv6 by /64 because one customer gets at least that much (RFC 6177), and an IPv4 address
    in IPv6 form (`::ffff:192.0.2.1`, what a dual-stack socket reports) as the IPv4 address that it is. A zone
    (`%eth0`) does not count. What is no address, such as the peer of a Unix socket, is its own key.
    """
    if ":" not in address:
        return address.encode("utf-8", "surrogateescape")
    try:
        parsed = IPv6Address(address)
    except AddressValueError:
        return address.encode("utf-8", "surrogateescape")
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped).encode()
    network = IPv6Address(int(parsed) >> 64 << 64)
    return f"{network}/64".encode()


def limit_identity(limit: Limit) -> str:
    """The text that names a limit in a store, such as `per_ip:client_ip:fixed_window:100/60000000`.

    It has all that a count's meaning depends on (the period in microseconds), so a limit whose rate, key or algorithm
    is changed begins with fresh counts and is never read with the wrong rule.
    """
    burst = f"+{limit.burst}" if limit.burst else ""
    return f"{limit.name}:{limit.key}:{limit.algorithm}:{limit.rate.limit}/{period_us(limit.rate)}{burst}"
