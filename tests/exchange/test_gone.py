"""The client goes away, in every phase: its server's connection closes and nothing of it is left."""

from dataclasses import replace

import pytest

from headgate.wire.cells import ServerCell, WorkerCell
from tests.exchange.kit import LIMIT, TIMEOUTS, Make, SlowStore, World, get, ok, post

HOW = pytest.mark.parametrize("how", ["closes", "resets"])


@HOW
def test_between_two_requests_it_is_nobodys_loss(world: World, how: str) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok())
    getattr(client, how)()
    assert server.end == ""
    assert world.flagged("DC") == 0
    assert world.worker_cell(WorkerCell.REQUESTS) == 1


@HOW
@pytest.mark.parametrize("part", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_before_its_head_is_complete_there_is_no_request(world: World, part: bytes, how: str) -> None:
    client = world.client()
    client.sends(part)
    getattr(client, how)()
    client.sees_nothing()
    assert client.end in ("closed", "reset")
    assert world.worker_cell(WorkerCell.REQUESTS) == 0


@HOW
def test_while_the_store_decides(make: Make, how: str) -> None:
    world = make(limits=[LIMIT])
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    getattr(client, how)()
    assert world.flagged("DC") == 1
    store.decide(True)
    assert not world.attempts


@HOW
def test_while_the_connection_is_made(world: World, how: str) -> None:
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    getattr(client, how)()
    assert world.attempts[0].cancelled
    assert world.flagged("DC") == 1
    assert world.server_cell(ServerCell.CONNECT_FAILURES) == 0


@HOW
def test_while_it_sends_its_body(world: World, how: str) -> None:
    client = world.client()
    client.sends(post(b"body")[:-2])
    server = world.accepted()
    getattr(client, how)()
    assert server.end == "reset"
    assert world.in_flight() == 0
    assert world.flagged("DC") == 1


@HOW
def test_while_the_response_is_awaited(world: World, how: str) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    assert world.in_flight() == 1
    getattr(client, how)()
    assert server.end == "reset"
    assert world.in_flight() == 0
    assert world.server_cell(ServerCell.RESETS) == 0
    server.connection.data_received(ok())  # it was under way


@HOW
def test_while_the_response_comes(world: World, how: str) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"0123456789")[:-2])
    getattr(client, how)()
    assert server.end == "reset"
    assert world.in_flight() == 0
    assert world.flagged("DC") == 1
    assert world.responses(2) == 0


def test_while_the_response_waits_for_it(world: World) -> None:
    client = world.client()
    client.sends(get())
    client.transport.stalled = True
    server = world.accepted()
    server.sends(ok(b"x" * 200_000)[:-1])
    assert not server.transport.reading
    client.resets()
    assert server.end == "reset"
    assert world.flagged("DC") == 1


@HOW
def test_with_requests_sent_ahead_these_are_never_sent(world: World, how: str) -> None:
    client = world.client()
    client.sends(get(b"/1") + get(b"/2"))
    server = world.accepted()
    server.new()
    getattr(client, how)()
    server.sees_nothing()
    assert world.worker_cell(WorkerCell.REQUESTS) == 1


@HOW
def test_while_it_lingers(world: World, how: str) -> None:
    client = world.client()
    client.sends(b"nonsense\r\n")
    client.sees_answer(400)
    getattr(client, how)()
    world.advance(5)
    assert world.worker_cell(WorkerCell.CONNECTIONS) == 0


@pytest.mark.parametrize("request_", [b"nonsense\r\n", post(b"body")[:-1]], ids=["nonsense", "half a body"])
def test_before_the_loop_has_said_so_the_end_of_an_answer_can_find_it_gone(make: Make, request_: bytes) -> None:
    world = make(0)
    client = world.client()
    client.transport.vanished = True
    client.sends(request_)
    assert client.end == "reset"
    assert world.flagged("IE") == 0
    assert world.worker_cell(WorkerCell.REQUESTS) == 1


