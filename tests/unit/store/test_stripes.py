import asyncio
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from headgate.store import stripes
from headgate.store.shared import SharedStore
from headgate.store.stripes import Stripe, identity
from tests.unit.store.limits import limit

# A child that takes all the stripes of a store's memory, says so, and then blocks.
HOLDER = """
import sys, time
from headgate.store.shared import SharedStore
store = SharedStore(int(sys.argv[1]))
for stripe in store._stripes:
    {take}
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def memory() -> Iterator[int]:
    fd = SharedStore.create(1024)
    yield fd
    os.close(fd)


class Holder:
    def __init__(self, fd: int, take: str = "assert stripe.enter()") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER.format(take=take), str(fd)],
            pass_fds=[fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"

    def kill(self) -> None:
        """Kills it and leaves it a zombie, as it is until its supervisor looks."""
        self.process.kill()
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)

    def __enter__(self) -> "Holder":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("reaped", [True, False])
def test_others_go_on_when_a_holder_is_killed(memory: int, reaped: bool) -> None:
    with Holder(memory) as holder:
        holder.kill()
        if reaped:
            holder.process.wait()
        stores = [SharedStore(memory), SharedStore(memory)]
        three = limit(3)
        begin = time.monotonic()
        passed = [stores[turn % 2].hit([(three, b"k", 1)])[0].allowed for turn in range(6)]
        assert passed == [True] * 3 + [False] * 3
        assert time.monotonic() - begin < 5.0
        for store in stores:
            store.close()


def test_a_decision_over_several_limits_goes_on_when_a_holder_is_killed(memory: int) -> None:
    with Holder(memory) as holder:
        holder.kill()
        store = SharedStore(memory)
        checks = [(limit(1, name), b"k", 1) for name in "abcdefgh"]
        assert all(decision.allowed for decision in store.hit(checks))
        assert not any(decision.allowed for decision in store.hit(checks))
        store.close()


def test_others_go_on_when_one_is_killed_before_it_left_its_name(memory: int) -> None:
    with Holder(memory, take="stripe.acquire(False)") as holder:
        holder.kill()
        store = SharedStore(memory)
        assert [store.hit([(limit(1), b"k", 1)])[0].allowed for _ in range(2)] == [True, False]
        store.close()


def test_a_recovered_stripe_still_locks_out(memory: int) -> None:
    with Holder(memory) as holder:
        holder.kill()
        here, there = SharedStore(memory)._stripes[0], SharedStore(memory)._stripes[0]
        assert here.enter()
        there.patience = 0.02
        assert not there.enter()
        here.leave()
        there._stuck_until = 0.0
        assert there.enter()
        assert not here.acquire(False)


def test_only_one_of_many_succeeds_the_dead(memory: int) -> None:
    """Processes that all find the same dead holder still pass exactly the limit between them."""
    code = """
import sys
from headgate.store.shared import SharedStore
from tests.unit.store.limits import limit
store = SharedStore(int(sys.argv[1]))
print(sum(store.hit([(limit(500), b"k", 1)])[0].allowed for _ in range(400)))
"""
    with Holder(memory) as holder:
        holder.kill()
        command = [sys.executable, "-c", code, str(memory)]
        children = [subprocess.Popen(command, pass_fds=[memory], stdout=subprocess.PIPE) for _ in range(3)]
        assert sum(int(child.communicate(timeout=60)[0]) for child in children) == 500


def test_a_stopped_holder_is_waited_for_once_and_then_done_without(memory: int) -> None:
    with Holder(memory) as holder:
        os.kill(holder.process.pid, signal.SIGSTOP)
        store = SharedStore(memory)
        for stripe in store._stripes:
            stripe.patience = 0.02
        allow, deny = limit(1, "a", on_store_error="allow"), limit(1, "a", on_store_error="deny")
        assert store.hit([(allow, b"k", 1)])[0].allowed
        begin = time.monotonic()
        for _ in range(100):  # stuck: nobody waits any more
            refusal = store.hit([(deny, b"k", 1)])[0]
            assert not refusal.allowed
            assert refusal.unavailable
        assert time.monotonic() - begin < 0.5
        both = store.hit([(allow, b"k", 1), (deny, b"k", 1)])
        assert [decision.allowed for decision in both] == [True, False]
        store.close()


def watched(stripe: Stripe, *, until: int = -1, then: Callable[[], None] = lambda: None) -> tuple[bool, int]:
    """Waits on a loop for the stripe; what came of it, and how often something else ran meanwhile.

    then: called when it has run so often.
    """

    async def main() -> tuple[bool, int]:
        turns = 0
        waiting = asyncio.create_task(stripe.come_free())
        while not waiting.done():
            await asyncio.sleep(0)
            turns += 1
            if turns == until:
                then()
        return waiting.result(), turns

    return asyncio.run(main())


def test_an_event_loop_goes_on_while_it_waits_for_a_stripe_and_does_not_keep_it(memory: int) -> None:
    here, there = SharedStore(memory)._stripes[0], SharedStore(memory)._stripes[0]
    here.patience = 30.0
    assert there.enter()
    free, turns = watched(here, until=1000, then=there.leave)
    assert free
    assert turns > 1000
    assert watched(here)[0]
    assert there.enter(), "it is free for whoever comes"


def test_an_event_loop_too_waits_for_a_stopped_holder_once(memory: int) -> None:
    here, there = SharedStore(memory)._stripes[0], SharedStore(memory)._stripes[0]
    here.patience = 0.02
    assert there.enter()
    free, turns = watched(here)
    assert not free
    assert turns > 2
    assert watched(here) == (False, 1)
    there.leave()
    here._stuck_until = 0.0
    assert watched(here)[0]


@pytest.mark.parametrize("take", ["assert stripe.enter()", "stripe.acquire(False)"], ids=["named", "blank"])
def test_an_event_loop_too_succeeds_a_dead_holder(memory: int, take: str) -> None:
    with Holder(memory, take=take) as holder:
        holder.kill()
        here, there = SharedStore(memory)._stripes[0], SharedStore(memory)._stripes[0]
        assert watched(here)[0]
        assert there.enter()


def test_another_successor_is_left_in_possession(memory: int) -> None:
    """The file lock was held, or the owner changed, while this one looked: it goes on waiting."""
    one, other = SharedStore(memory)._stripes[0], SharedStore(memory)._stripes[0]
    assert one.enter()
    assert not other._succeed(12345)
    one.leave()
    assert other._succeed(12345)  # given back meanwhile: taken the normal way
    assert not one.acquire(False)


def test_the_file_lock_of_another_process_is_respected(memory: int) -> None:
    code = """
