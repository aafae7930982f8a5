"""Servers that fail are left alone for a while, and asked all the same when there is no other."""

import pytest

from headgate.model.config import Ejection
from headgate.wire.cells import ServerCell
from headgate.wire.messages import Ejected
from tests.exchange.kit import Make, World, get, ok, post

THREE = Ejection(failures=3, base=10)


def ask(world: World, request: bytes = get()) -> bytes:
    """The status of the answer to a request, for which any server that is reached answers 200 and closes."""
    client = world.client()
    client.sends(request)
    for peer in world.peers:
        if peer.connection.exchange is not None:
            peer.sends(ok(b"", b"Connection: close"))
    world.accepts.clear()
    return client.new()[9:12]


def test_three_failures_in_a_row_eject_a_server_for_its_time(make: Make) -> None:
    world = make(2, ejection=THREE)
    world.refusing = {"s1:80"}
    while world.tried.count("s1:80") < 3:
        assert ask(world) == b"200"
    assert world.server_cell(ServerCell.EJECTIONS) == 1
    assert world.server_cell(ServerCell.EJECTED_UNTIL) == 1_010_000
    assert [message for message in world.told if isinstance(message, Ejected)] == [Ejected("web", "s1:80", 10.0)]
    for _ in range(10):
        assert ask(world) == b"200"
    assert world.tried.count("s1:80") == 3
    world.refusing = set()
    world.advance(10.5)
    for _ in range(4):
        assert ask(world) == b"200"
    assert world.responses(2, 0) == 2


def test_a_response_between_failures_sets_the_count_back(make: Make) -> None:
    world = make(1, ejection=THREE)
    for _ in range(5):
        for _ in range(2):
            world.refusing = {"s1:80"}
            assert ask(world, get(b"/", b"Connection: close")) == b"502"
        world.refusing = set()
        client = world.client()
        client.sends(get())
        world.accepted().sends(ok(b"", b"Connection: close"))
    assert world.server_cell(ServerCell.EJECTIONS) == 0


def test_one_failure_after_an_ejection_is_enough_for_the_next(make: Make) -> None:
    world = make(2, ejection=THREE)
    world.refusing = {"s1:80"}
    while world.server_cell(ServerCell.EJECTIONS) < 1:
        ask(world)
    world.advance(10.5)
    ask(world)
    ask(world)
    assert world.server_cell(ServerCell.EJECTIONS) == 2


def test_when_all_are_ejected_they_are_asked_all_the_same(make: Make) -> None:
    world = make(2, ejection=Ejection(failures=1, base=10))
    world.refusing = {"s1:80", "s2:80"}
    assert ask(world) == b"502"
    assert world.server_cell(ServerCell.EJECTIONS, 0) == world.server_cell(ServerCell.EJECTIONS, 1) == 1
    world.refusing = {"s1:80"}
    for _ in range(4):
        assert ask(world) == b"200"


def test_the_only_server_is_asked_although_it_is_ejected(make: Make) -> None:
    world = make(1, ejection=Ejection(failures=1, base=10))
    world.refusing = {"s1:80"}
    assert ask(world) == b"502"
    world.refusing = set()
    assert ask(world) == b"200"


def test_a_request_tries_an_ejected_server_before_it_gives_up(make: Make) -> None:
    world = make(2, ejection=Ejection(failures=1, base=10))
    world.refusing = {"s1:80"}
    ask(world)
    world.refusing = {"s2:80"}
    assert ask(world) == b"200"
    assert world.tried[-1] == "s1:80"


def test_the_idle_connections_of_an_ejected_server_are_closed(make: Make) -> None:
    world = make(1, ejection=Ejection(failures=1, base=10))
    busy, idle = world.warm(), world.idle_too()
    client = world.client()
    client.sends(get(method=b"POST"))
    used = next(peer for peer in (busy, idle) if peer.connection.exchange is not None)
    used.sends(b"nonsense\r\n")
    client.sees_answer(502)
    assert busy.end == idle.end == "reset"


@pytest.mark.parametrize("status", [b"500", b"502", b"503", b"504"])
def test_a_response_is_no_failure_whatever_its_status(make: Make, status: bytes) -> None:
    world = make(1, ejection=Ejection(failures=1, base=10))
    client = world.client()
    client.sends(get())
    answer = b"HTTP/1.1 " + status + b" Error\r\nContent-Length: 0\r\n\r\n"
    world.accepted().sends(answer)
    client.sees(answer)
    assert world.server_cell(ServerCell.EJECTIONS) == 0
    assert world.responses(5) == 1


def test_a_stale_connection_is_no_failure(make: Make) -> None:
    world = make(1, ejection=Ejection(failures=1, base=10))
    server = world.warm()
    client = world.client()
    client.sends(get())
    server.closes()
    world.accepted().sends(ok())
    client.sees(ok())
    assert world.server_cell(ServerCell.EJECTIONS) == 0


def test_what_the_client_does_is_no_failure_of_the_server(make: Make) -> None:
    world = make(1, ejection=Ejection(failures=1, base=10))
    client = world.client()
    client.sends(get())
    client.resets()
    slow = world.client()
    slow.sends(post(b"ab")[:-1])
    world.advance(21)
    slow.sees_answer(408)
    assert world.server_cell(ServerCell.EJECTIONS) == 0


def test_ejection_can_be_turned_off(make: Make) -> None:
    world = make(1, ejection=Ejection(failures=0))
    world.refusing = {"s1:80"}
    for _ in range(20):
        ask(world)
    assert world.server_cell(ServerCell.EJECTIONS) == 0
    assert world.server_cell(ServerCell.CONNECT_FAILURES) == 20
