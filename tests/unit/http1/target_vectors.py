"""Request heads whose first line or Host is written oddly. The same four columns as in request_vectors.py."""

from tests.unit.http1.reading import Request
from tests.unit.http1.request_vectors import GET, HOST, Vector, get, passes


def _line(line: bytes) -> bytes:
    """A request with this first line."""
    return line + b"\r\nHost: a\r\n\r\n"


def _host(value: bytes) -> bytes:
    """A GET with this Host."""
    return GET + b"\r\nHost: " + value + b"\r\n\r\n"


def _target(target: bytes, method: bytes = b"GET") -> bytes:
    """A request for this target."""
    return _line(method + b" " + target + b" HTTP/1.1")


def _is_as_written(line: bytes) -> Request:
    """Forwarded with this very first line."""
    return Request(line, (HOST,))


def _is_for(host: bytes, line: bytes = GET) -> Request:
    """Forwarded with this Host."""
    return Request(line, ((b"host", host),), host)


def _is_old(host: bytes) -> Request:
    """Forwarded with this Host as the request of an HTTP/1.0 client."""
    return Request(b"GET /c HTTP/1.1", ((b"host", host),), host, close=True, minor=0)


VERSIONS: list[Vector] = [
    ("version-9.9", _line(b"GET / HTTP/9.9"), "9110 15.6.6", 505),
    ("version-letter-after", _line(b"GET / HTTP/1.1x"), "9112 2.3", 400),
    ("version-word-after", _line(b"GET / HTTP/1.1 x"), "9112 3", 400),
    ("version-comma", _line(b"GET / HTTP/1,1"), "9112 2.3", 400),
    ("version-colon", _line(b"GET / HTTP/1:1"), "9112 2.3", 400),
    ("version-no-major", _line(b"GET / HTTP/.1"), "9112 2.3", 400),
    ("version-no-digit-after-the-dot", _line(b"GET / HTTP/1."), "9112 2.3", 400),
    ("version-three-numbers", _line(b"GET / HTTP/1.1.1"), "9112 2.3", 400),
    ("version-two-digit-major", _line(b"GET / HTTP/11.1"), "9112 2.3", 400),
    ("version-beyond-32-bits", _line(b"GET / HTTP/4294967297.1"), "9112 2.3", 400),
    ("version-beyond-8-bits", _line(b"GET / HTTP/1.257"), "9112 2.3", 400),
    ("version-dots", _line(b"GET / HTTP/...1.1"), "9112 2.3", 400),
    ("version-crs", _line(b"GET / HTTP/\r\r1.1"), "9112 2.3", 400),
    ("version-zero-before-major", _line(b"GET / HTTP/01.1"), "9112 2.3", 400),
    ("version-zero-before-minor", _line(b"GET / HTTP/1.01"), "9112 2.3", 400),
    ("version-plus", _line(b"GET / HTTP/+1.1"), "9112 2.3", 400),
    ("version-minus", _line(b"GET / HTTP/-1.1"), "9112 2.3", 400),
    ("version-superscript", _line(b"GET / HTTP/1.\xb9"), "9112 2.3", 400),
    ("version-space-before-slash", _line(b"GET / HTTP /1.1"), "9112 2.3", 400),
    ("version-space-after-slash", _line(b"GET / HTTP/ 1.1"), "9112 2.3", 400),
    ("version-backslash", _line(b"GET / HTTP\\1.1"), "9112 2.3", 400),
    ("version-mixed-case", _line(b"GET / Http/1.1"), "9112 2.3", 400),
    ("version-of-https", _line(b"GET / HTTPS/1.1"), "9112 2.3", 400),
    ("version-of-icecast", _line(b"GET / ICE/1.0"), "9112 2.3", 400),
    ("version-of-rtsp", _line(b"PLAY / RTSP/1.0"), "9112 2.3", 400),
    ("version-of-sip", _line(b"INVITE / SIP/2.0"), "9112 2.3", 400),
    ("version-letter-missing", _line(b"GET / HTP/1.1"), "9112 2.3", 400),
    ("version-nul-after", _line(b"GET / HTTP/1.1\0"), "9112 2.3", 400),
    ("version-tab-after", _line(b"GET / HTTP/1.1\t"), "9112 3", 400),
    ("version-absent-but-space", _line(b"GET / "), "9112 3", 400),
    ("version-0.9-form", b"GET /\r\n\r\n", "9112 2.3", 400),
]

