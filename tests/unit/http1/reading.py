"""What the tests of the codec share: an outcome as a value to compare, and every way to split bytes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from headgate.errors import BadResponse, ExchangeError
from headgate.http1.request import RequestHead, read_request
from headgate.http1.response import ResponseHead, read_response
from headgate.model.config import Heads

DEFAULT = Heads()

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Request:
    """An accepted request: its facts, and what is forwarded as a request line and fields with lower-case names."""

    line: bytes
    fields: Fields
    host: bytes = b"a"
    length: int = 0
    close: bool = False
    expects: bool = False
    minor: int = 1
    claims: Fields = ()
    rest: bytes | None = None


@dataclass(frozen=True)
class Response:
    """An accepted response: its facts, and what is forwarded."""

    line: bytes
    fields: Fields
    length: int
    close: bool = False
    rest: bytes | None = None


@dataclass(frozen=True)
class Refused:
    """A refused head: the status that the client gets, and why."""

    status: int
    why: str


def split_fields(lines: bytes) -> tuple[bytes, Fields]:
    """The start line of forwarded lines and their fields, with lower-case names and bare values."""
    assert lines.endswith(b"\r\n")
    start, *rest = lines[:-2].split(b"\r\n")
    pairs = (line.split(b":", 1) for line in rest)
    return start, tuple((name.lower(), value.strip(b" \t")) for name, value in pairs)


def request_value(head: RequestHead) -> Request:
    line, fields = split_fields(head.lines)
    assert line == b"%b %b HTTP/1.1" % (head.method, head.target)
    claims = tuple(sorted((head.claims or {}).items()))
    return Request(line, fields, head.host, head.length, head.close, head.expects, head.minor, claims)


def response_value(head: ResponseHead) -> Response:
    line, fields = split_fields(head.lines)
    assert line.split(b" ")[1] == b"%d" % head.status
    return Response(line, fields, head.length, head.close)


def request_outcome(data: bytes, heads: Heads = DEFAULT, trusted: bool = False) -> Request | Refused | None:
    """What becomes of the bytes as a request, without what follows the head."""
    try:
        head = read_request(data, heads, trusted)
    except ExchangeError as error:
        return Refused(error.status, str(error))
    return None if head is None else request_value(head)


def response_outcome(data: bytes, method: bytes = b"GET", minor: int = 1) -> Response | Refused | None:
    """What becomes of the bytes as a response, without what follows the head."""
    try:
        head = read_response(data, method, minor)
    except BadResponse as error:
        return Refused(error.status, str(error))
    return None if head is None else response_value(head)


def host_apart(value: Request | Refused | None) -> Request | Refused | None:
    """The same with Host as the last field: the two paths may put it in different places."""
    if not isinstance(value, Request):
        return value
    return replace(value, fields=tuple(sorted(value.fields, key=lambda field: field[0] == b"host")))


def decided_alike(data: bytes, outcome: Callable[[bytes], object]) -> bool:
    """Whether every beginning of the bytes is either undecided or decided as the whole is, and never undecided again.

    That is every way to split the bytes: a caller that got None reads on and calls again with all it has.
    """
    whole = outcome(data)
    decided = False
    for stop in range(len(data) + 1):
        now = outcome(data[:stop])
        if now is None and not decided:
            continue
        decided = True
        if now != whole:
            return False
    return True
