"""Limits on what is in flight, with processes that take turns after each single access to what they share.

Threads play the processes. One of them goes on at a time, and which is drawn anew at each access: so what happens in a
window of a tenth of a microsecond, if ever, happens here all the time, and a failure can be had again by its seed.
"""

import threading
from collections.abc import Callable
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.store.base import Check
from headgate.store.stripes import Stripe
from headgate.store.ways import Tally
from tests.unit.store.test_held import Crew, crew, in_flight
from tests.unit.store.test_shared import keys


class Killed(BaseException):
    """Nothing of a process comes after this; no error of the code under test, so nothing there catches it."""


class Turns:
    """Who goes on. Each that takes part calls `step` before it looks at, or changes, what they share."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._waiting: dict[int, threading.Semaphore] = {}
        self._current = -1
        self._ended = threading.Semaphore(0)
        self.doomed: dict[int, int] = {}  # who is killed, at which of his steps
        self.failures: list[BaseException] = []

    def step(self) -> None:
        """Somebody goes on, maybe the one who calls this."""
        me = self._current
        if me < 0:  # before and after the race
            return
        if me in self.doomed:
            self.doomed[me] -= 1
            if self.doomed[me] < 0:
                raise Killed
        self._pass_on()
        if self._current != me:
            self._waiting[me].acquire()

    def _pass_on(self) -> None:
        me, self._current = self._current, self._random.choice(list(self._waiting))
        if self._current != me:
            self._waiting[self._current].release()

    def race(self, jobs: list[Callable[[], None]]) -> None:
        """Does them all, in threads that take turns."""
        self._waiting = {number: threading.Semaphore(0) for number in range(len(jobs))}
        threads = [threading.Thread(target=self._do, args=each, daemon=True) for each in enumerate(jobs)]
        for thread in threads:
            thread.start()
        self._pass_on()
        assert self._ended.acquire(timeout=60), "somebody waits for ever"
        for failure in self.failures:
            raise failure

    def _do(self, number: int, job: Callable[[], None]) -> None:
        self._waiting[number].acquire()
        try:
            job()
        except BaseException as error:  # it is raised where the race was begun
            self.failures.append(error)
        del self._waiting[number]
        if self._waiting:
            self._pass_on()
        else:
            self._current = -1
            self._ended.release()


class Cells:
    """Shared memory, of which each access is a step."""

    def __init__(self, memory: memoryview, turns: Turns) -> None:
        self._memory, self._turns = memory, turns

    def __getitem__(self, index: Any) -> Any:
        self._turns.step()
        return self._memory[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._turns.step()
        self._memory[index] = value


class Semaphore:
    """A semaphore in it."""

    def __init__(self, real: Any, turns: Turns) -> None:
        self._real, self._turns = real, turns

    def acquire(self, blocking: bool) -> bool:
        self._turns.step()
        return bool(self._real.acquire(blocking))

    def release(self) -> None:
        self._turns.step()
        self._real.release()

    def _get_value(self) -> int:
        self._turns.step()
        return int(self._real._get_value())


class Lock(Semaphore):
    """A lock in it, which the kernel's part of `stripes.py` frees when its holder was killed."""

    is_held = False

    def acquire(self, blocking: bool) -> bool:
        self.is_held = got = super().acquire(blocking)
        return got

    def release(self) -> None:
        super().release()
        self.is_held = False

    def heal(self) -> None:
        if self.is_held:
            self._real.release()


def waits(stripe: Stripe, patience: float | None = None) -> bool:
    while not stripe.acquire(False):
        pass
    return True


