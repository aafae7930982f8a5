"""Reading a response's head with the strictness of requests: a client must never misread what a server sent.

What is ambiguous raises BadResponse; the exchange answers 502 for it.
"""

import re

from headgate.errors import BadResponse
from headgate.http1.fields import Fields, by_name, connection_options, read_fields
from headgate.http1.grammar import (
    FIELD_VALUE,
    LENGTH_VALUE,
    STATUS_LINE,
    any_case,
    any_of,
    as_written,
    ordinary_field,
)
from headgate.http1.request import CHUNKED, HOP_BY_HOP
from headgate.http1.upgrade import protocols

UNTIL_CLOSE = -2  # a length that only the end of the connection tells
MAX_HEAD = 65536  # bytes
MAX_FIELDS = 256

_DROPPED = tuple(sorted(HOP_BY_HOP - {b"connection"}))
# Guards stand outside the groups that they ask about; see request.py.
_FAST = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"
    + ordinary_field(
        (b"connection", b"content-length", b"transfer-encoding", *_DROPPED),
        as_written(b"content-type")  # an ordinary one, told here because a look ahead would go far into it
        + b":"
        + FIELD_VALUE
        + rb"\r\n|"
        + as_written(b"content-length")
        + rb":(?(2)(?!)) *+(0|[1-9][0-9]{0,17})\r\n|"
        + as_written(b"connection")
        + rb":(?(3)(?!))( *+(?:([Cc]lose)|[Kk]eep-[Aa]live)\r\n)",
        as_written(b"transfer-encoding")
        + rb":(?(5)(?!)) *+([Cc]hunked)\r\n|("
        + any_of(_DROPPED)
        + rb"):"
        + FIELD_VALUE
        + rb"\r\n",
        MAX_FIELDS,
    )
    + rb"\r\n"
)
# In a head that is checked: the end of a line and the dropped fields after it.
_CUT = re.compile(rb"\n(?:" + any_of((b"connection", *_DROPPED)) + rb":[^\r]*+\r\n)+")
_KEEP_ALIVE = re.compile(rb"\n" + any_case(b"keep-alive") + rb":([^\r]*+)")
_TIMEOUT = re.compile(rb"(?:^|[,; \t])timeout[ \t]*=[ \t]*([0-9]{1,6})(?![0-9])", re.IGNORECASE)
_BODILESS = frozenset({204, 304})


class ResponseHead:
    """A response's head as it was understood.

    lines: the status line and the fields to forward, each with its CRLF, without the empty line at the end. A
    Transfer-Encoding is among them only when the client speaks HTTP/1.1.
    end: where the body begins. length: of the body in bytes, CHUNKED or UNTIL_CLOSE.
    close: whether the server ends its connection after this response.
    upgrade: what a 101 makes of the connection, the value of its Upgrade field; b"" where it does not say.
    keeps: for how many seconds the server says that it keeps the connection (Keep-Alive); None where it does not.
    """

    __slots__ = ("close", "end", "keeps", "length", "lines", "status", "upgrade")

    def __init__(
        self,
        status: int,
        length: int,
        close: bool,
        lines: bytes,
        end: int,
        upgrade: bytes = b"",
        keeps: int | None = None,
    ) -> None:
        self.status = status
        self.length = length
        self.close = close
        self.lines = lines
        self.end = end
        self.upgrade = upgrade
        self.keeps = keeps


