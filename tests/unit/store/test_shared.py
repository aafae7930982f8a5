import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.limits.decision import Banned, Decision
from headgate.limits.meter import ALGORITHMS
from headgate.model.snapshot import LimitState
from headgate.store.base import Check, LocalStore, Resume
from headgate.store.memory import MemoryStore
from headgate.store.shared import SharedStore, monotonic_us
from headgate.testing.clock import ManualClock
from headgate.testing.stores import CONTRACT, PLACES, Subject, never
from tests.hammer import together
from tests.unit.store.dying import Killed, dies
from tests.unit.store.limits import limit


@contextmanager
def shared(clock: ManualClock, room: int = 1024) -> Iterator[SharedStore]:
    fd = SharedStore.create(room)
    store = SharedStore(fd, clock)
    os.close(fd)
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("check", [*CONTRACT, *PLACES])
def test_the_contract_is_kept(check: Callable[[Subject], None]) -> None:
    clock = ManualClock()
    with shared(clock) as store:
        check(Subject(store.hit, clock.advance, charge=store.charge, release=store.release))


@pytest.mark.parametrize("check", CONTRACT)
def test_the_contract_is_kept_over_two_processes_views_of_the_memory(check: Callable[[Subject], None]) -> None:
    clock = ManualClock()
    fd = SharedStore.create(1024)
    stores = [SharedStore(fd, clock), SharedStore(fd, clock)]
    os.close(fd)
    turn = iter(range(1_000_000))

    def hit(checks: Sequence[Check], resume: Resume) -> Sequence[Decision]:
        return stores[next(turn) % 2].hit(checks, resume)

    check(Subject(hit, clock.advance, charge=lambda checks: stores[next(turn) % 2].charge(checks)))
    for store in stores:
        store.close()


def test_who_shares_the_memory_shares_its_secret() -> None:
    fd, other = SharedStore.create(64), SharedStore.create(64)
    stores = [SharedStore(fd), SharedStore(fd), SharedStore(other)]
    assert stores[0].secret == stores[1].secret == SharedStore.secret_of(fd) != stores[2].secret
    assert len(stores[0].secret) == 32
    for each in (fd, other):
        os.close(each)
    for store in stores:
        store.close()


LIMITS = [
    limit(2, "a", 0.00002),
    limit(3, "b", 0.00005),
    limit(1, "c", 0.00001),
    limit(3, "d", 0.00002, algorithm="gcra"),
    limit(7, "e", 0.0001, algorithm="gcra", burst=2),
    limit(3, "f", 0.00002, algorithm="sliding_window"),
    limit(10**9, "g", 86400.0 * 365, algorithm="gcra", burst=2),
    limit(3, "h", 0.00002, count_refused=True),
    limit(3, "i", 0.00002, algorithm="gcra", burst=2, count_refused=True),
    limit(3, "j", 0.00002, algorithm="gcra", burst=2, delay=0.00003),
    limit(3, "k", 0.00002, algorithm="sliding_window", count_refused=True),
]
CHECKS = st.lists(
    st.tuples(st.sampled_from(LIMITS), st.sampled_from([b"x", b"y"]), st.sampled_from([1, 1, 1, 0, 2, 4])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(trace=st.lists(st.tuples(st.integers(0, 30), CHECKS), max_size=60))
def test_every_decision_is_that_of_the_reference(trace: list[tuple[int, list[Check]]]) -> None:
    clock = ManualClock()
    reference = MemoryStore(clock)
    with shared(clock) as store:
        for gap, checks in trace:
            clock.now += gap
            expected = reference.hit(checks, never)
            assert [repr(decision) for decision in store.hit(checks)] == [repr(decision) for decision in expected]


CHARGES = st.lists(
    st.tuples(st.sampled_from(LIMITS), st.sampled_from([b"x", b"y"]), st.integers(-5, 5)), min_size=1, max_size=3
)


@settings(max_examples=200, deadline=None)
@given(trace=st.lists(st.tuples(st.integers(0, 30), CHECKS, CHARGES), max_size=40))
def test_what_is_charged_and_given_back_is_that_of_the_reference(
    trace: list[tuple[int, list[Check], list[Check]]],
) -> None:
    clock = ManualClock()
    reference = MemoryStore(clock)
    with shared(clock) as store:
        for gap, checks, charges in trace:
            clock.now += gap
            for one in (reference, store):
                one.charge(charges)
            expected = reference.hit(checks, never)
            assert [repr(decision) for decision in store.hit(checks)] == [repr(decision) for decision in expected]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([0, 0, 1, 2, 3, 7, 20, 45]), min_size=10, max_size=80),
    most=st.integers(1, 7),
    period=st.integers(1, 40),
    burst=st.integers(1, 5),
)
def test_the_usual_request_takes_a_shorter_way_to_the_same_decision(
    algorithm: str, gaps: list[int], most: int, period: int, burst: int
) -> None:
    clock = ManualClock()
    one = limit(most, "one", period / 1e6, algorithm=algorithm, burst=burst if algorithm == "gcra" else 0)
    reference = MemoryStore(clock)
    with shared(clock) as store:
        for gap in gaps:
            clock.now += gap
            (expected,), (decision,) = reference.hit([(one, b"k", 1)], never), store.hit([(one, b"k", 1)])
            assert repr(decision) == repr(expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["memory", "shared"])
