"""The contract of a store, as checks that any store can be put to.

    import pytest
    from headgate.testing.stores import CONTRACT, Subject

    @pytest.mark.parametrize("check", CONTRACT)
    def test_my_store_keeps_the_contract(check):
        clock = ManualClock()
        store = MyStore(clock)
        check(Subject(store.hit, clock.advance, charge=store.charge))

A store that decides later is wrapped into a `hit` that waits for its `resume`. Each check begins with keys of its own,
so they can all run against one store. A check that fails raises AssertionError. `PLACES` are the checks of limits on
what is in flight.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headgate.limits import concurrency
from headgate.limits.decision import Decision, Holding
from headgate.limits.meter import ALGORITHMS
from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState
from headgate.store.base import Check, Resume

_names = itertools.count()


def never(decisions: Sequence[Decision]) -> None:
    """A `resume` for stores that decide at once."""
    raise AssertionError("resume was called by a store that had already decided")


def _missing(checks: Sequence[Check]) -> None:
    raise AssertionError("the store cannot charge")


@dataclass
class Subject:
    """A store under test.

    ask: its `hit`, or a function of the same form that waits until the decisions are there.
    advance: lets so many seconds pass for the store, by moving its clock or by waiting.
    period: the period of the limits in seconds; short for a store whose time is real. charge: the store's.
    release: its `release`, or a function that waits until it is done; only `PLACES` need it.
    """

    ask: Callable[[Sequence[Check], Resume], Sequence[Decision] | None]
    advance: Callable[[float], None]
    period: float = 60.0
    charge: Callable[[Sequence[Check]], object] = _missing
    release: Callable[[Sequence[Check]], None] = lambda checks: None
    _prefix: str = field(default_factory=lambda: f"check{next(_names)}")

    def limit(
        self,
        most: int,
        name: str = "a",
        period: float | None = None,
        algorithm: str = "fixed_window",
        settle: str = "",
    ) -> LimitState:
        """A limit that no other check uses."""
        rate = Rate(most, self.period if period is None else period)
        # Where clients are always told what is left, decisions say so exactly.
        one = Limit(f"{self._prefix}_{name}", rate, algorithm=algorithm, settle=settle, headers="always")
        return LimitState(one, slot=0)

    def places(self, most: int) -> LimitState:
        """A limit on what is in flight that no other check uses."""
        return self.limit(most, "places", 0.0, concurrency.NAME)

    def hit(self, *checks: Check) -> Sequence[Decision]:
        """The decisions on one request."""
        decisions = self.ask(checks, never)
        assert decisions is not None, "wrap a store that decides later into a function that waits"
        return decisions

    def passes(self, *checks: Check) -> bool:
        """Whether one request passes."""
        return all(decision.allowed for decision in self.hit(*checks))


def exactly_the_limit_passes(subject: Subject) -> None:
    """Of many requests in one window as many pass as the limit says, and they are the first ones."""
    limit = subject.limit(5)
    assert [subject.passes((limit, b"k", 1)) for _ in range(12)] == [True] * 5 + [False] * 7


def remaining_counts_down(subject: Subject) -> None:
    """Each decision says how many more would pass and when the window ends."""
    limit = subject.limit(3)
    decisions = [subject.hit((limit, b"k", 1))[0] for _ in range(4)]
    assert [decision.remaining for decision in decisions] == [2, 1, 0, 0]
    assert all(decision.limit is limit and not decision.unavailable for decision in decisions)
    period = subject.period * 1_000_000
    assert decisions[0].reset_after == period
    assert all(0 < decision.reset_after <= period for decision in decisions)


def the_window_ends(subject: Subject) -> None:
    """After a period the whole limit is there again, and not a moment before."""
    limit = subject.limit(2)
    assert [subject.passes((limit, b"k", 1)) for _ in range(3)] == [True, True, False]
    subject.advance(subject.period / 2)
    assert not subject.passes((limit, b"k", 1))
    subject.advance(subject.period / 2)
    assert [subject.passes((limit, b"k", 1)) for _ in range(3)] == [True, True, False]


def refused_costs_nothing(subject: Subject) -> None:
    """Refused requests neither count in the next window nor make this one longer."""
    limit = subject.limit(1)
    assert subject.passes((limit, b"k", 1))
    for _ in range(10):
        assert not subject.passes((limit, b"k", 1))
        subject.advance(subject.period / 10)
    assert subject.passes((limit, b"k", 1))


def keys_are_apart(subject: Subject) -> None:
    """Whatever bytes two keys are made of, one is not counted for the other."""
    limit = subject.limit(1)
    keys = [b"a", b"b", b"a:b", b"a b", b"", b"a\r\nb", b"\x00", b"\xff", b"k" * 300]
    assert all(subject.passes((limit, key, 1)) for key in keys)
    assert not any(subject.passes((limit, key, 1)) for key in keys)


def limits_are_apart(subject: Subject) -> None:
    """Two limits count the same key each for itself."""
    one, other = subject.limit(1, "one"), subject.limit(1, "other")
    assert subject.passes((one, b"k", 1))
    assert subject.passes((other, b"k", 1))
    assert not subject.passes((one, b"k", 1))
    assert not subject.passes((other, b"k", 1))


def all_are_taken_or_none(subject: Subject) -> None:
    """A request that one limit refuses takes nothing from the others, wherever the refusing limit stands."""
    wide, narrow = subject.limit(5, "wide"), subject.limit(1, "narrow")
    assert subject.passes((wide, b"k", 1), (narrow, b"k", 1))
    for _ in range(3):
        assert not subject.passes((wide, b"k", 1), (narrow, b"k", 1))
        assert not subject.passes((narrow, b"k", 1), (wide, b"k", 1))
    decision = subject.hit((wide, b"k", 1))[0]
    assert decision.allowed
    assert decision.remaining == 3


def a_refusal_names_its_limit(subject: Subject) -> None:
    """Of several limits those that refuse are not allowed and the others are, with what they have left."""
    wide, narrow = subject.limit(5, "wide"), subject.limit(1, "narrow")
    subject.hit((wide, b"other", 1), (narrow, b"k", 1))
    decisions = {decision.limit.limit.name: decision for decision in subject.hit((wide, b"k", 1), (narrow, b"k", 1))}
    refusal = decisions[narrow.limit.name]
    assert not refusal.allowed
    assert refusal.remaining == 0
    assert 0 < refusal.reset_after <= subject.period * 1_000_000
    if wide.limit.name in decisions:
        assert decisions[wide.limit.name].allowed
        assert decisions[wide.limit.name].remaining == 5


def one_limit_twice_counts_twice(subject: Subject) -> None:
    """A decision that names the same limit and key twice takes two, and never one over the limit."""
    limit = subject.limit(3)
    assert subject.passes((limit, b"k", 1), (limit, b"k", 1))
    assert not subject.passes((limit, b"k", 1), (limit, b"k", 1))
    assert subject.passes((limit, b"k", 1))
    assert not subject.passes((limit, b"k", 1))


def a_changed_rate_begins_anew(subject: Subject) -> None:
    """A limit of the same name with another rate is not read from the old one's counts."""
    for most, period in ((1, subject.period), (2, subject.period), (1, subject.period * 2)):
        limit = subject.limit(most, period=period)
        assert [subject.passes((limit, b"k", 1)) for _ in range(most + 1)] == [True] * most + [False]


