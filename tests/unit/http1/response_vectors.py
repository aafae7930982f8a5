"""Response heads and what must become of them: name, bytes, where it is written, outcome.

An outcome is 502 or what is forwarded. The request is a GET by HTTP/1.1 unless the vector says otherwise.
"""

from headgate.http1.request import CHUNKED
from headgate.http1.response import UNTIL_CLOSE
from tests.unit.http1.reading import Response

Vector = tuple[str, bytes, str, "int | Response | None", bytes, int]

OK = b"HTTP/1.1 200 OK"
LENGTH = (b"content-length", b"5")
CODING = (b"transfer-encoding", b"chunked")


def ok(*lines: bytes, line: bytes = OK) -> bytes:
    """A response with these field lines."""
    return b"".join(each + b"\r\n" for each in (line, *lines, b""))


def passes(*fields: tuple[bytes, bytes], line: bytes = OK, length: int = UNTIL_CLOSE, close: bool = False) -> Response:
    """Forwarded with these fields."""
    return Response(line, fields, length, close)


def vector(
    name: str, data: bytes, source: str, outcome: int | Response | None, method: bytes = b"GET", minor: int = 1
) -> Vector:
    return name, data, source, outcome, method, minor


FRAMING = [
    vector("length", ok(b"Content-Length: 5"), "9112 6.2", passes(LENGTH, length=5)),
    vector("length-zero", ok(b"Content-Length: 0"), "9112 6.2", passes((b"content-length", b"0"), length=0)),
    vector("length-padded", ok(b"Content-Length:\t5 "), "9112 5.1", passes(LENGTH, length=5)),
    vector("length-twice-equal", ok(b"Content-Length: 5", b"Content-Length: 5"), "9112 6.3 item 5", 502),
    vector("length-twice-differing", ok(b"Content-Length: 5", b"Content-Length: 6"), "9112 6.3 item 5", 502),
    vector("length-list", ok(b"Content-Length: 5, 5"), "9112 6.3 item 5", 502),
    vector("length-minus", ok(b"Content-Length: -5"), "9110 8.6", 502),
    vector("length-plus", ok(b"Content-Length: +5"), "9110 8.6", 502),
    vector("length-hex", ok(b"Content-Length: 0x5"), "9110 8.6", 502),
    vector("length-empty", ok(b"Content-Length:"), "9110 8.6", 502),
    vector("length-huge", ok(b"Content-Length: " + b"9" * 19), "9110 8.6", 502),
    vector("length-spaced-name", ok(b"Content-Length : 5"), "9112 5.1", 502),
    vector("chunked", ok(b"Transfer-Encoding: chunked"), "9112 6.1", passes(CODING, length=CHUNKED)),
    vector(
        "chunked-capital",
        ok(b"transfer-encoding:Chunked"),
        "9112 7",
        passes((b"transfer-encoding", b"Chunked"), length=CHUNKED),
    ),
    vector(
        "chunked-any-case",
        ok(b"Transfer-Encoding: CHUNKED "),
        "9112 7",
        passes((b"transfer-encoding", b"CHUNKED"), length=CHUNKED),
    ),
    vector("chunked-with-length", ok(b"Content-Length: 5", b"Transfer-Encoding: chunked"), "9112 6.3 item 3", 502),
    vector("length-after-chunked", ok(b"Transfer-Encoding: chunked", b"Content-Length: 5"), "9112 6.3 item 3", 502),
    vector("chunked-twice", ok(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "9112 7.1", 502),
    vector("gzip-chunked", ok(b"Transfer-Encoding: gzip, chunked"), "9112 7", 502),
    vector("identity", ok(b"Transfer-Encoding: identity"), "9112 7", 502),
    vector("coding-empty", ok(b"Transfer-Encoding:"), "9112 6.1", 502),
    vector("coding-of-1.0", ok(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK"), "9112 6.1", 502),
    vector(
        "chunked-for-1.0",
        ok(b"Transfer-Encoding: chunked", b"X: v"),
        "9112 6.1",
        passes((b"x", b"v"), length=CHUNKED),
        minor=0,
    ),
    vector("length-for-1.0", ok(b"Content-Length: 5"), "9112 6.2", passes(LENGTH, length=5), minor=0),
    vector("until-close", ok(), "9112 6.3 item 8", passes()),
    vector("until-close-said", ok(b"Connection: close", b"X: v"), "9112 6.3 item 8", passes((b"x", b"v"), close=True)),
    vector("head-with-length", ok(b"Content-Length: 5"), "9112 6.3 item 1", passes(LENGTH, length=0), b"HEAD"),
    vector("head-chunked", ok(b"Transfer-Encoding: chunked"), "9112 6.3 item 1", passes(CODING, length=0), b"HEAD"),
    vector("head-with-nothing", ok(), "9112 6.3 item 1", passes(length=0), b"HEAD"),
    vector(
        "head-in-the-general-path",
        ok(b"X_Y: 1", b"Content-Length: 5"),
        "9112 6.3 item 1",
        passes((b"x_y", b"1"), LENGTH, length=0),
        b"HEAD",
    ),
    vector("head-ambiguous", ok(b"Content-Length: 5", b"Transfer-Encoding: chunked"), "9112 6.3 item 3", 502, b"HEAD"),
]
STATUS = [
    vector(
        "304-with-length",
        ok(b"Content-Length: 5", line=b"HTTP/1.1 304 Not Modified"),
        "9112 6.3 item 1",
        passes(LENGTH, line=b"HTTP/1.1 304 Not Modified", length=0),
    ),
    vector(
        "304-in-the-general-path",
        ok(b"X_Y: 1", line=b"HTTP/1.1 304 -"),
        "9112 6.3 item 1",
        passes((b"x_y", b"1"), line=b"HTTP/1.1 304 -", length=0),
    ),
    vector(
        "204",
        ok(b"X: v", line=b"HTTP/1.1 204 No Content"),
        "9112 6.3 item 1",
        passes((b"x", b"v"), line=b"HTTP/1.1 204 No Content", length=0),
    ),
    vector(
        "204-with-length",
        ok(b"Content-Length: 5", line=b"HTTP/1.1 204 No Content"),
        "9110 8.6",
        passes(line=b"HTTP/1.1 204 No Content", length=0),
    ),
    vector(
        "204-chunked",
        ok(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 204 No Content"),
        "9112 6.1",
        passes(line=b"HTTP/1.1 204 No Content", length=0),
    ),
    vector(
        "205-with-length",
        ok(b"Content-Length: 5", line=b"HTTP/1.1 205 Reset"),
        "9110 15.3.6",
        passes(LENGTH, line=b"HTTP/1.1 205 Reset", length=5),
    ),
    vector("100", ok(line=b"HTTP/1.1 100 Continue"), "9110 15.2", passes(line=b"HTTP/1.1 100 Continue", length=0)),
    vector(
        "103-with-fields",
        ok(b"Link: </a>", b"Content-Length: 3", line=b"HTTP/1.1 103 Early Hints"),
        "9110 8.6",
        passes((b"link", b"</a>"), line=b"HTTP/1.1 103 Early Hints", length=0),
    ),
    vector(
        "103-chunked",
        ok(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 103 Early Hints"),
        "9112 6.1",
        passes(line=b"HTTP/1.1 103 Early Hints", length=0),
    ),
    vector("599", ok(line=b"HTTP/1.1 599 x"), "9110 15", passes(line=b"HTTP/1.1 599 x")),
    vector("600", ok(line=b"HTTP/1.1 600 x"), "9110 15", 502),
    vector("000", ok(line=b"HTTP/1.1 000 x"), "9110 15", 502),
    vector("099", ok(line=b"HTTP/1.1 099 x"), "9110 15", 502),
    vector("two-digits", ok(line=b"HTTP/1.1 20 OK"), "9112 4", 502),
    vector("four-digits", ok(line=b"HTTP/1.1 2000 OK"), "9112 4", 502),
    vector("plus", ok(line=b"HTTP/1.1 +20 OK"), "9112 4", 502),
    vector("no-reason", ok(line=b"HTTP/1.1 200 "), "9112 4", passes(line=b"HTTP/1.1 200 ")),
    vector("no-reason-no-space", ok(line=b"HTTP/1.1 200"), "9112 4", passes(line=b"HTTP/1.1 200")),
    vector(
        "reason-obs-text", ok(line=b"HTTP/1.1 200 \xe9t\xe9\t!"), "9112 4", passes(line=b"HTTP/1.1 200 \xe9t\xe9\t!")
    ),
    vector("reason-control", ok(line=b"HTTP/1.1 200 O\0K"), "9112 4", 502),
    vector("reason-bare-cr", ok(line=b"HTTP/1.1 200 O\rK"), "9112 2.2", 502),
    vector("version-1.0", ok(line=b"HTTP/1.0 200 OK"), "9112 9.3", passes(close=True)),
    vector("version-1.0-keep-alive", ok(b"Connection: keep-alive", line=b"HTTP/1.0 200 OK"), "9112 9.3", passes()),
    vector("version-2.0", ok(line=b"HTTP/2.0 200 OK"), "9112 2.3", 502),
    vector("version-1.2", ok(line=b"HTTP/1.2 200 OK"), "9112 2.3", 502),
    vector("version-lower-case", ok(line=b"http/1.1 200 OK"), "9112 2.3", 502),
    vector("version-0.9", b"<html>\r\n\r\n", "9112 2.3", 502),
    vector("double-space", ok(line=b"HTTP/1.1  200 OK"), "9112 4", 502),
    vector("leading-empty-line", b"\r\n" + ok(), "9112 2.2", 502),
    vector("leading-lf", b"\n" + ok(), "9112 2.2", 502),
]
FIELDS = [
    vector(
        "fields-keep-their-order",
        ok(b"Set-Cookie: a", b"X: 1", b"Set-Cookie: b"),
        "9110 5.3",
        passes((b"set-cookie", b"a"), (b"x", b"1"), (b"set-cookie", b"b")),
    ),
    vector("underscore-passes", ok(b"X_Y: 1"), "9110 5.1", passes((b"x_y", b"1"))),
    vector(
        "hop-by-hop",
        ok(b"Keep-Alive: timeout=5", b"X: v", b"Upgrade: h2", b"Trailer: X", b"Proxy-Connection: y", b"TE:"),
        "9110 7.6.1",
        passes((b"x", b"v")),
    ),
    vector(
        "keep-alive-with-connection",
        ok(b"Connection: Keep-Alive", b"Keep-Alive: timeout=5", b"Content-Length: 5"),
        "9110 7.6.1",
        passes(LENGTH, length=5),
    ),
    vector(
        "connection-names-fields",
        ok(b"Connection: X-One, close", b"X-One: 1", b"X: v"),
        "9110 7.6.1",
        passes((b"x", b"v"), close=True),
    ),
    vector(
        "connection-twice",
        ok(b"Connection: close", b"X: v", b"Connection: keep-alive"),
        "9110 7.6.1",
        passes((b"x", b"v"), close=True),
    ),
    vector(
        "connection-names-framing",
        ok(b"Connection: content-length", b"Content-Length: 5"),
        "9110 7.6.1",
        passes(LENGTH, length=5),
    ),
    vector(
        "like-a-dropped-one-after-one",
        ok(b"Keep-Alive: 5", b"Keep-Alives: 1", b"TE: x", b"Tee: 2"),
        "9110 5.1",
        passes((b"keep-alives", b"1"), (b"tee", b"2")),
    ),
    vector(
        "like-a-special-one",
        ok(b"Trailers: 1", b"Keep-Alives: 2", b"Upgraded: 3"),
        "9110 5.1",
        passes((b"trailers", b"1"), (b"keep-alives", b"2"), (b"upgraded", b"3")),
    ),
    vector("space-before-colon", ok(b"X : v"), "9112 5.1", 502),
    vector("obs-fold", ok(b"X: v", b" w"), "9112 5.2", 502),
    vector("no-colon", ok(b"Xv"), "9112 5", 502),
    vector("value-nul", ok(b"X: \0"), "9110 5.5", 502),
    vector("value-bare-cr", ok(b"X: a\rb"), "9112 2.2", 502),
    vector("lf-only-field", OK + b"\r\nX: v\n\r\n", "9112 2.2", 502),
    vector("lf-only-end", OK + b"\r\nX: v\r\n\n", "9112 2.2", 502),
    vector("lf-only-status-line", OK + b"\nX: v\r\n\r\n", "9112 2.2", 502),
    vector("cr-cr-lf", OK + b"\r\r\n\r\n", "9112 2.2", 502),
    vector("body-after", ok(b"Content-Length: 5") + b"hello", "9112 6", passes(LENGTH, length=5)),
    vector("nothing", b"", "9112 2.1", None),
    vector("not-complete", ok()[:-2], "9112 2.1", None),
    vector("fields-at-the-limit", ok(*[b"X: v"] * 256), "6585 5", passes(*[(b"x", b"v")] * 256)),
    vector("fields-beyond", ok(*[b"X: v"] * 257), "6585 5", 502),
    vector("fields-beyond-in-the-general-path", ok(*[b"X_: v"] * 257), "6585 5", 502),
]
VECTORS = [*FRAMING, *STATUS, *FIELDS]