def test_a_banned_key_is_refused_until_the_ban_is_over(kind: str, algorithm: str) -> None:
    clock = ManualClock()
    one, other = limit(5, "one", algorithm=algorithm), limit(5, "other")
    with shared(clock) as mapped:
        store: LocalStore = MemoryStore(clock) if kind == "memory" else mapped
        assert store.hit([(one, b"k", 1)], never)[0].allowed
        store.ban(one, b"k", 2.0)
        for _ in range(6):
            assert isinstance(store.hit([(one, b"k", 1)], never)[0], Banned)
        both = store.hit([(other, b"k", 1), (one, b"k", 1)], never)
        assert [(decision.allowed, decision.remaining) for decision in both] == [(True, 5), (False, 0)]
        assert store.hit([(one, b"l", 1)], never)[0].allowed
        clock.now += 1_999_999
        assert store.hit([(one, b"k", 1)], never)[0].reset_after == 1
        clock.now += 1
        assert store.hit([(one, b"k", 1)], never)[0].remaining == 4


def keys(count: int, first: int = 0) -> list[bytes]:
    return [str(number).encode() for number in range(first, first + count)]


def one_over_of_eight(store: SharedStore, clock: ManualClock, most: int) -> tuple[LimitState, LimitState]:
    """A bucket is full of `keys(7)` under the second limit, and of one key under the first whose time is over."""
    short, long = limit(most, "short", 1.0), limit(most, "long", 60.0)
    store.hit([(short, b"k", 1)])
    for key in keys(7):
        store.hit([(long, key, 1)])
    clock.advance(1.0)
    return short, long


def test_a_new_key_takes_no_slot_that_another_of_the_same_decision_has() -> None:
    clock = ManualClock()
    with shared(clock, room=8) as store:
        short, long = one_over_of_eight(store, clock, 9)
        store.hit([(long, b"new", 1), (short, b"k", 1)])
        assert [store.hit([(each, key, 1)])[0].remaining for each, key in ((long, b"new"), (short, b"k"))] == [7, 7]


def test_a_full_bucket_gives_a_new_key_the_slot_that_is_over() -> None:
    clock = ManualClock()
    with shared(clock, room=8) as store:
        _, long = one_over_of_eight(store, clock, 1)
        assert store.hit([(long, b"new", 1)])[0].allowed
        assert not any(store.hit([(long, key, 1)])[0].allowed for key in [*keys(7), b"new"])


def test_a_full_bucket_gives_a_new_key_the_slot_that_ends_soonest() -> None:
    clock = ManualClock()
    with shared(clock, room=8) as store:
        one = limit(1)
        for key in keys(9):
            assert store.hit([(one, key, 1)])[0].allowed
            clock.advance(0.001)
        assert not any(store.hit([(one, key, 1)])[0].allowed for key in keys(8, first=1))
        assert store.hit([(one, b"0", 1)])[0].allowed


def test_new_keys_of_one_decision_take_different_slots() -> None:
    with shared(ManualClock(), room=8) as store:
        checks = [(limit(1, "one"), key, 1) for key in keys(8)]
        assert all(decision.allowed for decision in store.hit(checks))
        assert not any(store.hit([check])[0].allowed for check in checks)


def test_more_new_keys_than_a_bucket_holds_pass_in_one_decision() -> None:
    with shared(ManualClock(), room=8) as store:
        assert all(decision.allowed for decision in store.hit([(limit(1), key, 1) for key in keys(20)]))


def test_a_key_that_was_evicted_and_came_back_is_found_in_its_new_slot() -> None:
    clock = ManualClock()
    with shared(clock, room=8) as store:
        two = limit(2)
        for key in keys(9):
            store.hit([(two, key, 1)])
            clock.advance(0.001)
        assert [store.hit([(two, b"0", 1)])[0].allowed for _ in range(3)] == [True, True, False]


def test_another_process_may_have_moved_the_key() -> None:
    clock = ManualClock()
    fd = SharedStore.create(8)
    here, there = SharedStore(fd, clock), SharedStore(fd, clock)
    os.close(fd)
    two = limit(2)
    assert here.hit([(two, b"k", 1)])[0].remaining == 1
    for key in keys(8):  # pushes b"k" out and takes its slot
        clock.advance(0.001)
        there.hit([(two, key, 1)])
    clock.advance(0.001)
    assert there.hit([(two, b"k", 1)])[0].remaining == 1
    assert here.hit([(two, b"k", 1)])[0].remaining == 0
    assert not there.hit([(two, b"k", 1)])[0].allowed
    here.close()
    there.close()


