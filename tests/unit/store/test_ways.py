"""The short way passes what the store would pass, and changes nothing in every other case."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.limits.meter import ALGORITHMS, Meter
from headgate.model.snapshot import LimitState
from headgate.store import directory
from headgate.store.memory import MemoryStore
from headgate.store.shared import SharedStore
from headgate.store.ways import Tally
from headgate.testing.clock import ManualClock
from headgate.testing.stores import never
from tests.hammer import together
from tests.unit.store.dying import Killed, dies
from tests.unit.store.limits import limit
from tests.unit.store.test_shared import keys

K = b"k"


def way(store: SharedStore, one: LimitState, tally: Tally | None = None) -> Callable[[], bool]:
    """The way as of now, on the store's clock."""
    found = store.way([(one, K, 1)], [tally or Tally()])
    assert (found is None) == (Meter(one.limit).far < 1), "where nobody passes without a word there is none"
    return lambda: found is not None and found(store._clock() / 1e6)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[SharedStore]:
    fd = SharedStore.create(8)
    one = SharedStore(fd, clock)
    os.close(fd)
    yield one
    one.close()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 7, 20, 45]), min_size=10, max_size=120),
    most=st.integers(1, 15),
    period=st.integers(1, 40),
    burst=st.integers(1, 15),
    is_coarse=st.booleans(),
)
def test_it_passes_what_the_reference_passes_and_leaves_the_same_state(
    algorithm: str, gaps: list[int], most: int, period: int, burst: int, is_coarse: bool
) -> None:
    clock = ManualClock()
    if is_coarse:  # so many requests in so long a time are counted in a coarser unit than the microsecond
        most, period, gaps = 200 + most, 10**13 + period, [gap * 10**10 + gap for gap in gaps]
    one = limit(most, "one", period / 1e6, algorithm=algorithm, burst=burst if algorithm == "gcra" else 0)
    assert Meter(one.limit).unit > 1 or not is_coarse or algorithm == "fixed_window"
    reference = MemoryStore(clock)
    fd = SharedStore.create(8)
    store = SharedStore(fd, clock)
    os.close(fd)
    tally = Tally()
    passes, went = way(store, one, tally), 0
    for gap in gaps:
        clock.now += gap
        (expected,) = reference.hit([(one, K, 1)], never)
        if passes():
            went += 1
            assert expected.allowed
            assert expected.remaining * 5 > (one.limit.burst or most), "it is near the end, which is counted"
        else:
            assert repr(store.hit([(one, K, 1)])[0]) == repr(expected)
    assert tally.take() == (went, 0)
    store.close()


@pytest.mark.parametrize("algorithm", ["gcra", "sliding_window"])
def test_a_large_limit_is_taken_until_a_fifth_is_left_too(
    store: SharedStore, clock: ManualClock, algorithm: str
) -> None:
    one = limit(10**6, period=365 * 86400.0, algorithm=algorithm, burst=100 if algorithm == "gcra" else 0)
    clock.now += 7
    store.hit([(one, K, 1 if algorithm == "gcra" else 799_900)])
    passes = way(store, one)
    taken = 0
    while passes():
        taken += 1
        clock.now += 1
    assert taken == (78 if algorithm == "gcra" else 99)


def test_a_schedule_that_is_never_idle_goes_on_and_is_the_reference_s(store: SharedStore, clock: ManualClock) -> None:
    """Its way notes the schedule as a moment and what is left until then, which runs out again and again."""
    one = limit(10, "one", 0.001, algorithm="gcra", burst=10)
    reference = MemoryStore(clock)
    tally = Tally()
    passes = way(store, one, tally)
    for number in range(200):
        (expected,) = reference.hit([(one, K, 1)], never)
        if passes():
            assert expected.allowed
        else:
            assert repr(store.hit([(one, K, 1)])[0]) == repr(expected)
        clock.now += 99 if number % 3 else 100
    assert tally.take()[0] > 150
    clock.now += 1000
    assert passes()
    clock.now += 101
    assert store.reset(one, K) is False, "the schedule is over, wherever its slot says that it ends"


def test_an_end_that_was_seen_before_a_reset_holds_no_longer_than_the_new_window(
    store: SharedStore, clock: ManualClock
) -> None:
    for algorithm in ("fixed_window", "sliding_window"):
        one = limit(100, "one", 1.0, algorithm=algorithm)
        store.hit([(one, K, 50)])
        passes = way(store, one)
        assert passes()
        store.reset(one, K)
        assert not passes()
        clock.advance(0.6)
        store.hit([(one, K, 1)])
        assert passes()
        clock.advance(0.999999)
        assert passes()
        clock.now += 1
        assert not passes()
        clock.advance(5.0)


