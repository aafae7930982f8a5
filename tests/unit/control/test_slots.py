import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headgate.control.slots import Slots
from headgate.errors import UserError


def idle(slot: int) -> bool:
    return True


def test_an_owner_keeps_its_slot() -> None:
    slots: Slots[str] = Slots(2, "things")
    first = slots.take("a")
    assert slots.take("b") != first
    assert slots.take("a") == first


def test_a_slot_rests_until_every_worker_serves_without_its_owner() -> None:
    slots: Slots[str] = Slots(1, "things")
    slots.take("a")
    slots.give_up("a", version=5)
    assert slots.reclaim(4, idle) == []
    assert [slots.rests, slots.reclaim(5, idle), slots.rests] == [True, [0], False]
    assert slots.take("b") == 0


def test_a_slot_rests_while_something_is_in_flight_in_it() -> None:
    slots: Slots[str] = Slots(1, "things")
    slots.take("a")
    slots.give_up("a", version=5)
    assert slots.reclaim(9, lambda slot: False) == []
    assert slots.in_use() == [0]
    assert slots.reclaim(9, idle) == [0]
    assert slots.in_use() == []


def test_an_owner_that_comes_back_while_its_slot_rests_gets_it_again() -> None:
    slots: Slots[str] = Slots(2, "things")
    slot = slots.take("a")
    slots.give_up("a", version=5)
    slots.take("b")
    assert slots.take("a") == slot
    assert slots.reclaim(9, idle) == []


def test_too_many_owners_are_refused_and_nothing_is_taken() -> None:
    slots: Slots[str] = Slots(2, "things")
    slots.take("a")
    slots.require(["a", "b", "b"])
    with pytest.raises(UserError, match="there is room for 2 things; 1 too many"):
        slots.require(["a", "b", "c"])
    slots.take("b")
    with pytest.raises(UserError):
        slots.take("c")


class AnyLife(RuleBasedStateMachine):
    """Owners come and go; workers lag behind: a slot never has two owners that a worker could still mix up."""

    def __init__(self) -> None:
        super().__init__()
        self.slots: Slots[int] = Slots(4, "things")
        self.owned: dict[int, int] = {}
        self.busy: dict[int, tuple[int, int]] = {}  # slot: owner, version without it
        self.version = 1

    @rule(owner=st.integers(0, 7))
    def take(self, owner: int) -> None:
        try:
            slot = self.slots.take(owner)
        except UserError:
            assert len(self.owned) + len(self.busy) == 4
            return
        former = self.busy.pop(slot, None)
        assert former is None or former[0] == owner
        assert self.owned.get(owner, slot) == slot
        self.owned[owner] = slot

    @precondition(lambda self: self.owned)
    @rule(choice=st.randoms(use_true_random=False))
    def give_up(self, choice: random.Random) -> None:
        owner = choice.choice(sorted(self.owned))
        self.version += 1
        self.slots.give_up(owner, self.version)
        self.busy[self.owned.pop(owner)] = (owner, self.version)

    @rule(lag=st.integers(0, 4), idle=st.sets(st.integers(0, 3)))
    def reclaim(self, lag: int, idle: set[int]) -> None:
        adopted = self.version - lag
        expected = {slot for slot, (_, version) in self.busy.items() if version <= adopted and slot in idle}
        assert set(self.slots.reclaim(adopted, idle.__contains__)) == expected
        for slot in expected:
            del self.busy[slot]

    @invariant()
    def the_slots_in_use_are_the_owned_and_the_resting(self) -> None:
        assert sorted(self.slots.in_use()) == sorted([*self.owned.values(), *self.busy])


TestAnyLife = AnyLife.TestCase