def read_response(data: bytes, method: bytes, minor: int = 1) -> ResponseHead | None:
    """The head at the start of the data, or None when it is not complete yet.

    method: of the request that it answers. minor: of the client's HTTP version, which decides the framing it can take.
    A status below 200 is an interim response: it has no body and another head follows, but for 101, after which the
    connection is no HTTP any more and whatever comes is passed on until it closes. Raises BadResponse.
    """
    match = _FAST.match(data, 0, MAX_HEAD)
    if match is None or minor == 0:
        return _read_general(data, method, minor)
    code, length, connection, close, chunked, dropped = match.groups()
    status = int(code)
    if length is not None:
        if chunked is not None or status == 204:
            return _read_general(data, method, minor)
        size = int(length)
    elif chunked is not None:
        if status == 204:
            return _read_general(data, method, minor)
        size = CHUNKED
    else:
        size = UNTIL_CLOSE
    if method == b"HEAD" or status in _BODILESS:
        size = 0
    end = match.end()
    keeps = None
    if dropped is not None:
        said = _KEEP_ALIVE.search(data, 0, end)
        keeps = _keeps(said[1]) if said is not None else None
        lines = _CUT.sub(b"\n", data[: end - 2])
    elif connection is None:
        lines = data[: end - 2]
    else:
        start, stop = match.span(3)
        lines = data[: start - 11] + data[stop : end - 2]  # 11: "Connection:"
    return ResponseHead(status, size, close is not None, lines, end, b"", keeps)


def _keeps(value: bytes) -> int | None:
    """The timeout that a Keep-Alive field says (RFC 2068 section 19.7.1, where it was defined last)."""
    timeout = _TIMEOUT.search(value)
    return int(timeout[1]) if timeout is not None else None


def _read_general(data: bytes, method: bytes, minor: int) -> ResponseHead | None:
    scanned = _scan(data)
    if scanned is None:
        return None
    line, fields, end = scanned
    match = STATUS_LINE.fullmatch(line)
    assert match is not None
    version, status = int(match[1]), int(match[2])
    values = by_name(fields)
    length = _length(values.get(b"content-length"), values.get(b"transfer-encoding"), version)
    options = connection_options(values.get(b"connection"))
    bodiless = status < 200 or status in _BODILESS or method == b"HEAD"
    dropped = HOP_BY_HOP | (options - {b"content-length", b"transfer-encoding"})
    if minor == 0:
        dropped |= {b"transfer-encoding"}
    if status < 200 or status == 204:  # RFC 9110 section 8.6: neither has a length
        dropped |= {b"content-length", b"transfer-encoding"}
    lines = [b"HTTP/1.1" + line[8:] + b"\r\n"]
    for name, value in fields:
        lower = name.lower()
        if lower not in dropped:  # a length without zeros before it, as in request.py
            lines.append(b"%b: %b\r\n" % (name, b"%d" % length if lower == b"content-length" else value))
    close = b"close" in options or (version == 0 and b"keep-alive" not in options)
    upgrade = b""
    if status == 101:
        length, bodiless, close = UNTIL_CLOSE, False, True
        upgrade = b", ".join(protocols(values.get(b"upgrade"))) if b"upgrade" in options else b""
    keeps = _keeps(b",".join(values.get(b"keep-alive", ())))
    return ResponseHead(status, 0 if bodiless else length, close, b"".join(lines), end, upgrade, keeps)


def _scan(data: bytes) -> tuple[bytes, Fields, int] | None:
    """The status line, the fields and the end of the head; None when it is not complete."""
    stop = data.find(b"\n")
    if (len(data) if stop < 0 else stop) >= MAX_HEAD:
        raise BadResponse("head too large")
    if stop < 0:
        return None
    line = data[: stop - 1]
    if data[stop - 1 : stop] != b"\r" or not STATUS_LINE.fullmatch(line):
        raise BadResponse("malformed status line")
    found = read_fields(
        data, stop + 1, max_size=MAX_HEAD, max_fields=MAX_FIELDS, malformed=BadResponse, too_large=BadResponse
    )
    return None if found is None else (line, *found)


def _length(lengths: list[bytes] | None, codings: list[bytes] | None, version: int) -> int:
    """The body's length by RFC 9112 section 6.3; every ambiguity is refused."""
    if codings is not None:
        if lengths is not None or version == 0 or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadResponse("ambiguous Transfer-Encoding")
        return CHUNKED
    if lengths is None:
        return UNTIL_CLOSE
    if len(lengths) > 1 or not LENGTH_VALUE.fullmatch(lengths[0]):
        raise BadResponse("malformed Content-Length")
    return int(lengths[0])
