"""What a limit counts by: bytes that name a client, and bytes that name the limit itself.

A key has one part for each thing that its limit counts by. Alone a part is the key as it is; several are written
`LEN:VALUE,LEN:VALUE`, where the lengths keep them apart whatever is in them. How a part begins says what it is:

    192.0.2.7, 2001:db8::/64    the client's address or network (`client_ip`), bare
    =VALUE                      what the request says
    @ADDRESS                    the client's address in place of what the request lacks
    #HASH                       either of the two, where it is longer than LONGEST: BLAKE2b, 32 hexadecimal digits
    ~HASH                       any of these, where it is to stay here: the same with a secret (`Seal`)

So nobody can send what counts as somebody else's address. Each part is hashed by itself: equal parts are equal bytes in
every key that has them. A key of PARTS parts has a bounded length.

The worker makes the keys, and asks for that of an address once per client connection. Of the stores only the one that
spreads keys over a Redis Cluster looks inside (`split`). `keytext` writes them for people.
"""

from collections.abc import Sequence
from hashlib import blake2b
from ipaddress import AddressValueError, IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

from headgate.limits.step import period_us
from headgate.model.config import Limit

LONGEST = 128  # bytes of a part
PARTS = 8
PREFIXES = 32, 64  # of IPv4 and IPv6 addresses that count by themselves


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


def network_of(address: str, prefixes: tuple[int, int]) -> bytes:
    """The key of the network around a client's address. prefixes: its length for IPv4 and for IPv6.

    With `PREFIXES` it is that of `client_ip`; it costs ten times as much.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return client_ip(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    length = prefixes[isinstance(parsed, IPv6Address)]
    if length == parsed.max_prefixlen:
        return str(type(parsed)(int(parsed))).encode()  # without a zone
    rest = parsed.max_prefixlen - length
    network = type(parsed)(int(parsed) >> rest << rest)
    return f"{network}/{length}".encode()


def prefixes(part: str) -> tuple[int, int] | None:
    """The lengths that `client_ip`, `client_ip/24` or `client_ip/24/56` says; None for other things to count by."""
    kind, *lengths = part.split("/")
    if kind != "client_ip":
        return None
    ipv4, ipv6 = [int(length) for length in lengths] + list(PREFIXES[len(lengths) :])
    return ipv4, ipv6


def decoded(text: bytes) -> bytes:
    """What a name or a value in a query means (application/x-www-form-urlencoded)."""
    return unquote_to_bytes(text.replace(b"+", b" "))


def said(value: bytes, client: bytes) -> bytes:
    """The part for what a request says, or lacks where the value is empty. client: the key of its client's address."""
    part = b"=" + value if value else b"@" + client
    return part if len(part) <= LONGEST else b"#" + blake2b(part, digest_size=16).hexdigest().encode()


class Seal:
    """Hides the parts of keys: who has not the secret can neither read nor guess what was hidden."""

    def __init__(self, secret: bytes) -> None:
        """secret: the same for all who are to count together."""
        self._hash = blake2b(key=blake2b(secret).digest(), digest_size=16)

    def __call__(self, part: bytes) -> bytes:
        """The part, hidden if it is not so already."""
        if part.startswith(b"~"):
            return part
        hashed = self._hash.copy()
        hashed.update(part)
        return b"~" + hashed.hexdigest().encode()


def is_secret(part: str) -> bool:
    """Whether what the part reads is a secret, and hidden whatever the limit says: `api_key`, `api_key:x-token`."""
    return part.partition(":")[0] == "api_key"


def is_hashed(limit: Limit) -> bool:
    """Whether keys of the limit have parts that are hidden."""
    return limit.private or any(is_secret(part) for part in limit.key.split(","))


def compose(parts: Sequence[bytes]) -> bytes:
    """The key of these parts, at least one."""
    if len(parts) == 1:
        return parts[0]
    return b",".join([b"%d:%b" % (len(part), part) for part in parts])


def split(key: bytes) -> list[bytes]:
    """The parts of a key: the inverse of `compose`. Bytes that it writes for no several parts are one part."""
    parts, at = [], 0
    while True:
        length, colon, _ = key[at : at + 8].partition(b":")
        if not colon or not length.isdigit() or length != b"%d" % int(length):
            return [key]
        start = at + len(length) + 1
        at = start + int(length)
        parts.append(key[start:at])
        if at == len(key) and len(parts) > 1:
            return parts
        if key[at : at + 1] != b",":
            return [key]
        at += 1


def limit_identity(limit: Limit) -> str:
    """The text that names a limit in a store, such as `per_ip:client_ip:fixed_window:100/60000000`.

    It has all that a count's meaning depends on (the period in microseconds), so a limit whose rate, key or algorithm
    is changed begins with fresh counts and is never read with the wrong rule.
    """
    burst = f"+{limit.burst}" if limit.burst else ""
    return f"{limit.name}:{limit.key}:{limit.algorithm}:{limit.rate.limit}/{period_us(limit.rate)}{burst}"
