"""Limits on what is in flight in shared memory: exact over processes, and over their deaths."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.limits.decision import Banned, Holding
from headgate.model.config import Ban
from headgate.model.snapshot import LimitState
from headgate.store.base import Check
from headgate.store.memory import MemoryStore
from headgate.store.shared import SharedStore
from headgate.store.ways import Tally
from headgate.testing.clock import ManualClock
from headgate.testing.stores import never
from tests.hammer import together, witness
from tests.unit.store.dying import Dying, Killed
from tests.unit.store.limits import limit
from tests.unit.store.test_shared import keys


def in_flight(
    most: int = 3, name: str = "flying", on_store_error: str = "local", headers: str = "always"
) -> LimitState:
    """headers: where clients are not always told what is left, a decision may say less than it is."""
    return limit(most, name, 0.0, on_store_error, algorithm="concurrency", headers=headers)


class Crew:
    """Processes on one memory, played by stores of this one; they can be killed."""

    def __init__(self, clock: ManualClock, room: int = 1024) -> None:
        self.fd = SharedStore.create(room)
        self.clock = clock
        self.dead: set[int] = set()
        self.asked = 0
        self._next = 1

    def join(self) -> SharedStore:
        owner, self._next = self._next, self._next + 1
        return SharedStore(self.fd, self.clock, owner=owner, is_alive=self._lives)

    def kill(self, store: SharedStore) -> None:
        self.dead.add(store._owner)

    def _lives(self, owner: int) -> bool:
        self.asked += 1
        return owner not in self.dead


@contextmanager
def crew(room: int = 1024) -> Iterator[Crew]:
    made = Crew(ManualClock(), room)
    yield made
    os.close(made.fd)


LIMITS = [
    in_flight(2, "a"),
    in_flight(3, "b"),
    in_flight(10, "c"),
    in_flight(10, "g", headers="refused"),
    limit(2, "d", 0.05),
    limit(3, "e", 0.02, algorithm="gcra"),
    limit(3, "f", 0.02, algorithm="sliding_window", count_refused=True),
]
CHECKS = st.lists(
    st.tuples(st.sampled_from(LIMITS), st.sampled_from([b"x", b"y"]), st.sampled_from([1, 1, 1, 0, 2])),
    min_size=1,
    max_size=4,
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("hit"), st.integers(0, 2), CHECKS),
        st.tuples(st.just("end"), st.integers(0, 2), st.integers(0, 10)),
        st.tuples(st.just("die"), st.integers(0, 2), st.none()),
    ),
    max_size=60,
)


def places_of(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check[0].limit.algorithm == "concurrency"]


@settings(max_examples=200, deadline=None)
@given(trace=st.lists(st.tuples(st.integers(0, 12_000), ACTIONS), max_size=4))
def test_every_decision_is_that_of_the_reference_whoever_dies(trace: list[tuple[int, list[tuple]]]) -> None:  # type: ignore[type-arg]
    with crew() as made:
        reference = MemoryStore(made.clock)
        stores = [made.join() for _ in range(3)]
        running: list[list[list[Check]]] = [[], [], []]
        deaths = False
        for gap, actions in trace:
            made.clock.now += gap
            for action, place, what in actions:
                if action == "hit":
                    expected, decisions = reference.hit(what, never), stores[place].hit(what)
                    assert [one.allowed for one in decisions] == [one.allowed for one in expected]
                    for one, other in zip(decisions, expected, strict=True):
                        if one.limit.limit.headers == "always":
                            assert deaths or repr(one) == repr(other)
                        elif one.allowed:
                            assert 2 < one.remaining <= other.remaining or one.remaining == other.remaining
                    if all(one.allowed for one in decisions) and places_of(what):
                        running[place].append(places_of(what))
                elif action == "end" and running[place]:
                    checks = running[place].pop(what % len(running[place]))
                    reference.release(checks)
                    stores[place].release(checks)
                elif action == "die":
                    made.kill(stores[place])
                    for checks in running[place]:
                        reference.release(checks)
                    stores[place], running[place] = made.join(), []
                    made.clock.now += 10_000  # for so long it may be believed to live
                    deaths = True


def test_what_a_dead_process_held_is_there_for_the_next_that_would_be_refused() -> None:
    with crew() as made:
        one, other = made.join(), made.join()
        check = (in_flight(3), b"k", 1)
        assert one.hit([check])[0].allowed
        assert [other.hit([check])[0].allowed for _ in range(2)] == [True, True]
        made.kill(other)
        assert [one.hit([check])[0].allowed for _ in range(3)] == [True, True, False]


def test_whether_the_others_live_is_asked_a_hundred_times_a_second_at_the_most() -> None:
    with crew() as made:
        one, other = made.join(), made.join()
        check = (in_flight(1), b"k", 1)
        assert other.hit([check])[0].allowed
        one.hit([(in_flight(1, "other"), b"k", 0)])  # joins
        before = made.asked
        for _ in range(50):
            assert not one.hit([check])[0].allowed
        assert made.asked == before + 1
        made.kill(other)
        made.clock.now += 9_999
        assert not one.hit([check])[0].allowed
        made.clock.now += 1
        assert one.hit([check])[0].allowed


def test_a_process_takes_the_column_of_a_dead_one_and_has_nothing_of_what_it_held() -> None:
    with crew() as made:
        check = (in_flight(1), b"k", 1)
        for _ in range(600):  # more than there are columns
            store = made.join()
            made.clock.now += 10_000
            assert store.hit([check])[0].allowed
            made.kill(store)
        store = made.join()
        assert store.hit([(in_flight(2, "other"), b"k", 1)])[0].allowed
        store.release([check] * 3)
        assert store.hit([check])[0].allowed
        assert not store.hit([check])[0].allowed


def test_with_more_processes_than_columns_the_rest_counts_nothing_and_says_so() -> None:
    with crew(room=8) as made:
        check = (in_flight(1), b"k", 1)
        for _ in range(512):
            made.join().hit([(in_flight(1, "other"), b"k", 0)])
        store = made.join()
        uncounted: list[LimitState] = []
        store.on_uncounted = uncounted.append
        for _ in range(2):
            (decision,) = store.hit([check])
            assert decision.allowed
            assert not isinstance(decision, Holding)
        store.hold([check])
        store.release([check])
        assert uncounted == [check[0]] * 3


def test_a_process_that_found_no_column_tries_again_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "headgate.store")
    with crew(room=8) as made:
        check = (in_flight(1), b"k", 1)
        others = [made.join() for _ in range(512)]
        for other in others:
            other.hit([(in_flight(1, "other"), b"k", 0)])
        store = made.join()
        for _ in range(2):
            assert not isinstance(store.hit([check])[0], Holding)
        made.kill(others[7])
        made.clock.now += 999_999
        assert not isinstance(store.hit([check])[0], Holding)
        assert [record.getMessage() for record in caplog.records] == [
            "limits on what is in flight are left to on_store_error here: 512 processes have all places of its table"
        ]
        made.clock.now += 1
        assert [isinstance(one, Holding) and one.allowed for one in (store.hit([check])[0] for _ in range(2))] == [
            True,
            False,
        ]
        assert caplog.records[1].getMessage() == "limits on what is in flight are counted here again"
        assert len(caplog.records) == 2


@pytest.mark.parametrize("takes", [True, False], ids=["asks", "takes"])
def test_a_process_that_began_while_another_kept_the_lock_counts_when_it_is_free(
    takes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with crew() as made:
        store, other = made.join(), made.join()
        check = (in_flight(2), b"k", 1)
        lock = store._owners_lock
        lock.patience = 0.0
        assert other._owners_lock.enter()
        for _ in range(2):
            assert not isinstance(store.hit([check])[0], Holding)
        assert store.gate(check, Tally()) is None
        other._owners_lock.leave()
        made.clock.now += 1_000_000
        if takes:
            store.hold([check])
        else:
            assert isinstance(store.hit([check])[0], Holding)
        assert [store.hit([check])[0].allowed for _ in range(2)] == [True, False]
        assert other.hit([(check[0], b"k", 0)])[0].remaining == 0
        (record,) = caplog.records
        assert "another process keeps the lock of its table" in record.getMessage()


def test_a_key_that_is_held_is_never_forgotten_and_one_too_many_is_decided_by_on_store_error() -> None:
    with crew(room=8) as made:
        store = made.join()
        one, strict = in_flight(1), in_flight(1, on_store_error="deny")
        uncounted: list[LimitState] = []
        store.on_uncounted = uncounted.append
        held = [(one, key, 1) for key in keys(16)]
        assert all(store.hit([check])[0].allowed for check in held)
        assert [store.hit([(limit, b"new", 1)])[0].allowed for limit in (one, strict)] == [True, False]
        pair = store.hit([(one, b"new", 1), (one, b"other", 1)])
        assert [(decision.allowed, isinstance(decision, Holding)) for decision in pair] == [(True, False)] * 2
        assert len(uncounted) == 4
        assert not any(store.hit([check])[0].allowed for check in held)
        store.release(held[:1])
        assert store.hit([(strict, b"new", 1)])[0].remaining == 0
        assert not store.hit([(strict, b"new", 1)])[0].unavailable


def test_a_full_table_of_what_dead_processes_held_has_room() -> None:
    with crew(room=8) as made:
        one, other = made.join(), made.join()
        for key in keys(16):
            assert isinstance(other.hit([(in_flight(1), key, 1)])[0], Holding)
        made.kill(other)
        made.clock.now += 10_000
        assert isinstance(one.hit([(in_flight(1), b"new", 1)])[0], Holding)


def test_new_keys_of_one_decision_take_different_slots() -> None:
    with crew(room=8) as made:
        store = made.join()
        checks = [(in_flight(1), key, 1) for key in keys(16)]
        assert all(isinstance(decision, Holding) for decision in store.hit(checks))
        assert not any(store.hit([check])[0].allowed for check in checks)
        store.release(checks)
        assert all(isinstance(decision, Holding) for decision in store.hit(checks))


def test_a_new_key_takes_no_slot_that_another_of_the_same_decision_has() -> None:
    with crew(room=8) as made:
        store = made.join()
        known, new = (in_flight(9, "all"), b"*", 1), (in_flight(9), b"new", 1)
        store.hit([known])
        store.release([known])  # its slot is free now, and still in its name
        store.hit([new, known])
        assert [store.hit([check])[0].remaining for check in (new, known)] == [7, 7]
        store.release([new, known, new, known])
        assert [store.hit([check])[0].remaining for check in (new, known)] == [8, 8]


def test_another_process_may_have_moved_the_key() -> None:
    with crew(room=8) as made:
        here, there = made.join(), made.join()
        check = (in_flight(2), b"k", 1)
        assert here.hit([check])[0].allowed
        here.release([check])
        for key in keys(16):
            there.hit([(in_flight(1), key, 1)])
        there.release([(in_flight(1), b"7", 1)])
        assert there.hit([check])[0].remaining == 1
        assert here.hit([check])[0].remaining == 0
        there.release([check])
        here.release([check])
        assert here.hit([check, check])[0].allowed


def test_a_key_that_an_operator_bans_is_banned_and_the_others_are_not() -> None:
    with crew() as made:
        one, other = made.join(), made.join()
        check = (in_flight(2), b"k", 1)
        assert one.hit([check])[0].allowed
        other.ban(check[0], b"k", 1.0)
        other.ban(check[0], b"l", 0.5)
        assert isinstance(one.hit([check])[0], Banned)
        assert one.hit([(check[0], b"m", 1)])[0].allowed
        made.clock.advance(0.5)
        assert one.hit([(check[0], b"l", 1)])[0].allowed
        assert isinstance(one.hit([check])[0], Banned)
        assert one.reset(check[0], b"k", ban_only=True)
        assert one.hit([check])[0].remaining == 0


@pytest.mark.parametrize("together", [False, True])
def test_a_ban_leaves_what_is_held_as_it_is(together: bool) -> None:
    one = in_flight(2)
    one = LimitState(replace(one.limit, ban=Ban(3, 1.0, 1.0)), 0)
    check = (one, b"k", 1)
    others = [(limit(9, "wide"), b"k", 1)] if together else []
    with crew() as made:
        store = made.join()
        assert store.hit([check, *others])[0].allowed
        store.ban(one, b"k", 1.0)
        refusal = store.hit([check, *others])[0]
        assert isinstance(refusal, Banned)
        assert refusal.reset_after == 1_000_000
        made.clock.advance(1.0)
        assert [store.hit([check, *others])[0].allowed for _ in range(2)] == [True, False]
        store.release([check])
        assert store.hit([check, *others])[0].allowed


def test_what_passed_elsewhere_is_held_without_asking() -> None:
    with crew() as made:
        store = made.join()
        check = (in_flight(2), b"k", 1)
        store.hold([check] * 3)
        assert not store.hit([check])[0].allowed
        store.release([check])
        assert not store.hit([check])[0].allowed
        store.release([check])
        assert store.hit([check])[0].allowed


def test_a_stuck_lock_keeps_no_place_from_being_given_back_and_what_it_keeps_from_being_taken_is_taken_later() -> None:
    with crew(room=8) as made:
        store, other = made.join(), made.join()
        check = (in_flight(4), b"k", 1)
        look = (check[0], b"k", 0)
        assert store.hit([check])[0].allowed
        lock = other._stripes[0]
        for stripe in store._stripes:
            stripe.patience = 0.0
        assert lock.enter()
        (decision,) = store.hit([check])
        assert decision.allowed
        assert not isinstance(decision, Holding)
        store.release([check])
        store.hold([check, check, check])
        store.release([check])  # of one that was never taken
        lock.leave()
        store._stripes[0]._stuck_until = 0.0
        assert store.hit([look])[0].remaining == 4
        store.release([])
        assert store.hit([look])[0].remaining == 2
        store.release([check, check, check])
        assert store.hit([look])[0].remaining == 4


def test_of_places_that_are_still_to_be_taken_some_may_be_given_back() -> None:
    """Who asks Redis holds all places of a key with one word when it fails, and gives them back one by one."""
    with crew(room=8) as made:
        store, other = made.join(), made.join()
        one = in_flight(9)
        for stripe in store._stripes:
            stripe.patience = 0.0
        store.hit([(one, b"k", 1)])
        lock = other._stripes[0]
        assert lock.enter()
        store.hold([(one, b"k", 5), (one, b"l", 2)])
        store.release([(one, b"k", 1)] * 2)
        lock.leave()
        store._stripes[0]._stuck_until = 0.0
        store.release([])
        assert [store.hit([(one, key, 0)])[0].remaining for key in (b"k", b"l")] == [9 - 1 - 3, 9 - 2]
        store.release([(one, b"k", 4), (one, b"l", 1)])
        assert [store.hit([(one, key, 0)])[0].remaining for key in (b"k", b"l")] == [9, 8]


def test_a_process_that_is_dead_is_asked_about_once() -> None:
    with crew() as made:
        one, other = made.join(), made.join()
        check = (in_flight(9), b"k", 1)
        for store in (one, other):
            store.hit([check])
        made.kill(other)
        before = made.asked
        for _ in range(3):
            made.clock.now += 10_000
            one.hit([check])
        assert made.asked == before + 1


@pytest.mark.parametrize("action", ["take", "give back"])
@pytest.mark.parametrize("written", range(5))
def test_a_kill_between_two_writes_costs_nobody_a_place(
    written: int, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a process has written when it dies, the others have the whole limit without what they hold."""
    with crew(room=8) as made:
        one, other = made.join(), made.join()
        check = (in_flight(3), b"k", 1)
        assert one.hit([check])[0].allowed
        if action == "give back":
            assert other.hit([check])[0].allowed
        else:
            for key in keys(15):
                assert one.hit([(in_flight(3), key, 1)])[0].allowed
            check = (in_flight(3), b"new", 1)
            one.release([(in_flight(3), b"7", 1)])
        other.hit([(in_flight(1, "none"), b"k", 0)])
        held = other._held
        assert held is not None
        left = [written]
        dying = Dying(other._cells, range(held.first, held.first + 16), left)
        monkeypatch.setattr(other, "_cells", dying)
        monkeypatch.setattr(held, "_cells", dying)
        monkeypatch.setattr(held, "mine", Dying(held.mine, range(16), left))  # type: ignore[arg-type]
        with suppress(Killed):
            other.hit([check]) if action == "take" else other.release([check])
        made.kill(other)
        made.clock.now += 10_000
        mine = 1 if action == "give back" else 0
        assert [one.hit([check])[0].allowed for _ in range(4 - mine)] == [True] * (3 - mine) + [False]


