"""Every wait has an end, and who is waited for decides what becomes of it. The timeouts are those of the kit."""

from dataclasses import replace

import pytest

from headgate.wire.cells import ServerCell
from tests.exchange.kit import TIMEOUTS, Make, World, forwarded, get, ok, post


def test_a_client_that_sends_nothing_is_closed_silently(world: World) -> None:
    client = world.client()
    world.advance(9)
    assert client.end == ""
    world.advance(1.5)
    client.sees_nothing()
    assert client.end == "reset"


def test_a_head_that_does_not_end_in_time_is_408(world: World) -> None:
    client = world.client()
    client.sends(b"GET / HTTP/1.1\r\n")
    for _ in range(10):
        world.advance(1)
        client.sends(b"x: y\r\n")  # a byte now and then puts off nothing
    world.advance(0.5)
    client.sees_answer(408)
    assert client.end == "eof"
    assert world.flagged("DT") == 1


def test_the_head_of_a_later_request_has_its_time_from_its_first_byte(world: World) -> None:
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok())
    client.new()
    world.advance(60)
    client.sends(b"GET / ")
    world.advance(9.5)
    client.sees_nothing()
    world.advance(1)
    client.sees_answer(408)


def test_an_idle_client_is_closed_silently(world: World) -> None:
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok())
    client.new()
    world.advance(74)
    assert client.end == ""
    world.advance(1.5)
    client.sees_nothing()
    assert client.end == "reset"


def test_a_response_that_does_not_begin_is_504(world: World) -> None:
    client = world.client()
    client.sends(post(b"x"))
    server = world.accepted()
    world.advance(29.5)
    client.sees_nothing()
    world.advance(1)
    client.sees_answer(504)
    assert client.end == ""
    assert server.end == "reset"
    assert world.flagged("UT") == 1
    assert world.server_cell(ServerCell.TIMEOUTS) == 1


def test_a_get_whose_server_is_silent_goes_to_another(make: Make) -> None:
    world = make(2)
    client = world.client()
    client.sends(get())
    world.advance(31)
    assert world.accepted().end == "reset"
    second = world.accepted()
    world.advance(28)
    second.sends(ok(b"1"))
    client.sees(ok(b"1"))


def test_a_reused_connection_that_is_silent_counts_against_its_server(make: Make) -> None:
    world = make(1)
    server = world.warm()
    client = world.client()
    client.sends(get())
    world.advance(31)
    client.sees_answer(504)
    assert server.end == "reset"
    assert world.server_cell(ServerCell.TIMEOUTS) == 1


def test_a_connection_that_is_not_made_in_time_is_given_up_for_another(make: Make) -> None:
    world = make(2)
    world.holds_connects = True
    client = world.client()
    client.sends(post(b"x"))
    world.advance(3.5)
    assert world.attempts[0].cancelled
    server = world.attempts[1].succeed()
    server.sees(forwarded(post(b"x")))
    server.sends(ok())
    client.sees(ok())


def test_when_no_connection_is_made_in_time_it_is_502(world: World) -> None:
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    world.advance(3.5)
    client.sees_answer(502)
    assert world.flagged("UF") == 1


def test_a_request_body_that_stops_is_408_and_not_the_servers_fault(world: World) -> None:
    client = world.client()
    client.sends(post(b"abcd")[:-2])
    server = world.accepted()
    world.advance(19)
    client.sends(b"c")
    world.advance(19)
    client.sees_nothing()
    world.advance(1.5)
    client.sees_answer(408)
    assert client.end == "eof"
    assert server.end == "reset"
    assert world.server_cell(ServerCell.TIMEOUTS) == 0
    assert world.flagged("DT") == 1


def test_a_request_body_that_the_server_does_not_take_is_504(world: World) -> None:
    client = world.client()
    client.sends(post(b"x" * 1_000_000)[:-900_000])
    server = world.accepted()
    server.transport.stalled = True
    client.sends(b"x" * 300_000)
    assert not client.transport.reading
    world.advance(20.5)
    client.sees_answer(504)
    assert world.server_cell(ServerCell.TIMEOUTS) == 1


def test_a_server_that_takes_a_body_slowly_is_waited_for(world: World) -> None:
    client = world.client()
    whole = post(b"x" * 400_000)
    client.sends(whole[:-300_000])
    server = world.accepted()
    server.transport.stalled = True
    client.sends(whole[-300_000:-1])
    for _ in range(5):
        world.advance(19)
        server.takes(1_000)
    client.sees_nothing()
    server.takes()
    assert client.transport.reading


def test_a_client_has_its_whole_time_after_a_pause_that_the_server_made(world: World) -> None:
    client = world.client()
    whole = post(b"x" * 400_000)
    client.sends(whole[:-300_000])
    server = world.accepted()
    server.transport.stalled = True
    client.sends(whole[-300_000:-1])
    world.advance(19.5)
    server.takes()
    world.advance(10)
    client.sees_nothing()
    client.sends(b"x")
    server.takes()
    server.sees(forwarded(whole))


def test_a_server_has_its_whole_time_after_a_pause_that_the_client_made(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    client.transport.stalled = True
    whole = ok(b"x" * 200_000)
    server.sends(whole[:-1])
    assert not server.transport.reading
    world.advance(39.5)
    client.takes()
    world.advance(20)
    server.sends(whole[-1:])
    client.takes()
    client.sees(whole)
    assert client.end == server.end == ""


def test_a_response_body_that_stops_breaks_the_response(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"0123456789")[:-2])
    world.advance(39)
    server.sends(b"8")
    world.advance(39)
    assert client.end == ""
    world.advance(1.5)
    assert client.end == "closed"
    assert server.end == "reset"
    assert world.flagged("UT") == 1
    assert world.server_cell(ServerCell.TIMEOUTS) == 1


