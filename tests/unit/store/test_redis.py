"""The Redis store against a fake Redis, on virtual time: every deadline and pause passes at once and exactly."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

import pytest

from headgate import errors
from headgate.limits.decision import Banned, Decision, Far, Holding
from headgate.limits.refusals import REFUSALS
from headgate.limits.standing import Standing
from headgate.model.config import Store as Settings
from headgate.model.snapshot import LimitState
from headgate.store import script
from headgate.store.base import Check
from headgate.store.check import check
from headgate.store.counts import RedisCounts
from headgate.store.memory import MemoryStore
from headgate.store.redis import RedisStore
from headgate.store.shared import SharedStore
from headgate.testing.clock import ManualClock, VirtualLoop
from tests.unit.store.fake_redis import ALLOWED, REFUSED, Command, FakeRedis
from tests.unit.store.limits import limit
from tests.unit.store.test_held import in_flight
from tests.unit.store.test_holders import open_of

K = b"192.0.2.1"
# What Redis 6 says to a script that looks at the time and then writes, with `lua-replicate-commands no`.
OF_REDIS_6 = (
    "ERR Error running script (call to f_723aced1b2d9532113b514768a05acf0d0256793): @user_script:28: @user_script: 28: "
    "Write commands not allowed after non deterministic commands. Call redis.replicate_commands() at the start of your "
    "script in order to switch to single commands replication mode."
)


class Stage:
    """A store before a fake Redis, and what the store reports."""

    def __init__(self, fake: FakeRedis, url: str = "") -> None:
        self.fake = fake
        self.changes: list[bool] = []
        self.errors: list[LimitState] = []
        self.times: list[float] = []
        self.loop = asyncio.get_running_loop()
        self.store = RedisStore(
            Settings(url=url or f"unix://{fake.path}", deadline=0.05),
            MemoryStore(ManualClock()),
            self.loop,
            on_change=self.changes.append,
            on_error=self.errors.append,
            on_time=self.times.append,
            chance=lambda: 1.0,
        )

    def ask(self, *checks: Check) -> "asyncio.Future[Sequence[Decision]]":
        """The decisions, now or later."""
        answer: asyncio.Future[Sequence[Decision]] = self.loop.create_future()
        inside = True

        def resume(decisions: Sequence[Decision]) -> None:
            assert not inside, "resumed from inside hit"
            answer.set_result(decisions)

        now = self.store.hit(checks, resume)
        inside = False
        if now is not None:
            answer.set_result(now)
        return answer

    async def opened(self) -> None:
        """Waits for the first connection."""
        assert (await self.ask((limit(name="first"), K, 1)))[0].allowed
        self.fake.commands.clear()

    def waits(self) -> int:
        return len(self.store._waiting)


Play = Callable[[Stage], Coroutine[None, None, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Runs a play on a stage; afterwards nothing may be left waiting."""

    def run(story: Play, *, started: bool = True, url: str = "") -> None:
        async def main() -> None:
            fake = FakeRedis(str(tmp_path / "redis"))
            if started:
                await fake.start()
            stage = Stage(fake, url.format(path=fake.path))
            try:
                await story(stage)
            finally:
                stage.store.close()
                if fake._server:
                    await fake.stop()
            assert not stage.waits()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())

    return run


def text(decisions: Sequence[Decision]) -> list[str]:
    return [repr(decision) for decision in decisions]


