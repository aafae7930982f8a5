"""Limits on what is in flight in Redis: exact over machines, over their deaths, and over those of Redis."""

import asyncio
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate import errors
from headgate.limits import concurrency
from headgate.limits.decision import Banned
from headgate.limits.keys import limit_identity
from headgate.model.config import Ban
from headgate.model.config import Store as Settings
from headgate.model.snapshot import LimitState
from headgate.store import general, holders, holding, plain, script
from headgate.store.base import Check
from headgate.store.counts import RedisCounts
from headgate.store.memory import MemoryStore
from headgate.store.redis import RedisStore
from headgate.testing.clock import ManualClock
from headgate.testing.stores import PLACES, Subject, never
from tests.e2e.kit.bench import LOOPS, Bench
from tests.e2e.test_redis_store import CANNOT_WRITE, HEADERS, agree, name, number
from tests.hammer import together, witness
from tests.redis_server import RedisServer
from tests.unit.store.limits import limit
from tests.unit.store.test_held import in_flight, places_of
from tests.unit.store.test_holders import open_of

pytestmark = pytest.mark.e2e

K = b"192.0.2.1"


class Benches:
    """Workers on one Redis, each with a loop of its own; they can be killed."""

    def __init__(self, url: str, term: float = holders.TERM) -> None:
        self._url, self._term = url, term
        self.made: list[Bench] = []

    def join(self) -> Bench:
        bench = Bench(self._url, asyncio.new_event_loop)
        bench.store._holders.term = b"%d" % (self._term * 1000)
        bench.store._renew_every = self._term / 3
        self.made.append(bench)
        return bench

    def kill(self, bench: Bench) -> None:
        """Its connection breaks, and nobody hears of it again."""
        self.made.remove(bench)
        assert bench.store._link is not None
        bench.store._link.abort()
        bench.store._link = None
        bench.close()

    def close(self) -> None:
        for bench in self.made:
            bench.close()


@pytest.fixture
def benches(redis_server: RedisServer) -> Iterator[Benches]:
    made = Benches(redis_server.url)
    yield made
    made.close()


@pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("keeps", PLACES)
def test_the_contract_is_kept(
    redis_server: RedisServer,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    keeps: Callable[[Subject], None],
) -> None:
    bench = Bench(redis_server.url, loop_factory)
    sleep = asyncio.sleep
    keeps(Subject(bench.hit, lambda seconds: bench.run(sleep(seconds)), period=1.0, release=bench.store.release))
    assert not bench.errors
    bench.close()


LIMITS = [
    in_flight(2, "a"),
    in_flight(3, "b"),
    in_flight(10, "c"),
    limit(3, "d", 365 * 86400.0),
    limit(3, "e", 0.02, algorithm="gcra"),
    limit(3, "f", 0.02, algorithm="sliding_window", count_refused=True),
]
CHECKS = st.lists(
    st.tuples(st.integers(0, len(LIMITS) - 1), st.sampled_from([b"x", b"y"]), st.sampled_from([1, 1, 1, 0, 2])),
    min_size=1,
    max_size=4,
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("hit"), st.integers(0, 2), CHECKS),
        st.tuples(st.just("end"), st.integers(0, 2), st.integers(0, 10)),
        st.tuples(st.just("die"), st.integers(0, 2), st.none()),
    ),
    max_size=30,
)
_runs = iter(range(1_000_000))


