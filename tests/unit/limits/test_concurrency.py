import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.concurrency import NEVER, charge, step
from headgate.limits.step import Step


@pytest.mark.parametrize(
    ("held", "cost", "expected"),
    [
        pytest.param(0, 1, Step(1, NEVER, True, 2, 0), id="the first takes a place"),
        pytest.param(2, 1, Step(3, NEVER, True, 0, 0), id="the last one passes"),
        pytest.param(3, 1, Step(3, 9, False, 0, 0), id="the next one does not and changes nothing"),
        pytest.param(1, 2, Step(3, NEVER, True, 0, 0), id="one may take several places"),
        pytest.param(2, 2, Step(2, 9, False, 1, 0), id="a cost that does not fit leaves room for a smaller one"),
        pytest.param(5, 1, Step(5, 9, False, 0, 0), id="more held than the limit allows"),
        pytest.param(5, 0, Step(5, NEVER, True, 0, 0), id="asking costs nothing and is always answered"),
        pytest.param(0, 0, Step(0, 0, True, 3, 0), id="and leaves nothing behind"),
    ],
)
def test_one_step_of_a_limit_of_three(held: int, cost: int, expected: Step) -> None:
    assert step(held, 9, 5, limit=3, cost=cost) == expected


def test_a_limit_of_none_refuses_everything() -> None:
    assert not step(0, 0, 5, limit=0).allowed


@pytest.mark.parametrize(("held", "cost", "expected"), [(1, 5, 6), (2, -1, 1), (1, -1, 0), (0, -1, 0)])
def test_places_are_taken_without_asking_and_given_back(held: int, cost: int, expected: int) -> None:
    assert charge(held, 0, 5, 3, 0, 0, cost) == (expected, NEVER if expected else 0)


@given(moves=st.lists(st.integers(-1, 3), max_size=60), limit=st.integers(0, 7))
def test_so_many_are_held_as_passed_and_did_not_end(moves: list[int], limit: int) -> None:
    held = ends = 0
    running: list[int] = []
    for move in moves:
        if move < 0:
            if running:
                held, ends = charge(held, ends, 0, limit, 0, 0, -running.pop())
        else:
            after = step(held, ends, 0, limit, cost=move)
            assert after.allowed == (sum(running) + move <= limit)
            if after.allowed:
                held, ends = after.value, after.ends
                running.append(move)
        assert (held, bool(ends)) == (sum(running), held > 0)
