"""The contract of a store's counts towards operators, as checks that any store can be put to.

Like `headgate.testing.stores`, beside whose `Subject` these checks need an `Operator`:

    @pytest.mark.parametrize("check", OPERATED)
    def test_operators_see_and_change_what_is_counted(check):
        store = MyStore(clock)
        check(Subject(store.hit, clock.advance), Operator(MyCounts(store), asyncio.run))
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from headgate.limits.meter import ALGORITHMS
from headgate.limits.refusals import refusals
from headgate.limits.standing import Standing
from headgate.model.config import Ban
from headgate.model.snapshot import LimitState
from headgate.store.counts import Counts
from headgate.testing.stores import Subject

T = TypeVar("T")
K = b"k"


class Run(Protocol):
    """Runs a coroutine to its end, on the loop of the store."""

    def __call__(self, work: Coroutine[object, None, T], /) -> T:
        """What the coroutine returns."""


def _nothing() -> None:
    pass


@dataclass
class Operator:
    """Somebody who asks for the counts and waits for each answer.

    let_forget: lets the time pass after which a store that remembers refusals asks for them again.
    """

    counts: Counts
    run: Run
    let_forget: Callable[[], None] = _nothing

    def look(self, limit: LimitState, key: bytes = K) -> Standing:
        """How the key stands."""
        return self.run(self.counts.look(limit, key))

    def reset(self, limit: LimitState, key: bytes = K) -> bool:
        """Forgets the key's count and ban."""
        return self.run(self.counts.reset(limit, key))

    def ban(self, limit: LimitState, seconds: float, key: bytes = K) -> None:
        """Bans the key."""
        self.run(self.counts.ban(limit, key, seconds))

    def unban(self, limit: LimitState, key: bytes = K) -> bool:
        """Lifts its ban."""
        return self.run(self.counts.unban(limit, key))


def _limits(subject: Subject, most: int) -> list[LimitState]:
    return [subject.limit(most, algorithm, 60 * subject.period, algorithm) for algorithm in ALGORITHMS]


def a_look_says_what_is_left(subject: Subject, operator: Operator) -> None:
    """Whatever the algorithm, as many are left as pass still, and nothing is used of a key that was never seen."""
    for limit in _limits(subject, 3):
        assert operator.look(limit) == Standing(3, 0, 0)
        for left in (2, 1, 0):
            assert subject.passes((limit, K, 1))
            standing = operator.look(limit)
            assert standing.remaining == left
            assert 0 < standing.reset_after <= 2 * 60 * subject.period * 1_000_000
            assert (standing.retry_after > 0) == (left == 0)
            assert not standing.is_banned
        assert not subject.passes((limit, K, 1))
        assert operator.look(limit).remaining == 0
        assert operator.look(limit, b"other") == Standing(3, 0, 0)


def a_look_takes_nothing(subject: Subject, operator: Operator) -> None:
    """However often somebody looks, all of the limit passes, and its window begins with the first request."""
    for limit in _limits(subject, 2):
        for _ in range(5):
            operator.look(limit)
        decisions = [subject.hit((limit, K, 1))[0] for _ in range(3)]
        assert [decision.allowed for decision in decisions] == [True, True, False]


def what_passes_again_is_said_in_advance(subject: Subject, operator: Operator) -> None:
    """After `retry_after` a request passes."""
    for algorithm in ALGORITHMS:
        limit = subject.limit(2, algorithm, algorithm=algorithm)
        while subject.passes((limit, K, 1)):
            pass
        subject.advance(operator.look(limit).retry_after / 1_000_000)
        assert operator.look(limit).retry_after == 0
        assert subject.passes((limit, K, 1))


def a_costly_request_waits_for_longer(subject: Subject, operator: Operator) -> None:
    """`retry_after` is that of a request of the limit's cost, `remaining` counts those of cost 1."""
    limit = subject.limit(5)
    limit = LimitState(replace(limit.limit, cost=3), limit.slot)
    assert subject.passes((limit, K, 3))
    standing = operator.look(limit)
    assert standing.remaining == 2
    assert standing.retry_after > 0


def after_a_reset_all_passes_again(subject: Subject, operator: Operator) -> None:
    """A reset forgets the count of this key alone, and says whether there was one."""
    for limit in _limits(subject, 2):
        assert not operator.reset(limit)
        for key in (K, b"other"):
            assert [subject.passes((limit, key, 1)) for _ in range(3)] == [True, True, False]
        operator.let_forget()
        assert operator.reset(limit)
        assert operator.look(limit) == Standing(2, 0, 0)
        assert [subject.passes((limit, K, 1)) for _ in range(3)] == [True, True, False]
        assert not subject.passes((limit, b"other", 1))


def a_ban_refuses_until_it_is_over(subject: Subject, operator: Operator) -> None:
    """A key is banned however much of its limit is left, and is as new afterwards."""
    for algorithm in ALGORITHMS:
        limit = subject.limit(2, algorithm, algorithm=algorithm)
        operator.ban(limit, 2 * subject.period)
        standing = operator.look(limit)
        assert standing.is_banned
        assert standing.remaining == 0
        assert 0 < standing.retry_after == standing.reset_after <= 2 * subject.period * 1_000_000
        assert not subject.passes((limit, K, 1))
        assert subject.passes((limit, b"other", 1))
        subject.advance(2 * subject.period)
        assert operator.look(limit) == Standing(2, 0, 0)
        assert subject.passes((limit, K, 1))


def a_ban_is_lifted(subject: Subject, operator: Operator) -> None:
    """Lifting a ban, or resetting the key, lets it pass; there is nothing to lift where there is no ban."""
    for lift in (operator.unban, operator.reset):
        for limit in _limits(subject, 2):
            operator.reset(limit)
            operator.ban(limit, 600 * subject.period)
            assert not subject.passes((limit, K, 1))
            operator.let_forget()
            assert lift(limit)
            assert not lift(limit)
            assert subject.passes((limit, K, 1))
            assert not operator.unban(limit)
            assert operator.look(limit).remaining == 1


def with_a_ban_go_the_refusals_that_led_to_it(subject: Subject, operator: Operator) -> None:
    """Whoever is let in again, or has served his ban, is not banned at his first refusal."""
    limit = subject.limit(1, period=60 * subject.period)
    limit = LimitState(replace(limit.limit, ban=Ban(2, 600 * subject.period, 600 * subject.period)), limit.slot)
    counter = refusals(limit)
    assert counter is not None
    for lift in (operator.unban, operator.reset):
        subject.passes((counter, K, 1), (counter, K, 1))
        operator.ban(limit, 600 * subject.period)
        assert operator.look(counter) == Standing(2, 0, 0)
        operator.ban(counter, 600 * subject.period)  # as the limit's own rule does it
        operator.let_forget()
        assert operator.look(counter).remaining == 0
        assert lift(limit)
        assert operator.look(counter) == Standing(2, 0, 0)
    subject.passes((counter, K, 1))
    assert not operator.unban(limit)
    assert operator.look(counter).remaining == 1


OPERATED: tuple[Callable[[Subject, Operator], None], ...] = (
    a_look_says_what_is_left,
    a_look_takes_nothing,
    what_passes_again_is_said_in_advance,
    a_costly_request_waits_for_longer,
    after_a_reset_all_passes_again,
    a_ban_refuses_until_it_is_over,
    a_ban_is_lifted,
    with_a_ban_go_the_refusals_that_led_to_it,
)
