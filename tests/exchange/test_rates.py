"""Who sends or takes a body too slowly is cut off, by the least rates of its route, and for no time but its own."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from headgate.wire.cells import ServerCell
from tests.exchange.kit import TIMEOUTS, Client, Make, ServerPeer, World, forwarded, get, ok, post

RATES = replace(TIMEOUTS, request_min_rate=100, response_min_rate=100, min_rate_window=5)
SLOW, FAST = 99, 101  # bytes a second
CHUNKED = get(b"/", b"Transfer-Encoding: chunked", method=b"POST")


@pytest.fixture
def world(make: Make) -> World:
    """A worker with one server, whose route has rates."""
    return make(timeouts=RATES)


def drips(world: World, peer: Client | ServerPeer, rate: int, seconds: int) -> None:
    """Sends so many bytes a second, in ten pieces each."""
    for _ in range(seconds):
        for k in range(10):
            peer.sends(b"x" * (rate * (k + 1) // 10 - rate * k // 10))
            world.advance(0.1)


def sips(world: World, client: Client, rate: int, seconds: int) -> None:
    """Takes so many bytes a second, in four pieces each."""
    for _ in range(seconds):
        for k in range(4):
            client.takes(rate * (k + 1) // 4 - rate * k // 4)
            world.advance(0.25)


def answer_to_a_stalled_client(world: World, response: bytes, request: bytes = get()) -> tuple[Client, ServerPeer]:
    """A client that takes nothing of what a server sends it."""
    client = world.client()
    client.sends(request)
    server = world.accepted()
    client.transport.stalled = True
    server.sends(response)
    return client, server


@pytest.fixture
def backlogged() -> Iterator[socket.socket]:
    """A socket whose other end reads nothing of what the system has for it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x" * 1000)
        yield ours


