from headgate.limits.memo import PerLimit
from headgate.model.snapshot import LimitState
from tests.unit.store.limits import limit


def test_it_is_made_once_for_each_limit_until_it_is_cleared() -> None:
    made: list[LimitState] = []

    def make(one: LimitState) -> int:
        made.append(one)
        return len(made)

    memo = PerLimit(make)
    one, equal = limit(), limit()
    assert [memo.of(one), memo.of(equal), memo.of(one)] == [1, 2, 1], "limits are known by identity"
    memo.clear()
    assert memo.of(one) == 3
    assert made == [one, equal, one]


def test_what_is_remembered_is_bounded_and_never_another_ones() -> None:
    memo = PerLimit(lambda one: one.limit.rate.limit)
    for number in range(1, 2100):
        one = limit(number)
        assert memo.of(one) == memo.of(one) == number
    assert len(memo._known) <= 1024
