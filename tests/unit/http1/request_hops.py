"""More request heads and what must become of them: fields of one hop, claims, HTTP/1.0, and the edges of the limits."""

from headgate.http1.request import CHUNKED
from headgate.model.config import Heads
from tests.unit.http1.reading import Request
from tests.unit.http1.request_vectors import GET, POSTED, Vector, get, passes, post

LIMITS = Heads(max_size=400, max_fields=8, max_target=120)  # small, so that every way to split can be tried

HOPS: list[Vector] = [
    ("connection-close", get(b"Connection: close", b"X: v"), "9112 9.6", passes((b"x", b"v"), close=True)),
    ("connection-close-in-a-list", get(b"Connection: x ,\tCLOSE"), "9110 7.6.1", passes(close=True)),
    ("connection-keep-alive", get(b"X: v", b"Connection: keep-alive"), "9112 9.3", passes((b"x", b"v"))),
    (
        "connection-twice",
        get(b"Connection: close", b"X: v", b"Connection: keep-alive"),
        "9110 7.6.1",
        passes((b"x", b"v"), close=True),
    ),
    (
        "connection-twice-close-last",
        get(b"Connection: keep-alive", b"Connection: close"),
        "9110 7.6.1",
        passes(close=True),
    ),
    (
        "connection-names-fields",
        get(b"Connection: X-One, x-two", b"X-One: 1", b"X-TWO: 2", b"X-Three: 3"),
        "9110 7.6.1",
        passes((b"x-three", b"3")),
    ),
    ("connection-names-one-before-it", get(b"X-One: 1", b"Connection: x-one"), "9110 7.6.1", passes()),
    ("connection-names-host", get(b"Connection: host"), "9110 7.6.1", passes()),
    (
        "connection-names-length",
        post(b"Connection: Content-Length", b"Content-Length: 5"),
        "9110 7.6.1",
        passes((b"content-length", b"5"), line=POSTED, length=5),
    ),
    (
        "connection-names-coding",
        post(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked"),
        "9110 7.6.1",
        passes((b"transfer-encoding", b"chunked"), line=POSTED, length=CHUNKED),
    ),
    (
        "connection-names-expect",
        post(b"Connection: expect", b"Expect: 100-continue", b"Content-Length: 5"),
        "9110 7.6.1",
        passes((b"expect", b"100-continue"), (b"content-length", b"5"), line=POSTED, length=5, expects=True),
    ),
    ("connection-empty", get(b"Connection: , ,"), "9110 5.6.1", passes()),
    (
        "hop-by-hop",
        get(b"Keep-Alive: 5", b"Proxy-Connection: x", b"TE: trailers", b"Trailer: X", b"Upgrade: h2c", b"X: v"),
        "9110 7.6.1",
        passes((b"x", b"v")),
    ),
    ("hop-by-hop-any-case", get(b"KEEP-ALIVE: 5", b"te:", b"uPGRADE:\tx"), "9110 7.6.1", passes()),
    (
        "upgrade",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"),
        "9110 7.8",
        passes(),
    ),
    (
        "hop-by-hop-and-close",
        get(b"Keep-Alive: 5", b"X: v", b"Connection: close"),
        "9110 7.6.1",
        passes((b"x", b"v"), close=True),
    ),
    (
        "claims-of-a-stranger",
        get(b"X-Forwarded-For: 1.1.1.1", b"X: v", b"Forwarded: for=x", b"X-Real-IP: 1.1.1.1", b"x-request-id: 7"),
        "7239 8.1",
        passes((b"x", b"v")),
    ),
    (
        "claims-with-any-ending",
        get(b"X-Forwarded-Prefix: /x", b"x-forwarded-: y", b"X-Forwarded-Port: 1"),
        "7239 8.1",
        passes(),
    ),
    (
        "claims-underscored",
        get(b"X_Forwarded_For: 1.1.1.1", b"X-Forwarded_Proto: https", b"X_Real-IP: 1"),
        "CGI names",
        passes(),
    ),
    ("claim-prefix-without-colon", get(b"X-Forwarded- For"), "9112 5", 400),
    ("claim-space-before-colon", get(b"X-Forwarded-For : 1.1.1.1"), "9112 5.1", 400),
    ("claim-with-control", get(b"X-Forwarded-For: 1.1.1.1\0"), "9110 5.5", 400),
    (
        "like-a-claim-after-a-claim",
        get(b"X-Real-IP: 1", b"X-Real-IPs: 2", b"TE: x", b"Tee: 3", b"Keep-Alive: 1", b"Connection: close", b"Conn: 4"),
        "9110 5.1",
        passes((b"x-real-ips", b"2"), (b"tee", b"3"), (b"conn", b"4"), close=True),
    ),
    (
        "like-a-claim",
        get(b"X-Forwarded: 1", b"X-Real-IPs: 2", b"X-Request-IDs: 3"),
        "9110 5.1",
        passes((b"x-forwarded", b"1"), (b"x-real-ips", b"2"), (b"x-request-ids", b"3")),
    ),
    (
        "expect",
        post(b"Expect: 100-Continue", b"Content-Length: 5"),
        "9110 10.1.1",
        passes((b"expect", b"100-Continue"), (b"content-length", b"5"), line=POSTED, length=5, expects=True),
    ),
    (
        "expect-unknown-is-dropped",
        post(b"Expect: tea", b"Content-Length: 5"),
        "9110 10.1.1",
        passes((b"content-length", b"5"), line=POSTED, length=5),
    ),
    (
        "expect-twice-is-dropped",
        post(b"Expect: 100-continue", b"Expect: 100-continue"),
        "9110 10.1.1",
        passes(line=POSTED),
    ),
    (
        "expect-of-1.0-is-dropped",
        b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        "9110 10.1.1",
        passes(line=POSTED, minor=0, close=True),
    ),
    ("1.0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", "9112 9.3", passes(minor=0, close=True)),
    ("1.0-keep-alive", b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", "9112 9.3", passes(minor=0)),
    (
        "1.0-keep-alive-and-close",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
        "9112 9.3",
        passes(minor=0, close=True),
    ),
    ("1.0-no-host", b"GET / HTTP/1.0\r\n\r\n", "9112 3.2", Request(GET, ((b"host", b""),), b"", close=True, minor=0)),
    (
        "1.0-length",
        b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "9112 6.2",
        passes((b"content-length", b"5"), line=POSTED, minor=0, close=True, length=5),
    ),
]


def _target(size: int) -> bytes:
    """A GET whose request line has so many bytes."""
    return b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * (size - 14))


def _sized(size: int, ordinary: bool) -> bytes:
    """A GET whose head has so many bytes, on the fast path or off it."""
    head = get(b"X: " if ordinary else b"X_Y: ", b"Z: w")
    at = head.index(b"\r\nZ")
    return head[:at] + b"v" * (size - len(head)) + head[at:]


LIMITED: list[Vector] = [
    ("target-at-the-limit", _target(120), "9110 15.5.15", passes(line=b"GET /%b HTTP/1.1" % (b"x" * 106))),
    ("target-beyond", _target(121), "9110 15.5.15", 414),
    ("target-far-beyond", _target(900), "9110 15.5.15", 414),
    ("target-beyond-after-an-empty-line", b"\r\n" + _target(121), "9110 15.5.15", 414),
    (
        "target-at-the-limit-after-an-empty-line",
        b"\r\n" + _target(120),
        "9110 15.5.15",
        passes(line=b"GET /%b HTTP/1.1" % (b"x" * 106)),
    ),
    ("no-line-end", b"x" * 123, "9110 15.5.15", 414),
    ("fields-at-the-limit", get(*[b"X: v"] * 7), "6585 5", passes(*[(b"x", b"v")] * 7)),
    ("fields-beyond", get(*[b"X: v"] * 8), "6585 5", 431),
    ("fields-beyond-in-the-general-path", get(*[b"X_Y: v"] * 8), "6585 5", 431),
    ("fields-at-the-limit-in-the-general-path", get(*[b"X_Y: v"] * 7), "6585 5", passes()),
    ("fields-beyond-with-a-flaw-after", get(*[b"X: v"] * 8, b"flaw"), "6585 5", 431),
    ("flaw-before-fields-beyond", get(b"flaw", *[b"X: v"] * 9), "6585 5", 400),
    ("size-at-the-limit", _sized(400, True), "6585 5", passes((b"x", b"v" * (400 - 38)), (b"z", b"w"))),
    ("size-beyond", _sized(401, True), "6585 5", 431),
    ("size-at-the-limit-in-the-general-path", _sized(400, False), "6585 5", passes((b"z", b"w"))),
    ("size-beyond-in-the-general-path", _sized(401, False), "6585 5", 431),
    ("endless-field", get()[:-2] + b"X: " + b"v" * 400, "6585 5", 431),
    ("endless-field-with-a-control", get()[:-2] + b"X: \0" + b"v" * 400, "6585 5", 431),
]
