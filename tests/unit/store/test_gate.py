"""The short way through a limit on what is in flight: what the store would do, or nothing."""

from dataclasses import replace
from types import FunctionType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.model.config import Ban
from headgate.model.snapshot import LimitState
from headgate.store.gate import Gate
from headgate.store.memory import MemoryStore
from headgate.store.shared import SharedStore
from headgate.store.ways import Tally
from headgate.testing.clock import ManualClock
from headgate.testing.stores import never
from tests.hammer import together, witness
from tests.unit.store.limits import limit
from tests.unit.store.test_held import crew, in_flight
from tests.unit.store.test_shared import keys

K = b"k"


def gate_of(store: SharedStore, one: LimitState, tally: Tally | None = None) -> Gate:
    found = store.gate((one, K, 1), tally or Tally())
    assert found is not None
    return found


def enters(gate: Gate, clock: ManualClock) -> bool:
    return gate.enter(clock() / 1e6)


@settings(max_examples=200, deadline=None)
@given(
    most=st.integers(2, 12),
    steps=st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.booleans()), max_size=60),
    dies=st.booleans(),
)
def test_it_passes_what_the_reference_passes_and_everything_comes_back(
    most: int, steps: list[tuple[int, bool, bool]], dies: bool
) -> None:
    """Two processes take places and give them back, by gate or by store; in the end one of them may die."""
    one = in_flight(most)
    check = (one, K, 1)
    with crew() as made:
        reference = MemoryStore(made.clock)
        stores = [made.join(), made.join()]
        tallies = [Tally() for _ in stores]
        stores[0].hit([check])
        stores[0].release([check])
        gates = [gate_of(store, one, tally) for store, tally in zip(stores, tallies, strict=True)]
        held: list[list[Gate | None]] = [[], []]
        for who, takes, by_gate in steps:
            if takes:
                (expected,) = reference.hit([check], never)
                if by_gate and enters(gates[who], made.clock):
                    assert expected.allowed
                    assert expected.remaining * 5 > most, "it is near the end, which is counted"
                    held[who].append(gates[who])
                    continue
                (decision,) = stores[who].hit([check])
                assert (decision.allowed, decision.remaining) == (expected.allowed, expected.remaining)
                if decision.allowed:
                    held[who].append(None)
            elif held[who]:
                gate = held[who].pop()
                reference.release([check])
                if gate is None:
                    stores[who].release([check])
                else:
                    gate.leave()
        for who, tally in enumerate(tallies):
            entered, left = tally.take()
            assert entered - left == sum(gate is not None for gate in held[who])
        if dies:
            made.kill(stores[0])
            made.clock.now += 10_000
            reference.release([check] * len(held[0]))
            left = len(held[1])
            assert [stores[1].hit([check])[0].allowed for _ in range(most - left + 1)] == [True] * (most - left) + [
                False
            ]
        for store in stores:
            store.close()


def test_it_waits_for_nobody() -> None:
    with crew() as made:
        store, one = made.join(), in_flight(10)
        store.hit([(one, K, 1)])
        gate = gate_of(store, one)
        stripe = store._entries[id(one)].places[K][3]
        assert stripe.enter()
        assert enters(gate, made.clock)
        gate.leave()
        assert enters(gate, made.clock)
        stripe.leave()
        assert store.hit([(one, K, 0)])[0].remaining == 8
        gate.leave()
        assert store.hit([(one, K, 0)])[0].remaining == 9
        store.close()


def test_a_ban_ends_it_and_some_limits_have_none() -> None:
    with crew() as made:
        store, one = made.join(), in_flight(10)
        store.hit([(one, K, 1)])
        gate = gate_of(store, one)
        assert enters(gate, made.clock)
        store.ban(one, K, 5.0)
        assert not enters(gate, made.clock)
        made.clock.advance(6.0)
        assert enters(gate, made.clock)
        banning = LimitState(replace(one.limit, name="bans", ban=Ban(1, 1.0, 1.0)), 0)
        assert store.gate((banning, K, 1), Tally()) is None
        assert store.gate((one, K, 2), Tally()) is None
        assert store.gate((in_flight(1), K, 1), Tally()) is None
        assert store.gate((limit(9), K, 1), Tally()) is None
        assert MemoryStore(ManualClock()).gate((one, K, 1), Tally()) is None  # type: ignore[func-returns-value]
        store.close()


