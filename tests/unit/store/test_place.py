"""Where a store finds its Redis, with fakes for the Sentinels and for the Redis, on virtual time."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack

import pytest

from headgate.model.config import Store as Settings
from headgate.store.link import LinkFailed
from headgate.store.memory import MemoryStore
from headgate.store.place import find
from headgate.store.redis import RedisStore
from headgate.testing.clock import ManualClock, VirtualLoop
from tests.unit.store.fake_redis import ALLOWED, Command, FakeRedis, is_probe

MASTER = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
REPLICA = b"*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:0\r\n"
DENIED = b"-NOPERM this user has no permissions to run the 'role' command\r\n"


class Stage:
    """Three Sentinels and two Redis, each of which says that it is a master until told otherwise."""

    def __init__(self, sentinels: list[FakeRedis], servers: list[FakeRedis]) -> None:
        self.sentinels, self.servers = sentinels, servers
        self.roles = {server.port: MASTER for server in servers}
        for server in servers:
            server.opens = False
            server.answer = self._answers(server.port)
        for sentinel in sentinels:
            sentinel.opens = False
        self.names(0)
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in sentinels)}/main"

    def _answers(self, port: int) -> Callable[[Command], bytes]:
        return lambda command: (
            ALLOWED if is_probe(command) else self.roles[port] if command == [b"ROLE"] else b"+OK\r\n"
        )

    def names(self, place: int, *sentinels: int) -> None:
        """From now on these Sentinels, or all, say that this one is the master."""
        port = b"%d" % self.servers[place].port
        for number in sentinels or range(3):
            self.sentinels[number].answer = lambda command: (
                b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%b\r\n" % (len(port), port)
            )

    def asked(self) -> list[int]:
        """How often each Sentinel was."""
        return [sum(command[0] == b"SENTINEL" for command in one.openings) for one in self.sentinels]


Story = Callable[[Stage], Coroutine[None, None, None]]


def play(story: Story) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            fakes = [FakeRedis() for _ in range(5)]
            for fake in fakes:
                await fake.start()
                stack.push_async_callback(fake.stop)
            await story(Stage(fakes[:3], fakes[3:]))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


class Opener:
    """What a store does with a place, again and again."""

    def __init__(self, url: str) -> None:
        self.place = find(url, "p")

    async def opens(self) -> bool:
        link = await self.place.open(asyncio.get_running_loop())
        link.abort()
        return True

    async def fails(self) -> LinkFailed:
        with pytest.raises(LinkFailed) as failure:
            await self.opens()
        return failure.value


def test_the_master_is_where_the_first_sentinel_says(caplog: pytest.LogCaptureFixture) -> None:
    async def story(stage: Stage) -> None:
        opener = Opener(stage.url.replace("main", "main/3").replace("//", "//u:p@"))
        assert await opener.opens()
        assert await opener.opens()
        assert stage.sentinels[0].openings == [[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"main"]] * 2
        assert stage.asked() == [2, 0, 0]
        first = stage.servers[0].openings[:4]
        assert first[:3] == [[b"AUTH", b"u", b"p"], [b"SELECT", b"3"], [b"ROLE"]]
        assert is_probe(first[3])
        stage.names(1)
        assert await opener.opens()
        assert len(stage.servers[1].openings) == 4
        places = [f"limit store {opener.place} is at 127.0.0.1:{server.port}" for server in stage.servers]
        assert caplog.messages == places, "once for each change"

    caplog.set_level(logging.INFO, "headgate.store")
    play(story)


def test_sentinels_have_a_password_of_their_own() -> None:
    async def story(stage: Stage) -> None:
        said = stage.sentinels[0].answer
        stage.sentinels[0].answer = lambda command: b"+OK\r\n" if command[0] == b"AUTH" else said(command)
        assert await Opener(f"{stage.url}?sentinel_user=w&sentinel_password=q").opens()
        assert stage.sentinels[0].openings[0] == [b"AUTH", b"w", b"q"]

    play(story)


@pytest.mark.parametrize(
    "answer",
    [None, b"*-1\r\n", b"-NOAUTH Authentication required.\r\n", b"-ERR unknown command\r\n", b"HTTP/1.1 400\r\n"],
)
def test_a_sentinel_that_does_not_help_is_asked_last_from_then_on(answer: bytes | None) -> None:
    async def story(stage: Stage) -> None:
        stage.sentinels[0].answer = lambda command: answer
        opener = Opener(stage.url)
        assert [await opener.opens() for _ in range(3)] == [True] * 3
        assert stage.asked() == [1, 3, 0]

    play(story)


def test_a_sentinel_that_is_gone_is_asked_last_from_then_on() -> None:
    async def story(stage: Stage) -> None:
        await stage.sentinels[0].stop()
        opener = Opener(stage.url)
        assert [await opener.opens() for _ in range(2)] == [True] * 2
        assert stage.asked() == [0, 2, 0]

    play(story)


def test_silent_sentinels_cost_half_a_second_each_and_only_once() -> None:
    async def story(stage: Stage) -> None:
        for sentinel in stage.sentinels[:2]:
            sentinel.answer = lambda command: None
        opener, loop = Opener(stage.url), asyncio.get_running_loop()
        begin = loop.time()
        assert await opener.opens()
        assert loop.time() - begin == pytest.approx(1.0, abs=0.01)
        begin = loop.time()
        assert await opener.opens()
        assert loop.time() == begin

    play(story)


def test_what_is_not_the_master_any_more_is_not_used() -> None:
    async def story(stage: Stage) -> None:
        opener = Opener(stage.url)
        assert await opener.opens()
        port = stage.servers[0].port
        for role in (REPLICA, b"+OK\r\n", b"*0\r\n"):
            stage.roles[port] = role
            failure = await opener.fails()
            assert (failure.reason, failure.permanent) == (f"127.0.0.1:{port}: it is not the master", False)
        stage.names(1)
        assert await opener.opens()

    play(story)


def test_an_acl_that_forbids_the_question_leaves_it_to_the_probe() -> None:
    async def story(stage: Stage) -> None:
        port = stage.servers[0].port
        stage.roles[port] = DENIED
        opener = Opener(stage.url)
        assert await opener.opens()
        stage.servers[0].answer = lambda command: DENIED if command == [b"ROLE"] else b"-READONLY You can't write\r\n"
        assert "READONLY" in (await opener.fails()).reason

    play(story)


@pytest.mark.parametrize(
    ("answers", "permanent", "expected"),
    [
        ([b"*-1\r\n"] * 3, True, 'it knows no service "main"'),
        ([b"-ERR unknown command 'SENTINEL'\r\n"] * 3, True, "unknown command"),
        ([b"-NOAUTH Authentication required.\r\n"] * 3, True, "requires a password"),
        ([b"+OK\r\n"] * 3, True, "not that of a Sentinel"),
        ([b"*2\r\n$1\r\nh\r\n$5\r\n70000\r\n"] * 3, True, "not that of a Sentinel"),
        ([b"*2\r\n$1\r\nh\r\n$1\r\nx\r\n"] * 3, True, "not that of a Sentinel"),
        ([b"*-1\r\n", b"*-1\r\n", None], False, 'it knows no service "main"'),
        ([None] * 3, False, "no answer within 0.5 s"),
    ],
)
def test_without_any_sentinels_help_it_fails(answers: list[bytes | None], permanent: bool, expected: str) -> None:
    async def story(stage: Stage) -> None:
        for sentinel, answer in zip(stage.sentinels, answers, strict=True):
            sentinel.answer = lambda command, answer=answer: answer  # type: ignore[misc]
        opener = Opener(stage.url)
        failures = [await opener.fails() for _ in range(3)]
        for failure in failures:
            assert expected in failure.reason
            assert failure.permanent is permanent
        assert len({failure.reason for failure in failures}) == 1, "or each attempt would be a line in the log"

    play(story)


def test_a_link_holds_as_long_as_the_sentinels_name_the_same_master() -> None:
    async def story(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        opener = Opener(stage.url)
        assert await opener.opens()
        assert await opener.place.holds(loop)
        stage.names(1)
        assert not await opener.place.holds(loop)
        assert await opener.opens()
        assert await opener.place.holds(loop)
        for sentinel in stage.sentinels:
            await sentinel.stop()
        assert await opener.place.holds(loop), "nobody says otherwise"

    play(story)


def test_a_redis_of_its_own_is_never_looked_for() -> None:
    async def story() -> bool:
        return await find("redis://127.0.0.1", "p").holds(asyncio.get_running_loop())

    assert asyncio.run(story())


def test_a_store_leaves_a_master_that_is_none_any_more_for_the_sentinels() -> None:
    async def story(stage: Stage) -> None:
        loop, changes = asyncio.get_running_loop(), list[bool]()
        store = RedisStore(Settings(url=stage.url), MemoryStore(ManualClock()), loop, on_change=changes.append)
        await asyncio.sleep(3.5)
        assert not changes
        assert stage.asked() == [4, 0, 0], "once a second"
        stage.names(1)
        await asyncio.sleep(1.5)
        assert changes == [True, False]
        await asyncio.sleep(30)
        assert changes == [True, False]
        assert len(stage.servers[0].signs) == 1
        assert len(stage.servers[1].signs) == 7
        store.close()

    play(story)
