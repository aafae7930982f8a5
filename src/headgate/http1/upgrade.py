"""Upgrade: which other protocols a client asks for, and which of them a server may be asked for (RFC 9110 section 7.8).

A connection that becomes something else is a tunnel: nothing that passes it is looked at any more. So a protocol that
is HTTP again is never passed on, whatever a configuration says: requests in it would go round routes and limits.
"""

import re
from collections.abc import Collection

from headgate.http1.grammar import TOKEN

_PROTOCOLS = re.compile(
    rb"[\t ]*+" + TOKEN + rb"(?:/" + TOKEN + rb")?(?:[\t ]*+,[\t ]*+" + TOKEN + rb"(?:/" + TOKEN + rb")?)*[\t ]*+"
)
ANY = b"*"


def protocols(values: list[bytes] | None) -> tuple[bytes, ...]:
    """The protocols of all Upgrade fields in their order; none where a field is malformed."""
    if values is None or not all(_PROTOCOLS.fullmatch(value) for value in values):
        return ()
    return tuple(protocol.strip(b" \t") for value in values for protocol in value.split(b","))


def is_http(protocol: bytes) -> bool:
    """Whether the protocol carries requests: h2c, HTTP/2.0, or TLS, in which there is HTTP again (RFC 2817)."""
    return name_of(protocol) in (b"h2c", b"h2", b"h3", b"http", b"tls")


def name_of(protocol: bytes) -> bytes:
    """A protocol's name in lower case, without its version."""
    return protocol.partition(b"/")[0].lower()


def allowed(asked: Collection[bytes], known: Collection[bytes]) -> bytes:
    """What to ask a server for: the value of an Upgrade field, b"" for none. known: names, or `*` for all."""
    return b", ".join(
        protocol for protocol in asked if not is_http(protocol) and (ANY in known or name_of(protocol) in known)
    )