def test_a_client_that_takes_nothing_of_a_body_is_cut_and_not_the_servers_fault(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    client.transport.stalled = True
    server.sends(ok(b"x" * 200_000)[:-1])
    world.advance(41)
    assert client.end == "reset"
    assert server.end == "reset"
    assert world.flagged("DC") == 1
    assert world.server_cell(ServerCell.TIMEOUTS) == 0


def test_a_client_that_takes_a_body_slowly_is_waited_for(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    client.transport.stalled = True
    whole = ok(b"x" * 200_000)
    server.sends(whole[:-1])
    for _ in range(8):
        world.advance(39)
        client.takes(100)
    assert client.end == ""
    client.takes()
    server.sends(whole[-1:])
    client.takes()
    client.sees(whole)


@pytest.mark.parametrize("fields", [(), (b"Connection: close",)], ids=["keep", "close"])
def test_a_client_that_takes_the_last_of_a_response_slowly_is_waited_for(world: World, fields: tuple[bytes]) -> None:
    client = world.client()
    client.sends(get(b"/", *fields))
    server = world.accepted()
    client.transport.stalled = True
    body = b"x" * 50_000
    server.sends(ok(body))
    for _ in range(5):
        world.advance(74)
        assert client.end == ""
        client.takes(10_000)
    world.advance(1)
    client.takes()
    client.sees(ok(body, *fields))


@pytest.mark.parametrize("fields", [(), (b"Connection: close",)], ids=["keep", "close"])
def test_a_client_that_takes_nothing_of_a_whole_response_is_cut(world: World, fields: tuple[bytes]) -> None:
    client = world.client()
    client.sends(get(b"/", *fields))
    client.transport.stalled = True
    world.accepted().sends(ok(b"x" * 50_000))
    world.advance(151)
    assert client.end == "reset"


def test_a_client_that_takes_nothing_of_a_response_that_broke_off_is_cut(world: World) -> None:
    client = world.client()
    client.sends(get())
    client.transport.stalled = True
    server = world.accepted()
    server.sends(ok(b"x" * 50_000)[:-1])
    world.advance(41)
    assert server.end == "reset"
    assert client.end == ""
    world.advance(151)
    assert client.end == "reset"


def test_an_idle_connection_to_a_server_is_closed_in_time(world: World) -> None:
    server = world.warm()
    world.advance(49)
    assert server.end == ""
    assert world.server_cell(ServerCell.IDLE) == 1
    world.advance(1.5)
    assert server.end == "reset"
    assert world.server_cell(ServerCell.IDLE) == 0


@pytest.mark.parametrize("since_the_sweep", [0.0, 0.1, 0.24])
def test_no_timeout_is_early_however_long_ago_the_clock_was_read(make: Make, since_the_sweep: float) -> None:
    world = make(timeouts=replace(TIMEOUTS, response_head=0.2))
    client = world.client()
    world.advance(since_the_sweep)
    client.sends(get())
    world.advance(0.19)
    client.sees_nothing()
    world.advance(0.55)
    client.sees_answer(504)


def test_an_idle_connection_whose_time_is_over_is_not_used_before_the_sweep_finds_it(world: World) -> None:
    server = world.warm()
    world.advance(1.4)
    world.worker.now += 0.3
    client = world.client()
    client.sends(get())
    assert world.accepted() is not server
    assert server.end == ""  # it stays, to show how long its server keeps it
    world.advance(51)
    assert server.end == "reset"


def test_a_wait_for_the_next_request_does_not_begin_with_the_last_ones_deadline(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    world.advance(29)
    server.sends(ok())
    client.new()
    world.advance(40)
    client.sends(get())
    world.accepted().sends(ok())
    client.sees(ok())


def test_each_piece_of_a_body_has_its_own_time_in_both_directions(world: World) -> None:
    client = world.client()
    whole = post(b"x" * 10)
    client.sends(whole[:-10])
    server = world.accepted()
    for _ in range(10):
        world.advance(19)
        client.sends(b"x")
    server.sees(forwarded(whole))
    response = ok(b"y" * 10)
    server.sends(response[:-10])
    for _ in range(10):
        world.advance(39)
        server.sends(b"y")
    client.sees(response)


def test_a_body_that_drips_ends_with_the_time_that_the_whole_request_has(make: Make) -> None:
    world = make(timeouts=replace(TIMEOUTS, total=60))
    client = world.client()
    client.sends(post(b"x" * 100)[:-100])
    server = world.accepted()
    for _ in range(6):
        world.advance(9.5)
        client.sends(b"x")
    assert client.end == server.end == ""
    world.advance(4)
    client.sees_answer(504)
    assert server.end == "reset"


def test_a_response_that_drips_ends_with_the_time_that_the_whole_request_has(make: Make) -> None:
    world = make(timeouts=replace(TIMEOUTS, total=60))
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"x" * 100)[:-100])
    for _ in range(6):
        world.advance(9.5)
        server.sends(b"x")
    assert client.end == server.end == ""
    world.advance(4)
    assert client.end == "closed"
    assert server.end == "reset"