def test_a_request_from_before_the_turn_is_no_way_for_the_window_after_it(
    store: SharedStore, clock: ManualClock
) -> None:
    """What a request began with may be an older moment than that of the decision before it, in another process."""
    one = limit(100, "one", 1.0, algorithm="sliding_window")
    store.hit([(one, K, 1)])
    clock.advance(1.0)
    store.hit([(one, K, 1)])
    found = store.way([(one, K, 1)], [Tally()])
    assert found is not None
    assert found(clock() / 1e6)
    clock.advance(0.999999)
    before = clock() / 1e6
    assert store.hit([(one, K, 97)])[0].allowed
    clock.now += 1
    while store.hit([(one, K, 1)])[0].allowed:
        pass
    assert not found(before)
    assert not found(clock() / 1e6)


LIMITS = st.tuples(st.sampled_from(list(ALGORITHMS)), st.integers(2, 15), st.integers(1, 60), st.integers(2, 15))


@settings(max_examples=200, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 7, 20, 45]), min_size=10, max_size=80),
    kinds=st.lists(LIMITS, min_size=2, max_size=4),
    room=st.sampled_from([1, 64]),
)
def test_of_several_limits_it_takes_all_or_none(
    gaps: list[int], kinds: list[tuple[str, int, int, int]], room: int
) -> None:
    clock = ManualClock()
    limits = [
        limit(most, f"l{place}", period / 1e6, algorithm=algorithm, burst=burst if algorithm == "gcra" else 0)
        for place, (algorithm, most, period, burst) in enumerate(kinds)
    ]
    checks = [(one, K, 1) for one in limits]
    reference = MemoryStore(clock)
    fd = SharedStore.create(room)
    store = SharedStore(fd, clock)
    os.close(fd)
    store.hit(checks)
    reference.hit(checks, never)
    tally = Tally()
    passes = store.way(checks, [tally] * len(limits))
    assert passes is not None
    went = 0
    for gap in gaps:
        clock.now += gap
        expected = reference.hit(checks, never)
        if passes(clock() / 1e6):
            went += 1
            assert all(
                one.allowed and one.remaining * 5 > (one.limit.limit.burst or one.limit.limit.rate.limit)
                for one in expected
            )
        else:
            assert [repr(one) for one in store.hit(checks)] == [repr(one) for one in expected]
    assert tally.take() == (went * len(limits), 0)
    assert not any(store._cells[stripe.owner] for stripe in store._stripes)
    store.close()


def test_several_limits_are_passed_without_the_store_and_no_lock_is_waited_for(
    store: SharedStore, clock: ManualClock
) -> None:
    now = clock() / 1e6
    checks = [(limit(100, algorithm, period=3600.0, algorithm=algorithm), K, 1) for algorithm in ALGORITHMS]
    store.hit(checks)
    passes = store.way(checks, [Tally()] * 3)
    assert passes is not None
    assert [passes(now) for _ in range(79)] == [True] * 78 + [False]
    assert [one.remaining for one in store.hit([(one, key, 0) for one, key, _ in checks])] == [21] * 3
    for one, _, _ in checks:
        stripe = store._entries[id(one)].places[K][3]
        assert stripe.enter()
        before = bytes(store._map)
        assert not passes(now)
        assert bytes(store._map) == before
        stripe.leave()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_is_taken_until_a_fifth_is_left(store: SharedStore, algorithm: str) -> None:
    one = limit(100, period=3600.0, algorithm=algorithm)
    store.hit([(one, K, 1)])
    passes = way(store, one)
    taken = 1
    while passes():
        taken += 1
    assert taken == 79
    assert store.hit([(one, K, 1)])[0].remaining == 20


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_that_is_banned_gone_or_new_has_none(store: SharedStore, clock: ManualClock, algorithm: str) -> None:
    one = limit(100, period=3600.0, algorithm=algorithm)
    passes = way(store, one)
    assert not passes(), "the key is new"
    store.hit([(one, K, 1)])
    passes = way(store, one)
    assert passes()
    store.ban(one, K, 5.0)
    assert not passes()
    clock.advance(6.0)
    store.hit([(one, K, 1)])
    for number in range(8):  # the table has room for eight
        store.hit([(limit(100, "other", period=9000.0), b"%d" % number, 1)])
    before = bytes(store._map)
    assert not passes()
    assert bytes(store._map) == before


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_does_not_wait_for_another_process(store: SharedStore, algorithm: str) -> None:
    one = limit(100, period=3600.0, algorithm=algorithm)
    store.hit([(one, K, 1)])
    passes = way(store, one)
    stripe = store._entries[id(one)].places[K][3]
    assert stripe.enter()
    assert not passes()
    stripe.leave()
    assert passes()


