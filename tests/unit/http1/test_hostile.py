"""Whatever is sent, reading it takes time in proportion to its size.

A pattern that goes back over what it read would take minutes for these sizes, and the limit on each test ends it.
"""

import contextlib

import pytest

from headgate.errors import BadRequest, BadResponse
from headgate.ext import Response
from headgate.http1.body import Chunked
from headgate.http1.fields import reader_of
from headgate.http1.request import read_request
from headgate.http1.response import MAX_HEAD, ResponseHead, read_response
from headgate.http1.upgrade import protocols
from headgate.model.config import Heads
from headgate.routing.router import normal_path

pytestmark = pytest.mark.timeout(20)

HEADS = Heads(max_size=1 << 20, max_fields=10_000, max_target=1 << 20)  # the most that a configuration allows
SIZE = 250_000
PIECES = [
    *(b"a", b":", b" ", b"\t", b"-", b"a-", b"\xff", b"a:\r\n", b"a: b\r\n", b"Host", b"Host:", b"X-Forwarded-"),
    *(b"Connection: x\r\n", b"X-Real-IP: 1\r\n", b"TE:\r\n", b"Keep-Alive: timeout=1\r\n", b"timeout ", b",timeout="),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 1\r\n", b"X-Forwarded-For: 1.1.1.1\r\n", b"expect", b"a_b"),
    *(b"\r\n", b"\r", b"x,", b", ", b'"', b"\\"),
]
ENDS = [b"", b"\r\n\r\n", b"\0\r\n\r\n", b"\r\nHost: a\r\n\r\n"]


@pytest.mark.parametrize("piece", PIECES, ids=repr)
@pytest.mark.parametrize("name", [b"", b"X: ", b"Connection: ", b"Host: a\r\nUpgrade: ", b"Keep-Alive: "], ids=repr)
def test_no_head_takes_long(name: bytes, piece: bytes) -> None:
    for end in ENDS:
        _read(name, piece, end)


def _read(name: bytes, piece: bytes, end: bytes) -> None:
    fields = name + piece * (SIZE // len(piece)) + end
    for trusted in (False, True):
        with contextlib.suppress(BadRequest):
            read_request(b"GET / HTTP/1.1\r\n" + fields, HEADS, trusted)
    with contextlib.suppress(BadResponse):
        read_response(b"HTTP/1.1 200 OK\r\n" + fields, b"GET")
    short = name + piece * ((MAX_HEAD - 200) // len(piece)) + end
    with contextlib.suppress(BadResponse):
        read_response(b"HTTP/1.1 200 OK\r\n" + short, b"GET")


@pytest.mark.parametrize(
    "piece", [b"/", b"/..", b"/.", b"/a", b"%2e%2e/", b"%", b"a", b"?", b"\\", b"@", b":"], ids=repr
)
@pytest.mark.parametrize("start", [b"/", b"http://", b"http://a", b"http://[", b"*"], ids=repr)
def test_no_target_takes_long(start: bytes, piece: bytes) -> None:
    target = start + piece * (SIZE // len(piece))
    normal_path(target)
    with contextlib.suppress(BadRequest):
        read_request(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target, HEADS)


@pytest.mark.parametrize(
    "piece", [b";a", b";a=b", b' ;a="b"', b' ; a = "\\"', b"\\", b" ", b";", b"1", b"=", b'"'], ids=repr
)
@pytest.mark.parametrize("start", [b"1", b"1;a=", b'1;a="', b"0\r\na:"], ids=repr)
def test_no_chunk_takes_long(start: bytes, piece: bytes) -> None:
    for end in (b"", b"\r\n", b"\0\r\n"):
        with contextlib.suppress(BadRequest):
            Chunked(True, BadRequest).feed(start + piece * (SIZE // len(piece)) + end)


@pytest.mark.parametrize("piece", [b" ", b"\t", b"a ", b":", b"x", b"\r\nx:", b"\r\nx: "], ids=repr)
def test_no_value_takes_long_to_find(piece: bytes) -> None:
    head = ResponseHead.__new__(ResponseHead)
    head.lines = b"HTTP/1.1 200 OK\r\nx: a" + piece * (HEADS.max_size // len(piece)) + b"b\r\n"
    found = reader_of("X")(head.lines)
    seen = Response(200, 0, "-", head)
    assert seen.header("x") == b", ".join(found).decode()
    assert len(seen.headers) == len(found)


@pytest.mark.parametrize("piece", [b"a,", b"a/b,", b"a ", b" ", b"a/", b","], ids=repr)
def test_no_upgrade_takes_long(piece: bytes) -> None:
    protocols([piece * (SIZE // len(piece)), b"a" + piece * (SIZE // len(piece)) + b"\0"])
