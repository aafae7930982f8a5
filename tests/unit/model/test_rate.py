import pytest

from headgate.model.config import Rate
from headgate.model.rate import duration, rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10.0), (" 1m ", 60.0), ("2 h", 7200.0), ("1d", 86400.0), ("1.5", 1.5), ("60000ms", 60.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1e3", "1w", "10 seconds", "\u0661s"])
def test_what_is_no_duration(text: str) -> None:
    assert duration(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100/minute", Rate(100, 60.0)),
        ("10/s", Rate(10, 1.0)),
        (" 5 / 10s ", Rate(5, 10.0)),
        ("1/1.5m", Rate(1, 90.0)),
        ("3/day", Rate(3, 86400.0)),
    ],
)
def test_rates(text: str, expected: Rate) -> None:
    assert rate(text) == expected


@pytest.mark.parametrize("text", ["", "100", "100/", "/s", "1/fortnight", "-1/s", "1.5/s"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a rate \(expected"):
        rate(text)


@pytest.mark.parametrize("text", ["1/fortnight", "1/week", "1/minutes", "1/S", "1/", "a/s"])
def test_a_rate_whose_period_may_be_none_is_told_the_periods(text: str) -> None:
    with pytest.raises(
        ValueError, match=r'"5/10s", after / one of second, minute, hour, day, or a time like 90s or 7d\)$'
    ):
        rate(text)


@pytest.mark.parametrize("text", ["0/s", "1000000001/s", "1/0.1ms", "1/366d"])
def test_a_rate_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is out of range \(expected 1 to 1000000000 requests in 1ms to 365d\)$"):
        rate(text)
