"""Interim responses: 100 and 103 pass to who can understand them. 101 is in test_upgrade.py."""

import pytest

from headgate.http1.response import MAX_HEAD
from headgate.wire.cells import ServerCell
from tests.exchange.kit import Make, World, forwarded, get, ok, post

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def expecting(body: bytes, method: bytes = b"PUT") -> tuple[bytes, bytes]:
    """A head that awaits 100, and its body."""
    whole = post(body, b"Expect: 100-continue", method=method)
    return whole[: -len(body)], body


def test_100_is_relayed_and_the_body_follows(world: World) -> None:
    client = world.client()
    head, body = expecting(b"body")
    client.sends(head)
    server = world.accepted()
    server.sees(forwarded(head))
    server.sends(CONTINUE)
    client.sees(CONTINUE)
    client.sends(body)
    server.sees(body)
    server.sends(ok(b"1"))
    client.sees(ok(b"1"))
    client.sends(get())
    server.new()
    server.sends(ok(b"2"))
    client.sees(ok(b"2"))
    assert client.end == server.end == ""


def test_a_final_status_instead_of_100_is_the_response_and_both_connections_close(world: World) -> None:
    client = world.client()
    head, body = expecting(b"body")
    client.sends(head)
    server = world.accepted()
    answer = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n"
    server.sends(answer + b"\r\n")
    client.sees(answer + b"Connection: close\r\n\r\n")
    assert client.end == "eof"
    assert server.end == "reset"
    client.sends(body)  # sent without waiting: it belongs to nothing any more
    server.sees(forwarded(head))
    client.closes()
    assert client.end == "closed"


def test_what_lingers_is_never_read_as_a_request(world: World) -> None:
    client = world.client()
    head, _ = expecting(b"body")
    client.sends(head)
    server = world.accepted()
    server.sends(ok())
    client.new()
    client.sends(get(b"/smuggled"), get(b"/smuggled"))
    client.sees_nothing()
    assert not world.accepts
    world.advance(3)
    assert client.end == "reset"


def test_a_client_that_does_not_wait_for_100_is_served_as_well(world: World) -> None:
    client = world.client()
    head, body = expecting(b"body")
    client.sends(head + body)
    server = world.accepted()
    server.sees(forwarded(head) + body)
    server.sends(CONTINUE + ok(b"1"))
    client.sees(CONTINUE + ok(b"1"))
    assert client.end == ""


def test_early_hints_pass_before_the_response(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    server.sends(hints, hints + ok(b"1")[:10], ok(b"1")[10:])
    client.sees(hints + hints + ok(b"1"))
    assert world.responses(2) == 1
    assert world.responses(1) == 0


def test_a_client_of_http_1_0_sees_no_interim_response(world: World) -> None:
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    world.accepted().sends(CONTINUE + b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok(b"1"))
    client.sees(ok(b"1", b"Connection: close"))


def test_the_length_that_an_interim_response_claims_means_nothing(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + ok(b"hello"))
    client.sees(b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok(b"hello"))


def test_interim_responses_do_not_put_off_the_deadline_of_the_response(world: World) -> None:
    client = world.client()
    client.sends(post(b"x"))
    server = world.accepted()
    for _ in range(4):
        server.sends(b"HTTP/1.1 102 Processing\r\n\r\n")
        world.advance(10)
    assert client.new().endswith(b"504 Gateway Timeout\n")


@pytest.mark.parametrize("minor", [b"0", b"1"])
def test_a_flood_of_interim_responses_is_502(world: World, minor: bytes) -> None:
    client = world.client()
    client.sends(post(b"x").replace(b"HTTP/1.1", b"HTTP/1." + minor))
    server = world.accepted()
    most = MAX_HEAD // len(CONTINUE)
    server.sends(*[CONTINUE] * most)
    assert client.new() == (CONTINUE * most if minor == b"1" else b"")
    server.sends(CONTINUE)
    client.sees_answer(502)
    assert server.end == "reset"
    assert world.server_cell(ServerCell.BAD_RESPONSES) == 1


def test_a_flood_in_one_read_is_looked_at_no_further_than_its_bound(world: World) -> None:
    client = world.client()
    client.sends(post(b"x"))
    server = world.accepted()
    server.sends(CONTINUE * 10_000)
    seen = client.new()
    assert seen.count(CONTINUE) == MAX_HEAD // len(CONTINUE)
    assert b"\r\n\r\nHTTP/1.1 502 " in seen
    assert server.end == "reset"


def test_each_request_of_a_connection_has_interim_responses_of_its_own(world: World) -> None:
    client = world.client()
    some = CONTINUE * (MAX_HEAD // len(CONTINUE) * 2 // 3)
    client.sends(get())
    server = world.accepted()
    server.sends(some + ok())
    client.sends(get())
    server.sends(some + ok())
    client.sees(some + ok() + some + ok())


def test_a_used_connection_that_dies_after_an_interim_response_did_not_die_of_idleness(make: Make) -> None:
    world = make(2)
    server = world.warm()
    client = world.client()
    client.sends(get(b"/warm-too", b"Connection: close"))
    world.accepted().sends(ok())
    client = world.client()
    client.sends(get())
    server.sends(CONTINUE)
    server.resets()
    assert world.server_cell(ServerCell.RESETS) == 1
