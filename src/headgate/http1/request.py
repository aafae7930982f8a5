"""Reading a request's head: checked, cleaned for forwarding, and the facts that the exchange needs.

What could make two parsers disagree is refused, never repaired: RFC 9112 sections 6.3, 7 and 11.2. What a proxy must
not pass on (RFC 9110 section 7.6.1) and what a stranger must not claim (`X-Forwarded-*`) is taken out. Names with an
underscore are dropped unless the configuration says otherwise: WSGI and CGI read `X_Forwarded_For` and
`X-Forwarded-For` as the same variable.
"""

import re

from headgate.errors import BadRequest, HeadTooLarge, NotImplementedHere, TargetTooLong, VersionNotSupported
from headgate.http1.fields import Fields, by_name, connection_options, read_fields
from headgate.http1.grammar import (
    ABSOLUTE_FORM,
    FIELD_LINES,
    FIELD_VALUE,
    HOST,
    HOST_VALUE,
    LENGTH_VALUE,
    REQUEST_LINE,
    any_case,
    any_of,
    as_written,
    ordinary_field,
)
from headgate.http1.upgrade import protocols
from headgate.model.config import Heads

CHUNKED = -1  # a length that only the body's own framing tells

# Fields of one hop. Upgrade and TE are among them: without them the server answers in plain HTTP/1.1. What a client
# asks to upgrade to is told apart from the lines, for the exchange to decide.
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"})
# What only a trusted proxy may say about a client.
CLAIMS = frozenset(
    {b"forwarded", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"}
)
_CLAIM_PREFIX = b"x-forwarded-"
# What is dropped without a look at its value: claims, and the fields of one hop but for Connection.
_DROPPED = (
    *sorted(HOP_BY_HOP - {b"connection"}),
    *sorted(name for name in CLAIMS if not name.startswith(_CLAIM_PREFIX)),
    _CLAIM_PREFIX + b"*",
)

# More fields than this take the general path. Counting them behind the match would cost a quarter of it.
_USUAL_FIELDS = Heads().max_fields

# A second Host, Connection, Content-Length, Transfer-Encoding or Expect fails its own alternative, and as no ordinary
# field has such a name the whole pattern fails: the general path then says what is wrong. A guard stands outside the
# group that it asks about: within, the engine takes a group that is begun anew for one that never matched.
_FAST = re.compile(
    rb"([!#$%&'*+\-.^`|~0-9A-Za-z]++) (/[!\"$-~]*+) HTTP/1\.1\r\n"
    + ordinary_field(
        (b"host", b"connection", b"content-length", b"transfer-encoding", b"expect", *_DROPPED),
        as_written(b"host")
        + rb":(?(3)(?!)) *+("
        + HOST
        + rb")\r\n|"
        + as_written(b"connection")
        + rb":(?(4)(?!))( *+(?:([Cc]lose)|[Kk]eep-[Aa]live)\r\n)",
        as_written(b"content-length")
        + rb":(?(6)(?!)) *+(0|[1-9][0-9]{0,17})\r\n|"
        + as_written(b"transfer-encoding")
        + rb":(?(7)(?!)) *+(chunked)\r\n|"
        + as_written(b"expect")
        + rb":(?(8)(?!)) *+("
        + any_case(b"100-continue")
        + rb")\r\n|("
        + any_of(_DROPPED)
        + rb"):"
        + FIELD_VALUE
        + rb"\r\n",
        _USUAL_FIELDS,
    )
    + rb"\r\n"
)
# In a head that is checked: the end of a line and the dropped fields after it; each claim, its value and its CR.
_CUT = re.compile(rb"\n(?:" + any_of((b"connection", *_DROPPED)) + rb":[^\r]*+\r\n)+")
_CLAIM = re.compile(rb"\n(" + any_of(CLAIMS) + rb"):[\t ]*+([^\r]*+)")
# What is decided here of a message, its length, its host and its client.
_OURS = HOP_BY_HOP | CLAIMS | {b"host", b"content-length", b"transfer-encoding", b"expect", b"via"}
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})