def test_a_check_is_answered_by_redis(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        assert text(await stage.ask((limit(), K, 1))) == ["<per_ip: allowed, 2 left, 60000000 us>"]
        assert stage.fake.commands[0][0] == b"EVALSHA"
        assert not stage.changes
        assert not stage.errors

    play(story)


def test_the_first_requests_wait_for_the_connection(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        answers = [stage.ask((limit(), K, 1)) for _ in range(3)]
        assert not stage.fake.connections
        assert all([(await answer)[0].allowed for answer in answers])
        assert len(stage.fake.commands) == 3

    play(story)


def test_the_checks_of_one_turn_are_one_write(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        before = stage.fake.writes
        answers = [stage.ask((limit(), b"%d" % number, 1)) for number in range(50)]
        answers.append(stage.ask((limit(2, "a"), K, 1), (limit(2, "b"), K, 1)))
        stage.fake.answer = lambda command: ALLOWED if command[2] == b"1" else b"+1 60 1 60\r\n"
        await asyncio.gather(*answers)
        assert stage.fake.writes == before + 1
        assert len(stage.fake.commands) == 51

    play(story)


def test_of_what_waits_at_once_one_time_is_taken(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.times.clear()
        await asyncio.gather(*[stage.ask((limit(9), K, 1)) for _ in range(5)])
        assert len(stage.times) == 1
        await stage.ask((limit(9), K, 1))
        assert len(stage.times) == 2
        assert all(0 <= seconds < 20 for seconds in stage.times)
        stage.fake.answer = lambda command: None
        await stage.ask((limit(9), K, 1))
        assert len(stage.times) == 2, "a question without an answer has no time"

    play(story)


def test_answers_belong_to_their_questions(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.answer = lambda command: b"+%b 60\r\n" % command[3].rpartition(b":")[2]
        answers = [stage.ask((limit(1000), b"%d" % number, 1)) for number in range(1, 50)]
        assert [(await answer)[0].remaining for answer in answers] == [1000 - number for number in range(1, 50)]

    play(story)


def test_a_client_over_its_limit_is_refused_without_asking_for_a_second(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.answer = lambda command: REFUSED
        one = limit()
        assert not (await stage.ask((one, K, 1)))[0].allowed
        await asyncio.sleep(0.9)
        (refusal,) = await stage.ask((one, K, 1))
        assert not refusal.allowed
        assert refusal.limit is one
        assert refusal.reset_after == pytest.approx(59_099_000, abs=1000)
        assert not (await stage.ask((one, K, 1), (limit(name="b"), K, 1)))[0].allowed
        assert len(stage.fake.commands) == 1
        await asyncio.sleep(0.1)
        assert not (await stage.ask((one, K, 1)))[0].allowed
        assert len(stage.fake.commands) == 2, "somebody may have reset the count"
        stage.fake.answer = lambda command: ALLOWED
        await asyncio.sleep(1.0)
        assert (await stage.ask((one, K, 1)))[0].allowed
        assert (await stage.ask((one, b"other", 1)))[0].allowed

    play(story)


def test_a_limit_beside_it_that_counts_what_is_refused_is_told_of_each_request(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.answer = lambda command: REFUSED if command[2] == b"1" else b"+0 0 60000000 1 8 60000000\r\n"
        one, counting = limit(), limit(9, "all", count_refused=True)
        assert not (await stage.ask((one, K, 1)))[0].allowed
        for _ in range(2):
            told = await stage.ask((one, K, 1), (counting, K, 1))
            assert [decision.allowed for decision in told] == [False, True]
        assert len(stage.fake.commands) == 3

    play(story)


def test_what_is_known_of_a_client_ends_with_its_window(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.answer = lambda command: b"+6 100\r\n"
        one = limit()
        assert not (await stage.ask((one, K, 1)))[0].allowed
        await asyncio.sleep(0.098)
        assert not (await stage.ask((one, K, 1)))[0].allowed
        stage.fake.answer = lambda command: ALLOWED
        await asyncio.sleep(0.001)
        assert (await stage.ask((one, K, 1)))[0].allowed

    play(story)


def test_the_last_allowed_request_says_enough(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.answer = lambda command: b"+3 60000\r\n"
        one = limit()
        assert (await stage.ask((one, K, 1)))[0].allowed
        assert not (await stage.ask((one, K, 1)))[0].allowed
        assert len(stage.fake.commands) == 1

    play(story)


def test_what_is_known_of_clients_is_bounded(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.store.known._ROOM", 4)
    monkeypatch.setattr("headgate.store.redis._RULES", 2)

    async def story(stage: Stage) -> None:
        stage.fake.answer = lambda command: REFUSED
        limits = [limit(name=name) for name in "abcdef"]
        for one in limits:
            for number in range(20):
                assert not (await stage.ask((one, b"%d" % number, 1)))[0].allowed
        assert len(stage.store._rules) <= 2
        assert all(len(rule.over) <= 4 for rule in stage.store._rules.values())

    play(story)


def test_what_found_no_place_on_this_machine_is_charged_as_none(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        stage.store._local = local = SharedStore(SharedStore.create(8), ManualClock())
        one = limit(9, algorithm="concurrency")
        local.hit([(one, b"%d" % number, 1) for number in range(16)])
        stage.fake.answer = lambda command: None
        assert text(await stage.ask((one, K, 1))) == ["<per_ip: allowed, 9 left, 0 us>"]
        assert stage.store._peers.settle(9) == []
        assert not stage.store._holders.has(one, K)

    play(story)


@pytest.mark.parametrize("forgets", [False, True])
def test_of_limits_that_are_far_from_their_end_nothing_more_is_told(play: Callable[..., None], forgets: bool) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"+far\r\n"
        one, other = limit(100), limit(10, "other")
        for checks in (((one, K, 1),), ((one, K, 1), (other, K, 1))):
            for _ in range(2):
                answer = stage.ask(*checks)
                if forgets:  # as where more limits come than are remembered
                    stage.store._rules.clear()
                    stage.store._kept.clear()
                decisions = await answer
                assert all(isinstance(decision, Far) and decision.allowed for decision in decisions)
                assert [decision.limit for decision in decisions] == [check[0] for check in checks]
                assert [decision.remaining for decision in decisions] == [21, 3][: len(checks)]
        assert not stage.changes

    play(story)


def test_what_was_given_back_to_a_redis_that_goes_is_given_back_to_the_next_one(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        flying = in_flight(3)
        stage.fake.answer = lambda command: b"+4 2 0\r\n"
        (decision,) = await stage.ask((flying, K, 1))
        assert decision.allowed
        before = stage.store._holders.id
        stage.fake.answer = lambda command: None
        stage.store.release([(flying, K, 1)])
        await asyncio.sleep(0.01)
        stage.fake.drop()
        stage.fake.commands.clear()
        stage.fake.answer = lambda command: b"+OK\r\n"
        await asyncio.sleep(1.0)
        assert [command[9:] for command in stage.fake.commands] == [[before]]
        assert not open_of(stage.store._holders)

    play(story)


@pytest.mark.parametrize("cost", [1, 2], ids=["plain", "in general"])
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with another"])
def test_who_asks_on_a_new_connection_is_a_new_holder(play: Callable[..., None], others: int, cost: int) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        checks = ((in_flight(30), K, cost), (in_flight(40, "other"), K, cost))[: 1 + others]
        stage.fake.answer = lambda command: b"+far\r\n"
        asked: list[bytes] = []
        for _ in range(2):
            stage.fake.commands.clear()
            for _ in range(2):
                answer: asyncio.Future[Sequence[Decision]] = stage.loop.create_future()
                assert stage.store.hit(checks, answer.set_result) is None
                assert all(isinstance(decision, Holding) for decision in await answer)
            holders = {part for command in stage.fake.commands for part in command[3:] if len(part) == 16}
            assert holders == {stage.store._holders.id}
            asked += holders
            stage.fake.drop()
            await asyncio.sleep(1.0)
        assert len(set(asked)) == 2

    play(story)


def test_a_script_that_redis_lost_is_sent_again(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: ALLOWED if command[0] == b"EVAL" else b"-NOSCRIPT No matching script.\r\n"
        answers = [stage.ask((limit(), b"%d" % number, 1)) for number in range(3)]
        assert all([(await answer)[0].allowed for answer in answers])
        assert [command[0] for command in stage.fake.commands] == [b"EVALSHA"] * 3 + [b"EVAL"] * 3
        assert not stage.errors

    play(story)


def test_a_script_that_redis_cannot_keep_is_an_error(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"-NOSCRIPT No matching script.\r\n"
        assert (await stage.ask((limit(), K, 1)))[0].allowed
        assert stage.changes == [True]

    play(story)


@pytest.mark.parametrize(
    ("on_store_error", "outcomes"), [("allow", [True] * 3), ("deny", [False] * 3), ("local", [True, True, False])]
)
def test_a_silent_redis_costs_the_deadline_once(
    play: Callable[..., None], on_store_error: str, outcomes: list[bool]
) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        two = limit(2, on_store_error=on_store_error)
        begin = stage.loop.time()
        first = await stage.ask((two, K, 1))
        assert 0.05 <= stage.loop.time() - begin < 0.053
        assert stage.changes == [True]
        begin = stage.loop.time()
        rest = [(await stage.ask((two, K, 1)))[0] for _ in range(2)]
        assert stage.loop.time() == begin
        decisions = [first[0], *rest]
        assert [decision.allowed for decision in decisions] == outcomes
        assert [decision.unavailable for decision in decisions] == [on_store_error == "deny"] * 3
        assert stage.errors == [two] * 3

    play(story)


def test_one_timer_stands_for_all(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        begin = stage.loop.time()
        answers = []
        for number in range(4):
            answers.append(stage.ask((limit(on_store_error="allow"), b"%d" % number, 1)))
            await asyncio.sleep(0.01)
        stage.fake.say(ALLOWED * 2)  # the first two are answered in time
        await answers[1]
        timers = [handle for handle in stage.loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        assert sum("_look" in repr(handle) for handle in timers) == 1
        assert len(timers) <= 3  # the others are for the next sign of life, and for what is held
        await answers[3]
        assert 0.07 <= stage.loop.time() - begin < 0.073  # the third was due
        assert len(stage.errors) == 2

    play(story)


def test_an_answer_that_lay_unread_while_the_process_was_late_counts(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        answer = stage.ask((limit(), K, 1))
        await asyncio.sleep(0.049)
        # The clock jumps past the deadline before the loop reads, as when this process was held up.
        stage.loop._selector.now += 0.2  # type: ignore[attr-defined]
        stage.store._look()
        stage.fake.say(b"+2 5\r\n")
        assert (await answer)[0].remaining == 1
        assert not stage.changes

    play(story)


def test_a_late_answer_reaches_nobody(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        await stage.ask((limit(on_store_error="allow"), K, 1))
        old = stage.fake.connections[-1]
        stage.fake.answer = lambda command: b"+1 60\r\n"
        await asyncio.sleep(0.1)
        assert stage.changes == [True, False]
        assert len(stage.fake.connections) == 2
        old.write(REFUSED * 5)
        assert (await stage.ask((limit(), b"new", 1)))[0].remaining == 2

    play(story)


def test_a_lost_connection_decides_what_waits_at_once(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        begin = stage.loop.time()
        answers = [stage.ask((limit(on_store_error="allow"), K, 1)) for _ in range(3)]
        await asyncio.sleep(0.001)
        stage.fake.drop()
        await asyncio.gather(*answers)
        assert stage.loop.time() - begin < 0.01
        assert len(stage.errors) == 3

    play(story)


def test_an_error_in_one_waiting_request_does_not_reach_the_others(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        seen: list[object] = []
        stage.loop.set_exception_handler(lambda loop, context: seen.append(context["exception"]))

        def fails(decisions: Sequence[Decision]) -> None:
            raise ZeroDivisionError

        assert stage.store.hit([(limit(), K, 1)], fails) is None
        answer = stage.ask((limit(on_store_error="allow"), K, 1))
        assert (await answer)[0].allowed
        assert isinstance(seen[0], ZeroDivisionError)

    play(story)


@pytest.mark.parametrize(
    "error",
    [
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-ERR something new\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
def test_whatever_redis_says_instead_of_an_answer_opens_the_breaker(
    play: Callable[..., None], error: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: error
        answers = [stage.ask((limit(on_store_error="allow"), b"%d" % number, 1)) for number in range(3)]
        assert all([(await answer)[0].allowed for answer in answers])
        assert stage.changes == [True]
        assert len(stage.errors) == 3
        stage.fake.answer = lambda command: ALLOWED
        await asyncio.sleep(0.1)
        assert stage.changes == [True, False]

    caplog.set_level(logging.INFO, "headgate.store")
    play(story)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "is down" in caplog.messages[0]
    assert "is back" in caplog.messages[1]


def test_a_redis_whose_setting_is_in_the_way_is_left_until_that_is_mended(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: f"-{OF_REDIS_6}\r\n".encode()
        stage.fake.opens = False
        assert (await stage.ask((limit(on_store_error="allow"), K, 1)))[0].allowed
        await asyncio.sleep(10)
        assert stage.changes == [True], "its opening says the same"
        assert len(stage.fake.openings) > 3
        stage.fake.opens = True
        await asyncio.sleep(3)
        assert stage.changes == [True, False]

    caplog.set_level(logging.INFO, "headgate.store")
    play(story)
    down, _ = caplog.messages
    assert down.endswith(
        "is down: its lua-replicate-commands is off, and must be on (a setting of Redis 6, on by default); "
        "on_store_error decides"
    )


@pytest.mark.parametrize("answer", [b"4 %b" % (b"9" * 400), b"%b 60000" % (b"9" * 400), b"4 -1"])
def test_numbers_that_redis_cannot_mean_hold_nobody_up(play: Callable[..., None], answer: bytes) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"+%b\r\n" % answer
        decision = (await stage.ask((limit(on_store_error="deny"), K, 1)))[0]
        assert decision.unavailable
        assert stage.changes == [True]

    play(story)


@pytest.mark.parametrize(
    "error",
    [
        "WRONGTYPE Operation against a key",
        "ERR value is not an integer or out of range",
        "ERR increment or decrement would overflow",
    ],
)
def test_somebody_elses_value_under_a_key_is_the_trouble_of_that_key(play: Callable[..., None], error: str) -> None:
    def answer(command: Command) -> bytes:
        return f"-{error}\r\n".encode() if command[3].endswith(b":bad") else ALLOWED

    async def story(stage: Stage) -> None:
        stage.fake.answer = answer
        one = limit(on_store_error="deny")
        assert (await stage.ask((one, b"bad", 1)))[0].unavailable
        assert (await stage.ask((one, K, 1)))[0].allowed
        assert not stage.changes
        assert stage.errors == [one]

    play(story)


def test_answers_to_nothing_open_the_breaker(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.say(ALLOWED * 2)
        await asyncio.sleep(0.001)
        assert stage.changes == [True]

    play(story)


def test_it_starts_without_redis_and_finds_it_later(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def story(stage: Stage) -> None:
        assert (await stage.ask((limit(1), K, 1)))[0].allowed
        assert not (await stage.ask((limit(1), K, 1)))[0].allowed
        assert stage.changes == [True]
        await asyncio.sleep(30)
        await stage.fake.start()
        await asyncio.sleep(2.0)
        assert stage.changes == [True, False]
        assert (await stage.ask((limit(3), K, 1)))[0].remaining == 2

    caplog.set_level(logging.INFO, "headgate.store")
    play(story, started=False)
    assert len(caplog.messages) == 2  # not one for each attempt


def test_a_new_reason_is_logged(play: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    async def story(stage: Stage) -> None:
        await asyncio.sleep(1)
        stage.fake.opens = False
        stage.fake.answer = lambda command: b"-NOAUTH Authentication required.\r\n"
        await stage.fake.start()
        await asyncio.sleep(10)

    play(story, started=False)
    assert ["No such file" in caplog.messages[0], "requires a password" in caplog.messages[1]] == [True, True]
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("end", ["killed", "silent"])
def test_a_redis_that_goes_away_is_one_line_and_its_return_another(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture, end: str
) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        if end == "killed":
            await stage.fake.stop()  # its connection ends, and new ones are refused
        else:
            stage.fake.opens, stage.fake.answer = False, lambda command: None
            await stage.ask((limit(), K, 1))
        await asyncio.sleep(10)
        assert stage.store.reason != caplog.messages[0], "operators are told why it cannot be reached now"
        if end == "killed":
            await stage.fake.start()
        stage.fake.opens = True
        await asyncio.sleep(10)

    caplog.set_level(logging.INFO, "headgate.store")
    play(story)
    first = "Redis closed the connection" if end == "killed" else "no answer within 50 ms"
    assert [message.partition(" is ")[2] for message in caplog.messages] == [
        f"down: {first}; on_store_error decides",
        "back",
    ]


def test_what_a_redis_says_of_its_own_trouble_is_told_once_while_it_comes_and_goes(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.opens, stage.fake.answer = False, lambda command: b"-NOAUTH Authentication required.\r\n"
        stage.fake.drop()
        await asyncio.sleep(10)
        await stage.fake.stop()
        await asyncio.sleep(10)
        await stage.fake.start()
        await asyncio.sleep(10)

    play(story)
    reasons = [message.partition(" is down: ")[2].partition(" (")[0] for message in caplog.messages]
    assert reasons == ["Redis closed the connection; on_store_error decides", "it requires a password"]


def test_a_redis_that_never_finishes_the_opening_is_given_up(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.opens = False
        stage.fake.answer = lambda command: None
        begin = stage.loop.time()
        assert (await stage.ask((limit(), K, 1)))[0].allowed
        assert stage.loop.time() - begin < 0.053
        await asyncio.sleep(2.5)
        assert len(stage.fake.connections) == 2
        stage.fake.opens = True
        await asyncio.sleep(3.0)
        assert stage.changes == [True, False]

    play(story)
    assert "no answer within 50 ms" in caplog.messages[0]
    assert len(caplog.messages) == 1  # that it does not answer within 2 s either is no news


def test_the_opening_logs_in_and_chooses_the_database(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        assert stage.fake.openings[0] == [b"AUTH", b"alice", b"p:w"]
        assert stage.fake.openings[1] == [b"SELECT", b"3"]
        assert stage.fake.openings[2][0] == b"EVAL"

    play(story, url="unix://alice:p%3Aw@{path}?db=3")


def test_a_password_without_a_user(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        assert stage.fake.openings[0] == [b"AUTH", b"pw"]

    play(story, url="unix://:pw@{path}")


def test_closing_decides_what_waits_and_what_comes(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        answer = stage.ask((limit(on_store_error="deny"), K, 1))
        stage.store.close()
        stage.store.close()
        assert (await answer)[0].unavailable
        assert (await stage.ask((limit(on_store_error="deny"), K, 1)))[0].unavailable
        await asyncio.sleep(10)
        assert len(stage.fake.openings) == 1
        assert stage.changes == []

    play(story)


def test_closing_before_the_connection_stands(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        answer = stage.ask((limit(), K, 1))
        stage.store.close()
        assert (await answer)[0].allowed
        await asyncio.sleep(10)
        assert not stage.fake.openings

    play(story)


def test_limits_that_disagree_about_a_lost_store_deny_together(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        local, deny = limit(1, "a"), limit(1, "b", on_store_error="deny")
        allow = limit(1, "c", on_store_error="allow")
        stage.fake.drop()
        await asyncio.sleep(1)
        assert stage.changes == [True]
        assert [decision.allowed for decision in await stage.ask((local, K, 1), (deny, K, 1))] == [True, False]
        first = await stage.ask(
            (allow, K, 1), (local, K, 1)
        )  # nothing was taken on this machine by the refused request
        assert [decision.allowed for decision in first] == [True, True]
        second = await stage.ask((allow, K, 1), (local, K, 1))
        assert [decision.limit for decision in second] == [allow, local]
        assert [decision.allowed for decision in second] == [True, False]

    play(story, started=False)


def run_check(tmp_path: Path, answer: Callable[[Command], bytes | None], url: str = "unix://{path}") -> str | None:
    async def main() -> str | None:
        fake = FakeRedis(str(tmp_path / "redis"))
        fake.opens = False
        fake.answer = answer
        await fake.start()
        try:
            return await check(Settings(url=url.format(path=fake.path)), timeout=1.0)
        finally:
            await fake.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def test_the_check_says_nothing_when_all_is_well(tmp_path: Path) -> None:
    assert run_check(tmp_path, lambda command: ALLOWED) is None
    assert run_check(tmp_path, lambda command: ALLOWED, url="") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "wrong user or password"),
        (b"-ERR invalid password\r\n", "wrong user or password"),
        (b"-NOAUTH Authentication required.\r\n", "requires a password"),
        (b"-ERR AUTH <password> called without any password configured for the default user.\r\n", "it has none"),
        (b"-ERR DB index is out of range\r\n", "it has no database 3"),
        (b"-NOPERM this user has no permissions to run the 'eval' command\r\n", "NOPERM"),
        (b"-DENIED Redis is running in protected mode " + b"x" * 500 + b"\r\n", "DENIED"),
        (f"-{OF_REDIS_6}\r\n".encode(), "its lua-replicate-commands is off, and must be on"),
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n", "not a Redis"),
    ],
)
def test_the_check_refuses_what_only_other_settings_mend(tmp_path: Path, answer: bytes, expected: str) -> None:
    with pytest.raises(errors.StoreRefused, match=expected) as refusal:
        run_check(tmp_path, lambda command: answer, url="unix://:geheim@{path}?db=3")
    line = str(refusal.value)
    assert line.startswith("store.url: unix://")
    assert "geheim" not in line
    assert "\n" not in line
    assert len(line) < 400
    assert refusal.value.exit_code == 78


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "LOADING"),
        (b"-OOM command not allowed\r\n", "OOM"),
        (b"-ERR Error running script (call to f_1): @user_script:3: -OOM command not allowed\r\n", "OOM"),
        (b"-ERR max number of clients reached\r\n", "max number of clients"),
        (None, "no answer within 1 s"),
    ],
)
def test_the_check_warns_of_what_may_pass(tmp_path: Path, answer: bytes | None, expected: str) -> None:
    warning = run_check(tmp_path, lambda command: answer)
    assert warning is not None
    assert "is down" in warning
    assert expected in warning


def test_the_check_warns_when_nobody_is_there(tmp_path: Path) -> None:
    warning = run_check(tmp_path, lambda command: ALLOWED, url="unix://{path}.not")
    assert warning is not None
    assert os.strerror(2) in warning


@pytest.mark.parametrize("url", ["unix:///a%00b", "redis://" + "x" * 64 + ".example", "unix:///" + "x" * 200])
def test_a_place_that_cannot_be_is_a_warning_and_no_crash(tmp_path: Path, url: str) -> None:
    assert run_check(tmp_path, lambda command: ALLOWED, url=url) is not None


def test_the_check_refuses_what_is_no_url(tmp_path: Path) -> None:
    with pytest.raises(errors.StoreRefused, match="expected redis://"):
        run_check(tmp_path, lambda command: ALLOWED, url="http://h")


def test_a_ban_goes_to_redis_and_is_known_at_once(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"+OK\r\n" if command[0] == b"SET" else ALLOWED
        one = limit()
        stage.store.ban(one, K, 2.0)
        (refusal,) = await stage.ask((one, K, 1))
        assert isinstance(refusal, Banned)
        assert refusal.reset_after == 2_000_000
        assert (await stage.ask((one, b"other", 1)))[0].allowed
        assert stage.fake.commands[0][2:] == [b"ban", b"PX", b"2000"]
        assert not stage.errors
        await asyncio.sleep(2.0)
        assert (await stage.ask((one, K, 1)))[0].allowed

    play(story)


def test_a_ban_that_redis_cannot_take_is_no_request_that_waits(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"-OOM too much\r\n"
        stage.store.ban(limit(), K, 2.0)
        await asyncio.sleep(0.01)
        assert stage.changes == [True]
        assert not stage.errors

    play(story)


def test_a_ban_is_made_on_this_machine_while_redis_is_down(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        one = limit()
        await stage.ask((one, K, 1))
        assert stage.changes == [True]
        stage.store._peers.heard(b"2")
        stage.store.ban(one, K, 2.0)
        assert isinstance((await stage.ask((one, K, 1)))[0], Banned)
        assert (await stage.ask((one, b"other", 1)))[0].allowed

    play(story, started=False)


def test_a_value_that_only_the_other_script_knows_is_asked_for_by_it(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        general = script._GENERAL[0].split(b"\r\n")[3]
        answers = {general: b"+3 0 7000000\r\n"}
        stage.fake.answer = lambda command: answers.get(command[1], b"-ERR value is not an integer\r\n")
        (refusal,) = await stage.ask((limit(), K, 1))
        assert isinstance(refusal, Banned)
        assert refusal.reset_after == 7_000_000
        assert [len(command) for command in stage.fake.commands] == [5, 12]
        assert not stage.errors

    play(story)


def test_headgates_say_that_they_live_and_hear_of_the_others(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.alive = b"+3\r\n"
        await stage.opened()
        assert len(stage.fake.signs) == 1
        await asyncio.sleep(11)
        assert len(stage.fake.signs) == 3
        await stage.fake.stop()
        one = limit(6)
        answers = [(await stage.ask((one, K, 1)))[0].allowed for _ in range(4)]
        assert answers == [True, True, False, False], "a third of six"

    play(story)


def test_a_redis_that_flaps_while_it_hears_of_all_again_changes_no_share(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.alive = b"+3\r\n"
        await stage.opened()
        await asyncio.sleep(0.1)
        stage.fake.alive = b"+1\r\n"  # of an empty one
        for _ in range(2):
            stage.fake.drop()
            await asyncio.sleep(0.5)
        assert stage.changes == [True, False] * 2
        assert stage.store.headgates == 3
        await asyncio.sleep(4)
        assert stage.store.headgates == 3
        await asyncio.sleep(1)
        assert stage.store.headgates == 1

    play(story)


@pytest.mark.parametrize("answer", [b"-NOPERM this user has no permissions\r\n", b"$-1\r\n", b""])
def test_a_sign_of_life_that_redis_does_not_take_is_no_reason_to_leave_it(
    play: Callable[..., None], answer: bytes
) -> None:
    async def story(stage: Stage) -> None:
        stage.fake.alive = answer
        await stage.opened()
        await asyncio.sleep(6)
        assert not stage.changes
        assert answer == b"" or (await stage.ask((limit(), K, 1)))[0].allowed

    play(story)


def test_redis_is_charged_with_what_passed_without_it(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        await stage.fake.stop()
        one, denied = limit(6), limit(6, "denied", on_store_error="deny")
        for _ in range(2):
            assert (await stage.ask((one, K, 1)))[0].allowed
        assert (await stage.ask((one, b"other", 3)))[0].allowed
        assert not (await stage.ask((denied, K, 1)))[0].allowed
        stage.fake.commands.clear()
        stage.fake.answer = lambda command: b"+1 1 1\r\n"
        await stage.fake.start()
        while stage.changes[-1]:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
        name = b"headgate:per_ip:client_ip:fixed_window:6/60000000:"
        first, second = stage.fake.commands
        assert (first[0], second[0]) == (b"EVAL", b"EVALSHA")
        assert first[2:] == [b"1", name + b"other", b"f", b"6", b"60000", b"6", b"1000", b"0", b"r", b"3"]
        assert second[2:] == [b"1", name + K, b"f", b"6", b"60000", b"6", b"1000", b"0", b"r", b"2"]
        assert stage.changes == [True, False]

    play(story)


CHARGED = [b"1", b"headgate:per_ip:client_ip:fixed_window:6/60000000:" + K]
CHARGED += [b"f", b"6", b"60000", b"6", b"1000", b"0", b"r"]


def test_what_a_request_turned_out_to_cost_goes_to_redis(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"+1 1 1\r\n" if command[0] == b"EVALSHA" else ALLOWED
        one = limit(6, settle="free:5xx")
        stage.store.charge([(one, K, -2)])
        assert (await stage.ask((one, K, 1)))[0].remaining == 1
        charged, asked = stage.fake.commands
        assert charged[2:] == [*CHARGED, b"-2"]
        assert asked[2:] == [*CHARGED[:-1], b"-", b"1"], (
            "refused requests do not count on where something is given back"
        )

    play(story)


def test_a_client_may_be_given_something_back_by_another_worker_at_any_time(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"+0 0 60000000\r\n"
        for _ in range(2):
            assert not (await stage.ask((limit(6, settle="free:5xx"), K, 1)))[0].allowed
        assert len(stage.fake.commands) == 2

    play(story)


def test_a_charge_for_which_redis_lost_the_script_is_sent_again(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"-NOSCRIPT No matching script\r\n" if command[0] == b"EVALSHA" else ALLOWED
        stage.store.charge([(limit(6), K, 3)])
        while stage.waits() or len(stage.fake.commands) < 2:
            await asyncio.sleep(0.001)
        first, second = stage.fake.commands
        assert (first[0], second[0]) == (b"EVALSHA", b"EVAL")
        assert first[2:] == second[2:] == [*CHARGED, b"3"]
        assert not stage.changes

    play(story)


@pytest.mark.parametrize(
    ("answer", "changes"), [(b"-ERR value is not an integer\r\n", []), (b"-OOM command not allowed\r\n", [True])]
)
def test_a_charge_that_redis_cannot_take_is_no_request_that_waits(
    play: Callable[..., None], answer: bytes, changes: list[bool]
) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: answer
        stage.store.charge([(limit(6), K, 3)])
        while stage.waits():
            await asyncio.sleep(0.001)
        assert stage.changes == changes

    play(story)


def test_a_charge_is_made_on_this_machine_while_redis_is_down(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        await stage.fake.stop()
        one, lax = limit(6), limit(6, "lax", on_store_error="allow")
        assert (await stage.ask((one, K, 1)))[0].remaining == 5
        stage.store.charge([(one, K, 4), (lax, K, 4)])
        assert (await stage.ask((one, K, 1)))[0].remaining == 0
        stage.store.charge([(one, K, -2)])
        assert (await stage.ask((one, K, 1)))[0].remaining == 1
        owed = {check[0].limit.name: check[2] for check in stage.store._peers.settle(100)}
        assert owed == {"per_ip": 5, "lax": 4}, "what Redis had counted settles, whatever becomes of requests now"

    play(story)


@pytest.mark.parametrize("on_store_error", ["local", "allow", "deny"])
@pytest.mark.parametrize("gap", [1.0, 70.0], ids=["soon", "when its window has ended"])
def test_what_is_given_back_while_redis_is_down_is_given_back_when_it_is_back(
    play: Callable[..., None], gap: float, on_store_error: str
) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        await stage.fake.stop()
        await asyncio.sleep(0.01)
        one = limit(6, on_store_error=on_store_error, settle="response_bytes")
        await asyncio.sleep(gap)
        for cost in (-2, -1):
            stage.store.charge([(one, K, cost)])
        stage.fake.commands.clear()
        for _ in range(2):
            await back(stage)
            await asyncio.sleep(1.0)
            assert [command[-1] for command in stage.fake.commands] == ([b"-3"] if gap == 1.0 else []), "once"
            stage.fake.drop()
            await asyncio.sleep(0.01)
            await stage.fake.stop()

    play(story)


@pytest.mark.parametrize("cost", [3, -3])
def test_a_charge_that_redis_refuses_for_now_is_charged_when_it_is_back(play: Callable[..., None], cost: int) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        stage.store.charge([(limit(6, settle="response_bytes"), K, cost)])
        while not stage.changes:
            await asyncio.sleep(0.001)
        stage.fake.commands.clear()
        stage.fake.answer = lambda command: b"+1 1 1\r\n"
        await asyncio.sleep(10.0)
        assert stage.changes == [True, False]
        assert [command[-1] for command in stage.fake.commands] == [b"%d" % cost]

    play(story)


@pytest.mark.parametrize("answer", [b"", b"-ERR something new\r\n"], ids=["not answered", "of unknown effect"])
def test_a_charge_that_redis_may_have_taken_is_not_charged_again(play: Callable[..., None], answer: bytes) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: answer
        stage.store.charge([(limit(6, settle="response_bytes"), K, -3)])
        while not stage.changes:
            await asyncio.sleep(0.001)
        stage.fake.commands.clear()
        stage.fake.answer = lambda command: b"+1 1 1\r\n"
        await asyncio.sleep(10.0)
        assert stage.changes == [True, False]
        assert not stage.fake.commands

    play(story)


@pytest.mark.parametrize("breaks", [False, True], ids=["still there", "connected anew"])
def test_a_give_back_that_redis_refuses_for_now_is_said_again(play: Callable[..., None], breaks: bool) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        flying = in_flight(3)
        stage.fake.answer = lambda command: b"+4 2 0\r\n"
        assert (await stage.ask((flying, K, 1)))[0].allowed
        before = stage.store._holders.id
        stage.fake.answer = lambda command: b"-READONLY You can't write against a read only replica.\r\n"
        stage.store.release([(flying, K, 1)])
        await asyncio.sleep(0.01)
        assert len(open_of(stage.store._holders)) == 1
        assert not stage.changes
        if breaks:
            stage.fake.drop()
        stage.fake.commands.clear()
        stage.fake.answer = lambda command: b"+OK\r\n"
        await asyncio.sleep(11.0)
        assert [command[6:] for command in stage.fake.commands] == [[b"0", b"0", b"0", *([before] * breaks)]]
        assert not open_of(stage.store._holders)

    play(story)


def test_what_an_operator_is_refused_for_now_is_no_word_of_a_holder(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"-OOM command not allowed\r\n"
        with pytest.raises(errors.StoreDown, match="OOM"):
            await RedisCounts(stage.store).look(limit(), K)
        assert not stage.store._holders._held

    play(story)


async def owing(stage: Stage, most: int) -> LimitState:
    """So many keys are owed one request each when it is down."""
    await stage.opened()
    await stage.fake.stop()
    one = limit(6, period=3600.0)
    for number in range(most):
        assert (await stage.ask((one, b"%d" % number, 1)))[0].allowed
    stage.fake.commands.clear()
    return one


async def back(stage: Stage) -> None:
    await stage.fake.start()
    while stage.changes[-1]:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)


def test_a_great_debt_is_charged_in_parts_that_hold_nobody_up(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await owing(stage, 200)
        stage.fake.answer = lambda command: None
        await back(stage)
        sizes = []
        while stage.fake.commands:
            sizes.append(len(stage.fake.commands))
            stage.fake.commands.clear()
            stage.fake.say(b"+1 1 1\r\n" * sizes[-1])
            await asyncio.sleep(0.001)
        assert sizes == [64, 64, 64, 8]
        assert stage.changes == [True, False]

    play(story)


def test_what_is_given_back_before_it_was_charged_is_not_charged(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        one = await owing(stage, 200)
        stage.fake.answer = lambda command: None
        await back(stage)
        charged = {command[3].rpartition(b":")[2] for command in stage.fake.commands}
        key = next(key for key in (b"%d" % number for number in range(200)) if key not in charged)
        stage.store.charge([(one, key, -1)])
        stage.fake.answer = lambda command: b"+1 1 1\r\n"
        stage.fake.say(b"+1 1 1\r\n" * 64)
        await asyncio.sleep(0.01)
        assert len(stage.fake.commands) == 199
        assert not any(command[3].endswith(b":" + key) for command in stage.fake.commands)

    play(story)


@pytest.mark.parametrize("trouble", ["silent", "lost"])
def test_a_redis_that_fails_again_while_it_is_charged_never_charges_twice(
    play: Callable[..., None], trouble: str
) -> None:
    async def story(stage: Stage) -> None:
        await owing(stage, 200)
        stage.fake.answer = lambda command: None
        await back(stage)
        told = [command[3] for command in stage.fake.commands]
        if trouble == "lost":
            stage.fake.drop()
        while stage.changes != [True, False, True]:
            await asyncio.sleep(0.01)
        stage.fake.commands.clear()
        stage.fake.answer = lambda command: b"+1 1 1\r\n"
        while stage.changes[-1]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        again = [command[3] for command in stage.fake.commands]
        assert len(told) == 64, "what was on its way may have been counted, so it is not told again"
        assert len(again) == 200 - 64
        assert len({*told, *again}) == 200

    play(story)


def test_a_charge_for_a_redis_that_lost_the_script_is_told_again(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await owing(stage, 3)
        lost = b"-NOSCRIPT No matching script.\r\n"
        stage.fake.answer = lambda command: b"+1 1 1\r\n" if command[0] == b"EVAL" else lost
        await back(stage)
        assert [command[0] for command in stage.fake.commands] == [b"EVAL"] + [b"EVALSHA"] * 2 + [b"EVAL"] * 2
        assert {command[-2] for command in stage.fake.commands} == {b"r"}
        assert stage.changes == [True, False]

    play(story)


def test_a_charge_for_somebody_elses_value_is_left_out(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await owing(stage, 3)
        stage.fake.answer = lambda command: b"-ERR value is not an integer\r\n"
        await back(stage)
        assert len(stage.fake.commands) == 3
        assert stage.changes == [True, False]

    play(story)


def test_a_ban_on_its_way_to_a_redis_that_fails_is_made_on_this_machine(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        one = limit()
        stage.store.ban(one, K, 60.0)
        await asyncio.sleep(0.01)
        await stage.fake.stop()
        await asyncio.sleep(10)
        assert isinstance((await stage.ask((one, K, 1)))[0], Banned)

    play(story)


def test_what_is_known_of_a_key_that_an_operator_changed_is_forgotten(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: REFUSED
        one = limit()
        counter = limit(name=f"{one.limit.name}{REFUSALS}")
        other = limit(name="other")
        for asked in (one, counter, other):
            for _ in range(2):
                assert not (await stage.ask((asked, K, 1)))[0].allowed
        stage.store.ban(one, b"banned", 60.0)
        while stage.waits():
            await asyncio.sleep(0.001)
        stage.fake.commands.clear()
        stage.fake.answer = lambda command: ALLOWED
        stage.store.forget("per_ip", K)
        assert [(await stage.ask((asked, K, 1)))[0].allowed for asked in (one, counter, other)] == [True, True, False]
        assert not (await stage.ask((one, b"banned", 1)))[0].allowed
        stage.store.forget("per_ip", b"banned")
        assert (await stage.ask((one, b"banned", 1)))[0].allowed
        assert len(stage.fake.commands) == 3

    play(story)


def test_all_that_is_known_of_keys_may_be_forgotten(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        leased, one, flying = limit(100, lease=10), limit(name="one"), in_flight(3)
        stage.fake.answer = lambda command: b"+4 2 0\r\n"
        assert (await stage.ask((flying, K, 1)))[0].allowed
        stage.fake.answer = lambda command: b"+1 90 60000000 10\r\n"
        assert (await stage.ask((leased, K, 1)))[0].allowed
        stage.fake.answer = lambda command: REFUSED
        assert not (await stage.ask((one, K, 1)))[0].allowed
        waiting = stage.ask((leased, b"waits", 1))
        stage.fake.commands.clear()
        stage.store.forget_all()
        stage.fake.answer = lambda command: ALLOWED if b"one:" in command[3] else b"+1 90 60000000 10\r\n"
        assert (await waiting)[0].allowed
        assert (await stage.ask((one, K, 1)))[0].allowed
        assert (await stage.ask((leased, K, 1)))[0].allowed
        assert (await stage.ask((leased, b"waits", 1)))[0].allowed
        assert len(stage.fake.commands) == 4
        stage.store.release([(flying, K, 1)])
        stage.fake.answer = lambda command: b"+OK\r\n"
        while stage.waits():
            await asyncio.sleep(0.001)
        assert not open_of(stage.store._holders)

    play(story)


def test_a_ban_by_an_operator_ends_what_is_held_of_a_lease(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        one = limit(100, lease=10)
        stage.fake.answer = lambda command: b"+1 99 60000000 10\r\n"
        assert (await stage.ask((one, K, 1)))[0].allowed
        assert (await stage.ask((one, K, 1)))[0].allowed
        assert len(stage.fake.commands) == 1
        stage.store.forget("per_ip", K)
        assert (await stage.ask((one, K, 1)))[0].allowed
        assert len(stage.fake.commands) == 2

    play(story)


def test_an_operator_sees_what_redis_holds(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        counts = RedisCounts(stage.store)
        stage.fake.answer = lambda command: b"*4\r\n$4\r\n1000\r\n$2\r\n20\r\n:29999\r\n$1\r\n2\r\n"
        assert await counts.look(limit(), K) == Standing(1, 30_000_000, 0)
        assert stage.fake.commands[0][2:] == [b"1", b"headgate:per_ip:client_ip:fixed_window:3/60000000:" + K]
        stage.fake.answer = lambda command: b"*4\r\n$4\r\n1000\r\n$2\r\n20\r\n:-1\r\n$1\r\n3\r\n"
        assert await counts.look(limit(), K) == Standing(0, 60_000_000, 60_000_000)
        stage.fake.answer = lambda command: b"*4\r\n$4\r\n1000\r\n$2\r\n20\r\n:5000\r\n$3\r\nban\r\n"
        assert await counts.look(limit(), K) == Standing(0, 5_000_000, 5_000_000, is_banned=True)
        assert stage.errors == []

    play(story)


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("fixed_window", b"many"),
        ("gcra", b"2"),
        ("sliding_window", b"1 2 x"),
        ("gcra", b"9999999999999999999 0 0"),
    ],
)
def test_a_value_that_is_no_count_is_said_to_be_none(play: Callable[..., None], algorithm: str, value: bytes) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"*4\r\n$1\r\n1\r\n$1\r\n1\r\n:-1\r\n$%d\r\n%b\r\n" % (len(value), value)
        with pytest.raises(errors.StoreDown, match="no count of this limit"):
            await RedisCounts(stage.store).look(limit(algorithm=algorithm), K)

    play(story)


def test_what_redis_refuses_an_operator_is_no_reason_to_leave_it(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"-NOPERM this user has no permissions to run the 'del' command\r\n"
        with pytest.raises(errors.StoreDown, match="the limit store refuses: NOPERM"):
            await RedisCounts(stage.store).reset(limit(), K)
        stage.fake.answer = lambda command: ALLOWED
        assert (await stage.ask((limit(), K, 1)))[0].allowed
        assert stage.changes == []

    play(story)


def test_an_operator_does_not_wait_for_a_silent_redis(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        counts = RedisCounts(stage.store)
        stage.fake.answer = lambda command: None
        gone = asyncio.create_task(counts.ban(limit(), K, 60.0))
        waiting = asyncio.create_task(counts.look(limit(), K))
        await asyncio.sleep(0)
        gone.cancel()
        begin = stage.loop.time()
        with pytest.raises(errors.StoreDown, match="does not answer"):
            await waiting
        assert stage.loop.time() - begin <= 0.06
        await stage.fake.stop()
        with pytest.raises(errors.StoreDown, match="does not answer"):
            await counts.unban(limit(), K)
        assert stage.errors == []

    play(story)


def test_a_question_of_several_limits_is_kept_and_none_is_taken_for_another(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: b"+1 60000 1 60000\r\n"
        one, two, three = (limit(name=name) for name in "abc")
        kept = ((one, K, 1), (two, K, 1))
        for checks in (kept, kept, ((two, K, 1), (three, K, 1)), [(one, b"x", 1), (two, K, 1)], kept):
            answer: asyncio.Future[Sequence[Decision]] = stage.loop.create_future()
            assert stage.store.hit(checks, answer.set_result) is None
            decisions = await answer
            assert [decision.limit for decision in decisions] == [checks[0][0], checks[1][0]]
        keys = [[name.rpartition(b":")[2] for name in command[3:5]] for command in stage.fake.commands]
        assert keys == [[K, K]] * 3 + [[b"x", K], [K, K]]
        assert [command[3:5] for command in stage.fake.commands].count(stage.fake.commands[0][3:5]) == 3
        assert len(stage.store._kept) == 2
        for number in range(5000):
            stage.store.hit(((one, b"%d" % number, 1), (two, K, 1)), lambda decisions: None)
        assert len(stage.store._kept) <= 4096
        while stage.waits():
            await asyncio.sleep(0.001)

    play(story)