def test_in_one_turn_with_its_server_it_goes_only_once(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.transport.break_off()
    client.transport.break_off()
    world.loop.run()
    assert world.flagged("UC") + world.flagged("DC") == 1
    assert world.worker_cell(WorkerCell.REQUESTS) == 1


def test_in_one_turn_with_the_end_of_its_response_it_goes_only_once(world: World) -> None:
    client = world.client()
    client.sends(get(b"/", b"Connection: close"))
    server = world.accepted()
    client.transport.break_off()
    server.transport.arrive(ok())
    world.loop.run()
    assert world.worker_cell(WorkerCell.REQUESTS) == 1
    assert world.in_flight() == 0


def test_a_server_connection_that_was_made_for_a_client_that_went_is_not_kept_waiting(world: World) -> None:
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    client.resets()
    world.advance(10)
    assert world.worker_cell(WorkerCell.IN_FLIGHT) == 0


def finishing(world: World, seconds: float = float("inf")) -> World:
    """The same world, whose route finishes what its clients leave."""
    (route,) = world.snapshot.routes
    world.adopt(replace(world.snapshot, version=2, routes=(replace(route, on_client_gone=seconds),)))
    return world


def test_a_request_that_is_finished_anyway_has_its_response_read_to_the_end(make: Make) -> None:
    world = finishing(make())
    log = world.logs("text")
    client = world.client()
    client.sends(post(b"order"))
    client.resets()
    server = world.accepted()
    server.sends(ok(b"x" * 100_000)[:-1])
    assert server.transport.reading
    assert world.in_flight() == 1
    server.sends(b"x")
    assert server.end == ""  # and its connection is used again
    assert (world.flagged("DC"), world.responses(2), world.in_flight()) == (1, 0, 0)
    assert log.lines[0].split()[5] == b"200"


def test_a_response_that_a_slow_client_held_up_goes_on_when_it_is_gone(make: Make) -> None:
    world = finishing(make())
    client = world.client()
    client.sends(get())
    client.transport.stalled = True
    server = world.accepted()
    server.sends(ok(b"x" * 200_000)[:-1])
    assert not server.transport.reading
    client.resets()
    server.sends(b"x")
    assert world.in_flight() == 0


def test_what_is_finished_anyway_goes_to_another_server_like_any_other(make: Make) -> None:
    world = finishing(make(2))
    client = world.client()
    client.sends(get())
    client.resets()
    world.accepted().resets()
    world.accepted().sends(ok())
    assert world.worker_cell(WorkerCell.RETRIES) == 1


def test_it_is_cut_when_the_time_that_the_route_gives_is_over(make: Make) -> None:
    world = finishing(make(), 5)
    client = world.client()
    client.sends(get())
    world.advance(3)
    client.resets()
    server = world.accepted()
    world.advance(4.5)
    assert server.end == ""
    world.advance(1)
    assert server.end == "reset"
    assert world.in_flight() == 0


def test_a_client_that_only_closed_its_half_gets_its_answer(make: Make) -> None:
    world = finishing(make())
    client = world.client()
    client.sends(get(b"/1") + get(b"/2"))
    client.closes()
    server = world.accepted()
    server.sends(ok(b"1"))
    server.sends(ok(b"2"))
    client.sees(ok(b"1") + ok(b"2"))
    assert client.end == "closed"
    assert (world.flagged("DC"), world.responses(2)) == (0, 2)


@HOW
def test_a_body_that_will_never_be_complete_is_not_finished(make: Make, how: str) -> None:
    world = finishing(make())
    client = world.client()
    client.sends(post(b"body")[:-2])
    server = world.accepted()
    getattr(client, how)()
    assert server.end == "reset"
    assert world.flagged("DC") == 1


def test_an_upgrade_whose_client_is_gone_is_no_tunnel(make: Make) -> None:
    world = finishing(make())
    client = world.client()
    client.sends(get(b"/", b"Connection: upgrade", b"Upgrade: websocket"))
    client.resets()
    server = world.accepted()
    server.sends(b"HTTP/1.1 101 -\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert server.end == "reset"


def test_an_upgrade_whose_client_sends_no_more_is_a_tunnel_that_ends(make: Make) -> None:
    world = finishing(make())
    client = world.client()
    client.sends(get(b"/", b"Connection: upgrade", b"Upgrade: websocket") + b"early")
    client.closes()
    server = world.accepted()
    server.new()
    server.sends(b"HTTP/1.1 101 -\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
    server.sees(b"early")
    assert client.new().endswith(b"\r\n\r\nhello")
    assert (client.end, server.end) == ("", "eof")
    world.advance(TIMEOUTS.response_body + 1)  # and not `tunnel`: nothing tells when such a client is gone
    assert (server.end, world.in_flight(), world.flagged("SI")) == ("reset", 0, 1)


def test_a_drain_waits_for_what_is_finished_anyway(make: Make) -> None:
    world = finishing(make())
    client = world.client()
    client.sends(get())
    client.resets()
    world.worker.drain(30)
    assert not world.worker._finished.done()
    world.accepted().sends(ok())
    assert world.worker._finished.done()


def test_a_drain_that_ends_cuts_what_is_finished_anyway(make: Make) -> None:
    world = finishing(make())
    client = world.client()
    client.sends(get())
    client.resets()
    world.worker.drain(5)
    world.advance(6)
    assert world.accepted().end == "reset"
    assert world.in_flight() == 0


def test_a_client_that_cannot_tell_otherwise_sees_that_its_response_broke_off(world: World) -> None:
    # Its response has no framing but the end of the connection, which would look as if it were whole.
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    world.accepted().sends(b"HTTP/1.1 200 OK\r\n\r\n123")
    client.closes()
    assert client.end == "reset"
    assert world.flagged("DC") == 1


def test_before_its_response_began_a_client_of_http_1_0_is_closed_in_order(world: World) -> None:
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    client.closes()
    client.sees_nothing()
    assert client.end == "closed"
