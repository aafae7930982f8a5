"""The store for a Cluster against fake nodes, on virtual time: what they turn away, and how often it is asked again."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from headgate.limits.decision import Banned, Decision
from headgate.limits.tags import tag
from headgate.model.config import Store as Settings
from headgate.model.snapshot import LimitState
from headgate.store.base import Check
from headgate.store.cluster import ClusterStore
from headgate.store.counts import RedisCounts
from headgate.store.memory import MemoryStore
from headgate.store.topology import SLOTS, slot
from headgate.store.url import Cluster, parse
from headgate.testing.clock import ManualClock, VirtualLoop
from tests.unit.store.fake_redis import ALLOWED, Command, FakeRedis, is_probe
from tests.unit.store.limits import limit

KEYS = [b"192.0.2.%d" % number for number in range(20)]
Answer = Callable[[Command], bytes | None]


class Stage:
    """Three nodes, of which the first two share the slots, and a store for them."""

    def __init__(self, nodes: list[FakeRedis]) -> None:
        self.nodes = nodes
        self.asked: list[list[Command]] = [[] for _ in nodes]
        self.answers: list[Answer] = [lambda command: ALLOWED for _ in nodes]
        self.masters = [0, 1]  # whom the halves of the slots belong to
        self.holes: list[int] = []  # slots of the first half that nobody serves
        self.changes: list[bool] = []
        self.errors: list[LimitState] = []
        self.loop = asyncio.get_running_loop()
        for number, node in enumerate(nodes):
            node.opens = False
            node.answer = self._answers(number)
        named = parse(f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}")
        assert isinstance(named, Cluster)
        self.store = ClusterStore(
            Settings(url="redis+cluster://unused", deadline=0.05),
            named,
            MemoryStore(ManualClock()),
            self.loop,
            on_change=self.changes.append,
            on_error=self.errors.append,
            chance=lambda: 1.0,
        )

    def _answers(self, number: int) -> Answer:
        def answer(command: Command) -> bytes | None:
            if command == [b"CLUSTER", b"SLOTS"]:
                return self.slots()
            if is_probe(command) or command[2:3] == [b"0"]:
                return ALLOWED
            self.asked[number].append(command)
            return b"+OK\r\n" if command == [b"ASKING"] else self.answers[number](command)

        return answer

    def slots(self) -> bytes:
        half = SLOTS // 2
        edges = [-1, *self.holes, half]
        entries = [(a + 1, b - 1, self.masters[0]) for a, b in pairwise(edges)] + [(half, SLOTS - 1, self.masters[1])]
        node = b"*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n"
        ranges = [b"*3\r\n:%d\r\n:%d\r\n" % (a, b) + node % self.nodes[at].port for a, b, at in entries]
        return b"*%d\r\n" % len(ranges) + b"".join(ranges)

    def key(self, number: int) -> bytes:
        """A key of the first or of the second half."""
        return next(key for key in KEYS if slot(tag(limit(), key)) * 2 // SLOTS == number)

    def at(self, word: str, number: int, key: bytes) -> bytes:
        """What says that a key is at another node."""
        return f"-{word} {slot(tag(limit(), key))} 127.0.0.1:{self.nodes[number].port}\r\n".encode()

    def ask(self, *checks: Check) -> "asyncio.Future[Sequence[Decision]]":
        answer: asyncio.Future[Sequence[Decision]] = self.loop.create_future()
        now = self.store.hit(checks, answer.set_result)
        if now is not None:
            answer.set_result(now)
        return answer

    async def opened(self) -> None:
        """Waits for connections to both masters."""
        for number in (0, 1):
            assert (await self.ask((limit(name="first"), self.key(number), 1)))[0].allowed
        for commands in self.asked:
            commands.clear()


def play(story: Callable[[Stage], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            nodes = [FakeRedis() for _ in range(3)]
            for node in nodes:
                await node.start()
                stack.push_async_callback(node.stop)
            stage = Stage(nodes)
            try:
                await story(stage)
            finally:
                stage.store.close()
                await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_each_master_is_asked_for_its_slots_from_the_first_request_on() -> None:
    async def story(stage: Stage) -> None:
        def answers(number: int) -> Answer:
            def answer(command: Command) -> bytes:
                half = slot(command[3]) * 2 // SLOTS
                return (
                    b"+2 60\r\n"
                    if half == number
                    else b"-MOVED %d :%d\r\n" % (slot(command[3]), stage.nodes[half].port)
                )

            return answer

        stage.answers = [answers(0), answers(1), lambda command: None]
        waiting = [stage.ask((limit(), key, 1)) for key in KEYS]
        assert [(await answer)[0].remaining for answer in waiting] == [1] * len(KEYS)
        for number in (0, 1):
            mine = {key for key in KEYS if slot(tag(limit(), key)) * 2 // SLOTS == number}
            assert {command[3].rpartition(b":")[2] for command in stage.asked[number]} >= mine
        assert stage.asked[2] == []
        assert not stage.errors
        assert not stage.changes

    play(story)


@pytest.mark.parametrize("word", ["MOVED", "ASK"])
def test_a_check_is_asked_again_where_its_key_is(word: str) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key = stage.key(0)
        stage.answers[0] = lambda command: stage.at(word, 2, key)
        stage.answers[2] = lambda command: b"+2 60\r\n"
        assert (await stage.ask((limit(), key, 1)))[0].remaining == 1
        (command,) = stage.asked[0]
        asked = stage.asked[2]
        if word == "ASK":
            assert asked.pop(0) == [b"ASKING"]
            assert asked[0][0] == b"EVAL", "with the script, which this node may not have"
        assert asked[0][2:] == command[2:]
        await stage.ask((limit(), key, 1))
        assert len(stage.asked[0]) == (2 if word == "ASK" else 1), "a slot that moved is asked there from then on"
        assert not stage.errors

    play(story)


@pytest.mark.parametrize("refusal", [b"-TRYAGAIN Multiple keys\r\n", b"-CLUSTERDOWN Hash slot not served\r\n"])
def test_what_may_pass_is_asked_again_after_a_moment(refusal: bytes) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        answers = [refusal, refusal, b"+2 60\r\n"]
        stage.answers[0] = lambda command: answers.pop(0)
        begin = stage.loop.time()
        assert (await stage.ask((limit(), stage.key(0), 1)))[0].remaining == 1
        assert 0.012 <= stage.loop.time() - begin < 0.02
        assert not stage.errors
        assert not stage.changes

    play(story)


@pytest.mark.parametrize("word", ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN Hash slot not served"])
def test_after_three_times_on_store_error_decides_for_this_request_alone(word: str) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key = stage.key(0)
        stage.answers[0] = lambda command: stage.at(word, 1, key)
        stage.answers[1] = lambda command: stage.at(word, 0, key) if command[3].endswith(key) else ALLOWED
        one = limit(on_store_error="deny")
        assert (await stage.ask((one, key, 1)))[0].unavailable
        asked = [command for commands in stage.asked for command in commands if command != [b"ASKING"]]
        assert len(asked) == 4
        assert stage.errors == [one]
        assert not stage.changes
        assert (await stage.ask((one, stage.key(1), 1)))[0].allowed

    play(story)


def test_a_check_that_is_asked_again_has_no_more_time_than_before() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key = stage.key(0)
        stage.answers[0] = lambda command: None
        stage.answers[1] = lambda command: None if command[3].endswith(key) else ALLOWED
        one = limit(on_store_error="deny")
        begin = stage.loop.time()
        answer = stage.ask((one, key, 1))
        await asyncio.sleep(0.03)
        stage.nodes[0].say(stage.at("MOVED", 1, key))
        assert (await answer)[0].unavailable
        assert 0.05 <= stage.loop.time() - begin < 0.053
        assert not stage.changes, "the second had only a part of the time: that is nothing against it"
        await asyncio.sleep(0.01)
        stage.nodes[1].say(ALLOWED)  # late: nobody waits for it any more
        assert (await stage.ask((limit(), stage.key(1), 1)))[0].allowed
        assert stage.errors == [one]

    play(story)


@pytest.mark.parametrize("word", ["MOVED", "ASK", "TRYAGAIN"])
def test_bans_and_charges_go_where_their_keys_are(word: str) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key, one = stage.key(0), limit()
        turned_away: list[Command] = []

        def once(command: Command) -> bytes:
            if word == "TRYAGAIN" and command in turned_away:
                return b"+OK\r\n"
            turned_away.append(command)
            return stage.at(word, 2, key)

        stage.answers[0] = once
        stage.answers[2] = lambda command: b"+OK\r\n"
        stage.store.ban(one, key, 2.0)
        stage.store.charge([(one, key, 7)])
        await asyncio.sleep(0.04)
        arrived = stage.asked[0 if word == "TRYAGAIN" else 2]
        assert [command[0] for command in arrived if command[2:] == [b"ban", b"PX", b"2000"]][-1:] == [b"SET"]
        assert arrived[-1][-2:] == [b"r", b"7"] or arrived[-2][-2:] == [b"r", b"7"]
        assert not stage.changes
        assert not stage.errors

    play(story)


def test_a_ban_and_a_charge_that_no_node_takes_are_kept_on_this_machine() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key, one = stage.key(0), limit(5)
        stage.answers[0] = lambda command: b"-TRYAGAIN\r\n"
        stage.store.charge([(one, key, 2)])
        stage.store.ban(one, key, 600.0)
        await asyncio.sleep(0.2)
        stage.asked[0].clear()
        stage.answers[0] = lambda command: b"+1 1 1\r\n"
        await asyncio.sleep(1.5)
        assert [command[-2:] for command in stage.asked[0] if command[-2:-1] == [b"r"]] == [[b"r", b"2"]], (
            "charged later"
        )
        stage.nodes[0].drop()
        await stage.nodes[0].stop()
        await asyncio.sleep(2.0)
        assert isinstance((await stage.ask((one, key, 1)))[0], Banned)

    play(story)


def test_an_operators_command_goes_where_its_key_is() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key = stage.key(0)
        stage.answers[0] = lambda command: stage.at("MOVED", 1, key)
        stage.answers[1] = lambda command: b":1\r\n" if command[0] == b"DEL" else ALLOWED
        assert await RedisCounts(stage.store).reset(limit(), key)

    play(story)


def test_what_an_operator_changed_is_forgotten_on_every_node() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        one = limit()
        stage.answers = [lambda command: b"+4 60000\r\n"] * 3
        for number in (0, 1):
            assert not (await stage.ask((one, stage.key(number), 1)))[0].allowed
        stage.answers = [lambda command: ALLOWED] * 3
        for number in (0, 1):
            assert not (await stage.ask((one, stage.key(number), 1)))[0].allowed
            stage.store.forget(one.limit.name, stage.key(number))
            assert (await stage.ask((one, stage.key(number), 1)))[0].allowed
        stage.answers = [lambda command: b"+6 60000\r\n"] * 3
        for number in (0, 1):
            assert not (await stage.ask((one, stage.key(number), 1)))[0].allowed
        stage.answers = [lambda command: ALLOWED] * 3
        stage.store.forget_all()
        for number in (0, 1):
            assert (await stage.ask((one, stage.key(number), 1)))[0].allowed

    play(story)


def test_a_lost_master_is_found_again_where_its_slots_are(caplog: pytest.LogCaptureFixture) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key, other, one = stage.key(0), stage.key(1), limit(5)
        await stage.nodes[0].stop()
        await asyncio.sleep(0.5)
        assert stage.changes == [True]
        assert [(await stage.ask((one, key, 1)))[0].allowed for _ in range(2)] == [True] * 2
        assert (await stage.ask((one, other, 1)))[0].allowed
        assert stage.errors == [one, one], "the other master is asked all the time"
        stage.masters[0] = 2
        stage.answers[2] = lambda command: b"+3 60\r\n" if b"r" not in command else b"+1 1 1\r\n"
        while stage.changes != [True, False]:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.01)
        assert [command[-2:] for command in stage.asked[2]][:1] == [[b"r", b"2"]], "what it is owed goes there"
        assert (await stage.ask((one, key, 1)))[0].remaining == 2

    caplog.set_level(logging.INFO, "headgate.store")
    play(story)
    assert sum("is at" in message for message in caplog.messages) == 1


def test_it_says_which_masters_cannot_be_asked_and_why() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        assert stage.store.reason == ""
        first, second = (f"127.0.0.1:{stage.nodes[number].port}: " for number in (0, 1))
        stage.answers[0] = lambda command: None
        await stage.ask((limit(), stage.key(0), 1))
        assert stage.store.reason == f"{first}no answer within 50 ms"
        await stage.nodes[1].stop()
        await asyncio.sleep(0.01)
        assert all(text in stage.store.reason for text in (first, second, "; "))

    play(story)


def test_before_it_is_known_who_serves_what_it_says_why_nobody_helps() -> None:
    async def story(stage: Stage) -> None:
        for node in stage.nodes:
            await node.stop()
        while not stage.changes:
            await asyncio.sleep(0.01)
        assert stage.store.reason.startswith("no node of the Cluster helps; 127.0.0.1:")

    play(story)


def test_a_master_that_hands_over_everything_is_left() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key = stage.key(0)
        stage.masters[0] = 1
        stage.answers[0] = lambda command: stage.at("MOVED", 1, key)
        stage.answers[1] = lambda command: b"+2 60\r\n"
        assert (await stage.ask((limit(), key, 1)))[0].remaining == 1
        await asyncio.sleep(1)
        assert len(stage.store._nodes) == 1
        await stage.nodes[0].stop()
        await asyncio.sleep(30)
        assert not stage.changes, "it serves nothing any more"
        assert not stage.store._leaving

    play(story)


def test_what_a_master_leaves_to_nobody_is_asked_of_another_until_somebody_serves_it() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        key = stage.key(0)
        number = slot(tag(limit(), key))
        stage.holes = [number]
        stage.masters[0] = 1
        stage.answers[0] = lambda command: b"-CLUSTERDOWN Hash slot not served\r\n"
        stage.answers[1] = lambda command: stage.answers[0](command) if stage.holes else b"+3 60\r\n"
        await stage.ask((limit(), key, 1))
        await asyncio.sleep(30)
        assert not stage.store._leaving
        stage.holes = []
        assert (await stage.ask((limit(), key, 1)))[0].remaining == 0
        assert len(stage.errors) == 1, "it was asked, not decided here"

    play(story)


def test_a_cluster_that_is_down_is_a_failure_of_who_says_so() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.answers[0] = lambda command: b"-CLUSTERDOWN The cluster is down\r\n"
        one = limit()
        assert (await stage.ask((one, stage.key(0), 1)))[0].allowed
        assert stage.changes == [True]
        assert stage.errors == [one]

    play(story)


@pytest.mark.parametrize("reply", [b"-MOVED\r\n", b"-MOVED x y\r\n", b"-MOVED 99999 h:1\r\n", b"-ASK 1 h:x\r\n"])
def test_what_names_no_node_is_a_failure(reply: bytes) -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.answers[0] = lambda command: reply
        assert (await stage.ask((limit(), stage.key(0), 1)))[0].allowed
        assert stage.changes == [True]

    play(story)


def test_without_any_node_it_decides_on_this_machine_and_finds_them_later() -> None:
    async def story(stage: Stage) -> None:
        for node in stage.nodes:
            await node.stop()
        assert [(await stage.ask((limit(1), KEYS[0], 1)))[0].allowed for _ in range(2)] == [True, False]
        assert stage.changes == [True]
        await asyncio.sleep(10)
        for node in stage.nodes:
            await node.start()
        await asyncio.sleep(5)
        assert stage.changes == [True, False]

    play(story)


def test_closing_decides_what_waits_for_another_try() -> None:
    async def story(stage: Stage) -> None:
        await stage.opened()
        stage.answers[0] = lambda command: b"-TRYAGAIN\r\n"
        answer = stage.ask((limit(on_store_error="deny"), stage.key(0), 1))
        await asyncio.sleep(0.001)
        stage.store.close()
        assert (await answer)[0].unavailable

    play(story)
