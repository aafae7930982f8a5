from dataclasses import replace
from functools import partial

import pytest

from headgate.errors import HeadTooLarge, TargetTooLong
from headgate.http1 import request
from headgate.http1.request import CHUNKED, read_request
from headgate.model.config import Heads
from tests.unit.http1.framing_vectors import CODINGS, ENDS, FIELDS, LENGTHS
from tests.unit.http1.reading import Refused, Request, decided_alike, host_apart, request_outcome, request_value
from tests.unit.http1.request_hops import HOPS, LIMITED, LIMITS
from tests.unit.http1.request_vectors import BODIES, GRAMMAR, LINE, Vector, get, passes, post
from tests.unit.http1.target_vectors import ABSOLUTE, HOSTS, LINES, TARGETS, VERSIONS

TRACE = Heads(trace=True)
ODD = (*LENGTHS, *CODINGS, *FIELDS, *ENDS, *VERSIONS, *LINES, *TARGETS, *ABSOLUTE, *HOSTS)
OPTIONS = [
    (
        ("trace-allowed", b"TRACE /a HTTP/1.1\r\nHost: a\r\n\r\n", "9110 9.3.8", passes(line=b"TRACE /a HTTP/1.1")),
        TRACE,
    ),
    (("trace-allowed-connect", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "9110 9.3.6", 501), TRACE),
    (("trace-allowed-length", b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "9110 9.3.8", 400), TRACE),
    (("underscore-refused", get(b"A_b: 1"), "CGI names", 400), Heads(underscores="refuse")),
    (("underscore-none", get(b"A-b: 1_2"), "CGI names", passes((b"a-b", b"1_2"))), Heads(underscores="refuse")),
    (("underscore-passed", get(b"A_b: 1"), "CGI names", passes((b"a_b", b"1"))), Heads(underscores="pass")),
    *(
        ((f"underscore-{name.decode()}", get(name + b": 1"), "CGI names", passes()), Heads(underscores="pass"))
        for name in (b"X_Forwarded_For", b"x_real-IP", b"X-Forwarded_Any", b"Content_Length", b"Transfer_Encoding")
    ),
    (("non-ascii-refused", get(b"A: \xfc"), "9110 5.5", 400), Heads(non_ascii="refuse")),
    (("non-ascii-refused-slowly", get(b"A_b: \xfc"), "9110 5.5", 400), Heads(non_ascii="refuse")),
    (("non-ascii-none", get(b"A: u"), "9110 5.5", passes((b"a", b"u"))), Heads(non_ascii="refuse")),
]
EVERY = [
    *OPTIONS,
    *((vector, Heads()) for vector in (*BODIES, *GRAMMAR, *LINE, *HOPS, *ODD)),
    *((vector, LIMITS) for vector in LIMITED),
]
each_vector = pytest.mark.parametrize(("vector", "heads"), EVERY, ids=[f"{v[0]} ({v[2]})" for v, _ in EVERY])


@each_vector
def test_a_head_is_refused_or_forwarded_as_the_rfc_says(vector: Vector, heads: Heads) -> None:
    outcome = request_outcome(vector[1], heads)
    assert (outcome.status if isinstance(outcome, Refused) else outcome) == vector[3]


@each_vector
def test_a_head_is_decided_alike_however_it_was_split(vector: Vector, heads: Heads) -> None:
    assert decided_alike(vector[1], partial(request_outcome, heads=heads))


