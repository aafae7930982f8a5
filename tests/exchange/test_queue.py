"""Servers that may have so many requests at once, and requests that wait for them."""

from dataclasses import replace

import pytest

from headgate.model.server import Mode, Probe
from headgate.wire.cells import ServerCell, WorkerCell
from tests.exchange.kit import Client, Make, World, get, ok


def capped(world: World, most: int = 1, queue: int = 10, seconds: float = 5.0) -> World:
    """The same world, whose servers have so many requests at the most."""
    (upstream,), (route,) = world.snapshot.upstreams, world.snapshot.routes
    servers = tuple(replace(server, max_requests=most) for server in upstream.servers)
    world.adopt(
        replace(
            world.snapshot,
            version=world.snapshot.version + 1,
            upstreams=(replace(upstream, servers=servers, queue=queue),),
            routes=(replace(route, timeouts=replace(route.timeouts, queue=seconds)),),
        )
    )
    return world


def ask(world: World, count: int) -> list[Client]:
    """So many clients that each ask for something of their own."""
    clients = [world.client() for _ in range(count)]
    for number, client in enumerate(clients):
        client.sends(get(b"/%d" % number))
    return clients


def test_a_request_waits_until_a_server_has_room_and_the_first_comes_first(make: Make) -> None:
    world = capped(make(2))
    clients = ask(world, 4)
    servers = [world.accepted(), world.accepted()]
    assert not world.accepts
    assert world.worker_cell(WorkerCell.WAITING) == 2
    assert world.in_flight() == 2
    for server in servers:
        server.new()
    servers[1].sends(ok(b"1"))
    clients[1].sees(ok(b"1"))
    world.advance(0.01)
    assert b"GET /2 " in servers[1].new()
    assert servers[0].new() == b""
    servers[0].sends(ok(b"0"))
    world.advance(0.01)
    assert b"GET /3 " in servers[0].new()
    servers[0].sends(ok(b"3"))
    servers[1].sends(ok(b"2"))
    clients[2].sees(ok(b"2"))
    clients[3].sees(ok(b"3"))
    assert world.worker_cell(WorkerCell.WAITING) == 0


def test_more_than_one_request_at_once_is_for_the_server_to_have(make: Make) -> None:
    world = capped(make(1), most=3)
    ask(world, 5)
    assert world.in_flight() == 3
    assert world.worker_cell(WorkerCell.WAITING) == 2


def test_beyond_the_queue_it_is_503_at_once(make: Make) -> None:
    world = capped(make(), queue=1)
    *_, last = ask(world, 3)
    assert b"\r\nRetry-After: 1\r\n" in last.sees_answer(503)
    assert world.flagged("UO") == 1
    assert last.end == ""


def test_without_a_queue_nothing_waits(make: Make) -> None:
    world = capped(make(), queue=0)
    _, second = ask(world, 2)
    second.sees_answer(503)


def test_who_has_waited_for_too_long_is_503(make: Make) -> None:
    world = capped(make(), seconds=2)
    first, second = ask(world, 2)
    world.advance(1.9)
    second.sees_nothing()
    world.advance(0.7)
    second.sees_answer(503)
    first.sees_nothing()
    assert world.flagged("UO") == 1
    assert world.worker_cell(WorkerCell.WAITING) == 0


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_who_goes_away_waits_no_more(make: Make, how: str) -> None:
    world = capped(make())
    _, second, third = ask(world, 3)
    getattr(second, how)()
    assert world.worker_cell(WorkerCell.WAITING) == 1
    server = world.accepted()
    server.new()
    server.sends(ok())
    world.advance(0.01)
    assert b"GET /2 " in server.new()
    server.sends(ok())
    third.sees(ok())


def test_a_server_whose_connection_is_made_has_its_request_already(make: Make) -> None:
    world = make()
    world.holds_connects = True
    capped(world)
    ask(world, 2)
    assert len(world.attempts) == 1
    world.attempts[0].refuse()
    world.advance(0.01)
    assert len(world.attempts) == 2  # the first has its 502, and the second its turn
    assert world.in_flight() == 1
    world.attempts[1].succeed()


def test_a_retry_waits_for_another_server_too(make: Make) -> None:
    world = capped(make(2))
    first, _ = ask(world, 2)
    one, other = world.accepted(), world.accepted()
    one.resets()
    first.sees_nothing()
    assert world.worker_cell(WorkerCell.WAITING) == 1
    other.new()
    other.sends(ok())
    world.advance(0.01)
    assert b"GET /0 " in other.new()
    other.sends(ok(b"again"))
    first.sees(ok(b"again"))


def test_an_available_server_that_is_full_is_waited_for_and_an_ejected_one_not_asked(make: Make) -> None:
    world = capped(make(2))
    world.worker.plan.servers[1].ejected_until = world.loop.now + 100
    ask(world, 2)
    assert world.tried == ["s1:80"]


def test_what_another_worker_leaves_is_found_soon(make: Make) -> None:
    world = capped(make())
    server = world.worker.plan.servers[0]
    elsewhere = memoryview(bytearray(8 * 40)).cast("Q")  # the row of another worker
    server._rows = (*server._rows, elsewhere)
    elsewhere[ServerCell.IN_FLIGHT] = 1
    (client,) = ask(world, 1)
    world.advance(0.05)
    assert not world.accepts
    elsewhere[ServerCell.IN_FLIGHT] = 0
    world.advance(0.01)
    world.accepted().sends(ok())
    client.sees(ok())


def test_a_server_that_is_added_takes_who_waits(make: Make) -> None:
    world = capped(make(1))
    ask(world, 2)
    (upstream,) = world.snapshot.upstreams
    more = tuple(replace(server, max_requests=1) for server in world.states(2))
    world.slots.add(1)
    world.adopt(replace(world.snapshot, version=9, upstreams=(replace(upstream, servers=more),)))
    world.advance(0.01)
    assert [world.accepted().name, world.accepted().name] == ["s1:80", "s2:80"]


@pytest.mark.parametrize("change", [{"mode": Mode.MAINT}, {"probe": Probe.DOWN}], ids=["maintenance", "down"])
def test_when_the_last_server_goes_nobody_waits_for_it(make: Make, change: dict[str, object]) -> None:
    world = capped(make(1))
    _, second = ask(world, 2)
    (upstream,) = world.snapshot.upstreams
    servers = tuple(replace(server, **change) for server in upstream.servers)  # type: ignore[arg-type]
    world.adopt(replace(world.snapshot, version=9, upstreams=(replace(upstream, servers=servers),)))
    world.advance(0.01)
    second.sees_answer(503)
    assert world.flagged("UH") == 1


def test_when_the_upstream_goes_nobody_waits_for_it(make: Make) -> None:
    world = capped(make(1))
    _, second = ask(world, 2)
    world.adopt(replace(world.snapshot, version=9, upstreams=(), routes=()))
    world.advance(0.01)
    second.sees_answer(503)


def test_a_limit_that_is_lifted_lets_all_in(make: Make) -> None:
    world = capped(make(1))
    ask(world, 4)
    capped(world, most=0)
    world.advance(0.01)
    assert world.in_flight() == 4


def test_a_drain_serves_who_waits(make: Make) -> None:
    world = capped(make(1))
    clients = ask(world, 2)
    server = world.accepted()
    world.worker.drain(10)
    server.sends(ok())
    world.advance(0.01)
    server.sends(ok())
    assert [client.new()[9:12] for client in clients] == [b"200", b"200"]
    assert world.worker._finished.done()
