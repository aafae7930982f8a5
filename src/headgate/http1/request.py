"""Reading a request's head: checked, cleaned for forwarding, and the facts that the exchange needs.

What could make two parsers disagree is refused, never repaired: RFC 9112 sections 6.3, 7 and 11.2. What a proxy must
not pass on (RFC 9110 section 7.6.1) and what a stranger must not claim (`X-Forwarded-*`) is taken out. Names with an
underscore are dropped: WSGI and CGI read `X_Forwarded_For` and `X-Forwarded-For` as the same variable.
"""

import re

from headgate.errors import BadRequest, HeadTooLarge, NotImplementedHere, TargetTooLong, VersionNotSupported
from headgate.http1.grammar import (
    ABSOLUTE_FORM,
    FIELD_LINE,
    FIELD_LINES,
    HOST,
    HOST_VALUE,
    LENGTH_VALUE,
    REQUEST_LINE,
    any_case,
    ordinary_field,
)
from headgate.model.config import Heads

CHUNKED = -1  # a length that only the body's own framing tells

# Fields of one hop. Upgrade and TE are among them: without them the server answers in plain HTTP/1.1.
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"})
# What only a trusted proxy may say about a client.
CLAIMS = frozenset(
    {b"forwarded", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"}
)
_CLAIM_PREFIX = b"x-forwarded-"
_SPECIAL = (
    *(b"host", b"content-length", b"transfer-encoding", b"expect", b"x-forwarded-*"),
    *sorted(HOP_BY_HOP),
    *sorted(name for name in CLAIMS if not name.startswith(_CLAIM_PREFIX)),
)

# A second Host, Connection or Content-Length fails its own alternative, and as no ordinary field has such a name the
# whole pattern fails: the general path then says what is wrong.
_FAST = re.compile(
    rb"([!#$%&'*+\-.^`|~0-9A-Za-z]++) (/[!\"$-~]*+) HTTP/1\.1\r\n"
    + ordinary_field(
        _SPECIAL,
        any_case(b"host")
        + rb":(?(3)(?!)) *+("
        + HOST
        + rb")\r\n|("
        + any_case(b"connection")
        + rb":(?(4)(?!)) *+(?:([Cc]lose)|[Kk]eep-[Aa]live)\r\n)|"
        + any_case(b"content-length")
        + rb":(?(6)(?!)) *+([0-9]{1,18})\r\n",
    )
    + rb"\r\n"
)
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})


class RequestHead:
    """A request's head as it was understood.

    lines: the request line and the fields to forward, each with its CRLF, without the empty line at the end.
    end: where the body begins in the bytes that were read.
    length: of the body in bytes, or CHUNKED.
    claims: what a trusted proxy said of the client, by lower-case name; None where nothing was said or believed.
    """

    __slots__ = ("claims", "close", "end", "expects", "host", "length", "lines", "method", "minor", "target")

    def __init__(
        self, method: bytes, target: bytes, host: bytes, length: int, close: bool, lines: bytes, end: int
    ) -> None:
        self.method = method
        self.target = target
        self.host = host
        self.length = length
        self.close = close
        self.lines = lines
        self.end = end
        self.minor = 1
        self.expects = False
        self.claims: dict[bytes, bytes] | None = None


def read_request(data: bytes, heads: Heads, trusted: bool = False) -> RequestHead | None:
    """The head at the start of the data, or None when it is not complete yet.

    trusted: whether what the peer says about the client (`X-Forwarded-*` and the like) is believed.
    Raises BadRequest or one of its kinds; the first offence in the order of the bytes decides, so that the outcome
    does not depend on how the bytes were split. O(len(data)).
    """
    match = _FAST.match(data)
    if match is None:
        return _read_general(data, heads, trusted)
    end = match.end()
    if end > heads.max_target or (end > 4 * heads.max_fields and data.count(b"\n", 0, end) > heads.max_fields + 2):
        return _read_general(data, heads, trusted)
    method, target, host, connection, close, length = match.groups()
    if host is None or method in _REFUSED_METHODS:
        return _read_general(data, heads, trusted)
    if connection is None:
        lines = data[: end - 2]
    else:
        start, stop = match.span(4)
        lines = data[:start] + data[stop : end - 2]
    return RequestHead(method, target, host, int(length) if length else 0, close is not None, lines, end)


def _read_general(data: bytes, heads: Heads, trusted: bool) -> RequestHead | None:
    scanned = _scan(data, heads)
    if scanned is None:
        return None
    line, fields, end = scanned
    method, target, minor = _request_line(line)
    return _understand(method, target, minor, fields, end, trusted)