def test_the_key_that_has_the_slot_now_is_disturbed_once_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it has no tokens, because it is near its end: else each request would seem to hold a place of it."""
    with crew(room=8) as made:
        store, one = made.join(), in_flight(10)
        store.hit([(one, K, 1)])
        store.release([(one, K, 1)])
        held, at = store._held, store._entries[id(one)].places[K][1]
        assert held is not None
        drawn, draw = list[int](), held._token(at).acquire

        def draws(blocking: bool) -> bool:
            drawn.append(at)
            return bool(draw(blocking))

        monkeypatch.setitem(held._drawers, at, draws)
        gate = gate_of(store, one)
        store.hit([(in_flight(1, "other"), key, 1) for key in keys(16)])
        drawn.clear()
        assert not any(enters(gate, made.clock) for _ in range(3))
        assert drawn == [at]
        store.close()


def test_a_gate_opens_again_when_its_key_is_back_in_its_slot() -> None:
    with crew(room=8) as made:
        store, one, other = made.join(), in_flight(10), in_flight(10, "other")
        store.hit([(one, K, 1)])
        store.release([(one, K, 1)])
        at = store._entries[id(one)].places[K][1]
        gate = gate_of(store, one)
        taken = [(other, key, 1) for key in keys(16)]
        store.hit(taken)
        assert not enters(gate, made.clock)
        store.release(taken)
        store.hit([(one, K, 1)])
        assert store._entries[id(one)].places[K][1] == at
        assert enters(gate, made.clock)
        assert store.hit([(one, K, 0)])[0].remaining == 8
        store.close()


def test_the_connections_of_a_client_share_a_gate() -> None:
    with crew() as made:
        store, one, tally = made.join(), in_flight(10), Tally()
        gate = gate_of(store, one, tally)
        assert gate_of(store, one, tally) is gate
        assert gate_of(store, in_flight(10), tally) is not gate
        assert gate_of(store, one) is not gate
        store.close()


def test_a_place_that_is_taken_in_the_column_of_a_dead_process_is_not_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who adds up sees that the owner of a column is dead; in this moment another takes the column, and a place."""
    with crew() as made:
        one, look = in_flight(10), (in_flight(10), K, 0)
        here, dead, heir = made.join(), made.join(), made.join()
        for store in (here, dead):
            assert store.hit([(one, K, 1)])[0].allowed
        made.kill(dead)
        made.clock.now += 10_000
        held, lives = here._held, made._lives
        assert held is not None

        def inherits(owner: int) -> bool:
            held._is_alive = lives
            assert owner == dead._owner
            assert enters(gate_of(heir, one), made.clock)
            return lives(owner)

        monkeypatch.setattr(held, "_is_alive", inherits)
        assert [here.hit([look])[0].remaining for _ in range(2)] == [9, 8]
        for store in (here, heir):
            store.close()


def test_what_is_taken_without_asking_puts_no_tokens_there_for_a_banned_key() -> None:
    with crew() as made:
        store, one = made.join(), in_flight(10)
        store.hit([(one, K, 1)])
        gate = gate_of(store, one)
        store.ban(one, K, 5.0)
        store.hold([(one, K, 1)])
        assert not enters(gate, made.clock)
        store.close()


def test_it_is_shut_for_good_when_another_key_has_the_slot() -> None:
    with crew(room=8) as made:
        store, one = made.join(), in_flight(10)
        store.hit([(one, K, 1)])
        gate = gate_of(store, one)
        assert enters(gate, made.clock)
        gate.leave()
        store.release([(one, K, 1)])
        others = [(in_flight(9, "other"), key, 1) for key in keys(16)]
        store.hit(others)
        assert not any(enters(gate, made.clock) for _ in range(3))
        assert [store.hit([(one, key, 0)])[0].remaining for one, key, _ in others] == [8] * 16
        store.close()