import fcntl, sys
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(memory)], pass_fds=[memory], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"locked\n"
    stripe = SharedStore(memory)._stripes[0]
    assert stripe.acquire(False)
    assert not stripe._succeed(0)
    child.communicate()
    assert stripe._succeed(0)


def test_a_process_has_one_identity_as_long_as_it_lives() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = identity(child.pid)
    assert alive
    assert alive & (1 << 22) - 1 == child.pid
    assert identity(child.pid) == alive
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity(child.pid) == 0  # a zombie
    child.communicate()
    assert identity(child.pid) == 0


def test_an_owner_cell_is_small_and_tells_a_process_from_a_later_one_of_its_number(memory: int) -> None:
    """What has less than 31 bits is written in half the time."""
    stripe = SharedStore(memory)._stripes[0]
    assert 0 < stripe.me < 1 << 30
    assert stripe.me & (1 << 22) - 1 == os.getpid()
    assert stripe.enter()
    for owner, is_succeeded in ((stripe.me, False), (stripe.me ^ 1 << 22, True)):
        stripe._cells[stripe.owner] = owner
        stripe._stuck_until = 0.0
        assert stripe.wait(0.0) is is_succeeded
    stripe.leave()


def test_stripes_lie_apart_and_lock_each_for_itself() -> None:
    fd = os.memfd_create("stripes")
    os.ftruncate(fd, 4096)
    mapping = mmap.mmap(fd, 4096)
    stripes.create(mapping, 1024, 4)
    taken: list[Stripe] = stripes.attach(mapping, 1024, 4, fd)
    assert all(stripe.enter() for stripe in taken)
    assert len({stripe.owner for stripe in taken}) == 4
    assert not any(stripe.acquire(False) for stripe in stripes.attach(mapping, 1024, 4, fd))
    for stripe in taken:
        stripe.leave()
    assert all(stripe.acquire(False) for stripe in stripes.attach(mapping, 1024, 4, fd))
    os.close(fd)


def test_a_c_library_without_shared_semaphores_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        argtypes: tuple[object, ...] = ()

        def __call__(self, *arguments: object) -> int:
            return -1

    class Library:
        def __init__(self, name: None, use_errno: bool) -> None:
            self.sem_init = Refuses()

    monkeypatch.setattr("headgate.store.stripes.ctypes.CDLL", Library)
    with pytest.raises(OSError, match="no semaphore in shared memory"):
        stripes.create(mmap.mmap(-1, 4096), 0, 1)


def test_who_cannot_be_looked_at_because_no_descriptor_is_left_lives(memory: int) -> None:
    """A store asks it at each decision about what is in flight; a failure would fail the request."""
    store, me = SharedStore(memory), identity(os.getpid())
    stripe = store._stripes[0]
    stripe.patience = 0.0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert stripe.enter()
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert stripes.is_alive(me ^ 1 << 40)
        assert not stripe.enter()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not stripes.is_alive(me ^ 1 << 40)
    stripe.leave()
    store.close()
