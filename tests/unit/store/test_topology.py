import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.tags import tag
from headgate.store import topology
from headgate.store.link import LinkFailed
from headgate.store.node import TaggedRule
from headgate.store.resp import Reader, Reply
from headgate.store.topology import SLOTS, Range, place_of, probe_in, ranges, read, slot, tag_in
from headgate.store.url import Endpoint
from headgate.testing.clock import VirtualLoop
from tests.unit.store.fake_redis import FakeRedis
from tests.unit.store.limits import limit

A = Endpoint("a", 7000, user="u", password="p", tls=True)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (b"123456789", 0x31C3),  # the check value of the Redis Cluster specification
        (b"foo", 12182),
        (b"{foo}.bar", 12182),
        (b"x{foo}{bar}", 12182),
        (b"{}foo", slot(b"{}foo")),
        (b"foo{", slot(b"foo{")),
    ],
)
def test_slots_are_those_of_redis(name: bytes, number: int) -> None:
    assert slot(name) == number


@given(key=st.binary(max_size=40), name=st.text("ab{}:", min_size=1, max_size=8))
def test_the_slot_of_a_key_is_that_of_its_tag(key: bytes, name: str) -> None:
    one = limit(name=name)
    (reply,) = Reader().feed(TaggedRule(one, "p").key(key))
    assert isinstance(reply, bytes)
    assert slot(reply) == slot(tag(one, key))


@given(slots=st.lists(st.integers(0, SLOTS - 1), min_size=1, max_size=3), attempt=st.integers(0, 1000))
def test_a_probe_is_written_where_a_node_serves(slots: list[int], attempt: int) -> None:
    (reply,) = Reader().feed(probe_in("p", slots, attempt))
    assert isinstance(reply, list)
    name = reply[3]
    assert isinstance(name, bytes)
    assert name.startswith(b"p:{")
    assert slot(name) in slots


def test_there_is_a_tag_for_each_slot() -> None:
    tags = [tag_in(number) for number in range(SLOTS)]
    assert [slot(b"p:{%b}:probe" % tag) for tag in tags] == list(range(SLOTS))
    assert {letter for tag in tags for letter in tag} == set(b"@ABCDEFGHIJKLMNO")


def test_a_slot_is_found_without_trying_many(monkeypatch: pytest.MonkeyPatch) -> None:
    probe_in("p", [1])
    hashes = []
    monkeypatch.setattr(topology, "slot", lambda name: hashes.append(name) or slot(name))  # type: ignore[func-returns-value]
    probe_in("p", [9999])
    assert len(hashes) <= 2


def test_another_attempt_goes_to_another_slot() -> None:
    assert len({probe_in("p", range(SLOTS // 2), attempt) for attempt in range(20)}) == 20
    assert len({probe_in("p", range(977), attempt) for attempt in range(20)}) == 20
    assert len({probe_in("p", [7, 9], attempt) for attempt in range(2)}) == 2


def test_who_serves_nothing_is_probed_without_a_key() -> None:
    (reply,) = Reader().feed(probe_in("p", []))
    assert isinstance(reply, list)
    assert reply[2] == b"0"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("10.0.0.1:7001", "10.0.0.1", 7001), (":7001", "a", 7001), ("?:7001", "a", 7001), ("::1:7001", "::1", 7001)],
)
def test_a_node_is_named_with_or_without_its_host(text: str, host: str, port: int) -> None:
    assert place_of(text, A) == replace(A, host=host, port=port)


@pytest.mark.parametrize("text", ["", "h", "h:", "h:x", "h:-1", "h:70000"])
def test_what_names_no_node_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        place_of(text, A)


def test_what_a_node_says_of_ranges() -> None:
    reply: Reply = [
        [0, 99, [b"10.0.0.1", 7001, b"id"], [b"10.0.0.2", 7002, b"id", [b"hostname", b"h"]]],
        [100, 16383, [b"", 7003]],
        [5, 5, [None, 7004, b"id"]],
    ]
    assert ranges(reply, A) == [
        Range(0, 99, replace(A, host="10.0.0.1", port=7001), (replace(A, host="10.0.0.2", port=7002),)),
        Range(100, 16383, replace(A, port=7003)),
        Range(5, 5, replace(A, port=7004)),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        b"OK",
        None,
        [b"x"],
        [[]],
        [[0, 1]],
        [[0, 1, []]],
        [[0, SLOTS, [b"h", 1]]],
        [[2, 1, [b"h", 1]]],
        [[-1, 1, [b"h", 1]]],
        [[0, 1, [b"h", 0]]],
        [[0, 1, [b"h", 70000]]],
        [[0, 1, [b"h", b"1"]]],
        [[0, 1, [1, 1]]],
    ],
)
def test_what_is_no_answer_of_a_node_is_refused(reply: Reply) -> None:
    with pytest.raises(LinkFailed, match="not that of a Cluster's node"):
        ranges(reply, A)


@pytest.mark.parametrize(
    ("answers", "expected", "permanent"),
    [
        ([None, b"*0\r\n", b"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n:1\r\n"], "", False),
        ([b"*0\r\n"] * 3, "it knows of no slot that is served", False),
        ([None] * 3, "no answer within 0.5 s", False),
        ([b"-ERR This instance has cluster support disabled\r\n"] * 3, "it is no node of a Cluster", True),
    ],
)
def test_nodes_are_asked_in_turn_until_one_knows(answers: list[bytes | None], expected: str, permanent: bool) -> None:
    async def main() -> None:
        fakes = [FakeRedis() for _ in answers]
        for fake, answer in zip(fakes, answers, strict=True):
            fake.opens = False
            fake.answer = lambda command, answer=answer: answer  # type: ignore[misc]
            await fake.start()
        nodes = [Endpoint("127.0.0.1", fake.port) for fake in fakes]
        try:
            if not expected:
                assert await read(nodes, asyncio.get_running_loop()) == [Range(0, 1, Endpoint("h", 1))]
                return
            with pytest.raises(LinkFailed, match=expected) as failure:
                await read(nodes, asyncio.get_running_loop())
            assert failure.value.permanent is permanent
        finally:
            for fake in fakes:
                await fake.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
