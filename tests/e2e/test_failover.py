"""Headgate on a Redis Cluster that loses a master: what its clients see, and what their limits are worth then."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from tests.e2e.kit.backend import Backend, Gate
from tests.e2e.kit.client import Raw
from tests.e2e.kit.headgate import Headgate, Settings, settings
from tests.e2e.kit.load import Load
from tests.e2e.kit.redis_cluster import Cluster
from tests.e2e.kit.waiting import wait_for

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

LOST, REPLICA, OTHER = 0, 3, 2  # the master that is taken away, its replica, and a master that stays
MOST = 6  # requests that each user may make


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three masters with a replica each."""
    with Cluster(replicas=1) as cluster:
        yield cluster


def configured(server: str, url: str) -> Settings:
    """Two workers; a limit that users come to the end of, and one that they do not."""
    limits = {
        "few": {"rate": f"{MOST}/hour", "key": "header:x-user"},
        "many": {"rate": "1000000/hour", "key": "header:x-user"},
    }
    routes = [
        {"upstream": "web", "limits": ["few"]},
        {"match": {"path": "/load"}, "upstream": "web", "limits": ["many"]},
    ]
    # Long enough for a busy machine: a check that is overdue is decided elsewhere, and exactness is what is tested.
    return settings([server], workers=2, limits=limits, routes=routes, store={"url": url, "deadline": "2s"})


class Users:
    """Users of a limit, by the master that counts them."""

    def __init__(self, headgate: Headgate, cluster: Cluster) -> None:
        """Each of them makes one request."""
        self._cluster = cluster
        for number in range(40):
            assert headgate.get(x_user=f"user{number}").status == 200
        self.at = {number: self._at(number) for number in (LOST, OTHER)}

    def _at(self, number: int) -> Iterator[str]:
        keys = self._cluster.call(number, "KEYS", "*user*")
        assert isinstance(keys, list)
        return iter([key.decode().rpartition("=")[2] for key in keys if isinstance(key, bytes)])

    def count(self, number: int, user: str) -> int:
        """What a node has counted of a user."""
        keys = self._cluster.call(number, "KEYS", f"*:few*={user}")
        assert isinstance(keys, list)
        (key,) = keys
        assert isinstance(key, bytes)
        return int(self._cluster.text(number, "GET", key.decode()))


def passed(user: str, of: int, *headgates: Headgate) -> int:
    """How many of so many requests pass. There is no other answer than that, or a refusal."""
    statuses = [headgates[number % len(headgates)].get(x_user=user).status for number in range(of)]
    assert {*statuses} <= {200, 429}
    return statuses.count(200)


def offset(cluster: Cluster, number: int) -> int:
    """How much a master has told its replica, or a replica has heard."""
    name = "slave_repl_offset" if number >= 3 else "master_repl_offset"
    found = re.search(rf"{name}:(\d+)", cluster.text(number, "INFO", "replication"))
    assert found
    return int(found[1])


def tell(cluster: Cluster, name: str, value: str, *numbers: int) -> None:
    """Changes a setting of these nodes, or of all."""
    for number in numbers or range(len(cluster.nodes)):
        assert cluster.call(number, "CONFIG", "SET", name, value) == b"OK"


