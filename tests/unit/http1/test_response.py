from dataclasses import replace
from functools import partial

import pytest

from headgate.http1 import response
from headgate.http1.request import CHUNKED
from headgate.http1.response import MAX_HEAD, UNTIL_CLOSE, read_response
from tests.unit.http1.reading import Refused, Response, decided_alike, response_outcome
from tests.unit.http1.response_vectors import VECTORS, Vector, ok
from tests.unit.http1.status_vectors import ODD

EVERY = [*VECTORS, *ODD]
each_vector = pytest.mark.parametrize("vector", EVERY, ids=[f"{v[0]} ({v[2]})" for v in EVERY])


@each_vector
def test_a_head_is_refused_or_forwarded_as_the_rfc_says(vector: Vector) -> None:
    _, data, _, expected, method, minor = vector
    outcome = response_outcome(data, method, minor)
    assert (outcome.status if isinstance(outcome, Refused) else outcome) == expected


@each_vector
def test_a_head_is_decided_alike_however_it_was_split(vector: Vector) -> None:
    assert decided_alike(vector[1], partial(response_outcome, method=vector[4], minor=vector[5]))


@each_vector
def test_the_fast_path_says_what_the_general_path_says(vector: Vector, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [response_outcome(vector[1], method) for method in (b"GET", b"HEAD")]
    monkeypatch.setattr(response, "_FAST", _Never)
    assert [response_outcome(vector[1], method) for method in (b"GET", b"HEAD")] == outcomes


class _Never:
    @staticmethod
    def match(data: bytes, start: int, stop: int) -> None:
        return None


@each_vector
def test_what_is_forwarded_reads_as_the_same_response(vector: Vector) -> None:
    _, data, _, _, method, minor = vector
    first = response_outcome(data, method, minor)
    if isinstance(first, Response):
        again = response_outcome(_lines(vector) + b"\r\n", method)
        # For HTTP/1.0 the coding is taken off with its field, and the end of the connection ends the body.
        length = UNTIL_CLOSE if minor == 0 and first.length == CHUNKED else first.length
        assert again == replace(first, close=False, length=length)


def _lines(vector: Vector) -> bytes:
    head = read_response(vector[1], vector[4], vector[5])
    assert head is not None
    return head.lines


def test_the_vectors_have_names_of_their_own() -> None:
    names = [vector[0] for vector in EVERY]
    assert len(set(names)) == len(names) >= 200


def test_a_usual_response_is_forwarded_byte_for_byte() -> None:
    data = ok(b"server: x", b"Content-Length:5")
    head = read_response(data, b"GET")
    assert head is not None
    assert head.lines + b"\r\n" == data[: head.end]


USUAL = {
    "plain": ok(b"Server: x", b"Date: today", b"Content-Type: text/plain", b"Content-Length: 5"),
    "keep-alive": ok(b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Transfer-Encoding: chunked"),
    "closing": ok(b"Connection: close", b"Content-Length: 5"),
    "no content": ok(b"Server: x", line=b"HTTP/1.1 204 No Content"),
    "not modified": ok(b"ETag: x", line=b"HTTP/1.1 304 Not Modified"),
}


@pytest.mark.parametrize("data", USUAL.values(), ids=USUAL)
def test_usual_responses_take_the_fast_path(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "_read_general", pytest.fail)
    assert read_response(data, b"GET") is not None


@pytest.mark.parametrize("name", [b"X: ", b"X_Y: "], ids=["fast", "general"])
def test_the_size_of_a_head_is_limited_at_the_byte(name: bytes) -> None:
    full = name + b"v" * (MAX_HEAD - len(ok(name)))
    assert isinstance(response_outcome(ok(full)), Response)
    assert response_outcome(ok(full + b"v")) == Refused(502, "head too large")
    assert response_outcome(ok(full + b"v")[: MAX_HEAD - 1]) is None
    assert response_outcome(ok(full + b"v")[:MAX_HEAD]) == Refused(502, "head too large")


def test_a_status_line_without_end_is_refused_at_the_limit() -> None:
    assert response_outcome(b"H" * (MAX_HEAD - 1)) is None
    assert response_outcome(b"H" * MAX_HEAD) == Refused(502, "head too large")
    assert response_outcome(b"H" * MAX_HEAD + b"\r\n\r\n") == Refused(502, "head too large")