def test_a_limit_of_none_refuses_and_takes_no_slot() -> None:
    with shared(ManualClock(), room=8) as store:
        assert not store.hit([(limit(0), b"k", 1)])[0].allowed
        for key in keys(8):
            store.hit([(limit(1), key, 1)])
        assert not store.hit([(limit(0), b"k", 1)])[0].allowed
        assert not any(store.hit([(limit(1), key, 1)])[0].allowed for key in keys(8))


def test_what_a_process_remembers_of_keys_and_limits_is_bounded() -> None:
    with shared(ManualClock(), room=1 << 16) as store:
        one = limit(1)
        for key in keys(20_000):
            store.hit([(one, key, 1)])
        assert not store.hit([(one, b"0", 1)])[0].allowed
        for _ in range(3000):
            store.hit([(limit(1, "other"), b"k", 1)])
        assert len(store._entries) <= 1024
        assert max(len(entry.places) for entry in store._entries.values()) <= 16384


@pytest.mark.parametrize("written", [0, 1, 2, 3])
@pytest.mark.parametrize("second_window", [False, True])
def test_a_slot_torn_by_a_kill_never_refuses(
    written: int, second_window: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies after any of its writes to a slot leaves a slot from which the whole limit passes."""
    clock = ManualClock()
    with shared(clock, room=8) as store:
        three = limit(3)
        for key in keys(8):
            for _ in range(4):
                store.hit([(three, key, 1)])
        if second_window:
            clock.advance(60.0)
        key = b"0" if second_window else b"new"
        dies(store, written, monkeypatch)
        try:
            store.hit([(three, key, 1)])
        except Killed:
            survives = True
        else:
            survives = False  # the writes were all done
        monkeypatch.undo()
        passed = [store.hit([(three, key, 1)])[0].allowed for _ in range(4)]
        assert passed == [True, True, survives or passed[2], False]


def test_memory_of_another_kind_is_refused() -> None:
    fd = os.memfd_create("other")
    os.ftruncate(fd, 8192)
    with pytest.raises(ValueError, match="not the memory"):
        SharedStore(fd)
    os.close(fd)


def test_the_default_clock_is_the_machines_in_microseconds() -> None:
    import time

    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert before <= monotonic_us() <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


HAMMER = """
import sys
from headgate.store.shared import SharedStore
from tests.unit.store.limits import limit
store = SharedStore(int(sys.argv[1]))
wide, narrow = limit(100_000, "wide", 3600.0), limit(10_000, "narrow", 3600.0)
print("ready", flush=True)
sys.stdin.readline()
passed = both = 0
for number in range(50_000):
    passed += store.hit([(wide, b"k", 1)])[0].allowed
    if number % 8 == 0:
        checks = [(wide, b"k", 1), (narrow, b"k", 1)] if number % 16 else [(narrow, b"k", 1), (wide, b"k", 1)]
        both += all(decision.allowed for decision in store.hit(checks))
print(passed, both)
"""


def test_real_processes_together_pass_exactly_the_limit() -> None:
    """Four processes ask 200,000 times for one and 25,000 times for both: more than enough to use up every limit."""
    fd = SharedStore.create()
    counts = together(HAMMER, 4, str(fd), fds=[fd])
    passed, both = (sum(column) for column in zip(*counts, strict=True))
    assert passed + both == 100_000
    assert both <= 10_000
    store = SharedStore(fd)
    assert not store.hit([(limit(100_000, "wide", 3600.0), b"k", 1)])[0].allowed
    # What was refused as a pair took nothing from the other limit.
    narrow = [(limit(10_000, "narrow", 3600.0), b"k", 1)]
    assert sum(store.hit(narrow)[0].allowed for _ in range(10_001)) == 10_000 - both
    store.close()
    os.close(fd)


HAMMER_ONE = """
import sys
from headgate.store.shared import SharedStore
from tests.unit.store.limits import limit
store = SharedStore(int(sys.argv[1]))
one = limit(int(sys.argv[3]), "one", 36_000.0, algorithm=sys.argv[2], burst=int(sys.argv[4]))
print("ready", flush=True)
sys.stdin.readline()
print(sum(store.hit([(one, b"k", 1)])[0].allowed for _ in range(4000)))
"""


@pytest.mark.parametrize(
    ("algorithm", "most", "burst"),
    [("fixed_window", 20_000, 0), ("sliding_window", 20_000, 0), ("gcra", 1, 20_000)],
)
def test_eight_processes_pass_exactly_the_limit_of_each_algorithm(algorithm: str, most: int, burst: int) -> None:
    fd = SharedStore.create()
    counts = together(HAMMER_ONE, 8, str(fd), algorithm, str(most), str(burst), fds=[fd])
    os.close(fd)
    assert sum(passed for (passed,) in counts) == 20_000