def _scan(data: bytes, heads: Heads) -> tuple[bytes, list[tuple[bytes, bytes]], int] | None:
    """The request line, the fields and the end of the head; None when it is not complete and flawless so far."""
    at = 2 if data.startswith(b"\r\n") else 0  # RFC 9112 section 2.2: one empty line before a request is ignored
    bound = min(at + heads.max_target, heads.max_size)
    stop = data.find(b"\n", at)
    if (len(data) if stop < 0 else stop) > bound:
        raise TargetTooLong("request line too long") if at + heads.max_target <= heads.max_size else _too_large()
    if stop < 0:
        return None
    line = data[at : stop - 1]
    if data[stop - 1] != 13 or not REQUEST_LINE.fullmatch(line):
        raise BadRequest("malformed request line")
    _request_line(line)
    at = stop + 1
    if b"\r\n\r\n" not in data[at - 2 :] and _flawless_so_far(data, at, heads):
        return None
    fields: list[tuple[bytes, bytes]] = []
    while True:
        stop = data.find(b"\n", at)
        if (len(data) if stop < 0 else stop) >= heads.max_size or len(fields) > heads.max_fields:
            raise _too_large()
        if stop < 0:
            return None
        if data[stop - 1] != 13:
            raise BadRequest("line feed without carriage return")
        if stop - 1 == at:
            return line, fields, stop + 1
        field = FIELD_LINE.fullmatch(data, at, stop - 1)
        if field is None:
            raise BadRequest("malformed header field")
        fields.append((field[1], field[2].rstrip(b" \t")))
        at = stop + 1


def _flawless_so_far(data: bytes, at: int, heads: Heads) -> bool:
    """Whether the complete lines from `at` are fields and within the limits: one fast look at what is not complete."""
    end = FIELD_LINES.match(data, at).end()  # type: ignore[union-attr]  # it matches nothing at the least
    return b"\n" not in data[end:] and len(data) < heads.max_size and data.count(b"\n", at) <= heads.max_fields


def _too_large() -> HeadTooLarge:
    return HeadTooLarge("request head too large")


def _request_line(line: bytes) -> tuple[bytes, bytes, int]:
    match = REQUEST_LINE.fullmatch(line)
    assert match is not None
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in b"01":
        raise VersionNotSupported("only HTTP/1.0 and HTTP/1.1 are served")
    if method in _REFUSED_METHODS:
        raise NotImplementedHere("method not served")
    return method, target, int(minor)


def _understand(
    method: bytes, target: bytes, minor: int, fields: list[tuple[bytes, bytes]], end: int, trusted: bool
) -> RequestHead:
    by_name: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        by_name.setdefault(name.lower(), []).append(value)
    target, authority = _target(method, target)
    host = _host(by_name.get(b"host"), minor)
    length = _length(by_name.get(b"content-length"), by_name.get(b"transfer-encoding"), minor)
    options = connection_options(by_name.get(b"connection"))
    close = b"close" in options or (minor == 0 and b"keep-alive" not in options)
    host = authority or host

    # RFC 9110 section 10.1.1: an expectation of an HTTP/1.0 client is ignored.
    expects = minor == 1 and [value.lower() for value in by_name.get(b"expect", ())] == [b"100-continue"]
    dropped = HOP_BY_HOP | CLAIMS | options - _FRAMING
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, target, host)]
    for name, value in fields:
        lower = name.lower()
        if lower == b"host" or lower in dropped or b"_" in lower or lower.startswith(_CLAIM_PREFIX):
            continue
        if lower == b"expect" and not expects:
            continue
        if lower == b"transfer-encoding":
            value = b"chunked"
        lines.append(b"%b: %b\r\n" % (name, value))
    head = RequestHead(method, target, host, length, close, b"".join(lines), end)
    head.minor = minor
    head.expects = expects
    if trusted:
        head.claims = {name: b", ".join(values) for name, values in by_name.items() if name in CLAIMS} or None
    return head


# Connection must not take these out of a message (RFC 9110 section 7.6.1): the next hop would frame it otherwise.
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding"})


def _target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """The target in origin-form (or `*`), and the authority where absolute-form named one, which then rules."""
    if target.startswith(b"/"):
        return target, b""
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    absolute = ABSOLUTE_FORM.fullmatch(target)
    if absolute is None:
        raise BadRequest("malformed request target")
    authority, path, query = absolute.groups()
    if path is None and query is None and method == b"OPTIONS":
        return b"*", authority
    return (path or b"/") + (query or b""), authority


def _host(values: list[bytes] | None, minor: int) -> bytes:
    if values is None:
        if minor == 1:
            raise BadRequest("no Host field")
        return b""
    if len(values) > 1:
        raise BadRequest("more than one Host field")
    if not HOST_VALUE.fullmatch(values[0]):
        raise BadRequest("malformed Host field")
    return values[0]


def _length(lengths: list[bytes] | None, codings: list[bytes] | None, minor: int) -> int:
    """The body's length by RFC 9112 section 6.3, with everything refused that it lets a recipient refuse."""
    if codings is not None:
        if lengths is not None:
            raise BadRequest("Content-Length with Transfer-Encoding")
        if minor == 0:
            raise BadRequest("Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadRequest("Transfer-Encoding other than chunked")
        return CHUNKED
    if lengths is None:
        return 0
    if len(lengths) > 1:
        raise BadRequest("more than one Content-Length")
    if not LENGTH_VALUE.fullmatch(lengths[0]):
        raise BadRequest("malformed Content-Length")
    return int(lengths[0])


def connection_options(values: list[bytes] | None) -> frozenset[bytes]:
    """The options of all Connection fields, in lower case (RFC 9110 section 7.6.1)."""
    if values is None:
        return frozenset()
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b",")) - {b""}
