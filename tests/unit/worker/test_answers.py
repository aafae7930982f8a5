"""Headgate's own answers, byte for byte."""

import json

import h11
import pytest

from headgate import errors
from headgate.limits.decision import Decision
from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState
from headgate.worker.answers import answer
from headgate.worker.answers import refusal as written

DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"


def refusal(reset_after: int = 1_500_000) -> Decision:
    """A decision that refuses."""
    return Decision(False, LimitState(Limit("per_ip", Rate(100, 60.0)), 0), 0, reset_after)


def kinds() -> list[type[errors.ExchangeError]]:
    """Every error that is answered."""
    found, todo = [], [errors.ExchangeError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if getattr(kind, "status", 0):
            found.append(kind)
    return found


@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("kind", kinds())
def test_every_error_has_an_answer_that_a_client_can_read(kind: type[errors.ExchangeError], head_only: bool) -> None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="HEAD" if head_only else "GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(
        answer(kind("why"), date=DATE, connection=b"Connection: close\r\n", decisions=[refusal()], head_only=head_only)
    )
    response = reader.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == kind.status
    assert (b"connection", b"close") in response.headers
    event = reader.next_event()
    if not head_only:
        assert isinstance(event, h11.Data)
        event = reader.next_event()
    assert isinstance(event, h11.EndOfMessage)
    assert reader.trailing_data[0] == b""


def test_a_plain_answer_says_its_status() -> None:
    assert answer(errors.NoRoute("x"), date=DATE, connection=b"", decisions=(), head_only=False) == (
        b"HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 14\r\n\r\n404 Not Found\n"
    )


def test_a_bad_request_is_told_what_is_bad_about_it() -> None:
    whole = answer(errors.BadRequest("no Host field"), date=DATE, connection=b"", decisions=(), head_only=False)
    assert whole.endswith(b"\r\n\r\n400 Bad Request: no Host field\n")


def test_nothing_of_what_went_wrong_inside_is_told_to_the_client() -> None:
    whole = answer(errors.ConnectFailed("10.1.2.3 refused"), date=DATE, connection=b"", decisions=(), head_only=False)
    assert b"10.1.2.3" not in whole


@pytest.mark.parametrize(("reset_after", "seconds"), [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (59_999_999, 60)])
def test_retry_after_is_never_too_early(reset_after: int, seconds: int) -> None:
    whole = answer(
        errors.Limited("per_ip"), date=DATE, connection=b"", decisions=[refusal(reset_after)], head_only=False
    )
    assert b"\r\nRetry-After: %d\r\n" % seconds in whole


def test_a_refusal_is_a_problem_document() -> None:
    whole = answer(errors.Limited("per_ip"), date=DATE, connection=b"", decisions=[refusal()], head_only=False)
    head, _, body = whole.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert json.loads(body) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "The limit is 100/minute; try again in 2 s.",
        "violated-policies": ["per_ip"],
    }


@pytest.mark.parametrize("kind", [errors.NoServer, errors.StoreUnavailable, errors.Exhausted])
def test_what_may_be_better_soon_says_so(kind: type[errors.ExchangeError]) -> None:
    assert b"\r\nRetry-After: 1\r\n" in answer(kind("x"), date=DATE, connection=b"", decisions=(), head_only=False)


def test_what_is_remembered_of_limits_is_bounded_and_never_another_ones() -> None:
    answers = set()
    for number in range(1, 2100):
        limit = LimitState(Limit(f"limit{number}", Rate(number, 60.0)), 0)
        refusal = Decision(False, limit, 0, 5_000_000)
        for _ in range(2):
            told = answer(errors.Limited("x"), date=b"", connection=b"", decisions=[refusal], head_only=False)
            assert f'"limit{number}";q={number};w=60'.encode() in told
            assert f"The limit is {number}/minute; try again in 5 s.".encode() in told
            answers.add(told)
    assert len(answers) == 2099


@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("connection", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("headers", ["refused", "always", "off"])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_a_refusal_of_ready_pieces_is_the_answer_to_the_byte(
    count: int, legacy: bool, headers: str, connection: bytes, head_only: bool
) -> None:
    limits = [Limit(f"limit_{number}", Rate(100, 60.0), headers=headers, legacy_headers=legacy) for number in range(2)]
    states = [LimitState(limit, slot) for slot, limit in enumerate(limits)][:count]
    for reset_after in (0, 1, 999_999, 1_000_000, 1_000_001, 59_999_999, 31_536_000_000_000):
        for remaining in (0, 7, 1_000):
            decisions = [Decision(False, state, remaining, reset_after) for state in states]
            said = {"date": DATE, "connection": connection, "head_only": head_only}
            expected = answer(errors.Limited("x"), decisions=decisions, **said)  # type: ignore[arg-type]
            assert written(decisions, **said) == expected  # type: ignore[arg-type]
