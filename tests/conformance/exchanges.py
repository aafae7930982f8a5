"""Whole exchanges: what a head or a body alone does not show, such as the bytes after a message's end."""

from collections.abc import Iterator
from dataclasses import replace

from tests.conformance.cases import Case, Wanted

_GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
_GET_B = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
_OLD = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
_SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
_HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
_EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def _post(*lines: bytes, body: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in (b"POST / HTTP/1.1", b"Host: a", *lines, b"")) + body


def _wants(line: bytes, content: bytes = b"") -> Wanted:
    return Wanted(line + b" HTTP/1.1", b"a", (), content)


_ROOT = _wants(b"GET /")
_REQUESTS: list[tuple[str, str, bytes, tuple[int, ...], tuple[Wanted, ...]]] = [
    ("two-at-once", "9112 9.3.2", _GET + _GET_B, (200, 200), (_ROOT, _wants(b"GET /b"))),
    ("garbage-after-a-request", "9112 9.3.2", _GET + b"\0\r\n\r\n", (200, 400), (_ROOT,)),
    ("empty-line-between", "9112 2.2", _GET + b"\r\n" + _GET_B, (200, 200), (_ROOT, _wants(b"GET /b"))),
    (
        "close-and-another",
        "9112 9.6",
        _GET[:-2] + b"Connection: close\r\n\r\n" + _SMUGGLED,
        (200,),
        (_ROOT,),
    ),
    ("1.0-and-another", "9112 9.3", _OLD + _SMUGGLED, (200,), (_ROOT,)),
    (
        "body-is-a-request",
        "9112 6.3",
        _post(b"Content-Length: %d" % len(_SMUGGLED), body=_SMUGGLED),
        (200,),
        (_wants(b"POST /", _SMUGGLED),),
    ),
    (
        "body-of-get-is-a-request",
        "9110 9.3.1",
        _GET[:-2] + b"Content-Length: %d\r\n\r\n" % len(_SMUGGLED) + _SMUGGLED,
        (200,),
        (_wants(b"GET /", _SMUGGLED),),
    ),
    (
        "chunk-is-a-request",
        "9112 7.1",
        _post(b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(_SMUGGLED), _SMUGGLED)),
        (200,),
        (_wants(b"POST /", _SMUGGLED),),
    ),
    (
        "length-and-chunked-and-another",
        "9112 6.3 item 3",
        _post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + _SMUGGLED),
        (400,),
        (),
    ),
    (
        "length-over-all-and-chunked",
        "9112 6.3 item 3",
        _post(
            b"Content-Length: %d" % (5 + len(_SMUGGLED)),
            b"Transfer-Encoding: chunked",
            body=b"0\r\n\r\n" + _SMUGGLED,
        ),
        (400,),
        (),
    ),
    (
        "chunked-disguised-and-length",
        "9112 6.3 item 3",
        _post(b"Content-Length: 4", b"Transfer-Encoding: xchunked", body=b"1e\r\n" + _SMUGGLED),
        (400,),
        (),
    ),
    (
        "two-lengths-and-another",
        "9112 6.3 item 5",
        _post(b"Content-Length: 0", b"Content-Length: %d" % len(_SMUGGLED), body=_SMUGGLED),
        (400,),
        (),
    ),
    (
        "length-zero-and-another",
        "9112 9.3.2",
        _post(b"Content-Length: 0", body=_GET_B),
        (200, 200),
        (_wants(b"POST /"), _wants(b"GET /b")),
    ),
    (
        "bad-chunk-and-another",
        "9112 7.1",
        _post(b"Transfer-Encoding: chunked", body=b"bad!\r\n" + _SMUGGLED),
        (400,),
        (),
    ),
    (
        "lf-in-an-extension-and-another",
        "9112 7.1.1",
        _post(b"Transfer-Encoding: chunked", body=b"2;\nxx\r\n2b\r\n0\r\n\r\n" + _SMUGGLED),
        (400,),
        (),
    ),
    (
        "cr-in-an-extension-and-another",
        "9112 7.1.1",
        _post(b"Transfer-Encoding: chunked", body=b"2\r\r;a\r\n02\r\n2d\r\n0\r\n\r\n" + _SMUGGLED),
        (400,),
        (),
    ),
]
_FINAL = Wanted(b"HTTP/1.1 200", None, (), b"hello")


def _empty(status: bytes) -> Wanted:
    return Wanted(b"HTTP/1.1 " + status, None, (), b"")


