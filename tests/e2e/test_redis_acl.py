"""What a user of Redis must be allowed for Headgate: what docs/limits.md says, no less and no more."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.limits.tags import tag
from headgate.model.config import Ban
from headgate.model.config import Store as Settings
from headgate.model.snapshot import LimitState
from headgate.store.check import check
from headgate.store.counts import RedisCounts
from headgate.store.topology import slot
from headgate.testing import stores
from headgate.testing.counts import OPERATED, Operator
from headgate.testing.stores import Subject
from tests.e2e.kit.bench import Bench
from tests.e2e.kit.redis_cluster import Cluster
from tests.redis_server import RedisServer
from tests.unit.store.limits import limit
from tests.unit.store.test_held import in_flight

K = b"192.0.2.1"
PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
ELSEWHERE = {"role", "asking", "cluster|slots"}  # for Sentinel and in a Cluster


def rules() -> list[str]:
    """The rules for a user, as the page says them."""
    found = re.search(r"^ACL SETUSER headgate on >secret (.+?)\n```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1].replace("\\\n", " ").split()


def allowed() -> set[str]:
    return {rule[1:] for rule in rules() if rule.startswith("+")}


def called(server: RedisServer) -> set[str]:
    """The commands that were called, in scripts too."""
    said = server.command("INFO", "commandstats").decode()
    return set(re.findall(r"cmdstat_([a-z|]+):", said))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(tcp=True) as server:
        assert server.command("ACL", "SETUSER", "headgate", "on", ">secret", *rules()) == b"+OK\r\n"
        yield server


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


def test_a_user_needs_what_the_page_says_and_no_more(server: RedisServer) -> None:
    url = f"redis://headgate:secret@127.0.0.1:{server.port}/1"
    assert asyncio.run(check(Settings(url=url))) is None
    bench = Bench(url, asyncio.new_event_loop)

    def subject() -> Subject:
        return Subject(bench.hit, bench.advance, period=0.25, release=bench.store.release, charge=bench.charge)

    for keeps in (
        stores.every_algorithm_passes_its_limit_at_once,
        stores.what_is_given_back_passes_again,
        *stores.PLACES,
    ):
        keeps(subject())
    counts = RedisCounts(bench.store)

    def let_forget() -> None:
        for rule in bench.store._rules.values():
            rule.over.clear()

    for operates in OPERATED:
        operates(subject(), Operator(counts, bench.run, let_forget))
    one, leased, banning = limit(3, "one"), limit(15, "leased", lease=10), limit(1, "banning")
    banning = LimitState(replace(banning.limit, ban=Ban(1, 1.0, 1.0)), 0)
    assert [bench.allows(each) for each in (one, leased, banning, banning)] == [True, True, True, False]
    assert all(bench.allows(leased) for _ in range(14)), "the second lease is what is left"
    both = [(limit(9, "wide"), K, 1), (limit(2, "narrow"), K, 1)]
    for passes in (True, True, False):
        assert all(decision.allowed for decision in bench.hit(both)) is passes
        let_forget()
    flying = in_flight(2)
    assert bench.allows(flying)
    bench.run(counts.ban(flying, K, 60.0))
    assert bench.run(counts.unban(flying, K))
    # A new connection says what is held, and that this Headgate lives.
    bench.changes.clear()
    server.command("CLIENT", "KILL", "TYPE", "normal")
    bench.await_change(down=True)
    bench.await_change(down=False)
    bench.store._sign()
    assert bench.allows(one)
    bench.any.release([(flying, K, 1)])
    assert bench.allows(one, b"198.51.100.1")
    bench.close()
    assert not bench.errors
    assert server.command("ACL", "LOG") == b"*0\r\n"
    assert allowed() - ELSEWHERE <= called(server)


def test_the_same_does_in_a_cluster_whose_slots_move(cluster: Cluster) -> None:
    for number in range(3):
        assert cluster.call(number, "ACL", "SETUSER", "headgate", "on", ">secret", *rules()) == b"OK"
    bench = Bench(cluster.url.replace("://", "://headgate:secret@"), asyncio.new_event_loop)
    one, flying = limit(4, "one", period=3600.0), in_flight(2)
    assert bench.allows(one)
    assert bench.allows(flying)
    number = slot(tag(one, K))
    source = cluster.server_of(number)
    target = (source + 1) % 3
    cluster.migrate(number, source, target)
    cluster.move_keys(number, source, target)
    assert [bench.allows(one) for _ in range(4)] == [True] * 3 + [False]
    assert cluster.asked(target) > 0
    bench.any.release([(flying, K, 1)])
    assert bench.hit([(flying, K, 0)])[0].remaining == 2
    bench.close()
    assert not bench.errors
    assert [cluster.call(number, "ACL", "LOG") for number in range(3)] == [[], [], []]