LINES: list[Vector] = [
    ("method-missing", _line(b" / HTTP/1.1"), "9112 3", 400),
    ("method-mixed-case", _line(b"Get / HTTP/1.1"), "9110 9.1", _is_as_written(b"Get / HTTP/1.1")),
    ("method-digit", _line(b"0 / HTTP/1.1"), "9110 9.1", _is_as_written(b"0 / HTTP/1.1")),
    ("method-long", _line(b"M" * 99 + b" / HTTP/1.1"), "9110 9.1", _is_as_written(b"M" * 99 + b" / HTTP/1.1")),
    ("method-colon", _line(b"GET: / HTTP/1.1"), "9110 9.1", 400),
    ("method-comma", _line(b"GET,POST / HTTP/1.1"), "9110 9.1", 400),
    ("method-quoted", _line(b'"GET" / HTTP/1.1'), "9110 9.1", 400),
    ("method-slash", _line(b"A/B / HTTP/1.1"), "9110 9.1", 400),
    ("method-nul", _line(b"GET\0 / HTTP/1.1"), "9110 9.1", 400),
    ("method-non-ascii", _line(b"G\xc9T / HTTP/1.1"), "9110 9.1", 400),
    ("method-connect-lower-case", _line(b"connect a:443 HTTP/1.1"), "9112 3.2.3", 400),
    ("method-track", _line(b"TRACK / HTTP/1.1"), "9110 9.1", _is_as_written(b"TRACK / HTTP/1.1")),
    ("connect-without-a-port", _line(b"CONNECT a HTTP/1.1"), "9110 9.3.6", 501),
    ("connect-absolute", _line(b"CONNECT http://a:443/ HTTP/1.1"), "9110 9.3.6", 501),
    ("connect-with-length", _line(b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 5"), "9110 9.3.6", 501),
    ("connect-other-host", b"CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "9110 9.3.6", 501),
    ("trace-with-length", _line(b"TRACE / HTTP/1.1\r\nContent-Length: 5"), "9110 9.3.8", 501),
    ("trace-asterisk", _line(b"TRACE * HTTP/1.1"), "9110 9.3.8", 501),
    ("only-a-method", _line(b"GET"), "9112 3", 400),
    ("tabs-for-both-spaces", _line(b"GET\t/\tHTTP/1.1"), "9112 3", 400),
    ("vertical-tab-for-space", _line(b"GET\x0b/ HTTP/1.1"), "9112 3", 400),
    ("form-feed-for-space", _line(b"GET / \x0cHTTP/1.1"), "9112 3", 400),
    ("no-break-space-for-space", _line(b"GET\xa0/ HTTP/1.1"), "9112 3", 400),
    ("double-space-before-the-version", _line(b"GET /  HTTP/1.1"), "9112 3", 400),
]

TARGETS: list[Vector] = [
    ("target-double-slash", _target(b"//b/c"), "9112 3.2.1", _is_as_written(b"GET //b/c HTTP/1.1")),
    ("target-url-in-the-path", _target(b"/http://b/c"), "9112 3.2.1", _is_as_written(b"GET /http://b/c HTTP/1.1")),
    ("target-encoded-nul", _target(b"/%00"), "9112 3.2", _is_as_written(b"GET /%00 HTTP/1.1")),
    ("target-encoded-line-end", _target(b"/%0d%0aX:v"), "9112 3.2", _is_as_written(b"GET /%0d%0aX:v HTTP/1.1")),
    ("target-encoded-slash", _target(b"/a%2fb"), "9112 3.2", _is_as_written(b"GET /a%2fb HTTP/1.1")),
    ("target-percent-alone", _target(b"/%"), "3986 2.1", _is_as_written(b"GET /% HTTP/1.1")),
    ("target-percent-no-hex", _target(b"/%zz"), "3986 2.1", _is_as_written(b"GET /%zz HTTP/1.1")),
    ("target-brackets-and-bars", _target(b"/[{|}]^`"), "3986 3.3", _is_as_written(b"GET /[{|}]^` HTTP/1.1")),
    ("target-quotes", _target(b"/\"'<>"), "3986 3.3", _is_as_written(b"GET /\"'<> HTTP/1.1")),
    ("target-beyond-the-root", _target(b"/../../etc"), "3986 5.2.4", _is_as_written(b"GET /../../etc HTTP/1.1")),
    ("target-parameter", _target(b"/a;/../b"), "3986 3.3", _is_as_written(b"GET /a;/../b HTTP/1.1")),
    ("target-two-question-marks", _target(b"/?a?b"), "3986 3.4", _is_as_written(b"GET /?a?b HTTP/1.1")),
    ("target-nul", _target(b"/\0"), "9112 3.2", 400),
    ("target-delete", _target(b"/\x7f"), "9112 3.2", 400),
    ("target-tab", _target(b"/\tb"), "9112 3.2", 400),
    ("target-escape", _target(b"/\x1b"), "9112 3.2", 400),
    ("target-obs-text", _target(b"/\xff"), "9112 3.2", 400),
    ("target-fragment-in-query", _target(b"/?a#b"), "9112 3.2", 400),
    ("target-fragment-alone", _target(b"#"), "9112 3.2", 400),
    ("target-empty", _target(b""), "9112 3.2", 400),
    ("target-only-query", _target(b"?b"), "9112 3.2.1", 400),
    ("target-backslash-first", _target(b"\\b"), "9112 3.2.1", 400),
    ("target-dot", _target(b"./b"), "9112 3.2.1", 400),
    ("target-encoded-slash-first", _target(b"%2f"), "9112 3.2.1", 400),
    ("target-asterisk-post", _target(b"*", b"POST"), "9112 3.2.4", 400),
    ("target-asterisk-and-path", _target(b"*/b", b"OPTIONS"), "9112 3.2.4", 400),
    ("target-asterisk-and-query", _target(b"*?b", b"OPTIONS"), "9112 3.2.4", 400),
    ("target-two-asterisks", _target(b"**", b"OPTIONS"), "9112 3.2.4", 400),
    ("target-path-of-an-asterisk", _target(b"/*"), "9112 3.2.1", _is_as_written(b"GET /* HTTP/1.1")),
    ("target-authority-options", _target(b"a:80", b"OPTIONS"), "9112 3.2.3", 400),
    ("target-authority-and-path", _target(b"a:80/b"), "9112 3.2.3", 400),
    ("target-host-and-path", _target(b"a/b"), "9112 3.2", 400),
]

ABSOLUTE: list[Vector] = [
    ("absolute-same-host", _target(b"http://a/b"), "9112 3.2.2", _is_as_written(b"GET /b HTTP/1.1")),
    ("absolute-double-slash", _target(b"http://b//c"), "9112 3.2.2", _is_for(b"b", b"GET //c HTTP/1.1")),
    ("absolute-upper-case-host", _target(b"http://B/"), "9110 4.2.3", _is_for(b"B")),
    ("absolute-post", _target(b"http://b/", b"POST"), "9112 3.2.2", _is_for(b"b", b"POST / HTTP/1.1")),
    ("absolute-ipv6", _target(b"http://[::1]:81/"), "9112 3.2.2", _is_for(b"[::1]:81")),
    ("absolute-port-empty", _target(b"http://b:/"), "9110 4.2.1", _is_for(b"b:")),
    ("absolute-at-sign-in-the-path", _target(b"http://b/@c"), "9112 3.2.2", _is_for(b"b", b"GET /@c HTTP/1.1")),
    ("absolute-1.0", _line(b"GET http://b/c HTTP/1.0"), "9112 3.2.2", _is_old(b"b")),
    ("absolute-1.0-no-host", b"GET http://b/c HTTP/1.0\r\n\r\n", "9112 3.2.2", _is_old(b"b")),
    ("absolute-two-hosts", b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "9112 3.2", 400),
    ("absolute-bad-host", b"GET http://b/ HTTP/1.1\r\nHost: u@a\r\n\r\n", "9112 3.2", 400),
    ("absolute-empty-host", b"GET http://b/ HTTP/1.1\r\nHost:\r\n\r\n", "9112 3.2.2", 400),
    ("absolute-port-word", _target(b"http://b:c/"), "3986 3.2.3", 400),
    ("absolute-port-six-digits", _target(b"http://b:000080/"), "3986 3.2.3", 400),
    ("absolute-two-ports", _target(b"http://b:80:81/"), "3986 3.2", 400),
    ("absolute-only-a-port", _target(b"http://:80/"), "9110 4.2.1", 400),
    ("absolute-only-a-query", _target(b"http://?b"), "9110 4.2.1", 400),
    ("absolute-empty-userinfo", _target(b"http://@b/"), "9110 4.2.4", 400),
    ("absolute-two-at-signs", _target(b"http://a@b@c/"), "9110 4.2.4", 400),
    ("absolute-host-in-userinfo", _target(b"http://a:80@b/"), "9110 4.2.4", 400),
    ("absolute-percent-in-host", _target(b"http://a%2eb/"), "9110 4.2.3", 400),
    ("absolute-comma-in-host", _target(b"http://a,b/"), "3986 3.2.2", 400),
    ("absolute-ipv6-zone", _target(b"http://[fe80::1%25lo]/"), "6874 2", 400),
    ("absolute-ipv6-open", _target(b"http://[::1/"), "3986 3.2.2", 400),
    ("absolute-ipv6-and-more", _target(b"http://[::1]b/"), "3986 3.2.2", 400),
    ("absolute-fragment", _target(b"http://b#c"), "9112 3.2", 400),
    ("absolute-asterisk", _target(b"http://b*", b"OPTIONS"), "9112 3.2.4", 400),
    ("absolute-one-slash", _target(b"http:/b"), "9110 4.2.1", 400),
    ("absolute-no-slash", _target(b"http:b"), "9110 4.2.1", 400),
    ("absolute-backslashes", _target(b"http:\\\\b/"), "9110 4.2.1", 400),
    ("absolute-no-scheme", _target(b"://b/"), "3986 3.1", 400),
    ("absolute-scheme-of-file", _target(b"file:///etc/passwd"), "9110 7.4", 400),
    ("absolute-scheme-of-script", _target(b"javascript:alert(1)"), "9110 7.4", 400),
    ("absolute-scheme-of-websocket", _target(b"ws://b/"), "9110 7.4", 400),
    ("absolute-scheme-longer", _target(b"httpx://b/"), "9110 7.4", 400),
    ("absolute-scheme-twice", _target(b"http://http://b/"), "3986 3.2", _is_for(b"http:", b"GET //b/ HTTP/1.1")),
    ("absolute-scheme-underscored", _target(b"ht_tp://b/"), "3986 3.1", 400),
]

HOSTS: list[Vector] = [
    ("host-upper-case", _host(b"A.B"), "3986 3.2.2", _is_for(b"A.B")),
    ("host-dot-at-end", _host(b"a."), "3986 3.2.2", _is_for(b"a.")),
    ("host-underscore", _host(b"a_b"), "3986 3.2.2", _is_for(b"a_b")),
    ("host-port-empty", _host(b"a:"), "3986 3.2.3", _is_for(b"a:")),
    ("host-ipv4", _host(b"127.0.0.1:80"), "3986 3.2.2", _is_for(b"127.0.0.1:80")),
    ("host-ipv6-with-ipv4", _host(b"[::ffff:127.0.0.1]"), "3986 3.2.2", _is_for(b"[::ffff:127.0.0.1]")),
    ("host-punycode", _host(b"xn--bcher-kva.example"), "5891 2.3", _is_for(b"xn--bcher-kva.example")),
    ("host-last", GET + b"\r\nX: v\r\nHost: a\r\n\r\n", "9110 7.2", Request(GET, ((b"x", b"v"), HOST))),
    ("host-upper-case-name", GET + b"\r\nHOST: a\r\n\r\n", "9110 5.1", passes()),
    ("host-twice-any-case", get(b"HOST: a"), "9112 3.2", 400),
    ("host-twice-one-empty", get(b"Host:"), "9112 3.2", 400),
    ("host-thrice", get(b"Host: a", b"Host: a"), "9112 3.2", 400),
    ("host-twice-in-1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "9112 3.2", 400),
    ("host-malformed-in-1.0", b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", "9112 3.2", 400),
    ("host-empty-in-1.0", b"GET / HTTP/1.0\r\nHost:\r\n\r\n", "9110 4.2.1", 400),
    ("host-tabbed-name", GET + b"\r\nHost\t: a\r\n\r\n", "9112 5.1", 400),
    ("host-url", _host(b"http://a"), "9110 7.2", 400),
    ("host-query", _host(b"a?b"), "9110 7.2", 400),
    ("host-fragment", _host(b"a#b"), "9110 7.2", 400),
    ("host-backslash", _host(b"a\\b"), "9110 7.2", 400),
    ("host-userinfo-empty", _host(b"@a"), "9110 7.2", 400),
    ("host-userinfo-password", _host(b"u:p@a"), "9110 7.2", 400),
    ("host-comma-after", _host(b"a,"), "9112 3.2", 400),
    ("host-semicolon", _host(b"a;b"), "3986 3.2.2", 400),
    ("host-asterisk", _host(b"*.a"), "3986 3.2.2", 400),
    ("host-quoted", _host(b'"a"'), "3986 3.2.2", 400),
    ("host-angle-brackets", _host(b"<a>"), "3986 3.2.2", 400),
    ("host-sub-delimiters", _host(b"a!$&'()*+=b"), "3986 3.2.2", 400),
    ("host-non-ascii", _host(b"b\xc3\xbccher"), "3986 3.2.2", 400),
    ("host-nul", _host(b"a\0"), "9110 5.5", 400),
    ("host-nul-within", _host(b"a\0b"), "9110 5.5", 400),
    ("host-delete", _host(b"a\x7f"), "9110 5.5", 400),
    ("host-tab-within", _host(b"a\tb"), "9112 3.2", 400),
    ("host-cr-within", _host(b"a\rb"), "9112 2.2", 400),
    ("host-lf-within", _host(b"a\nb"), "9112 2.2", 400),
    ("host-only-a-port", _host(b":80"), "9110 4.2.1", 400),
    ("host-port-minus", _host(b"a:-80"), "3986 3.2.3", 400),
    ("host-port-plus", _host(b"a:+80"), "3986 3.2.3", 400),
    ("host-port-hex", _host(b"a:0x50"), "3986 3.2.3", 400),
    ("host-port-space-before", _host(b"a: 80"), "3986 3.2.3", 400),
    ("host-port-six-digits", _host(b"a:000080"), "3986 3.2.3", 400),
    ("host-port-path", _host(b"a:80/b"), "9110 7.2", 400),
    ("host-ipv6-empty", _host(b"[]"), "3986 3.2.2", 400),
    ("host-ipv6-zone", _host(b"[fe80::1%25lo]"), "6874 2", 400),
    ("host-ipv6-name-after", _host(b"[::1]a"), "3986 3.2.2", 400),
    ("host-ipv6-name-before", _host(b"a[::1]"), "3986 3.2.2", 400),
    ("host-ipv6-dot-after", _host(b"[::1]."), "3986 3.2.2", 400),
    ("host-ip-of-the-future", _host(b"[v1.a]"), "3986 3.2.2", 400),
    ("host-ipv6-closed-twice", _host(b"[::1]]"), "3986 3.2.2", 400),
]
