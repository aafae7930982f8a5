"""What every algorithm promises, and what each of them means, told another way than it is computed."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.meter import ALGORITHMS, BANNED, Meter
from headgate.limits.step import LARGEST, Step
from headgate.model.config import Limit, Rate

GAPS = st.lists(st.integers(0, 60), min_size=1, max_size=100)
LIMITS = st.integers(1, 7)
PERIODS = st.integers(1, 100)
each_algorithm = pytest.mark.parametrize("step", [algorithm.step for algorithm in ALGORITHMS.values()], ids=ALGORITHMS)


def passing(step: Callable[..., Step], gaps: list[int], limit: int, period: int, burst: int) -> list[int]:
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
def test_what_is_told_is_so(step: Callable[..., Step], gaps: list[int], limit: int, period: int, burst: int) -> None:
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
def test_nothing_passes_a_limit_of_none_or_costs_more_than_all(step: Callable[..., Step]) -> None:
    assert not step(0, 0, 5, 0, 100, 0).allowed
    refused = step(0, 0, 5, 3, 100, 3, 4)
    assert (refused.allowed, refused.remaining, refused.reset_after) == (False, 3, 100)
    assert step(0, 0, 5, 3, 100, 3, 3).allowed


@each_algorithm
@given(back=st.integers(0, 10**6), limit=LIMITS, period=PERIODS)
def test_after_a_clock_was_set_back_nobody_waits_for_longer_than_he_was_told_or_than_two_periods(
    step: Callable[..., Step], back: int, limit: int, period: int
) -> None:
    value = ends = 0
    now = 10**7
    for _ in range(limit):
        value, ends, allowed, *_ = step(value, ends, now, limit, period, limit)
        assert allowed
    now -= back
    refused = step(value, ends, now, limit, period, limit)
    assert refused.reset_after <= 2 * period
    if not refused.allowed:
        assert step(refused.value, refused.ends, now + refused.reset_after, limit, period, limit).allowed


@given(gaps=GAPS, limit=LIMITS, period=PERIODS, burst=LIMITS)
def test_gcra_passes_a_burst_and_then_a_steady_rate(gaps: list[int], limit: int, period: int, burst: int) -> None:
    times = passing(ALGORITHMS["gcra"].step, gaps, limit, period, burst)
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
    times = passing(ALGORITHMS["sliding_window"].step, gaps, limit, period, 0)
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
    assert meter.unit == 1 or 4 * rate.limit * (meter.period + 1) <= LARGEST
    assert meter.unit == 1 or 4 * rate.limit * meter.period * 10 > LARGEST // 2
    value, ends, now = 0, 0, 10**15 + 123
    for passes in range(min(rate.limit, 10)):
        value, ends, allowed, remaining, *_ = meter.decide(value, ends, now)
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
    for step, _ in ALGORITHMS.values():
        value = ends = 0
        for now in (10**15, 10**15 + period // 3, 10**15 + period + 7):
            value, ends, *_ = step(value, ends, now, limit, period, limit)
            assert ends < 2**53


@each_algorithm
@given(gaps=GAPS, limit=LIMITS, period=PERIODS, burst=LIMITS)
def test_a_step_that_passes_is_a_charge(
    step: Callable[..., Step], gaps: list[int], limit: int, period: int, burst: int
) -> None:
    charge = next(algorithm.charge for algorithm in ALGORITHMS.values() if algorithm.step is step)
    value = ends = now = 0
    for gap in gaps:
        now += gap
        cost = gap % 3
        after = step(value, ends, now, limit, period, burst, cost)
        if after.allowed and cost:
            assert charge(value, ends, now, limit, period, burst, cost) == (after.value, after.ends)
            value, ends = after.value, after.ends


@each_algorithm
@given(before=st.integers(0, 5), cost=st.integers(1, 7), limit=LIMITS, period=PERIODS, gap=st.integers(0, 10))
def test_what_is_given_back_at_once_was_never_taken(
    step: Callable[..., Step], before: int, cost: int, limit: int, period: int, gap: int
) -> None:
    charge = next(algorithm.charge for algorithm in ALGORITHMS.values() if algorithm.step is step)
    value = ends = 0
    for _ in range(min(before, limit)):
        value, ends, *_ = step(value, ends, 1000, limit, period, limit)
    now = 1000 + min(gap, period - 1)
    taken = step(value, ends, now, limit, period, limit, cost)
    if taken.allowed:
        back = charge(taken.value, taken.ends, now, limit, period, limit, -cost)
        peek = step(*back, now, limit, period, limit, 0)
        assert (peek.allowed, peek.remaining) == (True, step(value, ends, now, limit, period, limit, 0).remaining)


@each_algorithm
@given(debts=st.lists(st.integers(1, 10**6), min_size=1, max_size=5), limit=LIMITS, period=PERIODS)
def test_no_debt_is_larger_than_what_two_periods_make_good(
    step: Callable[..., Step], debts: list[int], limit: int, period: int
) -> None:
    charge = next(algorithm.charge for algorithm in ALGORITHMS.values() if algorithm.step is step)
    value = ends = 0
    for debt in debts:
        value, ends = charge(value, ends, 5, limit, period, limit, debt)
        assert 0 <= value < 2**64
    assert step(value, ends, 5, limit, period, limit, 0).remaining == max(0, limit - sum(debts))
    refused = step(value, ends, 5, limit, period, limit)
    assert refused.allowed is (sum(debts) < limit)
    if not refused.allowed:
        assert refused.reset_after <= 2 * period
        assert step(value, ends, 5 + refused.reset_after, limit, period, limit).allowed


@given(gaps=GAPS, limit=LIMITS, period=PERIODS, burst=LIMITS, delay=st.integers(0, 200))
def test_a_delayed_request_has_its_place_behind_those_before_it(
    gaps: list[int], limit: int, period: int, burst: int, delay: int
) -> None:
    step = ALGORITHMS["gcra"].step
    value = ends = now = 0
    # A bucket that leaks and overflows into a queue: who comes waits until what is before him has leaked away.
    level, last = Fraction(0), 0
    for gap in gaps:
        now += gap
        level = max(Fraction(0), level - Fraction(limit * (now - last), period))
        last = now
        wait = max(Fraction(0), (level + 1 - burst) * period / limit)
        after = step(value, ends, now, limit, period, burst, 1, delay)
        assert after.allowed is (wait <= delay)
        if after.allowed:
            assert after.wait == -(-wait // 1)
            value, ends = after.value, after.ends
            level += 1
        else:
            assert after.wait == 0
            assert step(value, ends, now + after.reset_after, limit, period, burst, 1, delay).allowed
            assert not step(value, ends, now + after.reset_after - 1, limit, period, burst, 1, delay).allowed


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_who_goes_on_is_refused_until_he_is_quiet_where_refused_requests_count(algorithm: str) -> None:
    meter = Meter(Limit("a", Rate(2, 0.0001), algorithm=algorithm, count_refused=True))
    value = ends = now = 0
    passed = 0
    for _ in range(100):
        value, ends, allowed, *_ = meter.decide(value, ends, now)
        passed += allowed
        now += 10
    assert passed == (20 if algorithm == "fixed_window" else 2)
    assert meter.decide(value, ends, now + 200).allowed


def test_a_ban_outlasts_what_is_charged_and_ends() -> None:
    meter = Meter(Limit("a", Rate(2, 60.0)))
    assert meter.charge(BANNED, 50, 49, 3) == (BANNED, 50)
    assert meter.charge(BANNED, 50, 50, 1) == (1, 60_000_050)
    coarse = Meter(Limit("a", Rate(10**9, 365 * 86400.0), algorithm="gcra"))
    value, ends = coarse.charge(0, 0, 10**15, 1)
    assert value < BANNED
    assert ends > 10**15
    assert ends % coarse.unit == 0


@each_algorithm
@pytest.mark.parametrize("cost", [0, -1])
def test_what_is_given_back_of_what_has_ended_begins_nothing(step: Callable[..., Step], cost: int) -> None:
    charge = next(algorithm.charge for algorithm in ALGORITHMS.values() if algorithm.step is step)
    taken = step(0, 0, 5, 3, 100, 3)
    for value, ends in ((0, 0), (taken.value, taken.ends)):
        after = charge(value, ends, 400, 3, 100, 3, cost)
        assert step(*after, 450, 3, 100, 3) == step(0, 0, 450, 3, 100, 3)


def test_what_a_sliding_window_gives_back_and_did_not_take_was_in_the_one_before() -> None:
    step, charge = ALGORITHMS["sliding_window"]
    value = ends = 0
    for now in (0, 1, 2, 100):
        value, ends, *_ = step(value, ends, now, 5, 100)
    assert charge(value, ends, 100, 5, 100, 0, -1)[0] == 3
    assert charge(value, ends, 100, 5, 100, 0, -3)[0] == 1
    assert charge(value, ends, 100, 5, 100, 0, -9)[0] == 0


def test_nothing_is_charged_to_a_limit_of_none() -> None:
    assert ALGORITHMS["gcra"].charge(0, 0, 5, 0, 100, 0, 1) == (0, 0)