HAMMER = """
import sys
from headgate.store.shared import SharedStore
from tests.hammer import Witness
from tests.unit.store.limits import limit
store, witness = SharedStore(int(sys.argv[1])), Witness(*map(int, sys.argv[1:]))
flying = limit(3, "flying", 0.0, algorithm="concurrency")
rate = limit(1_000_000_000, "rate", 3600.0)
print("ready", flush=True)
sys.stdin.readline()
passed = 0
for number in range(6000):
    checks = [(flying, b"k", 1)] if number % 3 else [(rate, b"k", 1), (flying, b"k", 1)]
    if all(decision.allowed for decision in store.hit(checks)):
        witness.add(1)
        passed += 1
        witness.add(-1)
        store.release([(flying, b"k", 1)])
print(passed)
"""


def test_eight_processes_never_hold_more_than_the_limit_and_nothing_in_the_end() -> None:
    with witness() as seen:
        counts = together(HAMMER, 8, *map(str, seen.fds), fds=seen.fds)
        assert sum(passed for (passed,) in counts) > 100
        assert (seen.now, 0 < seen.most <= 3) == (0, True)
        assert SharedStore(seen.fds[0]).hit([(in_flight(3), b"k", 0)])[0].remaining == 3


VICTIM = """
import sys
from headgate.store.shared import SharedStore
from tests.unit.store.limits import limit
store = SharedStore(int(sys.argv[1]))
flying = limit(3, "flying", 0.0, algorithm="concurrency")
print(sum(store.hit([(flying, b"k", 1)])[0].allowed for _ in range(4)), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_process_gives_back_what_it_held(reaped: bool) -> None:
    fd = SharedStore.create()
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(fd)], pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"3\n"
        clock = ManualClock()
        store = SharedStore(fd, clock)
        check = (in_flight(3), b"k", 1)
        assert not store.hit([check])[0].allowed
        victim.kill()
        os.waitid(os.P_PID, victim.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
        clock.now += 10_000
        assert [store.hit([check])[0].allowed for _ in range(4)] == [True, True, True, False]
        victim.returncode = -9
    os.close(fd)


def test_an_operator_sees_what_the_living_hold_and_can_forget_only_a_ban() -> None:
    with crew() as made:
        one, other = made.join(), made.join()
        reference = MemoryStore(made.clock)
        flying, check = in_flight(3), (in_flight(3), b"k", 1)
        flying = LimitState(replace(flying.limit, ban=Ban(3, 1.0, 1.0)), 0)
        assert one.look(flying, b"k") == reference.look(flying, b"k")
        assert one.hit([check])[0].allowed
        assert other.hit([check])[0].allowed
        assert one.look(flying, b"k") == (1, 0, 0, False)
        made.kill(other)
        made.clock.now += 10_000
        reference.hold([check])
        assert one.look(flying, b"k") == reference.look(flying, b"k") == (2, 0, 0, False)
        for store in (one, reference):
            assert not store.reset(flying, b"k")
            store.ban(flying, b"k", 5.0)
            assert store.look(flying, b"k") == (0, 5_000_000, 5_000_000, True)
            assert store.reset(flying, b"k")
            assert store.look(flying, b"k") == (2, 0, 0, False)
