"""Headgate stops: what is in flight ends well, what is idle closes, who has only just come may still ask once."""

from headgate.wire.messages import Drained
from tests.exchange.kit import World, get, ok, post


def test_an_exchange_in_flight_ends_and_says_close(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    world.worker.drain(30)
    world.advance(5)
    assert client.end == ""
    server.sends(ok(b"1"))
    client.sees(ok(b"1", b"Connection: close"))
    assert client.end == "closed"
    assert world.told[-1] == Drained()


def test_a_response_that_began_ends_and_its_connection_soon_after(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"12")[:-1])
    world.worker.drain(30)
    world.advance(5)
    server.sends(b"2")
    client.sees(ok(b"12"))
    assert client.end == ""
    world.advance(1.5)
    assert client.end == "closed"
    assert world.told[-1] == Drained()


def test_clients_that_are_idle_for_a_while_are_closed_at_once(world: World) -> None:
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok())
    world.advance(1.5)
    world.worker.drain(30)
    world.loop.run()
    assert client.end == "closed"
    assert world.told[-1] == Drained()


def test_a_client_that_is_idle_for_a_moment_may_ask_once_more(world: World) -> None:
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok(b"1"))
    world.advance(0.5)
    world.worker.drain(30)
    world.loop.run()
    assert client.end == ""
    client.sends(get())
    world.accepted().sends(ok(b"2"))
    client.sees(ok(b"1") + ok(b"2", b"Connection: close"))
    assert client.end == "closed"
    assert world.told[-1] == Drained()


def test_a_client_that_asks_for_nothing_more_is_closed_a_second_later(world: World) -> None:
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok())
    world.worker.drain(30)
    world.advance(0.5)
    assert client.end == ""
    world.advance(1.0)
    assert client.end == "closed"
    assert world.told[-1] == Drained()


def test_a_client_that_has_only_just_connected_may_still_ask(world: World) -> None:
    asks, silent = world.client(), world.client()
    world.worker.drain(30)
    world.advance(0.5)
    assert asks.end == silent.end == ""
    asks.sends(get())
    world.accepted().sends(ok(b"1"))
    asks.sees(ok(b"1", b"Connection: close"))
    assert asks.end == "closed"
    world.advance(0.8)
    assert silent.end == "closed"
    assert world.told[-1] == Drained()


def test_part_of_a_head_is_waited_for(world: World) -> None:
    client = world.client()
    client.sends(get()[:10])
    world.worker.drain(30)
    world.advance(5)
    client.sends(get()[10:])
    world.accepted().sends(ok())
    client.sees(ok(b"", b"Connection: close"))


def test_of_requests_sent_ahead_one_more_is_answered(world: World) -> None:
    client = world.client()
    client.sends(get(b"/1") + get(b"/2") + get(b"/3"))
    server = world.accepted()
    server.sends(ok(b"1")[:-1])
    world.worker.drain(30)
    server.sends(b"1")
    server.sends(ok(b"2"))
    client.sees(ok(b"1") + ok(b"2", b"Connection: close"))
    assert client.end == "eof"


def test_local_answers_say_close_too(world: World) -> None:
    client = world.client()
    client.sends(post(b"x")[:10])
    world.worker.drain(30)
    world.refusing = {"s1:80"}
    client.sends(post(b"x")[10:])
    assert b"\r\nConnection: close" in client.sees_answer(502)
    assert client.end == "closed"


def test_what_does_not_end_in_time_is_cut(world: World) -> None:
    client = world.client()
    client.sends(get())
    world.accepted()
    world.worker.drain(20)
    world.advance(19)
    assert client.end == ""
    world.advance(1.5)
    assert client.end == "reset"
    assert world.worker._finished.done()


def test_a_second_drain_changes_nothing(world: World) -> None:
    client = world.client()
    client.sends(get())
    world.accepted()
    world.worker.drain(20)
    world.worker.drain(0)
    world.advance(10)
    assert client.end == ""


def test_a_drain_without_clients_is_over_at_once(world: World) -> None:
    world.worker.drain(20)
    assert world.told[-1] == Drained()
    assert world.worker._finished.done()
