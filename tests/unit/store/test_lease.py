"""What a worker takes ahead of a limit, against a fake Redis on virtual time."""

import asyncio
import struct
from collections.abc import Callable

from headgate.limits.decision import Banned
from headgate.store import script
from headgate.store.lease import Leases
from tests.unit.store.fake_redis import Command
from tests.unit.store.limits import limit
from tests.unit.store.test_redis import K, Stage, play

__all__ = ["play"]  # a fixture


def counting(most: int, left: int = 60_000) -> Callable[[Command], bytes]:
    """Redis as it answers: the script for leases, and the others as if nothing were left."""
    rest: dict[bytes, int] = {}

    def answer(command: Command) -> bytes:
        if len(command) != 6:
            return b"+%d %d\r\n" % (most + 1, left)
        before = rest.get(command[3], most)
        taken = min(int(command[5]), before)
        rest[command[3]] = before - taken
        return b"+1 %d %d000 %d\r\n" % (before - 1, left, taken) if taken else b"+0 0 %d000\r\n" % left

    return answer


def test_a_question_takes_several_places(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = counting(100)
        one = limit(100, lease=5)
        decisions = [(await stage.ask((one, K, 1)))[0] for _ in range(10)]
        assert [decision.remaining for decision in decisions] == list(range(99, 89, -1))
        assert len(stage.fake.commands) == 2
        assert stage.fake.commands[0][4:] == [struct.pack("<ddd", 100, 60000, 79), b"5"]

    play(story)


def test_who_comes_meanwhile_waits_for_the_answer(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = counting(12)
        one = limit(12, lease=5)
        answers = [stage.ask((one, K, 1)) for _ in range(20)]
        answers += [stage.ask((one, b"other", 1))]
        allowed = [(await answer)[0].allowed for answer in answers]
        assert sum(allowed[:20]) == 12
        keys = [command[3].rpartition(b":")[2] for command in stage.fake.commands]
        assert keys.count(K) == 4, "5, 5 and 2 places, and one refusal"

    play(story)


def test_places_end_with_their_window(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = counting(100, left=1000)
        one = limit(100, lease=50)
        await stage.ask((one, K, 1))
        await asyncio.sleep(0.99)
        await stage.ask((one, K, 1))
        assert len(stage.fake.commands) == 1
        await asyncio.sleep(0.01)
        await stage.ask((one, K, 1))
        assert len(stage.fake.commands) == 2

    play(story)


def test_a_ban_ends_what_this_worker_holds(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = counting(100)
        one = limit(100, lease=50)
        await stage.ask((one, K, 1))
        stage.fake.answer = lambda command: b"+OK\r\n"
        stage.store.ban(one, K, 0.5)
        assert isinstance((await stage.ask((one, K, 1)))[0], Banned)
        stage.fake.answer = counting(100)
        await asyncio.sleep(1.0)
        await stage.ask((one, K, 1))
        assert [command[0] for command in stage.fake.commands] == [b"EVALSHA", b"SET", b"EVALSHA"]

    play(story)


def test_a_ban_gives_up_the_places_that_are_on_their_way_too(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        whole = counting(100)
        stage.fake.answer = lambda command: whole(command) if len(command) == 6 else b"+OK\r\n"
        one = limit(100, lease=50)
        asked = stage.ask((one, K, 1))
        stage.store.ban(one, K, 0.5)
        assert (await asked)[0].allowed
        stage.store._rules[id(one)].over.clear()
        stage.fake.answer = lambda command: (
            b"-ERR value is not an integer or out of range\r\n" if len(command) == 6 else b"+3 0 500000\r\n"
        )
        assert isinstance((await stage.ask((one, K, 1)))[0], Banned), "it was asked for"

    play(story)


def test_a_lost_script_is_sent_again_and_a_banned_key_is_asked_for_in_general(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        one = limit(100, lease=50)
        whole = counting(100)
        stage.fake.answer = lambda command: (
            b"-NOSCRIPT No matching script.\r\n" if command[0] == b"EVALSHA" else whole(command)
        )
        assert (await stage.ask((one, K, 1)))[0].allowed
        assert [command[0] for command in stage.fake.commands] == [b"EVALSHA", b"EVAL"]
        stage.fake.answer = lambda command: (
            b"-ERR value is not an integer or out of range\r\n" if len(command) == 6 else b"+3 0 5000000\r\n"
        )
        assert isinstance((await stage.ask((one, b"banned", 1)))[0], Banned)

    play(story)


def test_when_redis_fails_all_that_wait_are_decided_without_it(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.fake.answer = lambda command: None
        answers = [stage.ask((limit(100, lease=10), K, 1))]
        one = limit(100, "one", lease=10)
        answers += [stage.ask((one, K, 1)) for _ in range(30)]
        assert all([(await answer)[0].allowed for answer in answers])
        assert stage.changes == [True]
        assert len(stage.errors) == 31

    play(story)


def test_other_costs_and_several_limits_take_no_lease(play: Callable[..., None]) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        one, other = limit(100, lease=10), limit(100, "other", lease=10)
        stage.fake.answer = lambda command: b"+1 50 5000000\r\n"
        await stage.ask((one, K, 2))
        stage.fake.answer = lambda command: b"+1 5000 1 5000\r\n"
        await stage.ask((one, K, 1), (other, K, 1))
        assert [len(command) for command in stage.fake.commands] == [12, 7]

    play(story)


def test_what_is_held_is_bounded_and_nobody_who_waits_is_forgotten() -> None:
    leases = Leases(10)
    assert not leases.joins(((), print), b"first")
    for number in range(70_000):
        assert not leases.joins(((), print), b"%d" % number)
        if number > 100:
            leases.answered(b"%d" % number, script.decisions(b"0 0 1000", [(limit(), K, 1)])[0], 0.0)
    assert len(leases._lots) <= 65_536
    assert leases.joins(((), print), b"first")
    assert len(leases.answered(b"first", script.decisions(b"0 0 1000", [(limit(), K, 1)])[0], 0.0)) == 1
