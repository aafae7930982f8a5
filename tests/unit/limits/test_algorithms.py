"""What every algorithm promises, and what each of them means, told another way than it is computed."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.meter import ALGORITHMS, Meter
from headgate.limits.step import LARGEST, Algorithm
from headgate.model.config import Limit, Rate

GAPS = st.lists(st.integers(0, 60), min_size=1, max_size=100)
LIMITS = st.integers(1, 7)
PERIODS = st.integers(1, 100)
each_algorithm = pytest.mark.parametrize("step", ALGORITHMS.values(), ids=ALGORITHMS)


def passing(step: Algorithm, gaps: list[int], limit: int, period: int, burst: int) -> list[int]:
    """When requests passed, of those that came after these gaps."""
    value = ends = now = 0
    times = []
    for gap in gaps:
        now += gap
        value, ends, allowed, *_ = step(value, ends, now, limit, period, burst)
        if allowed:
            times.append(now)
    return times


@each_algorithm
@given(gaps=GAPS, limit=LIMITS, period=PERIODS, burst=LIMITS)
def test_what_is_told_is_so(step: Algorithm, gaps: list[int], limit: int, period: int, burst: int) -> None:
    value = ends = now = 0
    for gap in gaps:
        now += gap
        after = step(value, ends, now, limit, period, burst)
        assert 0 <= after.value < 2**64
        assert 0 <= after.ends < 2**64
        if after.allowed:
            value, ends = after.value, after.ends
        else:
            assert (after.value, after.ends) == (value, ends), "a refused request costs something"
            wait = after.reset_after
            assert wait > 0
            assert step(value, ends, now + wait, limit, period, burst).allowed, "refused for longer than was said"
            assert wait == 1 or not step(value, ends, now + wait - 1, limit, period, burst).allowed, "said too long"
        again, count = (value, ends), 0
        while (more := step(*again, now, limit, period, burst)).allowed:
            again, count = (more.value, more.ends), count + 1
        assert count == after.remaining
        assert (
            step(value, ends, max(now, ends), limit, period, burst).remaining
            == step(0, 0, ends, limit, period, burst).remaining
        ), "the end is not the end"


@each_algorithm
def test_nothing_passes_a_limit_of_none_or_costs_more_than_all(step: Algorithm) -> None:
    assert not step(0, 0, 5, 0, 100, 0).allowed
    refused = step(0, 0, 5, 3, 100, 3, 4)  # type: ignore[call-arg]  # the cost
    assert (refused.allowed, refused.remaining, refused.reset_after) == (False, 3, 100)
    assert step(0, 0, 5, 3, 100, 3, 3).allowed  # type: ignore[call-arg]


@each_algorithm
@given(back=st.integers(0, 10**6), limit=LIMITS, period=PERIODS)
def test_after_a_clock_was_set_back_nobody_is_told_to_wait_for_more_than_two_periods(
    step: Algorithm, back: int, limit: int, period: int
) -> None:
    value = ends = 0
    now = 10**7
    for _ in range(limit):
        value, ends, allowed, *_ = step(value, ends, now, limit, period, limit)
        assert allowed
    refused = step(value, ends, now - back, limit, period, limit)
    assert refused.reset_after <= 2 * period


@given(gaps=GAPS, limit=LIMITS, period=PERIODS, burst=LIMITS)
def test_gcra_passes_a_burst_and_then_a_steady_rate(gaps: list[int], limit: int, period: int, burst: int) -> None:
    times = passing(ALGORITHMS["gcra"], gaps, limit, period, burst)
    # A bucket that leaks `limit` in a period and holds `burst`.
    level, last, expected, now = Fraction(0), 0, [], 0
    for gap in gaps:
        now += gap
        level = max(Fraction(0), level - Fraction(limit * (now - last), period))
        last = now
        if level + 1 <= burst:
            level += 1
            expected.append(now)
    assert times == expected


@given(gaps=GAPS, limit=LIMITS, period=PERIODS)
def test_a_sliding_window_counts_the_one_before_as_far_as_it_lies_in_it(
    gaps: list[int], limit: int, period: int
) -> None:
    times = passing(ALGORITHMS["sliding_window"], gaps, limit, period, 0)
    expected: list[int] = []
    began, now = 0, 0
    for gap in gaps:
        now += gap
        window = began  # that of the last one that passed, the one after it, or a new row of windows
        if not expected or now >= began + 2 * period:
            window = now
        elif now >= began + period:
            window = began + period
        count = sum(time >= window for time in expected)
        before = sum(window - period <= time < window for time in expected)
        if count + before * Fraction(window + period - now, period) + 1 <= limit:
            expected.append(now)
            began = window
    assert times == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "rate", [Rate(100, 60.0), Rate(1_000_000, 86400.0), Rate(10**9, 365 * 86400.0), Rate(7, 0.001)]
)
def test_the_unit_of_time_is_as_fine_as_it_can_be(algorithm: str, rate: Rate) -> None:
    meter = Meter(Limit("a", rate, algorithm=algorithm))
    assert meter.unit == 1 or 2 * rate.limit * (meter.period + 1) <= LARGEST
    assert meter.unit == 1 or 2 * rate.limit * meter.period * 10 > LARGEST // 2
    value, ends, now = 0, 0, 10**15 + 123
    for passes in range(min(rate.limit, 10)):
        value, ends, allowed, remaining, _ = meter.decide(value, ends, now)
        assert allowed
        assert remaining == rate.limit - passes - 1
        assert ends > now
    if rate.limit < 10:
        refused = meter.decide(value, ends, now)
        assert not refused.allowed
        assert meter.decide(value, ends, now + refused.reset_after).allowed
        assert not meter.decide(value, ends, now + refused.reset_after - 1).allowed


def test_a_coarse_unit_refuses_no_longer_than_it_says() -> None:
    meter = Meter(Limit("a", Rate(10**9, 365 * 86400.0), algorithm="gcra", burst=2))
    assert meter.unit > 1
    value, ends, now = 0, 0, 10**15 + 123
    for _ in range(2):
        value, ends, *_ = meter.decide(value, ends, now)
    refused = meter.decide(value, ends, now)
    assert not refused.allowed
    assert meter.decide(value, ends, now + refused.reset_after).allowed
    assert not meter.decide(value, ends, now + refused.reset_after - 1).allowed


@pytest.mark.parametrize("limit", [1, 3, 1_000_000])
def test_products_stay_exact_in_a_double(limit: int) -> None:
    period = LARGEST // (2 * limit)
    for step in ALGORITHMS.values():
        value = ends = 0
        for now in (10**15, 10**15 + period // 3, 10**15 + period + 7):
            value, ends, *_ = step(value, ends, now, limit, period, limit)
            assert ends < 2**53