@pytest.mark.parametrize(
    ("trouble", "covers"), [("killed", "no"), ("paused", "yes")], ids=["killed", "paused, and all must be covered"]
)
def test_a_master_that_is_lost_fails_no_request_and_limits_hold_again_at_its_replica(
    make: Make, backend: Start, cluster: Cluster, trouble: str, covers: str
) -> None:
    tell(cluster, "cluster-require-full-coverage", covers)
    tell(cluster, "cluster-replica-validity-factor", "0")  # however long it has to wait
    tell(cluster, "cluster-replica-no-failover", "yes", REPLICA)
    config = configured(backend().address, cluster.url)
    headgate = make(config).start()
    users = Users(headgate, cluster)
    user, loaded, new, another = (next(users.at[LOST]) for _ in range(4))
    spent, busy = (next(users.at[OTHER]) for _ in range(2))
    assert passed(user, 2, headgate) == 2
    assert passed(spent, MOST, headgate) == MOST - 1
    assert headgate.metric("headgate_store_errors_total") == 0
    told = offset(cluster, LOST)
    wait_for(lambda: offset(cluster, REPLICA) >= told, "the replica to have all counts")

    with ExitStack() as stack:
        loads = []
        for name in (loaded, busy):
            request = f"GET /load HTTP/1.1\r\nHost: h\r\nX-User: {name}\r\n\r\n".encode()
            loads.append(stack.enter_context(Load(headgate.address, 4, request=request, pause=0.01)))
            loads[-1].more()
        # As long as no replica takes its place: whoever waited for that would wait in vain.
        getattr(cluster.nodes[LOST], {"killed": "kill", "paused": "pause"}[trouble])()
        wait_for(lambda: headgate.metric("headgate_store_down") > 0, "a worker to know")
        for load in loads:
            load.more()
        assert passed(user, MOST + 2, headgate) == MOST, "counted on this machine, from the beginning"
        if covers == "no":
            assert passed(spent, 2, headgate) == 0, "the other masters are asked"
        tell(cluster, "cluster-replica-no-failover", "no", REPLICA)
        wait_for(lambda: cluster.is_master(REPLICA), "the replica to be the master")
        wait_for(lambda: headgate.metric("headgate_store_down") == 0, "the workers to know")
        for load in loads:
            load.more()
    assert [load.failures for load in loads] == [[], []]
    wait_for(lambda: users.count(REPLICA, user) == 3 + MOST, "what passed meanwhile to be counted")
    assert passed(user, 2, headgate) + passed(spent, 2, headgate) == 0
    errors = headgate.metric("headgate_store_errors_total")
    second = make(config).start()  # one node of those that it is told is gone
    assert passed(new, 2 * MOST, headgate, second) == MOST - 1
    if trouble == "paused":
        cluster.nodes[LOST].resume()
        wait_for(lambda: not cluster.is_master(LOST), "the old master to follow")
        assert passed(another, 2 * MOST, headgate, second) == MOST - 1
        assert passed(user, 2, headgate, second) == 0
    assert headgate.metric("headgate_store_errors_total") == errors
    assert second.metric("headgate_store_errors_total") == 0


def test_places_in_flight_are_held_over_the_loss_of_their_master(make: Make, backend: Start, cluster: Cluster) -> None:
    server, gate = backend(), Gate()
    server.behaviour = gate
    limits = {"flying": {"algorithm": "concurrency", "in_flight": 4, "key": "constant"}}
    routes = [{"upstream": "web", "limits": ["flying"]}]
    store = {"url": cluster.url, "deadline": "2s"}
    config = settings([server.address], workers=2, limits=limits, routes=routes, store=store)
    headgate = make(config).start()

    clients: list[Raw] = []

    def ask() -> None:
        """A request more that the server has and does not answer."""
        clients.append(stack.enter_context(Raw(headgate.address)))
        clients[-1].send(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        wait_for(lambda: len(server.requests) == len(clients), "it to be at the server")

    def free() -> int:
        return cast("int", headgate.api("GET", "/api/v1/limits/flying/keys/*").json().get("remaining"))

    with ExitStack() as stack:
        ask()
        ask()
        assert free() == 2
        lost = next(number for number in range(3) if cluster.call(number, "KEYS", "*:flying*"))
        tell(cluster, "cluster-require-full-coverage", "no")
        tell(cluster, "cluster-replica-validity-factor", "0")
        tell(cluster, "cluster-replica-no-failover", "yes", lost + 3)
        told = offset(cluster, lost)
        wait_for(lambda: offset(cluster, lost + 3) >= told, "the replica to have what is held")
        cluster.nodes[lost].kill()
        wait_for(lambda: headgate.metric("headgate_store_down") == 2, "the workers to know")
        ask()
        ask()
        assert [headgate.get().status for _ in range(4)] == [429] * 4, "what was held before is counted here"
        tell(cluster, "cluster-replica-no-failover", "no", lost + 3)
        wait_for(lambda: cluster.is_master(lost + 3), "the replica to be the master")
        wait_for(lambda: headgate.metric("headgate_store_down") == 0, "the workers to know")
        wait_for(lambda: free() == 0, "what was taken meanwhile to be counted")
        second = make(config).start()
        assert [each.get().status for each in (headgate, second)] == [429, 429]
        gate.is_open = True
        assert [client.rest()[9:12] for client in clients] == [b"200"] * 4
    wait_for(lambda: free() == 4, "all places to be free")
    assert [each.get().status for each in (headgate, second)] == [200, 200]
