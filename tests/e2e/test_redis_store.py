"""The Redis store against a real Redis: exactness over processes, and every way in which Redis can fail."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate import errors
from headgate.limits.decision import Banned, Decision, Delayed, Far, Holding
from headgate.limits.keys import limit_identity
from headgate.limits.meter import ALGORITHMS, Meter
from headgate.model.config import Store as Settings
from headgate.model.snapshot import LimitState
from headgate.store import general, plain, script
from headgate.store.check import check
from headgate.store.counts import RedisCounts
from headgate.store.memory import MemoryStore
from headgate.testing.clock import ManualClock
from headgate.testing.counts import OPERATED, Operator
from headgate.testing.stores import CONTRACT, Subject, never
from tests.e2e.kit import certificate
from tests.e2e.kit.bench import LOOPS, Bench
from tests.hammer import together
from tests.redis_server import RedisServer
from tests.unit.store.limits import limit

pytestmark = pytest.mark.e2e

K = b"192.0.2.1"


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def bench(redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[Bench]:
    one = Bench(redis_server.url, request.param)
    yield one
    one.close()


@pytest.mark.parametrize("keeps", CONTRACT)
def test_the_contract_is_kept(bench: Bench, keeps: Callable[[Subject], None]) -> None:
    subject = Subject(bench.hit, bench.advance, period=1.0, charge=bench.charge)
    keeps(subject)
    assert not bench.errors


@pytest.mark.parametrize("keeps", OPERATED)
def test_operators_see_and_change_what_is_counted(bench: Bench, keeps: Callable[[Subject, Operator], None]) -> None:
    def let_forget() -> None:
        for rule in bench.store._rules.values():
            rule.over.clear()

    counts = RedisCounts(bench.store)
    subject = Subject(bench.hit, bench.advance, period=0.25)
    keeps(subject, Operator(counts, bench.run, let_forget))
    assert not bench.errors


LIMITS = [("a", 2), ("b", 3), ("c", 12)]
CHECKS = st.lists(st.tuples(st.sampled_from(LIMITS), st.sampled_from([b"x", b"y"])), min_size=1, max_size=4)
HEADERS = st.sampled_from(["refused", "always"])  # whether a decision must always say what is left
_runs = iter(range(1_000_000))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(headers=HEADERS, trace=st.lists(CHECKS, max_size=30))
def test_every_decision_is_that_of_the_reference(
    bench: Bench, headers: str, trace: list[list[tuple[tuple[str, int], bytes]]]
) -> None:
    run = next(_runs)
    limits = {name: limit(most, f"{name}{run}", headers=headers) for name, most in LIMITS}
    reference = MemoryStore(ManualClock())
    for step in trace:
        checks = [(limits[name], key, 1) for (name, _), key in step]
        expected = reference.hit(checks, never)
        decisions = bench.hit(checks)
        assert all(one.allowed for one in decisions) == all(one.allowed for one in expected)
        if len(decisions) < len(checks):  # a refusal that needed no asking names only limits known to refuse
            told = [(one.limit.limit.name, one.allowed, one.remaining) for one in expected]
            answers = [(one.limit.limit.name, one.allowed, one.remaining) for one in decisions]
            assert not any(allowed for _, allowed, _ in answers)
            assert set(answers) <= set(told)
        else:
            assert all(agree(one, other) for one, other in zip(decisions, expected, strict=True))


TIMED = [
    limit(3, "fixed", 365 * 86400.0),
    limit(3, "counted", 365 * 86400.0, count_refused=True),
    limit(3, "gcra", 0.000_01, algorithm="gcra"),
    limit(7, "burst", 0.000_1, algorithm="gcra", burst=2),
    limit(1, "slow", 0.000_05, algorithm="gcra", burst=3),
    limit(40, "wide", 0.001, algorithm="gcra", burst=12),
    limit(10**9, "huge", 365 * 86400.0, algorithm="gcra", burst=3),
    limit(3, "strict", 0.000_01, algorithm="gcra", burst=2, count_refused=True),
    limit(3, "late", 0.000_01, algorithm="gcra", burst=2, delay=0.000_02),
    limit(10**9, "later", 365 * 86400.0, algorithm="gcra", burst=3, delay=1.0, count_refused=True),
    limit(3, "sliding", 0.000_01, algorithm="sliding_window"),
    limit(1, "narrow", 0.000_04, algorithm="sliding_window"),
    limit(15, "roomy", 0.000_1, algorithm="sliding_window"),
    limit(10**9, "huge_sliding", 365 * 86400.0, algorithm="sliding_window"),
    limit(3, "severe", 0.000_02, algorithm="sliding_window", count_refused=True),
]
GAPS = st.one_of(st.integers(0, 30), st.integers(0, 10**9))
COSTS = st.sampled_from([1, 1, 1, 0, 2, 3, 5])
WHICH, WHOSE = st.integers(0, len(TIMED) - 1), st.sampled_from([b"x", b"y"])
ALIKE = [[place for place, one in enumerate(TIMED) if one.limit.algorithm == algorithm] for algorithm in ALGORITHMS]
USUAL = st.sampled_from(ALIKE).flatmap(  # what the scripts for plain limits decide
    lambda places: st.lists(
        st.tuples(st.sampled_from(places), WHOSE, st.just(1)), min_size=1, max_size=4, unique_by=lambda check: check[0]
    )
)
MIXED = USUAL | st.lists(st.tuples(WHICH, WHOSE, COSTS), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(headers=HEADERS, trace=st.lists(st.tuples(GAPS, MIXED), max_size=25))
def test_every_algorithm_decides_as_its_reference_on_the_same_clock(
    bench: Bench, redis_server: RedisServer, headers: str, trace: list[tuple[int, list[tuple[int, bytes, int]]]]
) -> None:
    run = next(_runs)
    limits = [LimitState(replace(one.limit, name=f"{one.limit.name}{run}", headers=headers), 0) for one in TIMED]
    clock = ManualClock()
    clock.now = 10**15 + 123_457
    reference = MemoryStore(clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "_GENERAL", script.forms(on_our_clock(general.SOURCE)))
        for algorithm in ("gcra", "sliding_window"):
            patch.setitem(script._PLAIN, algorithm, script.forms(on_our_clock(plain.SOURCES[algorithm])))
        for gap, step in trace:
            clock.now += gap
            seconds, microseconds = divmod(clock.now, 1_000_000)
            redis_server.command("HSET", "now", "s", str(seconds), "us", str(microseconds))
            for rule in bench.store._rules.values():
                rule.over.clear()  # what is known without asking is known on the loop's clock
            checks = [(limits[place], key, cost) for place, key, cost in step]
            expected, decisions = reference.hit(checks, never), bench.hit(checks)
            assert len(decisions) == len(expected)
            for one, other in zip(decisions, expected, strict=True):
                assert agree(one, other), (checks, decisions, expected)
                assert headers == "refused" or not isinstance(one, Far)


STATES = [
    limit(2000, "slow", 60.0, algorithm="gcra", burst=50),
    limit(9, "quick", 0.003, algorithm="gcra", burst=4),
    limit(10**9, "coarse", 365 * 86400.0, algorithm="gcra", burst=5),
    limit(99, "turns", 0.005, algorithm="sliding_window"),
    limit(50, "slides", 60.0, algorithm="sliding_window"),
    limit(10**9, "coarse", 365 * 86400.0, algorithm="sliding_window"),
]
_LIVES = """
local text, ends, _ = redis.call('GET', KEYS[1]), 0, nil
if text then _, ends = struct.unpack('<Bd', text) end
local time, left = redis.call('TIME'), math.max(0, redis.call('PTTL', KEYS[1]))
return string.format('%.0f', time[1] * 1000000 + time[2] + (left + 1) * 1000 - ends * ARGV[1])
"""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.sampled_from(STATES), COSTS), min_size=1, max_size=3), min_size=20, max_size=40))
def test_no_key_expires_before_what_it_says_is_over(
    bench: Bench, redis_server: RedisServer, trace: list[list[tuple[LimitState, int]]]
) -> None:
    redis_server.command("FLUSHALL")
    for step in trace:
        for rule in bench.store._rules.values():
            rule.over.clear()  # so that Redis is asked
        bench.hit([(one, K, cost) for one, cost in step])
        for one, _ in step:
            longer = redis_server.command("EVAL", _LIVES, "1", name(one), str(Meter(one.limit).unit))
            assert int(longer.split()[-1]) >= 0, (one, step)


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with another"])
@pytest.mark.parametrize("settle", ["", "free:5xx"], ids=["plain", "settles"])
@pytest.mark.parametrize("algorithm", ["gcra", "sliding_window"])
def test_a_clock_that_was_set_back_holds_nobody_for_longer_than_is_said(
    bench: Bench, redis_server: RedisServer, algorithm: str, settle: str, others: int
) -> None:
    one = limit(3, f"back_{algorithm}_{settle}_{others}", 60.0, algorithm=algorithm, settle=settle)
    checks = [(one, K, 1), (limit(99, "other", algorithm=algorithm), K, 1)][: 1 + others]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "_GENERAL", script.forms(on_our_clock(general.SOURCE)))
        patch.setitem(script._PLAIN, algorithm, script.forms(on_our_clock(plain.SOURCES[algorithm])))
        now = 2_000_000_000

        def ask(seconds: int) -> Decision:
            redis_server.command("HSET", "now", "s", str(seconds), "us", "0")
            bench.store._rules.clear()  # so that Redis is asked
            bench.store._kept.clear()
            return bench.hit(checks)[0]

        assert [ask(now).allowed for _ in range(4)] == [True] * 3 + [False]
        now -= 86_400
        refusal = ask(now)
        assert not refusal.allowed
        assert 0 < refusal.reset_after <= 120_000_000
        now += -(-refusal.reset_after // 1_000_000)
        assert [ask(now).allowed for _ in range(4)].count(True) in (1, 2)
    assert not bench.errors


SETTLED = [LimitState(replace(one.limit, name=f"{one.limit.name}_settled", settle="free:5xx"), 0) for one in TIMED]
CHARGES = st.lists(st.tuples(WHICH, WHOSE, st.integers(-6, 6)), min_size=1, max_size=3)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trace=st.lists(st.tuples(GAPS, MIXED, CHARGES), max_size=20))
def test_what_is_charged_and_given_back_is_that_of_the_reference_on_the_same_clock(
    bench: Bench,
    redis_server: RedisServer,
    trace: list[tuple[int, list[tuple[int, bytes, int]], list[tuple[int, bytes, int]]]],
) -> None:
    run = next(_runs)
    limits = [LimitState(replace(one.limit, name=f"{one.limit.name}{run}"), 0) for one in SETTLED]
    clock = ManualClock()
    clock.now = 10**15 + 123_457
    reference = MemoryStore(clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "_GENERAL", script.forms(on_our_clock(general.SOURCE)))
        for gap, step, charged in trace:
            clock.now += gap
            seconds, microseconds = divmod(clock.now, 1_000_000)
            redis_server.command("HSET", "now", "s", str(seconds), "us", str(microseconds))
            charges = [(limits[place], key, cost) for place, key, cost in charged]
            reference.charge(charges)
            bench.charge(charges)
            checks = [(limits[place], key, cost) for place, key, cost in step]
            expected, decisions = reference.hit(checks, never), bench.hit(checks)
            assert len(decisions) == len(expected)
            for one, other in zip(decisions, expected, strict=True):
                assert agree(one, other), (checks, charges, decisions, expected)


def on_our_clock(source: bytes) -> bytes:
    """The script, on the clock of the test; keys, which expire by the real one, live for an hour."""
    told = source.replace(b"call('TIME')", b"{call('HGET', 'now', 's'), call('HGET', 'now', 'us')}")
    told = re.sub(rb"(?:math\.)?ceil\(.*? / 1000\) \+ 1", b"3600000", told)
    assert (told.count(b"'HGET'"), told.count(b"3600000")) == (2, 1)
    return told


def agree(decision: Decision, reference: Decision) -> bool:
    """Whether they say the same, but for the clock of a fixed window, which is that of the server."""
    if isinstance(decision, Far) or (isinstance(decision, Holding) and decision.limit.limit.headers == "refused"):
        return reference.allowed and reference.remaining >= decision.remaining
    waits = [one.wait if isinstance(one, Delayed) else 0 for one in (decision, reference)]
    return (
        (decision.allowed, decision.remaining) == (reference.allowed, reference.remaining)
        and waits[0] == waits[1]
        and (decision.reset_after == reference.reset_after or decision.limit.limit.algorithm == "fixed_window")
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_banned_key_is_refused_until_the_ban_is_over(bench: Bench, algorithm: str) -> None:
    one, other = limit(5, f"ban_{algorithm}", algorithm=algorithm), limit(5, f"free_{algorithm}")
    assert bench.hit([(one, b"k", 1)])[0].allowed
    bench.store.ban(one, b"k", 0.5)
    assert isinstance(bench.hit([(one, b"k", 1)])[0], Banned)  # known without asking
    bench.store._rules.clear()
    (refusal,) = bench.hit([(one, b"k", 1)])
    assert isinstance(refusal, Banned)
    assert 0 < refusal.reset_after <= 500_000
    bench.store._rules.clear()
    both = bench.hit([(other, b"k", 1), (one, b"k", 1)])
    assert [decision.allowed for decision in both] == [True, False]
    assert bench.hit([(other, b"k", 0)])[0].remaining == 5
    assert bench.hit([(one, b"other", 1)])[0].allowed
    bench.run(asyncio.sleep(refusal.reset_after / 1_000_000))
    assert bench.hit([(one, b"k", 1)])[0].allowed
    assert not bench.errors


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
    def of(algorithm, most, name):  # gcra: so slow a rate that nothing comes back in the meantime
        if algorithm == "gcra":
            return limit(1, name, 36_000.0, algorithm=algorithm, burst=most)
        return limit(most, name, 36_000.0, algorithm=algorithm)
    wide, narrow = of(sys.argv[2], 3000, "wide"), of(sys.argv[2], 500, "narrow")
    async def ask(*checks):
        answer = loop.create_future()
        decisions = store.hit(checks, answer.set_result)
        return all(one.allowed for one in (decisions if decisions is not None else await answer))
    await ask((wide, b"first", 1))
    print("ready", flush=True)
    sys.stdin.readline()
    one = asyncio.gather(*[ask((wide, b"k", 1)) for _ in range(2500)])
    two = asyncio.gather(*[ask((wide, b"k", 1), (narrow, b"k", 1)) for _ in range(500)])
    print(sum(await two), sum(await one))
    store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_three_processes_on_one_redis_pass_exactly_the_limit(redis_server: RedisServer, algorithm: str) -> None:
    counts = together(HAMMER, 3, redis_server.url, algorithm)
    pairs, singles = (sum(column) for column in zip(*counts, strict=True))
    assert pairs + singles == 3000
    assert pairs <= 500
    bench = Bench(redis_server.url, asyncio.new_event_loop)
    most, burst = (1, 500) if algorithm == "gcra" else (500, 0)
    narrow = limit(most, "narrow", algorithm=algorithm, period=36_000.0, burst=burst)
    assert sum(bench.allows(narrow, b"k") for _ in range(501)) == 500 - pairs
    bench.close()


def name(one: LimitState, key: bytes = K) -> str:
    return f"headgate:{limit_identity(one.limit)}:{key.decode()}"


def number(reply: bytes) -> int:
    return int(reply.strip().lstrip(b":"))


def test_what_a_refused_request_took_of_other_windows_is_given_back(bench: Bench, redis_server: RedisServer) -> None:
    one, full, banned = limit(5, "given", headers="always"), limit(1, "full"), limit(1, "held")
    assert bench.allows(full)
    bench.store.ban(banned, K, 60.0)
    for passed in (0, 1):
        for last in (full, banned):
            bench.store._rules.clear()  # so that Redis is asked
            assert [each.allowed for each in bench.hit([(one, K, 1), (last, K, 1)])] == [True, False]
            assert number(redis_server.command("EXISTS", name(one))) == passed, "nothing of it has begun"
        assert bench.hit([(one, K, 1)])[0].remaining == 4 - passed


def test_keys_expire_with_their_window(bench: Bench, redis_server: RedisServer) -> None:
    one, short = limit(3), limit(3, "short", period=0.05)
    bench.hit([(one, K, 1), (short, K, 1)])
    assert 50_000 < number(redis_server.command("PTTL", name(one))) <= 60_000
    bench.run(asyncio.sleep(0.1))
    assert number(redis_server.command("EXISTS", name(short))) == 0


@pytest.mark.parametrize("lifetime", [("PX", "9000000000"), ()], ids=["clock set back", "no end"])
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with another"])
@pytest.mark.parametrize("settle", ["", "free:5xx"], ids=["plain", "settles"])
def test_a_window_that_ends_too_late_or_never_ends_in_one_period_when_it_is_nearly_full(
    bench: Bench, redis_server: RedisServer, lifetime: tuple[str, ...], settle: str, others: int
) -> None:
    one = limit(3, period=60.0, settle=settle)
    for taken, passes in ((2, True), (3, False)):
        redis_server.command("SET", name(one), str(taken), *lifetime)
        bench.store._rules.clear()  # so that Redis is asked
        decision, *_ = bench.hit([(one, K, 1), (limit(5, "other"), K, 1)][: 1 + others])
        assert (decision.allowed, decision.remaining) == (passes, 0)
        assert decision.reset_after == 60_000_000
        assert 50_000 < number(redis_server.command("PTTL", name(one))) <= 60_000


@pytest.mark.parametrize(
    "command",
    [
        ("LPUSH", "x"),
        *(("SET", text) for text in ("", "nonsense", "1.5", "3 9000", "inf")),
        *(("SET", str(large)) for large in (2**63 - 1, 2**60, -(2**60))),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with another"])
def test_a_value_that_is_no_count_is_the_trouble_of_that_client_alone(
    bench: Bench, redis_server: RedisServer, command: tuple[str, str], others: int
) -> None:
    one, other = limit(3, on_store_error="deny"), limit(5, "other", on_store_error="deny", headers="always")
    redis_server.command(command[0], name(one), command[1])
    checks = [(other, K, 1), (one, K, 1)][1 - others :]
    for _ in range(2):
        assert bench.hit(checks)[-1].unavailable
    assert bench.allows(one, b"other")
    assert not bench.changes
    assert bench.hit([(other, K, 1)])[0].remaining == 4  # nothing was taken beside it


FOREIGN = {
    **{text: ("SET", text) for text in ("nan", "inf", "-inf", "1.5", "nonsense", "g" * 24, str(2**63 - 1))},
    **{kind: (command, "x") for kind, command in (("list", "RPUSH"), ("set", "SADD"))},
    "hash": ("HSET", "h", "x"),
}


@pytest.mark.parametrize("algorithm", ["fixed_window", "sliding_window", "gcra"])
@pytest.mark.parametrize("general", [False, True], ids=["plain", "in general"])
@pytest.mark.parametrize("value", FOREIGN)
def test_a_value_that_is_no_count_is_told_and_can_be_reset(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, value: str, algorithm: str, general: bool
) -> None:
    bench = Bench(redis_server.url, uvloop.new_event_loop)
    one = limit(3, algorithm=algorithm, count_refused=general)
    assert bench.allows(one, b"other")
    redis_server.command(FOREIGN[value][0], name(one), *FOREIGN[value][1:])
    assert [bench.allows(one) for _ in range(4)] == [True] * 3 + [False], "counted on this machine"
    assert len(bench.errors) == 4
    assert bench.allows(one, b"other")
    assert not bench.changes
    told = "what Redis holds of 192.0.2.1 (limit per_ip) is no count"
    assert [message.startswith(told) for message in caplog.messages] == [True]
    counts = RedisCounts(bench.store)
    if value != str(2**63 - 1) or algorithm != "fixed_window":  # of a window that is a count, if no small one
        with pytest.raises(errors.StoreDown, match="no count of this limit"):
            bench.run(counts.look(one, K))
    assert bench.run(counts.reset(one, K))
    assert [bench.allows(one) for _ in range(4)] == [True] * 3 + [False]
    assert len(bench.errors) == 4
    bench.close()


@pytest.mark.parametrize("text", ["nonsense", str(2**60), str(-(2**60))])
def test_nothing_can_be_leased_of_a_value_that_is_no_count(bench: Bench, redis_server: RedisServer, text: str) -> None:
    one = limit(30, on_store_error="deny", lease=3)
    redis_server.command("SET", name(one), text)
    for _ in range(2):
        assert bench.hit([(one, K, 1)])[0].unavailable
    assert bench.allows(one, b"other")
    assert not bench.changes


def test_a_flushed_script_is_not_noticed(bench: Bench, redis_server: RedisServer) -> None:
    one = limit(2)
    assert bench.allows(one)
    redis_server.command("SCRIPT", "FLUSH")
    assert bench.allows(one)
    assert not bench.allows(one)
    assert not bench.errors


@pytest.mark.parametrize("end", [RedisServer.stop, RedisServer.kill])
def test_redis_goes_and_comes_back_empty(
    bench: Bench, redis_server: RedisServer, end: Callable[[RedisServer], None]
) -> None:
    one = limit(2)
    assert [bench.allows(one) for _ in range(3)] == [True, True, False]
    end(redis_server)
    bench.await_change(down=True)
    assert [bench.allows(one, b"other") for _ in range(3)] == [True, True, False]  # counted on this machine
    assert len(bench.errors) == 3
    redis_server.start()
    bench.await_change(down=False)
    assert not bench.allows(one, b"other")  # what was counted here counts in the new Redis
    assert [bench.allows(one, b"new") for _ in range(3)] == [True, True, False]
    assert len(bench.errors) == 3


def test_two_headgates_share_a_limit_without_redis_and_none_has_it_anew_afterwards(redis_server: RedisServer) -> None:
    one = limit(10, period=3600.0)
    benches = [Bench(redis_server.url, uvloop.new_event_loop) for _ in range(2)]
    for bench in (*benches, benches[0]):  # the first hears of the second with its next sign of life
        assert bench.allows(one, b"first")
        bench.store._send(script.SIGN)
        assert bench.allows(one, b"first")
    redis_server.kill()
    for bench in benches:
        bench.await_change(down=True)
    assert [sum(bench.allows(one) for _ in range(12)) for bench in benches] == [5, 5]
    redis_server.start()
    for bench in benches:
        bench.await_change(down=False)
        bench.hit([(one, b"last", 1)])  # behind what it is charged with
    assert not any(bench.allows(one) for bench in benches)
    assert bench.hit([(one, b"last", 0)])[0].remaining == 8
    for bench in benches:
        bench.close()


CANNOT_WRITE = [
    (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
]


@pytest.mark.parametrize(("breaks", "mends"), CANNOT_WRITE, ids=["out of memory", "a replica"])
def test_what_requests_give_back_while_redis_cannot_write_is_given_back_once_it_can(
    bench: Bench, redis_server: RedisServer, breaks: tuple[str, ...], mends: tuple[str, ...]
) -> None:
    one = limit(20, period=3600.0, settle="response_bytes")
    assert bench.hit([(one, K, 9)])[0].remaining == 11
    redis_server.command(*breaks)
    bench.charge([(one, K, -3)])  # is refused
    bench.await_change(down=True)
    bench.charge([(one, K, -4)])
    redis_server.command(*mends)
    bench.await_change(down=False)
    assert bench.hit([(one, K, 0)])[0].remaining == 18
    redis_server.command("CLIENT", "KILL", "TYPE", "normal")
    bench.await_change(down=True)
    bench.await_change(down=False)
    assert bench.hit([(one, K, 0)])[0].remaining == 18


def test_who_is_the_first_to_find_an_emptied_redis_does_not_take_himself_for_the_only_one(
    redis_server: RedisServer,
) -> None:
    one = limit(10, period=3600.0)
    first, second = [Bench(redis_server.url, uvloop.new_event_loop) for _ in range(2)]
    for bench in (first, second, first):
        assert bench.allows(one, b"first")
        bench.store._send(script.SIGN)
        assert bench.allows(one, b"first")
    assert first.store.headgates == 2
    for _ in range(2):  # the second one, whose loop does not run, is not back before Redis is gone again
        redis_server.kill()
        first.await_change(down=True)
        redis_server.start()
        first.await_change(down=False)
        assert first.allows(one, b"behind the sign of life")
    redis_server.kill()
    first.await_change(down=True)
    assert sum(first.allows(one) for _ in range(12)) == 5
    for bench in (first, second):
        bench.close()


@pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
def test_a_silent_redis_holds_nobody_up(
    redis_server: RedisServer, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    bench = Bench(redis_server.url, loop_factory, deadline=0.05)
    one = limit(1000)
    while not bench.store._link:
        bench.run(asyncio.sleep(0.001))
    redis_server.pause()

    async def ask_many() -> float:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        decisions = await asyncio.gather(*[bench.ask((one, b"%d" % number, 1)) for number in range(100)])
        assert all(decision.allowed for (decision,) in decisions)
        return loop.time() - begin

    assert 0.04 < bench.run(ask_many()) < 1.0
    assert bench.changes[-1] is True
    assert bench.run(ask_many()) < 0.04
    redis_server.resume()
    bench.await_change(down=False)
    bench.close()


def test_a_redis_that_cannot_write_is_left_until_it_can(bench: Bench, redis_server: RedisServer) -> None:
    one = limit(100)
    assert bench.allows(one)
    for breaks, mends in CANNOT_WRITE:
        redis_server.command(*breaks)
        assert bench.allows(one)
        bench.await_change(down=True)
        redis_server.command(*mends)
        bench.await_change(down=False)
        assert bench.allows(one)


def test_a_password_that_is_mended_is_taken_up(bench: Bench, redis_server: RedisServer) -> None:
    assert bench.allows(limit(3))
    redis_server.command("CONFIG", "SET", "requirepass", "changed")
    redis_server.password = "changed"
    redis_server.command("CLIENT", "KILL", "TYPE", "normal")
    bench.await_change(down=True)
    redis_server.command("CONFIG", "SET", "requirepass", "")
    bench.await_change(down=False)


def run_check(url: str) -> str | None:
    return asyncio.run(check(Settings(url=url)))


def test_the_check_before_the_start() -> None:
    with RedisServer(password="s3cret/@", tcp=True) as server:
        place = f"127.0.0.1:{server.port}"
        assert run_check(f"redis://:s3cret%2F%40@{place}/2") is None
        assert run_check(f"redis://default:s3cret%2F%40@{place}") is None
        for url, expected in (
            (f"redis://:wrong@{place}", "wrong user or password"),
            (f"redis://nobody:wrong@{place}", "wrong user or password"),
            (f"redis://{place}", "requires a password"),
            (f"redis://:s3cret%2F%40@{place}/77", "no database 77"),
        ):
            with pytest.raises(errors.StoreRefused, match=expected) as refusal:
                run_check(url)
            assert "s3cret" not in str(refusal.value)
            assert "wrong@" not in str(refusal.value)
        warning = run_check(f"rediss://{place}")
        assert warning is not None
        assert "does it speak TLS?" in warning
        server.stop()
        warning = run_check(f"redis://:s3cret%2F%40@{place}")
        assert warning is not None
        assert "is down" in warning


def test_what_the_check_writes_after_a_look_at_the_time_is_gone_again() -> None:
    with RedisServer() as server:
        assert run_check(server.url) is None
        said = server.command("INFO", "commandstats")
        assert all(b"cmdstat_%b:calls=" % name in said for name in (b"incr", b"pttl", b"decr", b"del"))
        assert number(server.command("DBSIZE")) == 0


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[RedisServer, int, Path]]:
    tls = certificate.settings(tmp_path)
    server = RedisServer(tcp=True, **tls)
    try:
        port = server.serve_tls()
    except RuntimeError:
        server.close()
        pytest.skip("this Redis was built without TLS")
    yield server, port, Path(tls["tls_cert_file"])
    server.close()


@pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
def test_redis_over_tls(
    tls_server: tuple[RedisServer, int, Path],
    monkeypatch: pytest.MonkeyPatch,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    _, port, trusted = tls_server
    url = f"rediss://127.0.0.1:{port}"
    with pytest.raises(errors.StoreRefused, match="certificate is not accepted"):
        run_check(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    assert run_check(url) is None
    bench = Bench(url, loop_factory)
    assert [bench.allows(limit(2)) for _ in range(3)] == [True, True, False]
    bench.close()
