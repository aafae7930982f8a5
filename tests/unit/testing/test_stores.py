"""The contract is worth something only if a store that breaks it fails."""

from collections.abc import Callable, Sequence
from inspect import isfunction

import pytest

from headgate.limits.decision import Decision
from headgate.model.snapshot import LimitState
from headgate.store.base import Check, Resume
from headgate.store.memory import MemoryStore
from headgate.testing import stores
from headgate.testing.clock import ManualClock
from headgate.testing.stores import CONTRACT, PLACES, Subject, never


def ignored(checks: Sequence[Check]) -> None:
    """A store that takes no notice of what it is charged with."""


class AllowsAll:
    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision]:
        return [Decision(True, limit, limit.limit.rate.limit - 1, 60_000_000) for limit, _, _ in checks]


class RefusesAll:
    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision]:
        return [Decision(False, limit, 0, 60_000_000) for limit, _, _ in checks]


class OneByOne:
    """Takes from each limit although another refuses."""

    def __init__(self, clock: ManualClock) -> None:
        self.store = MemoryStore(clock)

    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision]:
        return [self.store.hit([check], resume)[0] for check in checks]


class CountsRefused:
    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.states: dict[Check, tuple[int, float]] = {}

    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision]:
        return [self.one(*check) for check in checks]

    def one(self, limit: LimitState, key: bytes, cost: int) -> Decision:
        rate = limit.limit.rate
        taken, _ = self.states.get((limit, key, 1), (0, 0))
        self.states[limit, key, 1] = taken + 1, self.clock() + rate.period * 1_000_000
        return Decision(taken < rate.limit, limit, max(0, rate.limit - taken - 1), round(rate.period * 1_000_000))


class GivesBackTooLate:
    """Begins a window with what is given back."""

    def __init__(self, clock: ManualClock) -> None:
        self.store = MemoryStore(clock)
        self.hit = self.store.hit

    def charge(self, checks: Sequence[Check]) -> None:
        self.store.charge([(limit, key, 1) for limit, key, _ in checks])
        self.store.charge([(limit, key, -1) for limit, key, _ in checks])


Broken = AllowsAll | RefusesAll | OneByOne | CountsRefused | GivesBackTooLate


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (AllowsAll, stores.exactly_the_limit_passes),
        (AllowsAll, stores.remaining_counts_down),
        (AllowsAll, stores.the_window_ends),
        (AllowsAll, stores.keys_are_apart),
        (AllowsAll, stores.limits_are_apart),
        (AllowsAll, stores.one_limit_twice_counts_twice),
        (AllowsAll, stores.a_changed_rate_begins_anew),
        (RefusesAll, stores.exactly_the_limit_passes),
        (RefusesAll, stores.refused_costs_nothing),
        (OneByOne, stores.all_are_taken_or_none),
        (OneByOne, stores.a_refusal_names_its_limit),
        (CountsRefused, stores.refused_costs_nothing),
        (OneByOne, stores.what_is_given_back_passes_again),
        (OneByOne, stores.what_is_charged_is_gone),
        (GivesBackTooLate, stores.nothing_is_given_back_of_what_has_ended),
        (AllowsAll, stores.as_many_pass_as_places_are_free),
        (OneByOne, stores.as_many_pass_as_places_are_free),  # nothing is given back
        (OneByOne, stores.places_and_rates_are_taken_together_or_not),
        (OneByOne, stores.a_request_may_take_several_places),
    ],
)
def test_a_store_that_breaks_the_contract_fails(make: Callable[..., Broken], check: Callable[[Subject], None]) -> None:
    clock = ManualClock()
    store = make() if make in (AllowsAll, RefusesAll) else make(clock)
    with pytest.raises(AssertionError):
        check(Subject(store.hit, clock.advance, charge=getattr(store, "charge", ignored)))


def test_every_check_is_in_the_contract() -> None:
    functions = [value for value in vars(stores).values() if isfunction(value)]
    assert {*CONTRACT, *PLACES} == {function for function in functions if Subject in function.__annotations__.values()}


def test_a_store_that_was_not_told_how_to_charge_fails() -> None:
    with pytest.raises(AssertionError, match="cannot charge"):
        stores.what_is_charged_is_gone(Subject(MemoryStore(ManualClock()).hit, lambda seconds: None))


def test_resuming_a_decided_request_fails() -> None:
    with pytest.raises(AssertionError):
        never([])
