"""Servers in turn, over one worker and over several."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.e2e.kit.backend import Backend
from tests.e2e.kit.client import burst
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.load import GET, Load

Make = Callable[..., Headgate]
Start = Callable[..., Backend]


@pytest.mark.parametrize("workers", [1, 4])
def test_requests_one_by_one_get_the_servers_in_exact_turn(make: Make, backend: Start, workers: int) -> None:
    servers = [backend(name).address for name in "abc"]
    headgate = make(settings(servers, workers=workers)).start()
    names = "".join(headgate.names(30))
    assert names in "abc" * 11


def test_a_server_of_twice_the_weight_gets_twice_the_requests(make: Make, backend: Start) -> None:
    a, b = backend("a").address, backend("b").address
    headgate = make(settings([{"address": a, "weight": 2}, b], workers=4)).start()
    assert Counter(headgate.names(30)) == {"a": 20, "b": 10}


def test_a_server_without_weight_gets_nothing(make: Make, backend: Start) -> None:
    a, b = backend("a").address, backend("b").address
    headgate = make(settings([{"address": a, "weight": 0}, b])).start()
    assert set(headgate.names(6)) == {"b"}


def test_one_worker_shares_concurrent_requests_out_exactly(make: Make, backend: Start) -> None:
    servers = [backend(name).address for name in "abc"]
    headgate = make(settings(servers)).start()
    responses = burst([headgate.address], 300, GET)
    assert Counter(response.text for response in responses) == {"a": 100, "b": 100, "c": 100}


def test_four_workers_share_concurrent_requests_out_evenly(make: Make, backend: Start) -> None:
    servers = [backend(name).address for name in "abc"]
    headgate = make(settings(servers, workers=4)).start()
    with Load(headgate.address, connections=32) as load:
        load.more(3000)
    assert load.failures == []
    counts = load.counts()
    assert max(counts.values()) - min(counts.values()) <= 1 + 4, counts  # the turn of all, and one of each worker
