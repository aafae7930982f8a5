"""Bodies of requests: streamed as they come, checked, and cut off where the response is there first."""

import pytest

from tests.exchange.kit import World, forwarded, get, ok, post

CHUNKED = get(b"/", b"Transfer-Encoding: chunked", method=b"POST")


def test_a_body_is_passed_on_as_it_comes(world: World) -> None:
    client = world.client()
    whole = post(b"abcdef")
    client.sends(whole[:-4])
    server = world.accepted()
    server.sees(forwarded(whole)[:-4])
    client.sends(whole[-4:-2])
    server.sees(b"cd")
    client.sends(whole[-2:] + get(b"/2"))
    server.sees(b"ef")
    server.sends(ok(b"1"))
    client.sees(ok(b"1"))
    server.sees(forwarded(get(b"/2"), 2))


def test_a_chunked_body_is_passed_on_as_it_comes_without_extensions_and_trailers(world: World) -> None:
    client = world.client()
    client.sends(CHUNKED + b"3;x=y\r\nab")
    server = world.accepted()
    server.sees(forwarded(CHUNKED) + b"3\r\nab")
    client.sends(b"c\r\n0\r\nX-T: 1\r\n", b"\r\n" + get(b"/2"))
    server.sees(b"c\r\n0\r\n\r\n")
    server.sends(ok())
    server.sees(forwarded(get(b"/2"), 2))


def test_a_body_that_comes_while_the_connection_is_made_is_not_lost(world: World) -> None:
    world.holds_connects = True
    client = world.client()
    whole = post(b"abcdef")
    client.sends(whole[:-4])
    client.sends(whole[-4:-2], whole[-2:])
    assert not client.transport.reading
    server = world.attempts[0].succeed()
    server.sees(forwarded(whole))
    assert client.transport.reading


def test_a_malformed_chunk_in_the_first_read_reaches_no_server(world: World) -> None:
    client = world.client()
    client.sends(CHUNKED + b"zz\r\n")
    client.sees_answer(400)
    assert client.end == "eof"
    assert not world.attempts
    assert world.flagged("BR") == 1


def test_a_malformed_chunk_later_closes_both_connections(world: World) -> None:
    client = world.client()
    client.sends(CHUNKED + b"3\r\nabc\r\n")
    server = world.accepted()
    server.sees(forwarded(CHUNKED) + b"3\r\nabc\r\n")
    client.sends(b"zz\r\n" + get(b"/smuggled"))
    client.sees_answer(400)
    assert client.end == "eof"
    assert server.end == "reset"
    server.sees_nothing()
    assert world.in_flight() == 0


def test_a_malformed_chunk_under_a_response_that_began_breaks_the_response(world: World) -> None:
    client = world.client()
    client.sends(CHUNKED + b"3\r\nabc\r\n")
    server = world.accepted()
    server.sends(ok(b"0123456789")[:-5])
    client.sends(b"zz\r\n")
    client.sees(ok(b"0123456789", b"Connection: close")[:-5])
    assert client.end in ("closed", "reset")
    assert server.end == "reset"
    assert world.flagged("BR") == 1


@pytest.mark.parametrize("split", [False, True], ids=["whole", "in two"])
def test_a_response_before_the_end_of_the_body_closes_both_connections(world: World, split: bool) -> None:
    client = world.client()
    client.sends(post(b"x" * 100)[:-50])
    server = world.accepted()
    if split:
        server.sends(ok(b"no")[:-1], ok(b"no")[-1:])
    else:
        server.sends(ok(b"no"))
    client.sees(ok(b"no", b"Connection: close"))
    assert client.end == "eof"  # the half of it that the client still needs is open until it closes
    assert server.end == "reset"
    client.sends(b"x" * 50, get(b"/2"))
    client.sees_nothing()
    assert not world.accepts
    client.closes()
    assert client.end == "closed"


def test_a_client_that_goes_on_sending_is_cut_after_a_while(world: World) -> None:
    client = world.client()
    client.sends(post(b"x" * 100)[:-50])
    world.accepted().sends(ok(b"no"))
    for _ in range(4):
        client.sends(b"x")
        world.advance(1)
    assert client.end == "reset"


def test_a_slow_client_has_the_time_to_take_an_early_response(world: World) -> None:
    client = world.client()
    client.transport.stalled = True
    client.sends(post(b"x" * 100)[:-50])
    body = b"y" * 60_000
    world.accepted().sends(ok(body))
    for _ in range(12):
        world.advance(1.5)
        client.takes(5_500)
    client.sees(ok(body, b"Connection: close"))
    world.advance(3)
    assert client.end == "reset"


def test_a_body_goes_on_under_a_response_that_began(world: World) -> None:
    client = world.client()
    client.sends(post(b"abcdef")[:-4])
    server = world.accepted()
    server.sends(ok(b"0123456789")[:-5])
    client.sees(ok(b"0123456789", b"Connection: close")[:-5])
    server.new()
    client.sends(b"cdef")
    server.sees(b"cdef")
    server.sends(b"56789")
    client.sees(b"56789")
    # The promise to close was made while the body was still coming.
    assert client.end == "closed"
    assert server.end == ""


def test_a_server_that_resets_during_the_upload_is_502_and_no_other_server_is_asked(world: World) -> None:
    client = world.client()
    client.sends(post(b"x" * 100)[:-50])
    server = world.accepted()
    server.resets()
    client.sees_answer(502)
    assert client.end == "eof"
    assert world.tried == ["s1:80"]
    assert world.flagged("UC") == 1


def test_content_length_of_zero_is_no_body(world: World) -> None:
    client = world.client()
    client.sends(post(b"") + get(b"/2"))
    server = world.accepted()
    server.sees(forwarded(post(b"")))
    server.sends(ok())
    server.sees(forwarded(get(b"/2"), 2))
    assert client.end == ""
