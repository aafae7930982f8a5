from collections import Counter
from itertools import count, pairwise

import pytest

from headgate.balance.policy import Policy
from headgate.balance.round_robin import RoundRobin


def _take(policy: Policy[str], turns: int) -> list[str]:
    return [policy.order()[0] for _ in range(turns)]


def _policy(start: int = 0, **weights: int) -> RoundRobin[str]:
    return RoundRobin(list(weights.items()), count(start).__next__)


def test_servers_of_equal_weight_take_turns() -> None:
    assert _take(_policy(a=1, b=1, c=1), 7) == list("abcabca")


def test_turns_of_unequal_weights_are_spread_out() -> None:
    assert _take(_policy(a=5, b=1, c=1), 7) == list("aaabcaa")


def test_equal_weights_above_one_take_turns_too() -> None:
    assert _take(_policy(a=256, b=256), 4) == list("abab")


def test_no_weight_takes_no_turn() -> None:
    policy = _policy(a=0, b=2, c=0)
    assert _take(policy, 3) == list("bbb")
    assert set(policy.order()) == {"b"}


@pytest.mark.parametrize("weights", [{}, {"a": 0, "b": 0}])
def test_no_servers_give_no_order(weights: dict[str, int]) -> None:
    assert list(_policy(**weights).order()) == []


ROUNDS = [
    {"a": 1},
    {"a": 1, "b": 1, "c": 1},
    {"a": 2, "b": 4},
    {"a": 3, "b": 5, "c": 7},
    {"a": 63, "b": 1},
    {"a": 64, "b": 1},
    {"a": 256, "b": 255, "c": 1},
]


@pytest.mark.parametrize("weights", ROUNDS, ids=str)
def test_every_round_gives_each_server_its_weight(weights: dict[str, int]) -> None:
    policy = _policy(start=12345, **weights)
    total = sum(weights.values())
    for _ in range(3):
        assert Counter(_take(policy, total)) == weights


@pytest.mark.parametrize("weights", ROUNDS, ids=str)
def test_every_order_has_every_server(weights: dict[str, int]) -> None:
    policy = _policy(**weights)
    assert all(set(policy.order()) == set(weights) for _ in range(sum(weights.values())))


@pytest.mark.parametrize("weights", ROUNDS, ids=str)
def test_what_comes_second_in_an_order_is_whose_turn_is_next(weights: dict[str, int]) -> None:
    policy = _policy(**weights)
    orders = [policy.order() for _ in range(2 * sum(weights.values()))]
    wrong = [now for now, then in pairwise(orders) if len(now) > 1 and now[1] != then[0]]
    # A long round is cut at its end, where every server follows once in the order they were given.
    assert len(wrong) <= (0 if sum(weights.values()) <= 64 else 2)


def test_an_order_is_short_however_large_the_weights_are() -> None:
    policy = RoundRobin([(n, 255 + n % 2) for n in range(10)], count().__next__)
    assert len(policy.order()) <= 64 + 10


def test_policies_that_share_a_turn_go_on_where_the_other_stopped() -> None:
    turns = count()
    first, second = (RoundRobin([("a", 1), ("b", 1), ("c", 1)], turns.__next__) for _ in range(2))
    assert [_take(policy, 1)[0] for policy in (first, second, second, first, second)] == list("abcab")


def test_a_turn_goes_on_when_the_servers_change() -> None:
    turns = count()
    _take(RoundRobin([("a", 1), ("b", 1)], turns.__next__), 5)
    assert _take(RoundRobin([("a", 1), ("b", 1), ("c", 1)], turns.__next__), 3) == list("cab")
