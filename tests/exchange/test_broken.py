"""Responses that break off or break the rules: the client can tell, the server's connection is not used again."""

from typing import Any

import pytest

from tests.exchange.kit import Make, World, forwarded, get, ok

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_a_sized_body_that_breaks_off_closes_the_clients_connection(world: World, how: str) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"0123456789")[:-5])
    getattr(server, how)()
    client.sees(ok(b"0123456789")[:-5])
    assert client.end == "closed"
    assert world.flagged("UC") == 1
    assert world.responses(2) == 0
    assert world.in_flight() == 0


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_a_chunked_body_that_breaks_off_never_gets_its_last_chunk(world: World, how: str) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(CHUNKED + b"5\r\nabcde\r\n")
    getattr(server, how)()
    client.sees(CHUNKED + b"5\r\nabcde\r\n")
    assert client.end == "closed"


def test_an_until_close_body_that_ends_in_a_reset_never_gets_its_last_chunk(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(b"HTTP/1.1 200 OK\r\n\r\nabc")
    server.resets()
    client.sees(CHUNKED + b"3\r\nabc\r\n")
    assert client.end == "closed"


@pytest.mark.parametrize("head", [b"Content-Length: 10\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"])
def test_a_client_of_http_1_0_is_reset_so_that_it_can_tell(world: World, head: bytes) -> None:
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\n\r\n")
    server = world.accepted()
    server.sends(b"HTTP/1.1 200 OK\r\n" + head + b"abc")
    server.resets()
    assert client.end == "reset"


def test_a_malformed_chunk_breaks_the_response(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(CHUNKED + b"5\r\nabcde\r\n", b"zz\r\n" + ok(b"smuggled"))
    client.sees(CHUNKED + b"5\r\nabcde\r\n")
    assert client.end == "closed"
    assert server.end == "reset"
    assert world.flagged("UPE") == 1
    assert world.in_flight() == 0


BAD_HEADS = {
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "http/2": b"HTTP/2 200 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "control": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
    "carriage return in a value": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n",
    "chunk that is none": CHUNKED + b"zz\r\n",
    "head without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
}


@pytest.mark.parametrize("head", BAD_HEADS.values(), ids=BAD_HEADS)
def test_a_bad_head_is_502_and_nothing_of_it_reaches_the_client(world: World, head: bytes) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(head)
    client.sees_answer(502)
    assert server.end == "reset"
    assert client.end == ""
    assert world.flagged("UPE") == 1
    assert world.server_cell_of("BAD_RESPONSES") == 1
    client.sends(get(b"/2"))
    world.accepted().sends(ok(b"2"))
    client.sees(ok(b"2"))


def test_a_bad_head_on_a_connection_that_served_before_counts_against_the_server_too(world: World) -> None:
    server = world.warm()
    client = world.client()
    client.sends(get(method=b"POST"))
    server.sends(b"nonsense\r\n\r\n")
    client.sees_answer(502)
    assert world.server_cell_of("BAD_RESPONSES") == 1


def test_bytes_after_a_response_close_the_servers_connection(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"hi") + b"HTTP/1.1 200 OK\r\n")
    client.sees(ok(b"hi"))
    assert server.end == "reset"
    assert client.end == ""


@pytest.mark.parametrize("first", [20, 45, 47])
def test_bytes_after_a_response_in_a_later_read_close_the_servers_connection(world: World, first: int) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    whole = ok(b"0123456789") + ok(b"smuggled")
    server.sends(whole[:first], whole[first:])
    client.sees(ok(b"0123456789"))
    assert server.end == "reset"


def test_bytes_after_the_last_chunk_close_the_servers_connection(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(CHUNKED + b"2\r\nhi\r\n", b"0\r\n\r\n" + ok(b"smuggled"))
    client.sees(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n")
    assert server.end == "reset"
    assert client.end == ""


def test_bytes_on_an_idle_connection_close_it_and_are_nobodys_response(world: World) -> None:
    server = world.warm()
    server.sends(ok(b"poison"))
    assert server.end == "reset"
    client = world.client()
    client.sends(get())
    second = world.accepted()
    assert second is not server
    second.sends(ok(b"mine"))
    client.sees(ok(b"mine"))


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_an_idle_connection_that_ends_is_forgotten(world: World, how: str) -> None:
    server = world.warm()
    getattr(server, how)()
    assert not server.connection.server.idle
    client = world.client()
    client.sends(get(method=b"POST"))
    world.accepted().sends(ok())
    client.sees(ok())


def test_a_connection_that_broke_but_was_not_told_so_yet_is_not_used(make: Make) -> None:
    # A reset is seen in one turn of the loop and told in the next; a request in between must not go into the void.
    world = make()
    server = world.warm()
    client = world.client()
    client.transport.arrive(get(method=b"POST"))
    server.transport.break_off()
    client.sends()
    world.accepted().sends(ok())
    client.sees(ok())


@pytest.mark.parametrize("how", [{"greeting": ok(b"too early")}, {"hangs_up": True}], ids=["speaks", "hangs up"])
def test_a_server_that_ends_a_connection_before_it_is_asked_got_nothing_of_the_request(make: Make, how: Any) -> None:
    world = make(2)
    world.holds_connects = True
    client = world.client()
    client.sends(get(method=b"POST"))
    world.attempts[0].succeed(**how).sees_nothing()
    second = world.attempts[1].succeed()
    second.sees(forwarded(get(method=b"POST")))
    second.sends(ok(b"mine"))
    client.sees(ok(b"mine"))
    assert world.server_cell_of("CONNECT_FAILURES") == 1