def on_our_clock(patch: pytest.MonkeyPatch) -> None:
    """Has the scripts take the time from the test; rates are left to the general one."""

    def forms(source: bytes) -> tuple[bytes, bytes]:
        return script.forms(source.replace(b"call('TIME')", b"{call('HGET', 'now', 's'), call('HGET', 'now', 'us')}"))

    patch.setattr(script, "_GENERAL", forms(general.SOURCE))
    patch.setattr(holders, "FORMS", forms(holding.SAY))
    for algorithm in script._PLAIN:
        patch.setitem(script._PLAIN, algorithm, forms(plain.CONCURRENCY) if algorithm == concurrency.NAME else None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(headers=HEADERS, trace=st.lists(st.tuples(st.integers(0, 12_000), ACTIONS), max_size=3))
def test_every_decision_is_that_of_the_reference_whoever_dies(
    redis_server: RedisServer,
    headers: str,
    trace: list[tuple[int, list[tuple]]],  # type: ignore[type-arg]
) -> None:
    run = next(_runs)
    limits = [LimitState(replace(one.limit, name=f"{one.limit.name}{run}", headers=headers), 0) for one in LIMITS]
    clock = ManualClock()
    clock.now = 10**15 + 123_457

    def tell_time() -> None:
        seconds, microseconds = divmod(clock.now, 1_000_000)
        redis_server.command("HSET", "now", "s", str(seconds), "us", str(microseconds))

    with pytest.MonkeyPatch.context() as patch:
        on_our_clock(patch)
        tell_time()
        reference = MemoryStore(clock)
        benches = Benches(redis_server.url)
        workers = [benches.join() for _ in range(3)]
        running: list[list[list[Check]]] = [[], [], []]
        for gap, actions in trace:
            clock.now += gap
            tell_time()
            for action, place, what in actions:
                if action == "hit":
                    checks = [(limits[which], key, cost) for which, key, cost in what]
                    for rule in workers[place].store._rules.values():
                        rule.over.clear()
                    expected, decisions = reference.hit(checks, never), workers[place].hit(checks)
                    assert all(agree(one, other) for one, other in zip(decisions, expected, strict=True)), checks
                    if all(one.allowed for one in decisions) and places_of(checks):
                        running[place].append(places_of(checks))
                elif action == "end" and running[place]:
                    checks = running[place].pop(what % len(running[place]))
                    reference.release(checks)
                    workers[place].store.release(checks)
                    workers[place].hit([(limit(9, "sync"), K, 0)])
                elif action == "die":
                    workers[place].hit([(limit(9, "sync"), K, 0)])
                    benches.kill(workers[place])
                    for checks in running[place]:
                        reference.release(checks)
                    workers[place], running[place] = benches.join(), []
                    for _ in range(2):  # for the others time passes, too
                        clock.now += 16_000_000
                        tell_time()
                        for worker in workers:
                            worker.store._holders.renew()
                            worker.hit([(limit(9, "sync"), K, 0)])
        benches.close()


def test_the_time_of_a_holder_begins_anew_when_a_sixth_of_it_is_over(
    redis_server: RedisServer, benches: Benches
) -> None:
    began = 2_000_000_000

    def ends() -> int:
        value = redis_server.command("HGET", name(flying), one.store._holders.id.decode()).split(b"\r\n", 1)[1]
        return int(struct.unpack_from("<dd", value)[1]) - 1000 * began

    with pytest.MonkeyPatch.context() as patch:
        on_our_clock(patch)
        flying, one = in_flight(9), benches.join()
        seen = []
        for seconds in (0, 5, 6, 11, 12):
            redis_server.command("HSET", "now", "s", str(began + seconds), "us", "0")
            redis_server.command("PEXPIRE", name(flying), "20000")
            assert one.allows(flying)
            left = number(redis_server.command("PTTL", name(flying)))
            seen.append((ends(), left > 20_000))
        assert seen == [(30_000, True), (30_000, False), (36_000, True), (36_000, False), (42_000, True)]
        for seconds, expected in ((17, (42_000, False)), (18, (48_000, True))):
            redis_server.command("HSET", "now", "s", str(began + seconds), "us", "0")
            redis_server.command("PEXPIRE", name(flying), "20000")
            one.store.release([(flying, K, 1)])
            one.allows(limit(9, "sync"))
            left = number(redis_server.command("PTTL", name(flying)))
            assert (ends(), left > 20_000) == expected


@pytest.mark.parametrize("cost", [1, 2])
def test_each_holder_has_what_it_took_itself(benches: Benches, cost: int) -> None:
    flying = in_flight(20)
    workers = [benches.join() for _ in range(3)]
    for turn in range(2):
        for place, worker in enumerate(workers):
            assert worker.hit([(flying, K, cost)])[0].allowed
            assert worker.hit([(flying, K, 0)])[0].remaining == 20 - cost * (3 * turn + place + 1)


def hold(redis_server: RedisServer, flying: LimitState, holder: str, left: int) -> None:
    """Writes that the holder has one place, for so many milliseconds more."""
    source = """
    local time = redis.call('TIME')
    local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
    return redis.call('HSET', KEYS[1], ARGV[1], struct.pack('<dd', 1, ends))
    """
    redis_server.command("EVAL", source, "1", name(flying), holder, str(left))


@pytest.mark.parametrize("over", ["dead", "ban"])
def test_who_looks_at_a_key_removes_what_is_over(redis_server: RedisServer, benches: Benches, over: str) -> None:
    one, flying = benches.join(), in_flight(1)
    hold(redis_server, flying, over, -1)
    hold(redis_server, flying, "earlier", -1)
    assert one.allows(flying)
    assert number(redis_server.command("HLEN", name(flying))) == 1


def test_a_word_about_what_is_held_ends_no_ban(redis_server: RedisServer, benches: Benches) -> None:
    one, other, flying = benches.join(), benches.join(), in_flight(3)
    assert [one.allows(flying) for _ in range(2)] == [True, True]
    one.store.ban(flying, K, 100.0)
    one.allows(limit(9, "sync"))
    hold(redis_server, flying, one.store._holders.id.decode(), 20_000)  # it is time to renew it
    one.store.release([(flying, K, 1)])
    one.allows(limit(9, "sync"))
    assert number(redis_server.command("PTTL", name(flying))) > 90_000
    assert isinstance(other.hit([(flying, K, 1)])[0], Banned)


def test_what_a_dead_worker_held_is_free_although_the_clock_was_set_back_while_it_lived(
    redis_server: RedisServer, benches: Benches
) -> None:
    def tell_time(seconds: int) -> None:
        redis_server.command("HSET", "now", "s", str(seconds), "us", "0")

    with pytest.MonkeyPatch.context() as patch:
        on_our_clock(patch)
        tell_time(2_000_000_000)
        flying = in_flight(2)
        one, other = benches.join(), benches.join()
        assert [one.allows(flying), other.allows(flying), other.allows(flying)] == [True, True, False]
        tell_time(1_999_900_000)
        for bench in (one, other):
            bench.store._holders.renew()
            bench.allows(limit(9, "sync"))
        assert not other.allows(flying)
        benches.kill(one)
        tell_time(1_999_900_029)
        other.store._holders.renew()
        assert not other.allows(flying)
        tell_time(1_999_900_030)
        assert [other.allows(flying) for _ in range(2)] == [True, False]


def test_what_a_dead_worker_held_is_free_when_its_term_is_over(redis_server: RedisServer) -> None:
    benches = Benches(redis_server.url, term=0.6)
    one, other = benches.join(), benches.join()
    flying = in_flight(3)
    assert [one.allows(flying), other.allows(flying), other.allows(flying), one.allows(flying)] == [True] * 3 + [False]
    benches.kill(other)
    assert not one.allows(flying)
    one.run(asyncio.sleep(1.0))  # longer than the term of what the living one holds, which it renews
    assert [one.allows(flying) for _ in range(3)] == [True, True, False]
    benches.close()


VICTIM = """
import asyncio, sys
from headgate.model.config import Store as Settings
from headgate.store.memory import MemoryStore
from headgate.store.redis import RedisStore
from headgate.testing.clock import ManualClock
from tests.unit.store.test_held import in_flight
from tests.unit.store.test_holders import open_of

async def main():
    loop = asyncio.get_running_loop()
    store = RedisStore(Settings(url=sys.argv[1], deadline=30.0), MemoryStore(ManualClock()), loop, term=1.0)
    answer = loop.create_future()
    store.hit([(in_flight(2), b"192.0.2.1", 2)], answer.set_result)
    print((await answer)[0].allowed, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_killed_process_gives_back_what_it_held(redis_server: RedisServer) -> None:
    bench = Bench(redis_server.url, uvloop.new_event_loop)
    with subprocess.Popen([sys.executable, "-c", VICTIM, redis_server.url], stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"True\n"
        bench.run(asyncio.sleep(1.5))
        assert not bench.allows(in_flight(2)), "it lives, and says so"
        victim.send_signal(signal.SIGKILL)
    bench.run(asyncio.sleep(1.1))
    assert [bench.allows(in_flight(2)) for _ in range(3)] == [True, True, False]
    bench.close()


HAMMER = """
import asyncio, sys
from headgate.model.config import Store as Settings
from headgate.store.memory import MemoryStore
from headgate.store.redis import RedisStore
from headgate.testing.clock import ManualClock
from tests.hammer import Witness
from tests.unit.store.limits import limit
from tests.unit.store.test_held import in_flight

witness = Witness(*map(int, sys.argv[2:]))

async def main():
    loop = asyncio.get_running_loop()
    store = RedisStore(Settings(url=sys.argv[1], deadline=30.0), MemoryStore(ManualClock()), loop)
    flying, rate = in_flight(3), limit(1_000_000, "rate", 3600.0)
    async def ask(*checks):
        answer = loop.create_future()
        decisions = store.hit(checks, answer.set_result)
        return all(one.allowed for one in (decisions if decisions is not None else await answer))
    await ask((rate, b"first", 1))
    print("ready", flush=True)
    sys.stdin.readline()
    passed = 0
    async def worker():
        nonlocal passed
        for turn in range(100):
            if await ask((flying, b"k", 1), *[(rate, b"k", 1)][turn % 2:]):
                witness.add(1)
                passed += 1
                await asyncio.sleep(0)
                witness.add(-1)
                store.release([(flying, b"k", 1)])
    await asyncio.gather(*[worker() for _ in range(10)])
    print(passed)
    store.close()

asyncio.run(main())
"""


def test_three_processes_never_hold_more_than_the_limit_and_nothing_in_the_end(redis_server: RedisServer) -> None:
    with witness() as seen:
        counts = together(HAMMER, 3, redis_server.url, *map(str, seen.fds), fds=seen.fds)
        assert sum(passed for (passed,) in counts) > 100
        assert (seen.now, 0 < seen.most <= 3) == (0, True)
        bench = Bench(redis_server.url, LOOPS[0])
        assert bench.hit([(in_flight(3), b"k", 0)])[0].remaining == 3
        bench.close()


def test_what_is_held_when_redis_goes_is_counted_here_and_in_redis_again_when_it_is_back(
    redis_server: RedisServer, benches: Benches
) -> None:
    flying = in_flight(3)
    one = benches.join()
    assert [one.allows(flying) for _ in range(2)] == [True, True]
    redis_server.kill()
    one.await_change(down=True)
    assert [one.allows(flying) for _ in range(2)] == [True, False]
    one.store.release([(flying, K, 1)])
    assert [one.allows(flying) for _ in range(2)] == [True, False]
    redis_server.start()
    one.await_change(down=False)
    one.allows(limit(9, "sync"))
    other = benches.join()
    assert not other.allows(flying)
    one.store.release([(flying, K, 1)] * 2)
    one.allows(limit(9, "sync"))
    assert [other.allows(flying) for _ in range(3)] == [True, True, False]
    one.store.release([(flying, K, 1)])
    one.allows(limit(9, "sync"))
    assert other.hit([(flying, K, 0)])[0].remaining == 1
    assert one.store._local.hit([(flying, K, 0)], never)[0].remaining == 3
    assert not open_of(one.store._holders)


def test_a_new_connection_takes_over_what_the_old_one_held(redis_server: RedisServer, benches: Benches) -> None:
    flying = in_flight(3)
    one = benches.join()
    assert [one.allows(flying) for _ in range(2)] == [True, True]
    for ended in (0, 1):
        redis_server.command("CLIENT", "KILL", "TYPE", "normal")
        one.await_change(down=True)
        one.store.release([(flying, K, ended)])
        one.await_change(down=False)
        one.allows(limit(9, "sync"))
        assert number(redis_server.command("HLEN", name(flying))) == 1
        assert one.hit([(flying, K, 0)])[0].remaining == 1 + ended


def test_all_that_it_was_on_connections_before_is_removed_at_once(redis_server: RedisServer, benches: Benches) -> None:
    flying = in_flight(3)
    one = benches.join()
    assert one.allows(flying)
    for old in ("before", "earlier"):
        source = "return redis.call('HSET', KEYS[1], ARGV[1], struct.pack('<dd', 1, 9999999999999))"
        redis_server.command("EVAL", source, "1", name(flying), old)
    assert not one.allows(flying)
    (held,) = open_of(one.store._holders)
    held.old = (b"earlier", b"before")
    one.store._holders.renew()
    assert one.hit([(flying, K, 0)])[0].remaining == 2
    assert not held.old


@pytest.mark.parametrize("ended", [0, 1])
def test_what_redis_gives_before_it_is_told_what_is_held_is_counted_beside_it(
    redis_server: RedisServer, benches: Benches, ended: int
) -> None:
    flying = in_flight(5)
    one = benches.join()
    assert [one.allows(flying) for _ in range(2)] == [True, True]
    store = one.store

    async def begin_anew() -> None:
        store._holders.lost()
        for rule in store._rules.values():
            rule.held_by(store._holders.id, store._holders.term)
        store._holders.back()
        asked = asyncio.ensure_future(one.ask((flying, K, 1)))
        await asyncio.sleep(0)
        store.release([(flying, K, 1)] * ended)
        store._holders.renew()
        assert (await asked)[0].allowed

    one.run(begin_anew())
    holder = store._holders.id.decode()
    value = redis_server.command("HGET", name(flying), holder).split(b"\r\n", 1)[1]
    assert struct.unpack_from("<d", value) == (3 - ended,)
    assert number(redis_server.command("HLEN", name(flying))) == 1


@pytest.mark.parametrize(("breaks", "mends"), CANNOT_WRITE, ids=["out of memory", "a replica"])
@pytest.mark.parametrize("asked", [False, True], ids=["nobody asks", "somebody asks"])
def test_what_is_given_back_to_a_redis_that_cannot_write_is_free_once_it_can(
    redis_server: RedisServer, breaks: tuple[str, ...], mends: tuple[str, ...], asked: bool
) -> None:
    benches = Benches(redis_server.url, term=3.0)
    flying = in_flight(3)
    one, other = benches.join(), benches.join()
    assert [one.allows(flying) for _ in range(3)] == [True] * 3
    redis_server.command(*breaks)
    one.store.release([(flying, K, 1)] * 3)
    while one.store._waiting:
        one.run(asyncio.sleep(0.001))
    assert not one.changes
    if asked:
        assert one.allows(limit(9, "sync")), "on this machine"
        one.await_change(down=True)
    redis_server.command(*mends)
    if asked:
        one.await_change(down=False)
    while open_of(one.store._holders):
        one.run(asyncio.sleep(0.001))
    assert other.hit([(flying, K, 0)])[0].remaining == 3
    benches.close()


def test_what_an_emptied_redis_forgot_it_is_told_again(redis_server: RedisServer) -> None:
    benches = Benches(redis_server.url, term=0.3)
    flying = in_flight(3)
    one = benches.join()
    assert [one.allows(flying) for _ in range(2)] == [True, True]
    redis_server.command("FLUSHALL")
    one.run(asyncio.sleep(0.3))
    assert one.hit([(flying, K, 0)])[0].remaining == 1
    redis_server.command("FLUSHALL")
    one.store.release([(flying, K, 1)])
    assert one.hit([(flying, K, 0)])[0].remaining == 2
    benches.close()


def test_a_store_that_is_closed_gives_back_what_it_held_at_once(benches: Benches) -> None:
    flying = in_flight(2)
    one, other = benches.join(), benches.join()
    assert [one.allows(flying) for _ in range(2)] == [True, True]
    benches.made.remove(one)
    one.close()
    one.store.release([(flying, K, 1)])
    assert other.hit([(flying, K, 0)])[0].remaining == 2


def test_a_ban_leaves_what_is_held_as_it_is(redis_server: RedisServer, benches: Benches) -> None:
    flying = in_flight(2)
    flying = LimitState(replace(flying.limit, ban=Ban(1, 1.0, 1.0)), 0)
    one, other = benches.join(), benches.join()
    assert one.allows(flying)
    one.store.ban(flying, K, 0.5)
    assert isinstance(one.hit([(flying, K, 1)])[0], Banned)
    one.allows(limit(9, "sync"))
    (refusal,) = other.hit([(flying, K, 1)])
    assert isinstance(refusal, Banned)
    assert 0 < refusal.reset_after <= 500_000
    assert number(redis_server.command("PTTL", name(flying))) > 29_000
    other.run(asyncio.sleep(0.5))
    assert [other.allows(flying) for _ in range(2)] == [True, False]


def test_operators_see_what_is_in_flight_and_can_ban_but_not_forget(
    redis_server: RedisServer, benches: Benches
) -> None:
    one, flying = benches.join(), in_flight(3)
    counts = RedisCounts(one.store)
    assert one.run(counts.look(flying, K)) == (3, 0, 0, False)
    hold(redis_server, flying, "dead", -1)
    assert one.run(counts.look(flying, K)) == (3, 0, 0, False)
    assert one.allows(flying)
    assert one.run(counts.look(flying, K)) == (2, 0, 0, False)
    assert not one.run(counts.reset(flying, K))
    for forget in (counts.reset, counts.unban):
        one.run(counts.ban(flying, K, 100.0))
        standing = one.run(counts.look(flying, K))
        assert standing.is_banned
        assert 99_000_000 < standing.retry_after <= 100_000_000
        assert isinstance(one.hit([(flying, K, 1)])[0], Banned)
        assert one.run(forget(flying, K))
        one.store._rules.clear()
        assert one.run(counts.look(flying, K)) == (2, 0, 0, False)
    assert not one.run(counts.unban(flying, K))


FOREIGN = {
    "a text": "redis.call('SET', KEYS[1], '7')",
    "a list": "redis.call('RPUSH', KEYS[1], 'x')",
    "a field": "redis.call('HSET', KEYS[1], 'h', 'x')",
    "no count": "redis.call('HSET', KEYS[1], 'h', struct.pack('<dd', 0/0, 9999999999999))",
}


@pytest.mark.parametrize("cost", [1, 2], ids=["plain", "in general"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_value_that_is_none_of_ours_is_the_trouble_of_that_client_alone_until_it_is_reset(
    redis_server: RedisServer, benches: Benches, kind: str, cost: int
) -> None:
    one, flying = benches.join(), in_flight(2)
    check = (flying, K, cost)
    assert one.allows(flying, b"other")
    redis_server.command("EVAL", FOREIGN[kind], "1", name(flying))
    for _ in range(2):
        assert [one.hit([check])[0].allowed for _ in range(3)] == [True, cost == 1, False]  # counted on this machine
        one.store.release([(flying, K, 2)])
    assert one.allows(flying, b"other")
    assert not one.changes
    assert len(one.errors) == 6
    counts = RedisCounts(one.store)
    with pytest.raises(errors.StoreDown, match="no count of this limit"):
        one.run(counts.look(flying, K))
    assert one.run(counts.reset(flying, K))
    assert not one.run(counts.reset(flying, K))
    assert one.run(counts.look(flying, K)).remaining == 2
    assert one.hit([check])[0].allowed
    assert len(one.errors) == 6


@pytest.mark.parametrize("ends", ["9999999999999", "1/0", "0/0"])
def test_a_field_that_looks_like_a_holder_is_reset_and_what_is_in_flight_is_not(
    redis_server: RedisServer, benches: Benches, ends: str
) -> None:
    one, flying = benches.join(), in_flight(2)
    assert one.allows(flying)
    source = f"redis.call('HSET', KEYS[1], 'somebody', struct.pack('<dd', 1, {ends}))"
    redis_server.command("EVAL", source, "1", name(flying))
    assert one.allows(flying) == (ends == "0/0"), "what has no end is over"
    counts = RedisCounts(one.store)
    held = 2 if ends == "0/0" else 1
    assert one.run(counts.reset(flying, K)) == (ends != "0/0")
    assert one.run(counts.look(flying, K)).remaining == 2 - held
    one.store.release([(flying, K, held)])
    assert one.hit([(flying, K, 0)])[0].remaining == 2
    assert not one.errors


def test_keys_last_no_longer_than_who_held_last_would(redis_server: RedisServer, benches: Benches) -> None:
    one, flying = benches.join(), in_flight(1)
    assert one.allows(flying)
    assert 29_000 < number(redis_server.command("PTTL", name(flying))) <= 30_000
    one.store.release([(flying, K, 1)])
    assert one.allows(flying)
    one.store.release([(flying, K, 1)])
    one.allows(limit(9, "sync"))
    assert 0 < number(redis_server.command("PTTL", name(flying))) <= 30_000
    assert limit_identity(flying.limit) == "flying:client_ip:concurrency:1/1"


def test_a_worker_can_be_given_another_term(redis_server: RedisServer) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        store = RedisStore(Settings(url=redis_server.url), MemoryStore(ManualClock()), loop, term=2.0)
        answer = loop.create_future()
        store.hit([(in_flight(1), K, 1)], answer.set_result)
        assert (await answer)[0].allowed
        assert number(redis_server.command("PTTL", name(in_flight(1)))) <= 2000
        store.close()

    asyncio.run(main())
