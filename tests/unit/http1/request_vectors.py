"""Request heads and what must become of them: name, bytes, where it is written, outcome.

An outcome is the status of the refusal or what is forwarded. Fields of one hop and limits are in request_hops.py.
"""

from headgate.http1.request import CHUNKED
from tests.unit.http1.reading import Request

Vector = tuple[str, bytes, str, "int | Request | None"]

HOST = (b"host", b"a")
GET = b"GET / HTTP/1.1"


def get(*lines: bytes) -> bytes:
    """A GET with Host and these field lines."""
    return b"".join(line + b"\r\n" for line in (GET, b"Host: a", *lines, b""))


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """A POST with Host and these field lines."""
    return b"".join(line + b"\r\n" for line in (b"POST / HTTP/1.1", b"Host: a", *lines, b"")) + body


def passes(*fields: tuple[bytes, bytes], line: bytes = GET, **facts: object) -> Request:
    """Forwarded with Host first and these fields."""
    return Request(line, (HOST, *fields), **facts)  # type: ignore[arg-type]


POSTED = b"POST / HTTP/1.1"
BODIES: list[Vector] = [
    (
        "length",
        post(b"Content-Length: 5", body=b"hello"),
        "9112 6.2",
        passes((b"content-length", b"5"), line=POSTED, length=5),
    ),
    ("length-zero", post(b"Content-Length: 0"), "9112 6.2", passes((b"content-length", b"0"), line=POSTED)),
    (
        "length-leading-zeros",
        post(b"Content-Length: 0005"),
        "9110 8.6",
        passes((b"content-length", b"5"), line=POSTED, length=5),
    ),
    (
        "length-18-digits",
        post(b"Content-Length: " + b"9" * 18),
        "9110 8.6",
        passes((b"content-length", b"9" * 18), line=POSTED, length=10**18 - 1),
    ),
    ("length-19-digits", post(b"Content-Length: " + b"9" * 19), "9110 8.6", 400),
    (
        "length-tab-before",
        post(b"Content-Length:\t5 "),
        "9112 5.1",
        passes((b"content-length", b"5"), line=POSTED, length=5),
    ),
    ("length-twice-equal", post(b"Content-Length: 5", b"Content-Length: 5"), "9112 6.3 item 5", 400),
    ("length-twice-differing", post(b"Content-Length: 5", b"Content-Length: 6"), "9112 6.3 item 5", 400),
    ("length-list-equal", post(b"Content-Length: 5, 5"), "9112 6.3 item 5", 400),
    ("length-list-differing", post(b"Content-Length: 5,6"), "9112 6.3 item 5", 400),
    ("length-empty", post(b"Content-Length:"), "9110 8.6", 400),
    ("length-plus", post(b"Content-Length: +5"), "9110 8.6", 400),
    ("length-minus", post(b"Content-Length: -5"), "9110 8.6", 400),
    ("length-hex", post(b"Content-Length: 0x5"), "9110 8.6", 400),
    ("length-float", post(b"Content-Length: 5.0"), "9110 8.6", 400),
    ("length-underscored-digits", post(b"Content-Length: 1_0"), "9110 8.6", 400),
    ("length-inner-space", post(b"Content-Length: 1 0"), "9110 8.6", 400),
    ("length-foreign-digit", post(b"Content-Length: \xb2"), "9110 8.6", 400),
    ("length-quoted", post(b'Content-Length: "5"'), "9110 8.6", 400),
    ("length-in-get", get(b"Content-Length: 3"), "9110 9.3.1", passes((b"content-length", b"3"), length=3)),
    (
        "chunked",
        post(b"Transfer-Encoding: chunked"),
        "9112 6.1",
        passes((b"transfer-encoding", b"chunked"), line=POSTED, length=CHUNKED),
    ),
    (
        "chunked-any-case",
        post(b"transfer-ENCODING: ChUnKeD"),
        "9112 7",
        passes((b"transfer-encoding", b"chunked"), line=POSTED, length=CHUNKED),
    ),
    (
        "chunked-padded",
        post(b"Transfer-Encoding:\t chunked \t"),
        "9112 5.1",
        passes((b"transfer-encoding", b"chunked"), line=POSTED, length=CHUNKED),
    ),
    ("chunked-with-length", post(b"Content-Length: 5", b"Transfer-Encoding: chunked"), "9112 6.3 item 3", 400),
    ("length-after-chunked", post(b"Transfer-Encoding: chunked", b"Content-Length: 5"), "9112 6.3 item 3", 400),
    ("chunked-with-bad-length", post(b"Transfer-Encoding: chunked", b"Content-Length: x"), "9112 6.3 item 3", 400),
    ("chunked-twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "9112 7.1", 400),
    ("chunked-list", post(b"Transfer-Encoding: chunked, chunked"), "9112 7.1", 400),
    ("gzip-chunked", post(b"Transfer-Encoding: gzip, chunked"), "9112 7", 400),
    ("chunked-not-last", post(b"Transfer-Encoding: chunked, identity"), "9112 6.3 item 4", 400),
    ("identity", post(b"Transfer-Encoding: identity"), "9112 7", 400),
    ("coding-empty", post(b"Transfer-Encoding:"), "9112 6.1", 400),
    ("coding-xchunked", post(b"Transfer-Encoding: xchunked"), "9112 6.1", 400),
    ("coding-chunkedx", post(b"Transfer-Encoding: chunkedx"), "9112 6.1", 400),
    ("coding-quoted", post(b'Transfer-Encoding: "chunked"'), "9112 6.1", 400),
    ("coding-parameter", post(b"Transfer-Encoding: chunked;q=1"), "9112 7.1", 400),
    ("coding-comma", post(b"Transfer-Encoding: ,chunked"), "9112 6.1", 400),
    ("coding-vertical-tab", post(b"Transfer-Encoding: \x0bchunked"), "9110 5.5", 400),
    ("coding-non-ascii-space", post(b"Transfer-Encoding: \xa0chunked"), "9112 6.1", 400),
    ("coding-spaced-name", post(b"Transfer-Encoding : chunked"), "9112 5.1", 400),
    ("coding-folded", post(b"Transfer-Encoding:", b" chunked"), "9112 5.2", 400),
    ("coding-underscored-is-dropped", post(b"Transfer_Encoding: chunked"), "CGI names", passes(line=POSTED)),
    ("length-underscored-is-dropped", post(b"Content_Length: 9"), "CGI names", passes(line=POSTED)),
    ("chunked-in-1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "9112 6.1", 400),
]

GRAMMAR: list[Vector] = [
    ("plain", get(), "9112 2.1", passes()),
    (
        "fields-keep-their-order",
        get(b"B: 2", b"A: 1", b"B: 3"),
        "9110 5.3",
        passes((b"b", b"2"), (b"a", b"1"), (b"b", b"3")),
    ),
    ("value-trimmed", get(b"X:  \t v w \t"), "9112 5.1", passes((b"x", b"v w"))),
    ("value-empty", get(b"X:"), "9110 5.5", passes((b"x", b""))),
    ("value-obs-text", get(b"X: \x80\xff"), "9110 5.5", passes((b"x", b"\x80\xff"))),
    ("value-tab-inside", get(b"X: a\tb"), "9110 5.5", passes((b"x", b"a\tb"))),
    ("value-colon", get(b"X: a:b"), "9110 5.5", passes((b"x", b"a:b"))),
    ("name-all-token-marks", get(b"!#$%&'*+-.^`|~0: v"), "9110 5.6.2", passes((b"!#$%&'*+-.^`|~0", b"v"))),
    (
        "name-like-a-special-one",
        get(b"Hosts: b", b"Content-Lengths: 1", b"Tee: x"),
        "9110 5.1",
        passes((b"hosts", b"b"), (b"content-lengths", b"1"), (b"tee", b"x")),
    ),
    ("name-underscore-is-dropped", get(b"X_Y: 1", b"X-Y: 2"), "CGI names", passes((b"x-y", b"2"))),
    ("name-empty", get(b": v"), "9112 5", 400),
    ("no-colon", get(b"Xv"), "9112 5", 400),
    ("space-before-colon", get(b"X : v"), "9112 5.1", 400),
    ("tab-before-colon", get(b"X\t: v"), "9112 5.1", 400),
    ("space-before-host-colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "9112 5.1", 400),
    ("space-before-first-name", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "9112 2.2", 400),
    ("obs-fold-space", get(b"X: v", b" w"), "9112 5.2", 400),
    ("obs-fold-tab", get(b"X: v", b"\tw"), "9112 5.2", 400),
    ("name-slash", get(b"X/Y: v"), "9110 5.1", 400),
    ("name-non-ascii", get(b"X\xe9: v"), "9110 5.1", 400),
    ("name-nul", get(b"X\0: v"), "9110 5.1", 400),
    ("name-parenthesis", get(b"X(: v"), "9110 5.1", 400),
    ("value-nul", get(b"X: a\0b"), "9110 5.5", 400),
    ("value-escape", get(b"X: \x1b[0m"), "9110 5.5", 400),
    ("value-delete", get(b"X: \x7f"), "9110 5.5", 400),
    ("value-bare-cr", get(b"X: a\rb"), "9112 2.2", 400),
    ("value-cr-at-end", get(b"X: a\r"), "9112 2.2", 400),
    ("cr-injects-a-field", get(b"X: a\rContent-Length: 5"), "9112 2.2", 400),
    ("lf-injects-a-field", get(b"X: a\nContent-Length: 5"), "9112 2.2", 400),
    ("lf-only-field", b"GET / HTTP/1.1\r\nHost: a\nX: v\r\n\r\n", "9112 2.2", 400),
    ("lf-only-end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", "9112 2.2", 400),
    ("lf-only-all", b"GET / HTTP/1.1\nHost: a\n\n", "9112 2.2", 400),
    ("lf-only-request-line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", "9112 2.2", 400),
    ("cr-cr-lf", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "9112 2.2", 400),
    ("leading-empty-line", b"\r\n" + get(), "9112 2.2", passes()),
    ("leading-two-empty-lines", b"\r\n\r\n" + get(), "9112 2.2", 400),
    ("leading-lf", b"\n" + get(), "9112 2.2", 400),
    ("leading-crlf-lf", b"\r\n\n" + get(), "9112 2.2", 400),
    ("leading-cr", b"\r" + get(), "9112 2.2", 400),
    ("leading-space", b" " + get(), "9112 3", 400),
    ("byte-order-mark", b"\xef\xbb\xbf" + get(), "9112 3", 400),
    ("nothing", b"", "9112 2.1", None),
    ("not-complete", get()[:-2], "9112 2.1", None),
    ("pipelined", get() + get(b"X: v"), "9112 9.3.2", passes()),
]

LINE: list[Vector] = [
    ("double-space", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3", 400),
    ("tab-for-space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3", 400),
    ("space-at-end", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "9112 3", 400),
    ("space-in-target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3.2", 400),
    ("no-version", b"GET /\r\nHost: a\r\n\r\n", "9112 3", 400),
    ("no-target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3", 400),
    ("version-2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "9110 15.6.6", 505),
    ("version-2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "9113 3.4", 505),
    ("version-1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "9110 2.5", 505),
    ("version-0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "9110 15.6.6", 505),
    ("version-3.0", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "9110 15.6.6", 505),
    ("version-lower-case", b"GET / http/1.1\r\nHost: a\r\n\r\n", "9112 2.3", 400),
    ("version-two-digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", "9112 2.3", 400),
    ("version-no-minor", b"GET / HTTP/1\r\nHost: a\r\n\r\n", "9112 2.3", 400),
    ("method-lower-case-is-another", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "9110 9.1", passes(line=b"get / HTTP/1.1")),
    ("method-unknown", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "9110 9.1", passes(line=b"BREW / HTTP/1.1")),
    ("method-underscore", b"A_B / HTTP/1.1\r\nHost: a\r\n\r\n", "9110 5.6.2", passes(line=b"A_B / HTTP/1.1")),
    ("method-no-token", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "9110 9.1", 400),
    ("connect", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "9110 9.3.6", 501),
    ("connect-with-a-path", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "9110 9.3.6", 501),
    ("trace", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "9110 9.3.8", 501),
    (
        "target-query",
        b"GET /a?b=c&d=%20 HTTP/1.1\r\nHost: a\r\n\r\n",
        "9112 3.2.1",
        passes(line=b"GET /a?b=c&d=%20 HTTP/1.1"),
    ),
    (
        "target-stays-as-written",
        b"GET //a/../%2e\\ HTTP/1.1\r\nHost: a\r\n\r\n",
        "9112 3.2",
        passes(line=b"GET //a/../%2e\\ HTTP/1.1"),
    ),
    ("target-fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3.2", 400),
    ("target-non-ascii", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3.2", 400),
    ("target-control", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3.2", 400),
    ("target-relative", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3.2", 400),
    ("target-authority-form", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3.2.3", 400),
    ("target-asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3.2.4", passes(line=b"OPTIONS * HTTP/1.1")),
    ("target-asterisk-get", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "9112 3.2.4", 400),
    (
        "absolute",
        b"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
        "9112 3.2.2",
        Request(b"GET /c?d HTTP/1.1", ((b"host", b"b"),), b"b"),
    ),
    (
        "absolute-port",
        b"GET http://b:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "9112 3.2.2",
        Request(GET, ((b"host", b"b:81"),), b"b:81"),
    ),
    (
        "absolute-no-path",
        b"GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n",
        "9110 4.2.3",
        Request(GET, ((b"host", b"b"),), b"b"),
    ),
    (
        "absolute-only-query",
        b"GET https://b?q HTTP/1.1\r\nHost: a\r\n\r\n",
        "9110 4.2.3",
        Request(b"GET /?q HTTP/1.1", ((b"host", b"b"),), b"b"),
    ),
    (
        "absolute-options",
        b"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n",
        "9112 3.2.4",
        Request(b"OPTIONS * HTTP/1.1", ((b"host", b"b"),), b"b"),
    ),
    (
        "absolute-options-path",
        b"OPTIONS http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "9112 3.2.4",
        Request(b"OPTIONS / HTTP/1.1", ((b"host", b"b"),), b"b"),
    ),
    ("absolute-needs-host-too", b"GET http://b/ HTTP/1.1\r\n\r\n", "9112 3.2", 400),
    ("absolute-userinfo", b"GET http://u:p@b/ HTTP/1.1\r\nHost: a\r\n\r\n", "9110 4.2.4", 400),
    ("absolute-no-host", b"GET http:///c HTTP/1.1\r\nHost: a\r\n\r\n", "9110 4.2.1", 400),
    ("absolute-other-scheme", b"GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "9110 7.4", 400),
    ("absolute-backslash", b"GET http://b\\c/ HTTP/1.1\r\nHost: a\r\n\r\n", "3986 3.2", 400),
    ("host-missing", b"GET / HTTP/1.1\r\n\r\n", "9112 3.2", 400),
    ("host-twice", get(b"Host: b"), "9112 3.2", 400),
    ("host-twice-equal", get(b"Host: a"), "9112 3.2", 400),
    ("host-empty", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "9110 4.2.1", 400),
    ("host-list", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "9112 3.2", 400),
    ("host-space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "9112 3.2", 400),
    ("host-slash", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "9112 3.2", 400),
    ("host-userinfo", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "9112 3.2", 400),
    ("host-percent", b"GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", "9110 7.2", 400),
    ("host-port-no-number", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "9110 7.2", 400),
    ("host-two-ports", b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", "9110 7.2", 400),
    ("host-bare-ipv6", b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "3986 3.2.2", 400),
    ("host-ipv6-open", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "3986 3.2.2", 400),
    (
        "host-ipv6",
        b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "3986 3.2.2",
        Request(GET, ((b"host", b"[::1]:80"),), b"[::1]:80"),
    ),
    (
        "host-padded",
        b"GET / HTTP/1.1\r\nhOST:\ta:80 \r\n\r\n",
        "9112 5.1",
        Request(GET, ((b"host", b"a:80"),), b"a:80"),
    ),
    ("host-unspaced", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", "9112 5.1", passes()),
]
