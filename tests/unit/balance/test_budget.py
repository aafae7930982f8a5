"""How much may be tried again."""

from headgate.balance.budget import FLOOR, WINDOW, Budget

ALWAYS = int(FLOOR * WINDOW)


def taken(budget: Budget, percent: int = 20) -> int:
    """How many retries it lets through now."""
    count = 0
    while budget.take(percent):
        count += 1
    return count


def test_a_few_retries_are_always_allowed() -> None:
    assert taken(Budget()) == ALWAYS
    assert taken(Budget(), percent=0) == ALWAYS


def test_a_share_of_the_requests_may_be_tried_again() -> None:
    budget = Budget()
    budget.requests = 1000
    assert taken(budget) == 200 + ALWAYS
    budget.requests += 100
    assert taken(budget) == 20


def test_requests_and_retries_count_for_two_half_windows() -> None:
    budget = Budget()
    budget.turn(100.0)
    budget.requests = 1000
    assert taken(budget) == 200 + ALWAYS
    budget.turn(104.9)
    assert taken(budget) == 0
    budget.turn(105.0)
    assert taken(budget) == 0
    budget.turn(110.0)
    assert taken(budget) == ALWAYS


def test_after_a_silence_nothing_is_left_of_what_was() -> None:
    budget = Budget()
    budget.turn(100.0)
    budget.requests = 1000
    budget.turn(111.0)
    assert taken(budget) == ALWAYS