# name, section, the client's request, the server's bytes, what arrives; nothing: 502, or an answer that is cut
_RESPONSES: list[tuple[str, str, bytes, bytes, Wanted | None]] = [
    ("another-response-after", "9112 9.2", _GET, _OK + _EVIL, _FINAL),
    ("garbage-after-length", "9112 6.3", _GET, _OK + b"garbage", _FINAL),
    (
        "another-response-after-chunks",
        "9112 9.2",
        _GET,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + _EVIL,
        _FINAL,
    ),
    (
        "body-after-length-zero",
        "9112 6.3",
        _GET,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + _EVIL,
        _empty(b"200"),
    ),
    ("body-for-head", "9112 6.3 item 1", _HEAD, _OK, _empty(b"200")),
    ("another-response-for-head", "9112 6.3 item 1", _HEAD, _OK[:-5] + _EVIL, _empty(b"200")),
    ("body-of-204", "9112 6.3 item 1", _GET, b"HTTP/1.1 204 -\r\nContent-Length: 5\r\n\r\nhello", _empty(b"204")),
    ("another-response-after-204", "9112 6.3 item 1", _GET, b"HTTP/1.1 204 -\r\n\r\n" + _EVIL, _empty(b"204")),
    ("body-of-304", "9112 6.3 item 1", _GET, b"HTTP/1.1 304 -\r\nContent-Length: 5\r\n\r\nhello", _empty(b"304")),
    (
        "chunks-of-304",
        "9112 6.3 item 1",
        _GET,
        b"HTTP/1.1 304 -\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        _empty(b"304"),
    ),
    ("100-and-the-final-one", "9110 15.2", _GET, b"HTTP/1.1 100 Continue\r\n\r\n" + _OK, _FINAL),
    ("100-thrice", "9110 15.2", _GET, b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + _OK, _FINAL),
    ("103-and-the-final-one", "9110 15.2", _GET, b"HTTP/1.1 103 -\r\nLink: <a>\r\n\r\n" + _OK, _FINAL),
    ("103-for-1.0", "9110 15.2", _OLD, b"HTTP/1.1 103 -\r\nLink: <a>\r\n\r\n" + _OK, _FINAL),
    (
        "101-unasked",
        "9110 15.2.2",
        _GET,
        b"HTTP/1.1 101 -\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + _EVIL,
        None,
    ),
    ("101-unasked-of-no-protocol", "9110 15.2.2", _GET, b"HTTP/1.1 101 -\r\n\r\n" + _EVIL, None),
    ("100-alone", "9110 15.2", _GET, b"HTTP/1.1 100 Continue\r\n\r\n", None),
    ("100-with-a-body", "9110 15.2", _GET, b"HTTP/1.1 100 -\r\nContent-Length: 5\r\n\r\nhello" + _OK, None),
    (
        "100-with-chunks",
        "9110 15.2",
        _GET,
        b"HTTP/1.1 100 -\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _OK,
        None,
    ),
    ("body-until-close", "9112 6.3 item 8", _GET, b"HTTP/1.1 200 OK\r\n\r\nhello", _FINAL),
    ("until-close-for-1.0", "9112 6.3 item 8", _OLD, b"HTTP/1.1 200 OK\r\n\r\nhello", _FINAL),
    ("until-close-of-1.0", "9112 6.3 item 8", _GET, b"HTTP/1.0 200 OK\r\n\r\nhello", _FINAL),
    (
        "chunks-for-1.0",
        "9112 6.1",
        _OLD,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        _FINAL,
    ),
    (
        "until-close-looks-like-chunks",
        "9112 6.3 item 8",
        _GET,
        b"HTTP/1.1 200 OK\r\n\r\n0\r\n\r\n",
        replace(_FINAL, content=b"0\r\n\r\n"),
    ),
    ("closed-at-once", "9112 8", _GET, b"", None),
    ("half-a-status-line", "9112 8", _GET, b"HTTP/1.1 2", None),
    ("half-a-head", "9112 8", _GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", None),
    ("half-a-length", "9112 8", _GET, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", None),
    ("half-a-length-for-1.0", "9112 8", _OLD, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", None),
    ("only-html", "9112 2.3", _GET, b"<html>hello</html>", None),
    (
        "length-and-chunks",
        "9112 6.3 item 3",
        _GET,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + _EVIL,
        None,
    ),
    (
        "two-lengths",
        "9112 6.3 item 5",
        _GET,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhelloevil",
        None,
    ),
]


def request_exchanges() -> Iterator[Case]:
    """What a client sends."""
    for name, section, sends, statuses, arrives in _REQUESTS:
        method = sends.partition(b" ")[0]
        yield Case(
            "Whole exchanges", name, section, sends, None, statuses, arrives, requests=len(statuses), method=method
        )


def response_exchanges() -> Iterator[Case]:
    """What a server answers."""
    for name, section, sends, answer, wanted in _RESPONSES:
        statuses = (502,) if wanted is None else (int(wanted.line[9:12]),)
        arrives = () if wanted is None else (wanted,)
        method = sends.partition(b" ")[0]
        yield Case(
            "Whole exchanges", name, section, sends, answer, statuses, arrives, method=method, may_cut=wanted is None
        )
