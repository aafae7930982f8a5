"""Leases on a real Redis: as many pass as the limit has, less what somebody holds and does not use."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.limits.decision import Banned
from headgate.store import script
from tests.e2e.kit.bench import Bench
from tests.e2e.test_redis_store import K, name, number
from tests.hammer import together
from tests.redis_server import RedisServer
from tests.unit.store.limits import limit


@pytest.fixture
def benches(redis_server: RedisServer) -> Iterator[list[Bench]]:
    """Two workers on one Redis."""
    both = [Bench(redis_server.url, asyncio.new_event_loop) for _ in range(2)]
    yield both
    for bench in both:
        bench.close()


_runs = iter(range(1_000_000))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(most=st.integers(10, 60), lease=st.integers(2, 25), turns=st.lists(st.booleans(), min_size=60, max_size=120))
def test_never_more_pass_and_of_those_missing_somebody_holds_each(
    benches: list[Bench], most: int, lease: int, turns: list[bool]
) -> None:
    one = limit(most, f"one{next(_runs)}", lease=lease)
    passed = sum(benches[turn].allows(one) for turn in turns)
    held = [bench.store._rules[id(one)].leases for bench in benches if id(one) in bench.store._rules]
    idle = sum(leases._lots[K].left for leases in held if leases is not None and K in leases._lots)
    assert passed <= most
    assert idle <= 2 * (lease - 1)
    assert passed + idle <= most
    if passed < len(turns):
        assert passed + idle == most


def test_a_lease_near_the_end_is_what_is_left_and_a_refusal_leaves_the_count(
    benches: list[Bench], redis_server: RedisServer
) -> None:
    one = limit(25, "few", lease=10)
    assert [benches[0].allows(one) for _ in range(26)] == [True] * 25 + [False]
    assert number_of(redis_server, name(one)) == 25
    benches[1].store.ban(one, b"k", 60.0)
    assert benches[1].allows(one, b"sent after it")
    assert isinstance(benches[0].hit([(one, b"k", 1)])[0], Banned)


def number_of(server: RedisServer, key: str) -> int:
    """The number that stands there."""
    return int(server.command("GET", key).split()[1])


def test_its_window_is_that_of_the_limit(benches: list[Bench], redis_server: RedisServer) -> None:
    one = limit(1000, "window", period=60.0, lease=10)
    (decision,) = benches[0].hit([(one, K, 1)])
    assert decision.remaining == 999
    assert 59_000_000 < decision.reset_after <= 60_000_000
    assert 50_000 < number(redis_server.command("PTTL", name(one))) <= 60_000
    assert 58_000_000 < benches[0].hit([(one, K, 1)])[0].reset_after <= 60_000_000
    redis_server.command("PERSIST", name(one))
    assert benches[1].hit([(one, K, 1)])[0].reset_after == 60_000_000
    assert script.decisions(b"1 4 1000 5", [(one, K, 1)])[0].allowed


HAMMER = """
import asyncio, sys
from headgate.model.config import Store as Settings
from headgate.store.memory import MemoryStore
from headgate.store.redis import RedisStore
from headgate.testing.clock import ManualClock
from tests.unit.store.limits import limit

async def main():
    loop = asyncio.get_running_loop()
    store = RedisStore(Settings(url=sys.argv[1], deadline=30.0), MemoryStore(ManualClock()), loop)
    one = limit(6_000, "hammered", 36_000.0, lease=50)
    async def ask(key):
        answer = loop.create_future()
        decisions = store.hit([(one, key, 1)], answer.set_result)
        return (decisions if decisions is not None else await answer)[0].allowed
    await ask(b"first")
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(await asyncio.gather(*[ask(b"k") for _ in range(3_000)])))
    store.close()

asyncio.run(main())
"""


def test_three_processes_with_leases_pass_the_limit(redis_server: RedisServer) -> None:
    counts = together(HAMMER, 3, redis_server.url)
    assert 6_000 - 3 * 49 <= sum(passed for (passed,) in counts) <= 6_000