def test_limits_with_more_to_say_have_none(store: SharedStore) -> None:
    for one in (
        limit(9, count_refused=True),
        limit(9, algorithm="gcra", delay=1.0),
    ):
        assert store.way([(one, K, 1)], [Tally()]) is None
        assert store.way([(limit(9), K, 1), (one, K, 1)], [Tally()] * 2) is None
    assert store.way([(limit(9), K, 2)], [Tally()]) is None
    assert MemoryStore(ManualClock()).way([(limit(), K, 1)], [Tally()]) is None  # type: ignore[func-returns-value]


HAMMER = """
import sys
from time import monotonic
from headgate.store.shared import SharedStore
from headgate.store.ways import Tally
from tests.unit.store.limits import limit
store = SharedStore(int(sys.argv[1]))
one = limit(int(sys.argv[3]), "one", 36_000.0, algorithm=sys.argv[2], burst=int(sys.argv[4]))
tally = Tally()
way = store.way([(one, b"k", 1)], [tally])
print("ready", flush=True)
sys.stdin.readline()
allowed = sum(way(monotonic()) or store.hit([(one, b"k", 1)])[0].allowed for _ in range(4000))
print(allowed, tally.take()[0])
"""


@pytest.mark.parametrize(
    ("algorithm", "most", "burst"),
    [("fixed_window", 20_000, 0), ("sliding_window", 20_000, 0), ("gcra", 1, 20_000)],
)
def test_eight_processes_on_it_pass_exactly_the_limit(algorithm: str, most: int, burst: int) -> None:
    fd = SharedStore.create()
    counts = together(HAMMER, 8, str(fd), algorithm, str(most), str(burst), fds=[fd])
    os.close(fd)
    allowed, went = (sum(column) for column in zip(*counts, strict=True))
    assert allowed == 20_000
    assert went > 0


