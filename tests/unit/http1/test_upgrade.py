"""Which protocols are asked for, and which may be."""

import pytest

from headgate.http1.upgrade import allowed, is_http, protocols


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (None, ()),
        ([b"websocket"], (b"websocket",)),
        ([b" foo/1.2 ,\twebsocket "], (b"foo/1.2", b"websocket")),
        ([b"foo", b"bar"], (b"foo", b"bar")),
        ([b""], ()),
        ([b"foo,"], ()),
        ([b",foo"], ()),
        ([b"foo bar"], ()),
        ([b"foo/"], ()),
        ([b"foo/1/2"], ()),
        ([b"foo", b"b\x80r"], ()),
        ([b'"foo"'], ()),
    ],
)
def test_a_malformed_field_asks_for_nothing(values: list[bytes] | None, found: tuple[bytes, ...]) -> None:
    assert protocols(values) == found


@pytest.mark.parametrize("protocol", [b"h2c", b"H2C", b"HTTP/2.0", b"http", b"h2", b"h3", b"TLS/1.0", b"tls"])
def test_what_carries_requests_is_http(protocol: bytes) -> None:
    assert is_http(protocol)
    assert allowed([protocol], [b"*", protocol.lower()]) == b""


@pytest.mark.parametrize(
    ("known", "passes"),
    [((b"*",), b"WebSocket, foo/2"), ((b"websocket",), b"WebSocket"), ((b"foo", b"bar"), b"foo/2"), ((), b"")],
)
def test_only_what_is_known_is_asked_for(known: tuple[bytes, ...], passes: bytes) -> None:
    assert allowed([b"WebSocket", b"h2c", b"foo/2"], known) == passes
