"""What clients may take by being connected."""

from dataclasses import replace

import pytest

from headgate.model.config import Connections
from headgate.wire.cells import WorkerCell
from tests.exchange.kit import Make, World, get, ok


def limited(world: World, connections: Connections) -> World:
    """The same world, where clients may have so many connections."""
    world.adopt(replace(world.snapshot, version=2, connections=connections))
    return world


def test_one_connection_too_many_of_an_address_is_closed_at_once(make: Make) -> None:
    world = limited(make(), Connections(max_per_client=2))
    first, second, third = (world.client() for _ in range(3))
    other = world.client(("192.0.2.2", 1))
    assert [client.end for client in (first, second, third, other)] == ["", "", "reset", ""]
    assert world.worker_cell(WorkerCell.TURNED_AWAY) == 1
    first.closes()
    assert world.client().end == ""


def test_addresses_of_one_ipv6_network_are_one_client(make: Make) -> None:
    world = limited(make(), Connections(max_per_client=1))
    peers = [(address, 1, 0, 0) for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
    first, second, third = (world.client(peer) for peer in peers)
    assert [client.end for client in (first, second, third)] == ["", "reset", ""]
    first.closes()
    assert world.client(peers[1]).end == ""


def test_a_trusted_proxy_has_as_many_as_it_likes(make: Make) -> None:
    world = limited(make(trusted=["192.0.2.0/24"]), Connections(max_per_client=1))
    assert [world.client().end for _ in range(3)] == ["", "", ""]


@pytest.mark.parametrize("is_first", [True, False], ids=["after a request", "before the first request"])
def test_a_proxy_that_is_trusted_no_more_is_not_believed_on_a_connection_that_it_has(
    make: Make, is_first: bool
) -> None:
    world = make(trusted=["192.0.2.1"])
    client = world.client()
    claim = get(b"/", b"X-Forwarded-For: 198.51.100.7")
    if not is_first:
        client.sends(claim)
        world.accepted().sends(ok(b"", b"Connection: close"))
    world.adopt(replace(world.snapshot, version=2, trusted_proxies=()))
    client.sends(claim)
    head = world.accepted().new()
    assert b"X-Forwarded-For: 192.0.2.1\r\n" in head
    assert b"198.51.100.7" not in head


def test_a_proxy_that_comes_to_be_trusted_is_believed_on_a_connection_that_it_has(make: Make) -> None:
    world = make()
    client = world.client()
    world.adopt(replace(world.snapshot, version=2, trusted_proxies=("192.0.2.0/24",)))
    client.sends(get(b"/", b"X-Forwarded-For: 198.51.100.7"))
    assert b"X-Forwarded-For: 198.51.100.7, 192.0.2.1\r\n" in world.accepted().new()


def test_connections_are_counted_when_their_address_is_trusted_no_more_and_not_when_it_is(make: Make) -> None:
    world = limited(make(trusted=["192.0.2.1"]), Connections(max_per_client=2))
    clients = [world.client() for _ in range(3)]
    world.adopt(replace(world.snapshot, version=3, trusted_proxies=()))
    assert world.client().end == "reset", "all that it had count"
    clients.pop().closes()
    clients.pop().closes()
    clients.append(world.client())
    assert clients[-1].end == ""
    world.adopt(replace(world.snapshot, version=4, trusted_proxies=("192.0.2.1",)))
    assert not world.worker._guard._counts
    assert world.client().end == ""
    for client in clients:
        client.closes()


def test_what_an_address_had_before_the_limit_came_is_counted(make: Make) -> None:
    world = make()
    clients = [world.client() for _ in range(3)]
    limited(world, Connections(max_per_client=2))
    assert world.client().end == "reset"
    for client in clients[:2]:
        client.closes()
    assert world.client().end == ""


def test_one_that_is_turned_away_asks_nothing(make: Make) -> None:
    world = limited(make(), Connections(max_per_client=1))
    served, turned_away = world.client(), world.client()
    turned_away.sends(get())
    served.sends(get())
    world.accepted().sends(ok())
    assert not world.accepts
    assert world.worker_cell(WorkerCell.REQUESTS) == 1


def test_who_comes_to_a_full_worker_takes_the_place_of_the_longest_idle(make: Make) -> None:
    world = limited(make(), Connections(max=3))
    old, busy = world.client(), world.client()
    old.sends(get())
    world.accepted().sends(ok())
    busy.sends(get())
    world.advance(1)
    young = world.client()
    assert old.end == "closed"
    assert (busy.end, young.end) == ("", "")


def test_a_crowd_that_comes_at_once_is_looked_at_again_when_the_idle_ones_are_gone(make: Make) -> None:
    world = make()
    clients = [world.client() for _ in range(6)]
    for client in clients:
        client.sends(get())
        for peer in world.peers:
            if peer.connection.exchange is not None:
                peer.sends(ok())
    limited(world, Connections(max=3))
    world.client()
    world.loop.run()
    assert sum(client.end == "" for client in clients) <= 2
    assert not world.worker._is_full


def test_the_worst_lag_of_the_loop_is_told_and_fades(make: Make) -> None:
    world = make()
    world.advance(1)
    assert world.worker_cell(WorkerCell.LAG) == 0
    clock = world.worker._clock
    world.worker._clock = lambda: clock() + 0.5  # the process was held up once
    world.advance(0.25)
    worst = world.worker_cell(WorkerCell.LAG)
    assert worst == pytest.approx(500_000, abs=1)
    world.advance(10)
    assert 0 < world.worker_cell(WorkerCell.LAG) < worst / 20