class RequestHead:
    """A request's head as it was understood.

    lines: the request line and the fields to forward, each with its CRLF, without the empty line at the end.
    end: where the body begins in the bytes that were read.
    length: of the body in bytes, or CHUNKED.
    claims: what a trusted proxy said of the client, by lower-case name; None where nothing was said or believed.
    upgrade: the protocols that the client would rather speak; none for a request with a body, which would have to be
    sent first, and for HEAD.
    """

    __slots__ = ("claims", "close", "end", "expects", "host", "length", "lines", "method", "minor", "target", "upgrade")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        host: bytes,
        length: int,
        close: bool,
        lines: bytes,
        end: int,
        expects: bool = False,
        claims: dict[bytes, bytes] | None = None,
        minor: int = 1,
        upgrade: tuple[bytes, ...] = (),
    ) -> None:
        self.method = method
        self.target = target
        self.host = host
        self.length = length
        self.close = close
        self.lines = lines
        self.end = end
        self.expects = expects
        self.claims = claims
        self.minor = minor
        self.upgrade = upgrade

    def address_to(self, host: bytes) -> None:
        """Gives a request without a host one: HTTP/1.0 has none, and most servers of HTTP/1.1 want one."""
        self.lines = self.lines.replace(b"\r\nHost: \r\n", b"\r\nHost: %b\r\n" % host, 1)
        self.host = host


def read_request(data: bytes, heads: Heads, trusted: bool = False) -> RequestHead | None:
    """The head at the start of the data, or None when it is not complete yet.

    trusted: whether what the peer says about the client (`X-Forwarded-*` and the like) is believed.
    Raises BadRequest or one of its kinds; the first offence in the order of the bytes decides, so that the outcome
    does not depend on how the bytes were split. O(len(data)).
    """
    match = _FAST.match(data, 0, heads.max_size)
    if match is None:
        return _read_general(data, heads, trusted)
    method, target, host, connection, close, length, chunked, expect, dropped = match.groups()
    end = match.end()
    if (
        host is None
        or (heads.non_ascii == "refuse" and not data[:end].isascii())
        or method in _REFUSED_METHODS
        or (length is not None and chunked is not None)
        or end > heads.max_target
        or (heads.max_fields < _USUAL_FIELDS and data.count(b"\n", 0, end) > heads.max_fields + 2)
    ):
        return _read_general(data, heads, trusted)
    size = int(length) if length is not None else 0 if chunked is None else CHUNKED
    claims = None
    if dropped is not None:
        lines, claims = _cut(data[: end - 2], trusted)
    elif connection is None:
        lines = data[: end - 2]
    else:
        start, stop = match.span(4)
        lines = data[: start - 11] + data[stop : end - 2]  # 11: "Connection:"
    return RequestHead(method, target, host, size, close is not None, lines, end, expect is not None, claims)


def _cut(head: bytes, trusted: bool) -> tuple[bytes, dict[bytes, bytes] | None]:
    """A checked head without the fields that are dropped, and the claims among them as far as they are believed."""
    lines = _CUT.sub(b"\n", head)
    if not trusted:
        return lines, None
    found = [(name.lower(), value.rstrip()) for name, value in _CLAIM.findall(head)]
    claims = dict(found)
    if len(claims) < len(found):
        claims = {name: b", ".join(value for again, value in found if again == name) for name in claims}
    return lines, claims or None


def _read_general(data: bytes, heads: Heads, trusted: bool) -> RequestHead | None:
    scanned = _scan(data, heads)
    if scanned is None:
        return None
    line, fields, end = scanned
    method, target, minor = _request_line(line, heads)
    return _understand(method, target, minor, _wanted(fields, heads), end, trusted)


def _scan(data: bytes, heads: Heads) -> tuple[bytes, Fields, int] | None:
    """The request line, the fields and the end of the head; None when it is not complete and flawless so far."""
    at = 2 if data.startswith(b"\r\n") else 0  # RFC 9112 section 2.2: one empty line before a request is ignored
    line_bound = at + heads.max_target + 2  # where the byte after the longest line and its CR and LF would be
    stop = data.find(b"\n", at)
    if (len(data) if stop < 0 else stop) >= min(line_bound, heads.max_size):
        raise TargetTooLong("request line too long") if line_bound <= heads.max_size else HeadTooLarge("head too large")
    if stop < 0:
        return None
    line = data[at : stop - 1]
    if data[stop - 1 : stop] != b"\r":
        raise BadRequest("line feed without carriage return")
    _request_line(line, heads)  # what it says is refused at once, not when the head is complete
    at = stop + 1
    if len(data) < heads.max_size and data.find(b"\r\n\r\n", at - 2) < 0 and _flawless_so_far(data, at, heads):
        return None
    found = read_fields(
        data,
        at,
        max_size=heads.max_size,
        max_fields=heads.max_fields,
        malformed=BadRequest,
        too_large=HeadTooLarge,
    )
    return None if found is None else (line, *found)


