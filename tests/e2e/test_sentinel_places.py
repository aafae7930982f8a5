"""Limits on what is in flight, on a running Headgate, over the loss of the master that Sentinels watch."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from tests.e2e.kit.backend import Backend, Gate, Peer, Request
from tests.e2e.kit.client import Raw
from tests.e2e.kit.headgate import Headgate, Settings, settings
from tests.e2e.kit.load import Load
from tests.e2e.kit.redis_sentinel import Watched
from tests.e2e.kit.waiting import PATIENCE, wait_for

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

LONG = 2 * PATIENCE  # seconds for a failover


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with Watched(tmp_path) as servers:
        yield servers


def flying(backend: Backend, watched: Watched, at_once: int) -> Settings:
    """Two workers, and so many in flight at once."""
    limits = {"flying": {"algorithm": "concurrency", "in_flight": at_once, "key": "constant"}}
    routes = [{"upstream": "web", "limits": ["flying"]}]
    # Long enough for a busy machine: a check that is overdue is decided elsewhere.
    store = {"url": watched.url, "deadline": "2s"}
    return settings([backend.address], workers=2, limits=limits, routes=routes, store=store)


def await_down(headgate: Headgate) -> None:
    """Waits until both workers know."""
    wait_for(lambda: headgate.metric("headgate_store_down") == 2, "its workers to know", LONG)


def free(headgate: Headgate) -> int:
    """How many places there are in Redis."""
    return cast("int", headgate.api("GET", "/api/v1/limits/flying/keys/*").json().get("remaining"))


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "killed before the replica knew"])
def test_places_are_held_over_the_loss_of_their_master_and_all_come_back(
    make: Make, backend: Start, watched: Watched, copied: bool
) -> None:
    server, gate = backend(), Gate()
    server.behaviour = gate
    headgate = make(flying(server, watched, 4)).start()
    clients: list[Raw] = []

    with ExitStack() as stack:

        def ask() -> None:
            """A request more that the server has and does not answer."""
            clients.append(stack.enter_context(Raw(headgate.address)))
            before = len(server.requests)
            clients[-1].send(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            wait_for(lambda: len(server.requests) > before, "it to be at the server")

        if not copied:
            watched.replica.command("REPLICAOF", "127.0.0.1", "1")
        ask()
        ask()
        assert free(headgate) == 2
        if copied:
            watched.await_copy()
        watched.hold_failover()
        watched.master.kill()
        await_down(headgate)
        ask()
        ask()
        assert [headgate.get().status for _ in range(4)] == [429] * 4, "what was held before is counted here"
        clients.pop(0).socket.close()
        wait_for(lambda: headgate.metric("headgate_limit_in_flight") == 3, "it to have ended")
        ask()
        assert headgate.get().status == 429

        if not copied:
            watched.replica.command("REPLICAOF", "127.0.0.1", str(watched.master.port))
        watched.let_failover()
        watched.await_master(watched.replica)
        wait_for(lambda: headgate.metric("headgate_store_down") == 0, "its workers to be back", LONG)
        wait_for(lambda: free(headgate) == 0, "what is held to be counted")
        second = make(flying(server, watched, 4)).start()
        assert [one.get().status for one in (headgate, second)] == [429, 429]
        clients.pop(0).socket.close()
        wait_for(lambda: free(headgate) == 1, "it to be free")
        assert second.get().status == 200
        gate.is_open = True
        assert [client.rest()[9:12] for client in clients] == [b"200"] * 3
    wait_for(lambda: free(headgate) == 4, "all places to be free")
    assert [one.get().status for one in (headgate, second)] == [200, 200]


class Crowd:
    """A behaviour: a response after a moment, and how many there were at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, request: Request, peer: Peer) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.05)
        finally:
            self.now -= 1
        peer.answer(200, b"")


@pytest.mark.parametrize("trouble", ["killed", "paused"])
def test_under_load_never_more_than_twice_the_limit_is_in_flight_and_the_limit_again_in_the_end(
    make: Make, backend: Start, watched: Watched, trouble: str
) -> None:
    server, crowd, most = backend(), Crowd(), 6
    server.behaviour = crowd
    headgates = [make(flying(server, watched, most)).start() for _ in range(2)]
    for one in headgates:
        wait_for(lambda one=one: one.metric("headgate_store_headgates") == 2, "it to know the other")  # type: ignore[misc]
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(one.address, 2 * most, pause=0.02)) for one in headgates]

        def all_do_more() -> None:
            for load in loads:
                load.more(100)

        all_do_more()
        assert crowd.most == most
        getattr(watched.master, {"killed": "kill", "paused": "pause"}[trouble])()
        for one in headgates:
            one.await_log(" is back", times=2)
        assert most <= crowd.most <= 2 * most
        wait_for(lambda: crowd.now <= most, "the requests that began in between to be over")
        crowd.most = 0
        all_do_more()
        assert crowd.most == most
    assert {result.status for load in loads for result in load.results} == {200, 429}
    for one in headgates:
        wait_for(lambda one=one: free(one) == most, "all places to be free")  # type: ignore[misc]
        assert one.get().status == 200