class TestSending:
    """`request_min_rate`."""

    def test_a_body_that_comes_too_slowly_is_408_and_not_the_servers_fault(self, world: World) -> None:
        client = world.client()
        client.sends(post(b"x" * 9999)[:-9999])
        server = world.accepted()
        drips(world, client, SLOW, 6)
        client.sees_answer(408)
        assert client.end == "eof"
        assert server.end == "reset"
        assert world.server_cell(ServerCell.TIMEOUTS) == 0
        assert world.flagged("DT") == 1

    def test_a_chunked_body_that_comes_too_slowly_is_408(self, world: World) -> None:
        client = world.client()
        client.sends(CHUNKED + b"1000\r\n")
        drips(world, client, SLOW, 6)
        client.sees_answer(408)

    def test_a_body_that_comes_fast_enough_is_waited_for(self, world: World) -> None:
        client = world.client()
        whole = post(b"x" * FAST * 60)
        client.sends(whole[: -FAST * 60])
        server = world.accepted()
        drips(world, client, FAST, 60)
        server.sees(forwarded(whole))
        server.sends(ok())
        client.sees(ok())

    def test_what_came_fast_does_not_make_up_for_what_comes_slowly(self, world: World) -> None:
        client = world.client()
        client.sends(post(b"x" * 200_000)[:-200_000], b"x" * 100_000)
        drips(world, client, FAST, 10)
        client.sees_nothing()
        drips(world, client, SLOW, 11)
        client.sees_answer(408)

    def test_a_body_that_ends_within_the_window_may_have_been_slow(self, world: World) -> None:
        client = world.client()
        client.sends(post(b"x" * 9)[:-9])
        drips(world, client, 2, 4)
        client.sends(b"x")
        world.advance(20)
        client.sees_nothing()
        world.accepted().sends(ok())
        client.sees(ok())

    @pytest.mark.parametrize("since_the_sweep", [0.0, 0.1, 0.24])
    def test_nobody_is_judged_before_the_window_is_over(self, world: World, since_the_sweep: float) -> None:
        client = world.client()
        world.advance(since_the_sweep)
        client.sends(post(b"x" * 9999)[:-9999])
        world.advance(0.1)
        client.sends(b"x")
        world.advance(4.99)
        client.sees_nothing()
        world.advance(0.6)
        client.sees_answer(408)

    def test_a_body_that_has_not_begun_has_the_time_that_it_has_without_a_rate(self, world: World) -> None:
        client = world.client()
        whole = get(b"/", b"Content-Length: 2", b"Expect: 100-continue", method=b"POST")
        client.sends(whole)
        server = world.accepted()
        world.advance(19)
        server.sends(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sees(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sends(b"ab")
        server.sends(ok())
        client.sees(ok())

    def test_time_in_which_the_server_takes_nothing_does_not_count(self, world: World) -> None:
        client = world.client()
        client.sends(post(b"x" * 500_000)[:-500_000], b"x")
        server = world.accepted()
        world.advance(4.5)
        server.transport.stalled = True
        client.sends(b"x" * 300_000)
        for _ in range(10):
            world.advance(9)
            server.takes(1)
        server.takes()
        assert client.transport.reading
        world.advance(4.9)
        client.sees_nothing()
        drips(world, client, SLOW, 6)
        client.sees_answer(408)

    def test_a_pause_between_two_sweeps_begins_a_new_window(self, make: Make) -> None:
        world = make(timeouts=replace(RATES, request_min_rate=100_000))
        client = world.client()
        client.sends(post(b"x" * 999_999)[:-999_999], b"x")
        server = world.accepted()
        world.advance(4.9)
        server.transport.stalled = True
        client.sends(b"x" * 300_000)
        server.takes()
        world.advance(5)
        client.sees_nothing()
        world.advance(0.6)
        client.sees_answer(408)

    def test_a_body_is_not_judged_under_a_response_that_began(self, world: World) -> None:
        client = world.client()
        client.sends(post(b"x" * 9999)[:-9999], b"x")
        server = world.accepted()
        server.sends(ok(b"y" * 10)[:-10])
        for _ in range(9):
            drips(world, client, 1, 10)
            server.sends(b"y")
        assert client.end == server.end == ""
        server.sends(b"y")
        client.sees(ok(b"y" * 10, b"Connection: close"))

    def test_the_next_body_of_a_connection_has_a_window_of_its_own(self, world: World) -> None:
        client = world.client()
        first, second = post(b"x" * 400), post(b"y" * 9)
        client.sends(first[:-400])
        server = world.accepted()
        for _ in range(4):
            client.sends(b"x" * 99)
            world.advance(1)
        client.sends(b"x" * 4)
        server.sends(ok())
        client.sends(second[:-9], b"y")
        world.advance(4.9)
        client.sees(ok())
        client.sends(b"y" * 8)
        server.sends(ok())
        client.sees(ok())


class TestTaking:
    """`response_min_rate`."""

    def test_a_client_that_takes_a_response_too_slowly_is_cut_and_not_the_servers_fault(self, world: World) -> None:
        client, server = answer_to_a_stalled_client(world, ok(b"x" * 200_000)[:-1])
        sips(world, client, SLOW, 6)
        assert client.end == "reset"
        assert server.end == "reset"
        assert world.flagged("DC") == 1
        assert world.server_cell(ServerCell.TIMEOUTS) == 0

    def test_a_client_that_takes_a_response_fast_enough_is_waited_for(self, world: World) -> None:
        client, _ = answer_to_a_stalled_client(world, ok(b"x" * 200_000)[:-1])
        sips(world, client, FAST, 60)
        assert client.end == ""

    def test_a_response_that_its_server_sends_slowly_is_waited_for(self, world: World) -> None:
        client = world.client()
        client.sends(get())
        server = world.accepted()
        server.sends(ok(b"x" * 1000)[:-1000])
        drips(world, server, 1, 60)
        assert client.end == server.end == ""

    def test_a_client_that_takes_all_that_waits_is_not_too_slow(self, world: World) -> None:
        client, server = answer_to_a_stalled_client(world, ok(b"x" * 9999)[:-9999])
        client.takes()
        server.sends(b"x" * 9)
        for _ in range(100):
            world.advance(0.25)
            server.sends(b"x" * 9)  # something waits whenever the sweep looks
            client.takes(9)
        assert client.end == server.end == ""
        world.advance(5.5)
        assert client.end == "reset"

    def test_a_client_that_caught_up_begins_anew(self, world: World) -> None:
        client, server = answer_to_a_stalled_client(world, ok(b"x" * 9999)[:-9000])
        world.advance(4.9)
        client.takes()
        server.sends(b"x" * 100)
        world.advance(5)
        assert client.end == ""
        world.advance(0.6)
        assert client.end == "reset"

    @pytest.mark.parametrize("since_the_sweep", [0.0, 0.1, 0.24])
    def test_nobody_is_judged_before_the_window_is_over(self, world: World, since_the_sweep: float) -> None:
        world.advance(since_the_sweep)
        client, _ = answer_to_a_stalled_client(world, ok(b"x" * 9999)[:-1])
        world.advance(4.99)
        assert client.end == ""
        world.advance(0.6)
        assert client.end == "reset"

    @pytest.mark.parametrize(
        ("size", "fields"), [(100_000, ()), (9_000, (b"Connection: close",))], ids=["large", "last"]
    )
    def test_a_response_that_is_complete_must_be_taken_as_fast(
        self, world: World, size: int, fields: tuple[bytes, ...]
    ) -> None:
        client, server = answer_to_a_stalled_client(world, ok(b"x" * size), get(b"/", *fields))
        assert server.connection in server.connection.server.idle
        sips(world, client, FAST, 12)
        assert client.end == ""
        sips(world, client, SLOW, 11)
        assert client.end == "reset"
        assert world.flagged("DC") == 0  # the request was answered

    def test_a_response_that_is_complete_and_taken_lets_the_next_request_have_its_time(self, world: World) -> None:
        client, _ = answer_to_a_stalled_client(world, ok(b"x" * 100_000))
        world.advance(4)
        client.takes()
        client.sends(get(b"/2"))
        world.accepted().sends(ok(b"y" * 100_000))
        assert client.protocol.paused
        world.advance(4.9)
        assert client.end == ""
        client.takes()
        world.advance(60)
        assert client.end == ""

    def test_a_response_without_a_rate_does_not_count_against_the_one_before_it(self, world: World) -> None:
        free = replace(world.snapshot.routes[0], path="/free", timeouts=TIMEOUTS)
        world.adopt(replace(world.snapshot, version=2, routes=(*world.snapshot.routes, free)))
        client, _ = answer_to_a_stalled_client(world, ok(b"x" * 100_000))
        world.advance(3)
        client.takes(90_000)
        client.sends(get(b"/free"))
        world.accepted().sends(ok(b"y" * 100_000))
        assert client.protocol.paused
        world.advance(15)
        assert client.end == ""

    def test_what_is_left_of_a_small_response_is_idle_like_its_connection(self, world: World) -> None:
        client, _ = answer_to_a_stalled_client(world, ok(b"x" * 9_000))
        world.advance(74)
        assert client.end == ""
        assert client.protocol.is_idle

    def test_what_the_system_holds_counts_for_the_client(self, world: World, backlogged: socket.socket) -> None:
        client, _ = answer_to_a_stalled_client(world, ok(b"x" * 9_999_999)[:-1])
        client.transport.info["socket"] = backlogged
        waits = client.protocol.untaken()
        assert waits > client.transport.get_write_buffer_size()
        client.transport.drain(0)
        world.advance(4)
        del client.transport.info["socket"]  # the client took all that the system had
        world.advance(2)
        assert client.end == ""
        world.advance(5)
        assert client.end == "reset"


def test_without_rates_bodies_may_drip(make: Make) -> None:
    world = make()
    sender = world.client()
    sender.sends(post(b"x" * 9999)[:-9999], b"x")
    world.accepted()
    taker, _ = answer_to_a_stalled_client(world, ok(b"x" * 200_000)[:-1])
    for _ in range(20):
        sender.sends(b"x")
        taker.takes(1)
        world.advance(19)
    assert sender.end == taker.end == ""


def test_rates_are_of_the_route(make: Make) -> None:
    world = make(timeouts=RATES)
    snapshot = world.snapshot
    free = replace(snapshot.routes[0], path="/free", timeouts=TIMEOUTS)
    world.adopt(replace(snapshot, version=2, routes=(*snapshot.routes, free)))
    client = world.client()
    client.sends(post(b"x" * 9999, path=b"/free")[:-9999], b"x")
    world.advance(15)
    assert client.end == ""


def test_a_tunnel_may_be_slow(world: World) -> None:
    client = world.client()
    client.sends(get(b"/", b"Connection: upgrade", b"Upgrade: websocket"))
    server = world.accepted()
    server.sends(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.transport.stalled = True
    server.sends(b"x" * 100_000)
    client.sends(b"x")
    world.advance(60)
    assert client.end == server.end == ""


def test_time_in_which_headgate_is_busy_does_not_count(world: World) -> None:
    client = world.client()
    client.sends(post(b"x" * 9999)[:-9999], b"x")
    world.accepted()
    taker, _ = answer_to_a_stalled_client(world, ok(b"x" * 200_000)[:-1])
    world.advance(4.5)
    clock = world.worker._clock
    world.worker._clock = lambda: clock() + 10  # no sweep in all that time
    world.advance(0.25)
    assert client.end == taker.end == ""
    world.advance(1)
    client.sees_answer(408)
    assert taker.end == "reset"


def test_a_client_that_has_gone_is_never_too_slow(make: Make) -> None:
    world = make(timeouts=RATES)
    route = replace(world.snapshot.routes[0], on_client_gone=float("inf"))
    world.adopt(replace(world.snapshot, version=2, routes=(route,)))
    client, server = answer_to_a_stalled_client(world, ok(b"x" * 200_000)[:-1])
    client.resets()
    world.advance(15)
    assert server.end == ""
    server.sends(b"x")
    assert world.in_flight() == 0