class Room:
    """What the race is to keep to.

    taken: places of requests that were let in and have not begun to leave. seen: of each attempt that goes on, the most
    that were in, on their way out, or tried to get in at the same time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = self.leaving = 0
        self.seen: dict[object, int] = {}
        self.deaths = False

    def note(self) -> None:
        now = self.taken + self.leaving + len(self.seen) - 1
        for attempt, most in self.seen.items():
            self.seen[attempt] = max(most, now)

    def ended(self, attempt: object, passed: bool) -> None:
        most = self.seen.pop(attempt)
        if passed:
            self.taken += 1
            assert self.taken <= self.most, "one too many is in"
        else:
            assert self.deaths or most >= self.most, "one is refused although there is room"
        self.note()


class Process:
    """A process with a store of its own, and what it does in the race."""

    def __init__(self, made: Crew, turns: Turns, room: Room, checks: list[Check]) -> None:
        self.made, self.room, self.checks = made, room, checks
        self.store = store = made.join()
        self.locks: list[Lock] = []
        for stripe in store._stripes:
            lock = Lock(SimpleNamespace(acquire=stripe.acquire, release=stripe.release), turns)
            stripe.acquire, stripe.release = lock.acquire, lock.release
            self.locks.append(lock)
        held = store._places()
        token, put = held._token, held._set
        semaphores: dict[int, Any] = {}
        held._token = lambda at: semaphores.get(at) or semaphores.setdefault(at, Semaphore(token(at), turns))  # type: ignore[method-assign]

        def puts(address: int, value: int) -> None:
            turns.step()
            put(address, value)

        held._set = puts
        for each, name in ((held, "mine"), (held, "_columns"), (held, "_cells"), (store, "_doubles")):
            setattr(each, name, Cells(getattr(each, name), turns))
        store.hit([(one, key, 0) for one, key, _ in checks])  # the keys have their slots
        self.gates = [store.gate(check, Tally()) for check in checks]
        self.inside: list[Callable[[], None]] = []

    def does(self, actions: list[tuple[str, int]]) -> None:
        """One after the other, until it is killed."""
        try:
            for action, which in actions:
                if action == "leave":
                    self.leaves()
                else:
                    self.enters(action, which % len(self.checks))
        except Killed:
            for lock in self.locks:
                lock.heal()
            room = self.room
            room.deaths = True
            room.taken -= len(self.inside)
            room.seen.pop(self, None)
            self.made.kill(self.store)
            self.made.clock.now += 10_000

    def enters(self, action: str, which: int) -> None:
        room, check, gate = self.room, self.checks[which], self.gates[which]
        counts = which == 0  # the others are there to have the slot of the first
        if counts:
            room.seen[self] = 0
            room.note()
        leave: Callable[[], None] = partial(self.store.release, [check])
        if action == "gate" and gate is not None and gate.enter(self.made.clock() / 1e6):
            passed, leave = True, gate.leave
        else:
            said = self.store.hit([check])[0]
            passed = said.allowed
            if said.unavailable:  # the other key has the slot
                room.seen.pop(self, None)
                return
        if counts:
            room.ended(self, passed)
            if passed:
                self.inside.append(leave)
        elif passed:
            leave()

    def leaves(self) -> None:
        if self.inside:
            self.room.taken -= 1
            self.room.leaving += 1
            self.inside.pop()()
            self.room.leaving -= 1


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["gate", "gate", "hit", "leave"]), st.integers(0, 1)), min_size=4, max_size=14
)


@pytest.mark.parametrize("is_ordered", [True, False])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    most=st.integers(1, 6),
    tells=st.booleans(),
    spares=st.booleans(),
    is_crowded=st.booleans(),
    does=st.lists(ACTIONS, min_size=2, max_size=4),
    doomed=st.dictionaries(st.integers(0, 3), st.integers(0, 60), max_size=1),
)
def test_never_are_more_in_flight_than_the_limit_nor_is_one_refused_without_need(
    is_ordered: bool,
    seed: int,
    most: int,
    tells: bool,
    spares: bool,
    is_crowded: bool,
    does: list[list[tuple[str, int]]],
    doomed: dict[int, int],
) -> None:
    with pytest.MonkeyPatch.context() as patch, crew(room=8) as made:
        patch.setattr(Stripe, "wait", waits)
        patch.setattr("headgate.store.held._IS_ORDERED", is_ordered)
        if not spares:  # tokens for all of the limit: nothing makes up for one too many
            patch.setattr("headgate.limits.meter.spare", lambda most: 0)
        one = in_flight(most, on_store_error="deny", headers="always" if tells else "refused")
        checks: list[Check] = [(one, b"k", 1)]
        if is_crowded:  # there is one slot for two keys
            last = made.join()
            assert all(last.hit([(in_flight(1, "other"), key, 1)])[0].allowed for key in keys(15))
            checks.append((one, b"x", 1))
        turns, room = Turns(seed), Room(most)
        turns.doomed = doomed
        processes = [Process(made, turns, room, checks) for _ in does]
        places = processes[0].store._places()
        for slot in range(16):  # it begins without
            places.withdraw(places.first + slot)
        turns.race([partial(process.does, actions) for process, actions in zip(processes, does, strict=True)])
        for process in processes:
            if process.store._owner not in made.dead:
                while process.inside:
                    process.leaves()
        last = made.join()
        assert [last.hit(checks[:1])[0].allowed for _ in range(most + 1)] == [True] * most + [False]
        for store in (last, *(process.store for process in processes)):
            store.close()
