import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.fixed_window import step
from headgate.limits.step import Step, period_us
from headgate.model.config import Rate


@pytest.mark.parametrize(
    ("taken", "reset_at", "now", "expected"),
    [
        pytest.param(0, 0, 5, Step(1, 105, True, 2, 100), id="a new key begins its window now"),
        pytest.param(1, 105, 6, Step(2, 105, True, 1, 99), id="the window goes on"),
        pytest.param(2, 105, 104, Step(3, 105, True, 0, 1), id="the last one passes"),
        pytest.param(3, 105, 104, Step(3, 105, False, 0, 1), id="the next one does not and changes nothing"),
        pytest.param(3, 105, 105, Step(1, 205, True, 2, 100), id="the window is over at its very end"),
        pytest.param(3, 105, 900, Step(1, 1000, True, 2, 100), id="the next begins with the next request"),
        pytest.param(1, 900, 5, Step(2, 105, True, 1, 100), id="a clock set back keeps the count"),
        pytest.param(3, 900, 5, Step(3, 105, False, 0, 100), id="and blocks for one period at most"),
        pytest.param(9, 105, 6, Step(9, 105, False, 0, 99), id="more taken than the limit allows"),
    ],
)
def test_one_step_of_a_limit_of_three_in_a_hundred(taken: int, reset_at: int, now: int, expected: Step) -> None:
    assert step(taken, reset_at, now, limit=3, period=100) == expected


def test_a_cost_above_the_limit_never_passes() -> None:
    assert step(0, 0, 5, limit=3, period=100, cost=4) == Step(0, 0, False, 3, 100)


def test_a_cost_of_nothing_passes_whatever_is_owed() -> None:
    assert step(5, 105, 6, limit=3, period=100, cost=0) == Step(5, 105, True, 0, 99)
    assert not step(5, 105, 6, limit=3, period=100).allowed


def test_a_cost_that_does_not_fit_leaves_room_for_a_smaller_one() -> None:
    assert step(2, 105, 6, limit=3, period=100, cost=2) == Step(2, 105, False, 1, 99)
    assert step(2, 105, 6, limit=3, period=100, cost=1).allowed


def test_a_limit_of_none_refuses_everything() -> None:
    assert not step(0, 0, 5, limit=0, period=100).allowed


@pytest.mark.parametrize(("period", "expected"), [(60.0, 60_000_000), (0.1, 100_000), (1e-9, 1)])
def test_the_period_is_whole_microseconds(period: float, expected: int) -> None:
    assert period_us(Rate(1, period)) == expected


@given(
    gaps=st.lists(st.integers(0, 60), min_size=1, max_size=200),
    limit=st.integers(1, 7),
    period=st.integers(1, 100),
)
def test_no_window_passes_more_than_the_limit_and_none_less(gaps: list[int], limit: int, period: int) -> None:
    taken = reset_at = now = 0
    begins: list[int] = []
    passed: list[int] = []
    for gap in gaps:
        now += gap
        after = step(taken, reset_at, now, limit, period)
        # The plain rule, told another way: windows begin with the first request after the last one's end.
        if not begins or now >= begins[-1] + period:
            begins.append(now)
        in_window = [time for time in passed if time >= begins[-1]]
        assert after.allowed == (len(in_window) < limit)
        passed += [now] * after.allowed
        assert after.remaining == limit - len(in_window) - after.allowed
        assert now + after.reset_after == begins[-1] + period
        taken, reset_at = after.value, after.ends