@each_vector
def test_the_fast_path_says_what_the_general_path_says(
    vector: Vector, heads: Heads, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [host_apart(request_outcome(vector[1], heads, trusted)) for trusted in (False, True)]
    monkeypatch.setattr(request, "_FAST", _Never)
    assert [host_apart(request_outcome(vector[1], heads, trusted)) for trusted in (False, True)] == outcomes


class _Never:
    @staticmethod
    def match(data: bytes, start: int, stop: int) -> None:
        return None


@each_vector
def test_what_is_forwarded_reads_as_the_same_request(vector: Vector, heads: Heads) -> None:
    first = request_outcome(vector[1], heads)
    if not isinstance(first, Request) or not first.host:  # an empty Host is what a request without an authority sends
        return
    head = read_request(vector[1], heads)
    assert head is not None
    again = request_outcome(head.lines + b"\r\n", replace(heads, max_size=32768, max_fields=100, max_target=8192))
    assert again == replace(first, close=False, minor=1)


def test_the_vectors_have_names_of_their_own() -> None:
    names = [vector[0] for vector, _ in EVERY]
    assert len(set(names)) == len(names) >= 400


def test_the_body_begins_where_the_head_ends() -> None:
    data = post(b"Content-Length: 5", body=b"helloGET")
    head = read_request(data, Heads())
    assert head is not None
    assert (data[head.end :], head.length) == (b"helloGET", 5)


def test_what_needs_no_change_is_forwarded_byte_for_byte() -> None:
    data = get(b"Accept:*/*", b"x-a:   b", b"Transfer-Encoding: chunked", b"Expect: 100-CONTINUE")
    head = read_request(data, Heads())
    assert head is not None
    assert head.lines == data[:-2]


def test_dropped_fields_leave_no_byte_behind() -> None:
    data = get(b"Connection:keep-alive", b"A: 1", b"Keep-Alive:", b"X-Forwarded-For: 1", b"B: 2", b"TE: x")
    head = read_request(data, Heads())
    assert head is not None
    assert head.lines == get(b"A: 1", b"B: 2")[:-2]


CLAIMED = [
    ("each", [b"X-Forwarded-For: 1.1.1.1", b"x-forwarded-PROTO:https", b"X-Forwarded-Host: h"]),
    ("others", [b"X-Real-IP: 1.1.1.1 \t", b"X-Request-ID:\t7", b"Forwarded: for=1.1.1.1"]),
    ("twice", [b"X-Forwarded-For: 1.1.1.1", b"A: b", b"X-FORWARDED-FOR: 2.2.2.2"]),
    ("empty", [b"X-Forwarded-For:"]),
    ("unknown", [b"X-Forwarded-Port: 1", b"X-Forwarded-For-It: 2"]),
    ("named-by-connection", [b"Connection: close", b"X-Forwarded-For: 1.1.1.1"]),
    ("none", [b"A: b"]),
]
BELIEVED = {
    "each": {b"x-forwarded-for": b"1.1.1.1", b"x-forwarded-proto": b"https", b"x-forwarded-host": b"h"},
    "others": {b"x-real-ip": b"1.1.1.1", b"x-request-id": b"7", b"forwarded": b"for=1.1.1.1"},
    "twice": {b"x-forwarded-for": b"1.1.1.1, 2.2.2.2"},
    "empty": {b"x-forwarded-for": b""},
    "unknown": None,
    "named-by-connection": {b"x-forwarded-for": b"1.1.1.1"},
    "none": None,
}


@pytest.mark.parametrize("general", [False, True], ids=["fast", "general"])
@pytest.mark.parametrize(("name", "lines"), CLAIMED, ids=[name for name, _ in CLAIMED])
def test_claims_are_believed_of_a_trusted_proxy_alone(name: str, lines: list[bytes], general: bool) -> None:
    data = (b"\r\n" if general else b"") + get(*lines)  # the general path has the empty line to itself
    trusted, stranger = read_request(data, Heads(), True), read_request(data, Heads())
    assert trusted is not None
    assert stranger is not None
    assert trusted.claims == BELIEVED[name]
    assert stranger.claims is None
    forwarded = {field for field, _ in request_value(trusted).fields}
    assert forwarded == {field for field, _ in request_value(stranger).fields} <= {b"host", b"a"}


USUAL = {
    "a browser": get(
        b"Connection: keep-alive", b"User-Agent: x", b"Accept: */*", b"Cookie: a=b", b"Upgrade-Insecure-Requests: 1"
    ),
    "a proxy": get(b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-Proto: https", b"X-Real-IP: 1.1.1.1", b"X-Request-ID: 1"),
    "curl, uploading": post(b"User-Agent: curl/8", b"Content-Length: 9999999", b"Expect: 100-continue"),
    "a stream": post(b"Transfer-Encoding: chunked", b"Connection: close"),
}


@pytest.mark.parametrize("data", USUAL.values(), ids=USUAL)
def test_usual_requests_take_the_fast_path(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "_read_general", pytest.fail)
    assert read_request(data, Heads(), True) is not None


def test_a_chunked_body_has_no_length_before_it_is_read() -> None:
    head = read_request(post(b"Transfer-Encoding: chunked"), Heads())
    assert head is not None
    assert head.length == CHUNKED < 0


@pytest.mark.parametrize("field", [b"X: ", b"X_Y: "], ids=["fast", "general"])
def test_a_head_limit_below_the_target_limit_holds(field: bytes) -> None:
    heads = Heads(max_size=100, max_target=8192)
    data = get(field + b"v" * 70)
    with pytest.raises(HeadTooLarge):
        read_request(data, heads)
    with pytest.raises(HeadTooLarge):
        read_request(b"G" * 100, heads)
    assert read_request(data[:99], heads) is None
    assert isinstance(request_outcome(data, Heads(max_size=len(data))), Request)


def test_the_limit_that_is_reached_first_is_the_one_that_is_told() -> None:
    with pytest.raises(TargetTooLong):
        read_request(b"G" * 1000, Heads(max_size=102, max_target=100))
    with pytest.raises(HeadTooLarge):
        read_request(b"G" * 1000, Heads(max_size=101, max_target=100))


def test_the_default_limits_hold_at_their_edges() -> None:
    heads = Heads()
    line = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
    assert isinstance(request_outcome(line % (b"x" * (heads.max_target - 14))), Request)
    assert request_outcome(line % (b"x" * (heads.max_target - 13))) == Refused(414, "request line too long")
    fields = [b"A: b"] * (heads.max_fields - 1)
    assert isinstance(request_outcome(get(*fields)), Request)
    assert request_outcome(get(b"C: d", *fields)) == Refused(431, "head too large")
    full = heads.max_size - len(get(b"A: "))
    assert isinstance(request_outcome(get(b"A: " + b"v" * full)), Request)
    assert request_outcome(get(b"A: v" + b"v" * full)) == Refused(431, "head too large")
