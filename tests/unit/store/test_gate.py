"""The short way through a limit on what is in flight: what the store would do, or nothing."""

from dataclasses import replace

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

K = b"k"


def gate_of(store: SharedStore, one: LimitState, tally: Tally | None = None) -> Gate:
    found = store.gate((one, K, 1), [0, 0] if tally is None else tally)
    assert found is not None
    return found


def enters(gate: Gate, clock: ManualClock) -> bool:
    return gate.enter(clock() / 1e6)


@settings(max_examples=200, deadline=None)
@given(
    most=st.integers(1, 12),
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
        tallies = [[0, 0] for _ in stores]
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
        for who, (entered, left) in enumerate(tallies):
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


def test_it_waits_for_nobody_and_what_it_cannot_give_back_at_once_is_given_back_later() -> None:
    with crew() as made:
        store, one = made.join(), in_flight(10)
        store.hit([(one, K, 1)])
        gate = gate_of(store, one)
        assert enters(gate, made.clock)
        stripe = store._entries[id(one)].places[K][3]
        stripe.patience = 0.0
        assert stripe.enter()
        assert not enters(gate, made.clock)
        gate.leave()
        stripe.leave()
        assert store.hit([(one, K, 0)])[0].remaining == 8, "it is still to be given back"
        stripe._stuck_until = 0.0
        store.release([(one, K, 1)])
        assert store.hit([(one, K, 0)])[0].remaining == 10
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
        tally = [0, 0]
        assert store.gate((banning, K, 1), tally) is None
        assert store.gate((one, K, 2), tally) is None
        assert store.gate((limit(9), K, 1), tally) is None
        assert MemoryStore(ManualClock()).gate((one, K, 1), tally) is None  # type: ignore[func-returns-value]
        store.close()


HAMMER = """
import sys
from time import monotonic
from headgate.store.shared import SharedStore
from tests.hammer import Witness
from tests.unit.store.limits import limit
store, witness = SharedStore(int(sys.argv[1])), Witness(*map(int, sys.argv[1:]))
check = (limit(5, "flying", 0.0, algorithm="concurrency"), b"k", 1)
tally = [0, 0]
gate = store.gate(check, tally)
print("ready", flush=True)
sys.stdin.readline()
for number in range(6000):
    by_gate = gate.enter(monotonic())
    if by_gate or store.hit([check])[0].allowed:
        witness.add(1)
        witness.add(-1)
        gate.leave() if by_gate else store.release([check])
print(tally[0], tally[0] - tally[1])
"""


def test_eight_processes_on_it_never_hold_more_than_the_limit_and_nothing_in_the_end() -> None:
    with witness() as seen:
        counts = together(HAMMER, 8, *map(str, seen.fds), fds=seen.fds)
        assert sum(passed for passed, _ in counts) > 0
        assert not any(held for _, held in counts)
        assert (seen.now, 0 < seen.most <= 5) == (0, True)
        store = SharedStore(seen.fds[0])
        assert store.hit([(in_flight(5), K, 0)])[0].remaining == 5
        store.close()