def _flawless_so_far(data: bytes, at: int, heads: Heads) -> bool:
    """Whether the complete lines from `at` are fields and within the limits: one fast look at what is not complete."""
    end = FIELD_LINES.match(data, at).end()  # type: ignore[union-attr]  # it matches nothing at the least
    return data.find(b"\n", end) < 0 and data.count(b"\n", at) <= heads.max_fields


def _request_line(line: bytes, heads: Heads) -> tuple[bytes, bytes, int]:
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest("malformed request line")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in b"01":
        raise VersionNotSupported("only HTTP/1.0 and HTTP/1.1 are served")
    if method in _REFUSED_METHODS and not (heads.trace and method == b"TRACE"):
        raise NotImplementedHere("method not served")
    return method, target, int(minor)


def _wanted(fields: Fields, heads: Heads) -> Fields:
    """The fields as the configuration wants them: some dropped, or all refused, for what is unusual in them."""
    if heads.non_ascii == "refuse" and not all(value.isascii() for _, value in fields):
        raise BadRequest("a field's value is not ASCII")
    odd = [name for name, _ in fields if b"_" in name]
    if not odd:
        return fields
    if heads.underscores == "refuse":
        raise BadRequest("a field's name has an underscore")
    return [(name, value) for name, value in fields if b"_" not in name or _may_pass(name, heads)]


def _may_pass(name: bytes, heads: Heads) -> bool:
    """Whether a name with an underscore goes on: never one that a server may take for what is decided here."""
    twin = name.lower().replace(b"_", b"-")
    return heads.underscores == "pass" and not (twin in _OURS or twin.startswith(_CLAIM_PREFIX))


def _understand(method: bytes, target: bytes, minor: int, fields: Fields, end: int, trusted: bool) -> RequestHead:
    values = by_name(fields)
    target, authority = _target(method, target)
    host = _host(values.get(b"host"), minor)
    length = _length(values.get(b"content-length"), values.get(b"transfer-encoding"), minor)
    if method == b"TRACE" and length:
        raise BadRequest("TRACE with a body")  # RFC 9110 section 9.3.8
    options = connection_options(values.get(b"connection"))
    close = b"close" in options or (minor == 0 and b"keep-alive" not in options)
    host = authority or host

    # RFC 9110 section 10.1.1: an expectation of an HTTP/1.0 client is ignored.
    expects = minor == 1 and [value.lower() for value in values.get(b"expect", ())] == [b"100-continue"]
    dropped = HOP_BY_HOP | CLAIMS | (options - _KEPT)
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, target, host)]
    for name, value in fields:
        lower = name.lower()
        if lower == b"host" or lower in dropped or lower.startswith(_CLAIM_PREFIX):
            continue
        if lower == b"expect" and not expects:
            continue
        if lower == b"transfer-encoding":
            value = b"chunked"
        elif lower == b"content-length":
            value = b"%d" % length  # without zeros before it: there are servers that take 010 for eight
        lines.append(b"%b: %b\r\n" % (name, value))
    claims = {name: b", ".join(said) for name, said in values.items() if trusted and name in CLAIMS} or None
    # RFC 9110 section 7.8: the option says that the field is meant for us; HTTP/1.0 does not know it.
    may_upgrade = b"upgrade" in options and minor == 1 and not length and method != b"HEAD"
    upgrade = protocols(values.get(b"upgrade")) if may_upgrade else ()
    return RequestHead(method, target, host, length, close, b"".join(lines), end, expects, claims, minor, upgrade)


# Connection must not take these out of a message (RFC 9110 section 7.6.1): the next hop would frame it otherwise, or
# not send the 100 that the client awaits.
_KEPT = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


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
