import pytest

from headgate.ext import Response
from headgate.limits.settle import MOST, cost, statuses
from headgate.testing.requests import response


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("70", 70),
        ("0", 0),
        ("007", 7),
        ("9" * 4000, MOST),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("70, 71", None),
        ("\xb2", None),
    ],
)
def test_a_field_of_the_response_tells_the_cost_where_it_is_a_number(value: str | None, expected: int | None) -> None:
    headers = {} if value is None else {"X-Tokens-Used": value}
    assert cost("response_header:x-tokens-used")(response(200, headers)) == expected


def test_a_response_costs_its_bytes() -> None:
    assert cost("response_bytes")(response(200, sent=312)) == 312
    assert cost("response_bytes")(response(200, sent=10 * MOST)) == MOST
    assert cost("response_bytes")(Response(0, 0)) is None  # its client was gone before: it has paid what was taken


@pytest.mark.parametrize(("status", "expected"), [(200, None), (404, 0), (403, None), (500, 0), (599, 0), (204, 0)])
def test_some_statuses_are_free(status: int, expected: int | None) -> None:
    assert cost("free:404, 5xx,201-206")(response(status)) == expected


def test_statuses_are_ranges_classes_and_single_ones() -> None:
    assert statuses("404") == {404}
    assert statuses("4xx") == set(range(400, 500))
    assert statuses("500-503, 404") == {404, 500, 501, 502, 503}


@pytest.mark.parametrize("text", ["", "6xx", "99", "600", "5XX", "500-", "503-500", "404,", "400-4xx"])
def test_what_is_no_status_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="status"):
        statuses(text)


@pytest.mark.parametrize(
    "text", ["", "x", "response_header", "response_header:", "response_header:a b", "response_bytes:1", "free", "free:"]
)
def test_what_tells_no_cost_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        cost(text)