def every_algorithm_passes_its_limit_at_once(subject: Subject) -> None:
    """Whatever the algorithm, so many pass, the next does not, and limits of different ones can be asked together."""
    limits = [subject.limit(3, algorithm, 60 * subject.period, algorithm) for algorithm in ALGORITHMS]
    for limit in limits:
        assert [subject.hit((limit, b"k", 1))[0].remaining for _ in range(3)] == [2, 1, 0]
        assert not subject.passes((limit, b"k", 1))
    checks = [(limit, b"l", 1) for limit in limits]
    assert [subject.passes(*checks) for _ in range(4)] == [True, True, True, False]
    for limit in limits:
        assert subject.passes((limit, b"m", 1))
        assert not subject.passes(*checks[1:], (limit, b"m", 1))
        assert subject.hit((limit, b"m", 1))[0].remaining == 1


def what_is_refused_passes_when_it_was_said(subject: Subject) -> None:
    """Whatever the algorithm, a refused request passes after `reset_after`."""
    for algorithm in ALGORITHMS:
        limit = subject.limit(2, algorithm, algorithm=algorithm)
        assert [subject.passes((limit, b"k", 1)) for _ in range(2)] == [True, True]
        refusal = subject.hit((limit, b"k", 1))[0]
        assert 0 < refusal.reset_after <= 2_000_000 * subject.period
        subject.advance(refusal.reset_after / 1_000_000)
        assert subject.passes((limit, b"k", 1))


def what_is_given_back_passes_again(subject: Subject) -> None:
    """Whatever the algorithm and however many were refused, so many more pass as were given back, and no more."""
    for algorithm in ALGORITHMS:
        limit = subject.limit(4, algorithm, 60 * subject.period, algorithm, "free:5xx")
        assert [subject.passes((limit, b"k", 1)) for _ in range(7)] == [True] * 4 + [False] * 3
        subject.charge([(limit, b"k", -2)])
        assert [subject.passes((limit, b"k", 1)) for _ in range(4)] == [True] * 2 + [False] * 2
        subject.charge([(limit, b"k", -100)])
        assert [subject.passes((limit, b"k", 1)) for _ in range(6)] == [True] * 4 + [False] * 2


