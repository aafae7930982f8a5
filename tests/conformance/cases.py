"""The vectors of the codec's tests as cases that can be played against a proxy: each head with a body that fits it.

A head that is refused gets the body `0 CRLF CRLF`: five bytes, and also a whole chunked body without content, so that
a proxy that takes the head has a whole request (or response) either way and need not wait. Vectors of the limits
(request_hops.LIMITED) and those with bodies too large to send are left out.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from headgate.http1.request import CHUNKED
from headgate.http1.response import UNTIL_CLOSE
from tests.conformance.transcript import Fields
from tests.unit.http1 import reading
from tests.unit.http1.body_vectors import BAD, GOOD, UNFINISHED
from tests.unit.http1.framing_vectors import CODINGS, ENDS, FIELDS, LENGTHS
from tests.unit.http1.request_hops import HOPS
from tests.unit.http1.request_vectors import BODIES, GRAMMAR, LINE
from tests.unit.http1.request_vectors import Vector as RequestVector
from tests.unit.http1.response_vectors import FIELDS as RESPONSE_FIELDS
from tests.unit.http1.response_vectors import FRAMING, STATUS
from tests.unit.http1.response_vectors import Vector as ResponseVector
from tests.unit.http1.status_vectors import BODILESS, DISGUISED, STATUS_LINES
from tests.unit.http1.status_vectors import LINES as RESPONSE_LINES
from tests.unit.http1.target_vectors import ABSOLUTE, HOSTS, LINES, TARGETS, VERSIONS

LARGEST = 1 << 20  # bytes of a body that is sent
EITHER = b"0\r\n\r\n"
_MARKS_A_BODY = re.compile(rb"content.{0,4}length|transfer.{0,4}encoding", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A message that has to arrive: at the server for a request, at the client for a response.

    line: the request line, or the status line's first twelve bytes. host: None for a response. fields: but those of
    framing and of proxies.
    """

    line: bytes
    host: bytes | None
    fields: Fields
    content: bytes

    @property
    def is_response(self) -> bool:
        """Whether it is a response."""
        return self.host is None


@dataclass(frozen=True, slots=True)
class Case:
    """One exchange. sends: of the client; answer: of the server, None for a usual one.

    statuses: what Headgate answers to the client, 0 where it waits for more. may_cut: whether it may break off instead.
    arrives: what has to reach the server of a request, or the client of a response.
    requests: how many the client sends that are answered; method: of the first.
    """

    group: str
    name: str
    section: str
    sends: bytes
    answer: bytes | None
    statuses: tuple[int, ...]
    arrives: tuple[Wanted, ...] = ()
    requests: int = 1
    method: bytes = b"GET"
    may_cut: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether nothing of it may arrive."""
        return not self.arrives


def request_cases() -> Iterator[Case]:
    """Every vector of a request's head, and every chunked body in a request."""
    themes: list[tuple[str, Iterable[RequestVector]]] = [
        ("Content-Length", (vector for vector in (*BODIES, *LENGTHS) if vector[0].startswith("length"))),
        ("Transfer-Encoding", (vector for vector in (*BODIES, *CODINGS) if not vector[0].startswith("length"))),
        ("Field lines", (vector for vector in (*GRAMMAR, *FIELDS) if not _is_of_ends(vector[0]))),
        ("Line ends", (vector for vector in (*GRAMMAR, *ENDS) if _is_of_ends(vector[0]))),
        ("Request line", (vector for vector in (*LINE, *VERSIONS, *LINES) if _is_of_lines(vector[0]))),
        ("Target", (vector for vector in (*LINE, *TARGETS, *ABSOLUTE) if vector[0].startswith(("target", "absolute")))),
        ("Host", (vector for vector in (*LINE, *HOSTS) if vector[0].startswith("host"))),
        ("Connection, one hop, HTTP/1.0", HOPS),
    ]
    for group, vectors in themes:
        yield from (case for vector in vectors if (case := _request(group, vector)) is not None)
    yield from _request_bodies()


def response_cases() -> Iterator[Case]:
    """Every vector of a response's head, and every chunked body in a response."""
    themes: list[tuple[str, Iterable[ResponseVector]]] = [
        ("Framing", chain(FRAMING, DISGUISED)),
        ("Status line", (vector for vector in (*STATUS, *STATUS_LINES) if not _is_of_no_body(vector))),
        ("No body, interim", chain((vector for vector in STATUS if _is_of_no_body(vector)), BODILESS)),
        ("Field lines", chain(RESPONSE_FIELDS, RESPONSE_LINES)),
    ]
    for group, vectors in themes:
        yield from (case for vector in vectors if (case := _response(group, vector)) is not None)
    yield from _response_bodies()


