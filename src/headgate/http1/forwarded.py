"""The fields that tell a server whom it really serves: X-Forwarded-*, Via, and the id of the request."""

# Fields of a peer that is believed pass on as they came; X-Forwarded-For grows by the peer.
_KEPT = (
    (b"x-forwarded-proto", b"X-Forwarded-Proto"),
    (b"x-forwarded-host", b"X-Forwarded-Host"),
    (b"x-real-ip", b"X-Real-IP"),
    (b"forwarded", b"Forwarded"),
)
_VIA = b"Via: 1.1 headgate\r\n"  # RFC 9110 section 7.6.3


def forwarding_fields(peer: bytes, host: bytes, scheme: bytes) -> bytes:
    """The field lines to add to a request whose peer is the client itself, but for the request's id."""
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n%b" % (peer, scheme, host, _VIA)


def believed_fields(peer: bytes, host: bytes, scheme: bytes, claims: dict[bytes, bytes]) -> bytes:
    """The field lines to add to a request of a trusted proxy: what it said, completed. claims: by lower-case name."""
    said = {b"x-forwarded-proto": scheme, b"x-forwarded-host": host, **claims}
    before = claims.get(b"x-forwarded-for")
    chain = peer if before is None else b"%b, %b" % (before, peer)
    lines = [b"X-Forwarded-For: %b\r\n" % chain]
    lines += [b"%b: %b\r\n" % (name, said[key]) for key, name in _KEPT if key in said]
    return b"".join(lines) + _VIA
