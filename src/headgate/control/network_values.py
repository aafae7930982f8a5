"""The kinds of values that name something in the network: hosts, addresses, networks, and the store of limits.

Hosts and addresses are brought into the one form that comparisons use.
"""

import re
from ipaddress import ip_address, ip_network

from headgate.control.report import quoted
from headgate.control.values import Kind, parsed
from headgate.model.address import Address
from headgate.store.url import parse as parse_store

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST_SOCKET_PATH = 107  # sockaddr_un has 108 bytes and the kernel wants a NUL at the end


def host(text: str) -> str:
    """A host name or IP address in the one form that comparisons use. Raises ValueError when it is none."""
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    # What looks like an address and is none would be looked up as a name, and fail much later.
    if ":" in text or text.replace(".", "").isdigit():
        raise ValueError(f"{quoted(text)} is not an IP address")
    if len(text) > 253 or not _HOST.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a host name")
    return text.lower()


def address(text: str, *, listen: bool = False) -> Address:
    """The address in normal form. listen: port 0 is allowed, it stands for one that the system chooses."""
    found = Address.parse(text)
    if found.path:
        if not found.path.isprintable() or len(found.path.encode("utf-8", "replace")) > _LONGEST_SOCKET_PATH:
            raise ValueError(
                f"{quoted(text)} is not an address: a socket's path has at most {_LONGEST_SOCKET_PATH} bytes"
            )
        return found
    if found.port == 0 and not listen:
        raise ValueError(f"{quoted(text)} is not an address to connect to: a server's port is 1 to 65535")
    return Address(host(found.host), found.port)


SERVER_ADDRESS = parsed("address", "an address", address)
LISTEN_ADDRESS = parsed("address", "an address", lambda text: address(text, listen=True))
ADMIN_ADDRESS: Kind[Address | None] = parsed(
    'address or `"off"`', "an address", lambda text: None if text == "off" else address(text, listen=True)
)


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        wide = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a network (expected 10.0.0.0/8, 192.0.2.7 or fd00::/8)") from None
    raise ValueError(f"{quoted(text)} is not a network: it has bits set beyond its prefix (expected {wide})")


NETWORK = parsed("network", "a network", _network)


def _store_url(text: str) -> str:
    try:
        if text:
            parse_store(text)
    except ValueError:
        # Without the parser's own words: it cannot tell a part of a badly written password from the rest.
        raise ValueError(
            "not a Redis URL (expected redis://[user:password@]host:port/db, unix://[user:password@]/path[?db=N], "
            "redis+sentinel://[user:password@]host:port[,host:port...]/service/db or "
            "redis+cluster://[user:password@]host:port[,host:port...], rediss for TLS; "
            'in a password "/", "@", ":" and "#" are written %2F, %40, %3A and %23)'
        ) from None
    return text


STORE_URL = parsed(
    "`redis://[user:password@]host:port/db`, `unix://[user:password@]/path[?db=N]`, "
    "`redis+sentinel://[user:password@]host:port[,host:port...]/service/db` or "
    "`redis+cluster://[user:password@]host:port[,host:port...]`; `rediss` is with TLS",
    "a URL",
    _store_url,
)