_ENDS = (
    "lf-",
    "cr-",
    "leading-",
    "line-",
    "next-line",
    "byte-order",
    "tls",
    "proxy-protocol",
    "nothing",
    "not-complete",
)


def _is_of_ends(name: str) -> bool:
    return name.startswith((*_ENDS, "pipelined"))


def _is_of_lines(name: str) -> bool:
    return not name.startswith(("target", "absolute", "host"))


def _is_of_no_body(vector: ResponseVector) -> bool:
    return vector[0][:3] in ("100", "103", "204", "205", "304")


def _request(group: str, vector: RequestVector) -> Case | None:
    name, data, section, outcome = vector
    method = data.lstrip(b"\r\n").partition(b" ")[0]
    if outcome is None:
        return Case(group, name, section, data, None, (0,), method=method) if data else None
    if isinstance(outcome, int):
        return Case(group, name, section, data + _either(data), None, (outcome,), method=method)
    if outcome.length > LARGEST or name == "pipelined":
        return None
    _, _, begun = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    body = b"5\r\nhello\r\n0\r\n\r\n" if outcome.length == CHUNKED else b"x" * (outcome.length - len(begun))
    content = b"hello" if outcome.length == CHUNKED else begun + body
    wanted = Wanted(outcome.line, outcome.host, _without(outcome.fields), content)
    return Case(group, name, section, data + body, None, (200,), (wanted,), method=method)


def _either(data: bytes) -> bytes:
    return EITHER if marks_a_body(data) else b""


def marks_a_body(data: bytes) -> bool:
    """Whether there is anything in the bytes that someone could take for a length or a coding."""
    return _MARKS_A_BODY.search(data) is not None


_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
_SECTION = "9112 7.1"


def _request_bodies() -> Iterator[Case]:
    group = "Chunked bodies"
    for name, data, _, content, rest in GOOD:
        if not rest:
            wanted = Wanted(b"POST / HTTP/1.1", b"a", (), content)
            yield Case(group, f"chunk-{name}", _SECTION, _POST + data, None, (200,), (wanted,), method=b"POST")
    for name, data in BAD:
        yield Case(group, f"chunk-{name}", _SECTION, _POST + data, None, (400,), method=b"POST")
    for name, data in UNFINISHED:
        yield Case(group, f"chunk-{name}", _SECTION, _POST + data, None, (0,), method=b"POST")


def _response_bodies() -> Iterator[Case]:
    group = "Chunked bodies"
    for name, data, _, content, rest in GOOD:
        if not rest:
            wanted = Wanted(b"HTTP/1.1 200", None, (), content)
            yield Case(group, f"chunk-{name}", _SECTION, _GET, _CHUNKED + data, (200,), (wanted,))
    for name, data in (*BAD, *UNFINISHED):
        yield Case(group, f"chunk-{name}", _SECTION, _GET, _CHUNKED + data, (502,), may_cut=True)


def _response(group: str, vector: ResponseVector) -> Case | None:
    name, data, section, outcome, method, minor = vector
    sends = b"%b / HTTP/1.%d\r\nHost: a\r\n\r\n" % (method, minor)
    if not isinstance(outcome, reading.Response):
        return Case(group, name, section, sends, data + _either(data), (502,), method=method) if data else None
    if outcome.length > LARGEST:
        return None
    status = outcome.line[9:12]
    if status.startswith(b"1"):  # another head has to follow, and it is that one which is looked at
        final = Wanted(b"HTTP/1.1 200", None, (), b"ok")
        answer = data + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        return Case(group, name, section, sends, answer, (200,), (final,), method=method)
    begun = data.partition(b"\r\n\r\n")[2]
    body = {CHUNKED: b"5\r\nhello\r\n0\r\n\r\n", UNTIL_CLOSE: b"hello"}.get(outcome.length)
    if body is None:
        body = b"x" * (outcome.length - len(begun))
    content = b"hello" if outcome.length < 0 else begun + body
    wanted = Wanted(b"HTTP/1.1 " + status, None, _without(outcome.fields), content)
    return Case(group, name, section, sends, data + body, (int(status),), (wanted,), method=method)


# What proxies write themselves, each in its way: not compared.
OF_PROXIES = frozenset(
    {b"host", b"connection", b"keep-alive", b"content-length", b"transfer-encoding", b"via", b"server", b"date"}
    | {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"accept-ranges"}
)


def _without(fields: Fields) -> Fields:
    return tuple(sorted(field for field in fields if field[0] not in OF_PROXIES))