@pytest.mark.parametrize("written", range(5))
@pytest.mark.parametrize("writer", ["way", "ways", "short", "full", "charge"])
@pytest.mark.parametrize("schedule", ["a later moment", "as it is", "over", "banned"])
def test_who_is_killed_while_he_writes_a_schedule_puts_it_off_for_nobody(
    store: SharedStore, clock: ManualClock, schedule: str, writer: str, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a schedule that is noted as a later moment, that moment alone says that all of the burst is used."""
    one, other = limit(10, "one", 86400.0, algorithm="gcra", burst=10), limit(10**6, "other", 86400.0)
    store.hit([(one, K, 1), (other, K, 1)])
    if schedule != "as it is":
        clock.advance(9000.0)
    if schedule == "a later moment":
        assert way(store, one)()
    elif schedule == "banned":
        store.ban(one, K, 5.0)
        clock.advance(6.0)
    before = store.look(one, K)
    dies(store, written, monkeypatch)
    checks = [(one, K, 1), (other, K, 1)][: 2 if writer in ("ways", "full") else 1]
    passes = store.way(checks, [Tally()] * len(checks))
    assert passes is not None
    with suppress(Killed):
        if writer in ("way", "ways"):
            passes(clock() / 1e6)
        elif writer == "charge":
            store.charge(checks)
        else:
            store.hit(checks)
    monkeypatch.undo()
    after = store.look(one, K)
    assert before is not None
    assert after is not None
    assert after.remaining >= before.remaining - 1


@pytest.mark.parametrize("written", range(5))
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_who_is_killed_while_he_bans_a_key_bans_it_for_no_longer(
    store: SharedStore, clock: ManualClock, algorithm: str, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = limit(10, "one", 3600.0, algorithm=algorithm)
    store.hit([(one, K, 9)])
    dies(store, written, monkeypatch)
    with suppress(Killed):
        store.ban(one, K, 5.0)
    monkeypatch.undo()
    clock.advance(5.0)
    assert store.hit([(one, K, 1)])[0].allowed


def test_a_limit_of_none_has_none(store: SharedStore) -> None:
    for algorithm in ALGORITHMS:
        none = limit(0, algorithm=algorithm, burst=5 if algorithm == "gcra" else 0)
        assert store.way([(none, K, 1)], [Tally()]) is None
        assert store.way([(limit(9), K, 1), (none, K, 1)], [Tally()] * 2) is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=200, deadline=None)
@given(
    most=st.integers(2, 15),
    period=st.integers(1, 60),
    burst=st.integers(2, 15),
    joined=st.booleans(),
    actions=st.lists(
        st.tuples(
            st.sampled_from(["pass", "pass", "pass", "hit", "charge", "give", "ban", "reset", "crowd", "nothing"]),
            st.integers(0, 1),
            st.sampled_from([0, 0, 0, 0, 1, 2, 7, 45]),
            st.sampled_from([0, 0, 0, 1, 2, 7, 90]),
        ),
        min_size=20,
        max_size=80,
    ),
)
def test_whatever_others_did_meanwhile_it_does_what_the_step_does(
    algorithm: str, most: int, period: int, burst: int, *, joined: bool, actions: list[tuple[str, int, int, int]]
) -> None:
    """Requests of two processes, with resets, bans and evictions. One that passes does so as of a moment between its
    beginning and its turn: that of another may have come first, with a later time.
    """
    clock = ManualClock()
    one = limit(most, "one", period / 1e6, algorithm=algorithm, burst=burst if algorithm == "gcra" else 0)
    checks = [(one, K, 1)] + ([(limit(10**6, "wide", 9000.0), K, 1)] if joined else [])
    fd = SharedStore.create(8)
    stores = [SharedStore(fd, clock) for _ in range(2)]
    os.close(fd)
    meter = Meter(one.limit)

    def state() -> tuple[int, int]:
        entry, (hash_, _, _, _) = stores[0]._at(one, K)
        return stores[0]._read(stores[0]._find(hash_, clock.now), hash_, entry.schedule)

    stores[0].hit(checks)
    ways = [store.way(checks, [Tally()] * len(checks)) for store in stores]
    for what, who, gap, late in actions:
        clock.now += gap
        store, passes = stores[who], ways[who]
        assert passes is not None
        if what == "pass":
            before = state()
            if passes((clock.now - late) / 1e6):
                steps = [meter.decide(*before, now, 1) for now in range(clock.now - late, clock.now + 1)]
                # Of a window that was over when something of it was given back there is nothing more to be counted.
                assert before == (0, 0) or state() in [(step.value, step.ends) for step in steps if step.allowed]
            else:
                assert state() == before
                store.hit(checks)
                ways[who] = store.way(checks, [Tally()] * len(checks)) if late == 1 else passes
        elif what == "hit":
            store.hit(checks)
        elif what in ("charge", "give"):
            store.charge([(one, K, 3 if what == "charge" else -3)])
        elif what == "ban":
            store.ban(one, K, 5e-6)
        elif what == "reset":
            store.reset(one, K)
        elif what == "crowd":
            for number in range(8):
                store.hit([(limit(9, "other", 1.0), b"%d" % number, 1)])
    for store in stores:
        store.close()


def test_the_connections_of_a_client_share_a_way_while_its_key_is_where_it_is() -> None:
    fd = SharedStore.create(8)
    store, one, tally = SharedStore(fd, clock := ManualClock()), limit(100), Tally()
    os.close(fd)
    store.hit([(one, K, 1)])
    found = store.way([(one, K, 1)], [tally])
    assert found is not None
    assert store.way([(one, K, 1)], [tally]) is found
    assert store.way([(one, b"other", 1)], [tally]) is not found
    assert store.way([(limit(100), K, 1)], [tally]) is not found, "another limit, if of the same name"
    assert store.way([(one, K, 1)], [Tally()]) is not found
    others = keys(16)
    for key in others:
        clock.now += 1
        store.hit([(one, key, 1)])
    assert not found(clock() / 1e6), "the key has lost its slot"
    store.hit([(one, K, 1)])
    moved = store.way([(one, K, 1)], [tally])
    assert moved is not None
    assert moved is not found
    assert moved(clock() / 1e6)
    store.close()


def test_so_many_ways_are_ready_and_no_more(store: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_SHARED", 3)
    one, tally = limit(100), Tally()
    found = {key: store.way([(one, key, 1)], [tally]) for key in keys(3)}
    assert all(store.way([(one, key, 1)], [tally]) is way for key, way in found.items())
    store.way([(one, b"one more", 1)], [tally])
    assert not any(store.way([(one, key, 1)], [tally]) is way for key, way in list(found.items())[:2])
    assert len(store._ways) == 3