def what_is_charged_is_gone(subject: Subject) -> None:
    """Whatever the algorithm, what is charged is taken although it was not asked for, also more than there is."""
    for algorithm in ALGORITHMS:
        limit = subject.limit(5, algorithm, 60 * subject.period, algorithm, "free:5xx")
        assert subject.passes((limit, b"k", 1))
        subject.charge([(limit, b"k", 2), (limit, b"new", 4)])
        assert subject.hit((limit, b"k", 1))[0].remaining == 1
        assert subject.hit((limit, b"new", 1))[0].remaining == 0
        subject.charge([(limit, b"k", 3)])
        assert not subject.passes((limit, b"k", 1))
        subject.charge([(limit, b"k", -2)])
        assert not subject.passes((limit, b"k", 1))
        subject.charge([(limit, b"k", -1)])
        assert subject.passes((limit, b"k", 1))


def nothing_is_given_back_of_what_has_ended(subject: Subject) -> None:
    """What is given back of a window that is over, or never began, changes nothing of the next."""
    limit = subject.limit(2, settle="free:5xx")
    for key in (b"k", b"new"):
        if key == b"k":
            assert [subject.passes((limit, key, 1)) for _ in range(3)] == [True, True, False]
            subject.advance(subject.period)
        subject.charge([(limit, key, -2)])
        subject.advance(subject.period / 4)
        first = subject.hit((limit, key, 1))[0]
        assert (first.remaining, first.reset_after) == (1, subject.period * 1_000_000)
        assert [subject.passes((limit, key, 1)) for _ in range(2)] == [True, False]


def as_many_pass_as_places_are_free(subject: Subject) -> None:
    """So many pass at once, each that ends makes room for one, and time does not."""
    limit = subject.places(3)
    one = (limit, b"k", 1)
    decisions = [subject.hit(one)[0] for _ in range(4)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False]
    assert [decision.remaining for decision in decisions] == [2, 1, 0, 0]
    assert [isinstance(decision, Holding) for decision in decisions] == [True, True, True, False]
    assert not any(decision.reset_after for decision in decisions)
    subject.advance(subject.period)
    assert not subject.passes(one)
    subject.release([one])
    assert [subject.passes(one) for _ in range(2)] == [True, False]
    assert subject.passes((limit, b"other", 1))
    subject.release([one] * 3)
    assert [subject.passes(one) for _ in range(4)] == [True, True, True, False]


def places_and_rates_are_taken_together_or_not(subject: Subject) -> None:
    """A request that a rate refuses takes no place, and one that finds no place counts under no rate."""
    places, rate = subject.places(2), subject.limit(3, "rate")
    both = (places, b"k", 1), (rate, b"k", 1)
    assert [subject.passes(*both) for _ in range(4)] == [True, True, False, False]
    subject.release([both[0]])
    assert [subject.passes(*both[::-1]) for _ in range(2)] == [True, False]
    subject.release([both[0]] * 2)
    assert not any(subject.passes(*both) for _ in range(3))
    assert [subject.passes(both[0]) for _ in range(3)] == [True, True, False]


def a_request_may_take_several_places(subject: Subject) -> None:
    """By its cost, or because a decision names the limit twice; all are given back."""
    limit = subject.places(3)
    one, two = (limit, b"k", 1), (limit, b"k", 2)
    assert subject.passes(two)
    assert not subject.passes(two)
    assert subject.hit((limit, b"k", 0))[0].remaining == 1
    subject.release([two])
    assert subject.passes(one, one)
    assert not subject.passes(one, one)
    subject.release([one, one])
    assert subject.hit((limit, b"k", 0))[0].remaining == 3


PLACES: tuple[Callable[[Subject], None], ...] = (
    as_many_pass_as_places_are_free,
    places_and_rates_are_taken_together_or_not,
    a_request_may_take_several_places,
)
CONTRACT: tuple[Callable[[Subject], None], ...] = (
    exactly_the_limit_passes,
    remaining_counts_down,
    the_window_ends,
    refused_costs_nothing,
    keys_are_apart,
    limits_are_apart,
    all_are_taken_or_none,
    a_refusal_names_its_limit,
    one_limit_twice_counts_twice,
    a_changed_rate_begins_anew,
    every_algorithm_passes_its_limit_at_once,
    what_is_refused_passes_when_it_was_said,
    what_is_given_back_passes_again,
    what_is_charged_is_gone,
    nothing_is_given_back_of_what_has_ended,
)