@pytest.mark.parametrize("fences", [False, True])
def test_a_place_without_a_token_is_counted_until_it_is_taken_back(
    fences: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped in between costs the others nothing else, and is in nobody's way when it goes on."""
    monkeypatch.setattr("headgate.store.held._IS_ORDERED", not fences)
    with crew() as made:
        one = in_flight(5)
        here, there = made.join(), made.join()
        here.hit([(one, K, 1)])
        there.hit([(one, K, 1)])
        gates = [gate_of(store, one) for store in (here, there)]
        held = there._held
        assert held is not None
        assert held.mine is not None
        assert isinstance(held.drawer(held.first), FunctionType) is fences
        cell = there._entries[id(one)].places[K][1] - held.first
        held.mine[cell] += 1
        assert [enters(gates[0], made.clock) for _ in range(2)] == [True, False], "one before the last fifth"
        assert here.hit([(one, K, 1)])[0].allowed
        assert not here.hit([(one, K, 1)])[0].allowed
        assert not enters(gates[1], made.clock)
        held.mine[cell] -= 1
        assert [store.hit([(one, K, 1)])[0].allowed for store in (there, here)] == [True, False]
        here.close()
        there.close()


def test_a_place_is_written_before_the_token_for_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else who adds up in between would not see it, and one too many would pass."""
    with crew() as made:
        store, one = made.join(), in_flight(10, headers="refused")
        store.hit([(one, K, 1)])
        held = store._held
        assert held is not None
        assert held.mine is not None
        at = store._entries[id(one)].places[K][1]
        mine, tokens, seen = held.mine, held._token(at), []

        def draws(blocking: bool) -> bool:
            seen.append(mine[at - held.first])
            return bool(tokens.acquire(blocking))

        monkeypatch.setitem(held._drawers, at, draws)
        gate = gate_of(store, one)
        assert enters(gate, made.clock)
        assert store.hit([(one, K, 1)])[0].remaining == 3, "it says no more than that it is far from the end"
        assert seen == [2, 3]
        held.withdraw(at)
        assert enters(gate, made.clock)
        assert seen == [2, 3, 4, 4]
        store.close()


def test_two_that_find_no_token_at_the_same_time_put_no_more_than_there_are_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with crew() as made:
        one = in_flight(10)
        here, there = made.join(), made.join()
        gates = []
        for store in (here, there):
            store.hit([(one, K, 0)])
            gates.append(gate_of(store, one))
        held = here._held
        assert held is not None
        at = here._entries[id(one)].places[K][1]
        held.withdraw(at)
        tokens = held._token(at)

        def draws(blocking: bool) -> bool:
            if tokens.acquire(blocking):
                return True
            monkeypatch.undo()
            assert enters(gates[1], made.clock)
            return False

        monkeypatch.setitem(held._drawers, at, draws)
        assert enters(gate_of(here, one), made.clock)
        assert tokens._get_value() + held.sum(at, made.clock.now) <= 7
        here.close()
        there.close()


HAMMER = """
import random
import sys
from time import monotonic
from headgate.store.shared import SharedStore
from headgate.store.ways import Tally
from tests.hammer import Witness
from tests.unit.store.limits import limit
store, witness = SharedStore(int(sys.argv[1])), Witness(*map(int, sys.argv[1:3]))
check = (limit(int(sys.argv[3]), "flying", 0.0, algorithm="concurrency"), b"k", 1)
tally = Tally()
gate = store.gate(check, tally)
print("ready", flush=True)
sys.stdin.readline()
held = []
for number in range(6000):
    if held and (len(held) == 4 or random.random() < 0.5):
        witness.add(-1)
        held.pop()()
    elif gate.enter(monotonic()):
        witness.add(1)
        held.append(gate.leave)
    elif store.hit([check])[0].allowed:
        witness.add(1)
        held.append(lambda: store.release([check]))
witness.add(-len(held))
for leave in held:
    leave()
passed, left = tally.take()
print(passed, passed - left)
"""


@pytest.mark.parametrize("most", [5, 20, 100])
def test_eight_processes_on_it_never_hold_more_than_the_limit_and_nothing_in_the_end(most: int) -> None:
    with witness() as seen:
        counts = together(HAMMER, 8, *map(str, seen.fds), str(most), fds=seen.fds)
        assert sum(passed for passed, _ in counts) > 0
        assert not any(held for _, held in counts)
        assert (seen.now, 0 < seen.most <= most) == (0, True)
        store = SharedStore(seen.fds[0])
        assert store.hit([(in_flight(most), K, 0)])[0].remaining == most
        store.close()
