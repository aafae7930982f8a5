"""Servers that may have so many requests at once: never more, over all workers, and nobody is forgotten."""

import asyncio
from collections.abc import Callable

from tests.e2e.kit.backend import Backend, Peer, Request, says_its_name, takes
from tests.e2e.kit.client import burst
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.load import GET, Load

Make = Callable[..., Headgate]
Start = Callable[..., Backend]


class Crowd:
    """A server's behaviour that notes how many requests it has at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def __call__(self, request: Request, peer: Peer) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.01)
            await says_its_name(request, peer)
        finally:
            self.now -= 1


def test_no_server_ever_has_more_requests_than_it_may_and_all_are_served(make: Make, backend: Start) -> None:
    crowds = [Crowd(), Crowd()]
    servers = [backend(name, crowd) for name, crowd in zip("ab", crowds, strict=True)]
    config = settings([server.address for server in servers], workers=4, upstream={"max_requests": 3})
    config["timeouts"] = {"queue": "60s"}
    headgate = make(config).start()
    for _ in range(3):
        responses = burst([headgate.address], 200, GET)
        assert [response.status for response in responses] == [200] * 200
    assert [crowd.most for crowd in crowds] == [3, 3]
    assert headgate.metric("headgate_requests_waiting") == 0


def test_workers_share_what_one_server_can_take(make: Make, backend: Start) -> None:
    server = backend("a", takes(0.005))
    config = settings([server.address], workers=4, upstream={"max_requests": 1})
    config["timeouts"] = {"queue": "10s"}
    headgate = make(config).start()
    with Load(headgate.address, connections=16) as load:
        load.more(600)
    assert load.failures == []
    counts = [sum(result.connection == number for result in load.results) for number in range(16)]
    assert min(counts) > 0, counts


def test_beyond_the_queue_requests_are_refused_at_once_and_the_others_served(make: Make, backend: Start) -> None:
    server = backend("a", takes(0.2))
    headgate = make(settings([server.address], upstream={"max_requests": 2, "queue": 10})).start()
    responses = burst([headgate.address], 50, GET)
    statuses = [response.status for response in responses]
    assert statuses.count(200) == 12
    assert statuses.count(503) == 38
    assert len(server.requests) == 12
    headgate.await_flagged("UO", 38)
