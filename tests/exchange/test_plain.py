"""Requests and responses as they should be: bodies, keep-alive, HTTP/1.0."""

from dataclasses import replace

import pytest

from headgate.model.address import Address
from headgate.wire.cells import WorkerCell
from tests.exchange.kit import Make, World, chunked, forwarded, get, ok, post


def test_a_request_goes_to_the_server_and_its_response_to_the_client(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sees(forwarded(get()))
    assert world.in_flight() == 1
    server.sends(ok(b"hi", b"X-Y: z"))
    client.sees(ok(b"hi", b"X-Y: z"))
    assert client.end == server.end == ""
    assert world.in_flight() == 0


def test_the_second_request_uses_both_connections_again(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"1"))
    client.sends(get(b"/2"))
    server.new()
    server.sends(ok(b"2"))
    client.sees(ok(b"1") + ok(b"2"))
    assert world.tried == ["s1:80"]
    assert not world.accepts


@pytest.mark.parametrize("split", range(1, 110))
def test_an_exchange_does_not_depend_on_how_the_bytes_are_split(make: Make, split: int) -> None:
    world = make()
    client = world.client()
    request, response = post(b"body"), ok(b"hi", b"Connection: keep-alive")
    client.sends(request[:split], request[split:])
    server = world.accepted()
    server.sees(forwarded(post(b"body")))
    server.sends(response[:split], response[split:])
    client.sees(ok(b"hi"))
    assert server.connection in server.connection.server.idle


def test_bytes_one_by_one_are_as_good_as_whole(world: World) -> None:
    client = world.client()
    request = get(b"/", b"Transfer-Encoding: chunked", method=b"PUT") + chunked(b"abc", b"de")
    client.sends(*(request[i : i + 1] for i in range(len(request))))
    server = world.accepted()
    server.sees(forwarded(get(b"/", b"Transfer-Encoding: chunked", method=b"PUT")) + chunked(b"abc", b"de"))
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"abc", b"de")
    server.sends(*(response[i : i + 1] for i in range(len(response))))
    client.sees(response)
    assert server.connection in server.connection.server.idle


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_status_without_body_ends_with_its_head(world: World, status: bytes) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")
    client.sees(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")
    client.sends(get(b"/2"))
    server.sends(ok())
    client.sees(ok())


def test_304_keeps_the_length_of_what_it_stands_for_and_no_body_is_awaited(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"
    server.sends(head)
    client.sees(head)
    assert server.end == ""
    assert world.in_flight() == 0


@pytest.mark.parametrize("framing", [b"Content-Length: 500", b"Transfer-Encoding: chunked", b"X-None: 1"])
def test_a_response_to_head_has_no_body_whatever_its_fields_say(world: World, framing: bytes) -> None:
    client = world.client()
    client.sends(get(method=b"HEAD"))
    server = world.accepted()
    head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n"
    server.sends(head)
    client.sees(head)
    client.sends(get(b"/2"))
    server.sends(ok())
    client.sees(ok())
    assert client.end == server.end == ""


def test_a_body_after_a_response_to_head_is_not_passed_on_and_closes_the_servers_connection(world: World) -> None:
    client = world.client()
    client.sends(get(method=b"HEAD"))
    server = world.accepted()
    server.sends(ok(b"a body"))
    client.sees(ok(b"a body")[:-6])
    assert server.end == "reset"
    assert client.end == ""


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 70_000])
def test_a_body_comes_whole(make: Make, body: bytes) -> None:
    world = make()
    client = world.client()
    client.sends(post(body))
    server = world.accepted()
    server.sees(forwarded(post(body)))
    server.sends(ok(body))
    client.sees(ok(body))
    assert server.end == client.end == ""


def test_close_from_the_client_closes_its_connection_after_the_response(world: World) -> None:
    client = world.client()
    client.sends(get(b"/", b"Connection: close"))
    server = world.accepted()
    server.sees(forwarded(get()))
    assert client.end == ""
    server.sends(ok(b"1"))
    client.sees(ok(b"1", b"Connection: close"))
    assert client.end == "closed"
    assert server.end == ""


def test_close_from_the_server_closes_only_its_connection(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"1", b"Connection: close"))
    client.sees(ok(b"1"))
    assert server.end == "reset"
    assert client.end == ""
    client.sends(get(b"/2"))
    second = world.accepted()
    second.sends(ok(b"2"))
    client.sees(ok(b"2"))


def test_a_server_of_http_1_0_is_not_used_twice(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    client.sees(ok(b"hi"))
    assert server.end == "reset"
    assert client.end == ""


def test_fields_that_connection_names_go_no_further_in_either_direction(world: World) -> None:
    client = world.client()
    client.sends(get(b"/", b"Connection: X-A, keep-alive", b"X-A: 1", b"Keep-Alive: 5", b"TE: trailers", b"X-B: 2"))
    server = world.accepted()
    server.sees(forwarded(get(b"/", b"X-B: 2")))
    server.sends(ok(b"", b"Connection: X-C", b"X-C: 1", b"Keep-Alive: timeout=5", b"X-D: 2"))
    client.sees(ok(b"", b"X-D: 2"))


def test_a_client_of_http_1_0_is_closed_after_the_response(world: World) -> None:
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\n\r\n")
    server = world.accepted()
    # It has no host, and servers of HTTP/1.1 want one: the address that it came to.
    own = b"198.51.100.9:8000"
    server.sees(forwarded(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % own, host=own))
    server.sends(ok(b"hi"))
    client.sees(ok(b"hi", b"Connection: close"))
    assert client.end == "closed"
    assert server.end == ""


def test_a_client_of_http_1_0_that_asks_for_it_is_kept(world: World) -> None:
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    server = world.accepted()
    server.sends(ok(b"hi"))
    client.sees(ok(b"hi", b"Connection: keep-alive"))
    client.sends(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    server.sends(ok(b"2"))
    client.sees(ok(b"2", b"Connection: close"))
    assert client.end == "closed"


def test_a_client_of_http_1_0_gets_a_chunked_body_bare_and_a_close_as_its_end(world: World) -> None:
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    server = world.accepted()
    server.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", b"c\r\n", b"2\r\nde\r\n0\r\n\r\n")
    client.sees(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde")
    assert client.end == "closed"
    assert server.end == ""


def test_a_client_of_http_1_0_gets_an_until_close_body_as_it_is(world: World) -> None:
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    server = world.accepted()
    server.sends(b"HTTP/1.1 200 OK\r\n\r\nab", b"cd")
    assert client.end == ""
    server.closes()
    client.sees(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcd")
    assert client.end == "closed"


def test_an_until_close_body_is_chunked_for_a_client_of_http_1_1(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.sends(b"HTTP/1.1 200 OK\r\n\r\nabc", b"de")
    client.sees(head + b"3\r\nabc\r\n2\r\nde\r\n")
    server.closes()
    client.sees(b"0\r\n\r\n")
    assert client.end == ""
    client.sends(get(b"/2"))
    world.accepted().sends(ok(b"2"))
    client.sees(ok(b"2"))


def test_an_until_close_body_that_came_with_a_large_head_read_is_chunked_whole(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    body = b"x" * 100_000
    server.sends(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    server.closes()
    client.sees(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body))


def test_an_empty_until_close_body_is_just_the_last_chunk(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(b"HTTP/1.1 200 OK\r\n\r\n")
    server.closes()
    client.sees(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


def test_extensions_and_trailers_are_left_out_of_a_chunked_body(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.sends(head + b"3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
    client.sees(head + chunked(b"abc"))
    assert server.end == ""


def test_what_a_stranger_claims_about_the_client_goes_no_further(world: World) -> None:
    client = world.client()
    client.sends(get(b"/", b"X-Forwarded-For: 10.0.0.1", b"X-Real-IP: 10.0.0.1", b"X-Request-ID: mine"))
    world.accepted().sees(forwarded(get()))


def test_what_a_trusted_proxy_says_of_the_client_is_completed(make: Make) -> None:
    world = make(trusted=["192.0.2.0/24"])
    client = world.client()
    client.sends(get(b"/", b"X-Forwarded-For: 203.0.113.9", b"X-Request-ID: mine", b"X-Forwarded-Proto: https"))
    world.accepted().sees(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9, 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: a\r\nVia: 1.1 headgate\r\nX-Request-ID: mine\r\n\r\n"
    )


def test_each_host_of_a_connection_is_forwarded_as_itself(world: World) -> None:
    client = world.client()
    server = world.warm()
    for number, host in enumerate([b"a", b"b", b"a"], 2):
        request = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host
        client.sends(request)
        server.sees(forwarded(request, number, host=host))
        server.sends(ok())


def test_the_peer_of_a_unix_socket_is_this_machine(world: World) -> None:
    world.listener = replace(world.listener, address=Address(path="/run/a.sock"))
    client = world.client(peer="")
    client.sends(get())
    world.accepted().sees(forwarded(get(), client=b"127.0.0.1"))


@pytest.mark.parametrize("peer", [None, ""])
def test_who_has_gone_before_he_was_asked_for_his_address_is_not_served(world: World, peer: object) -> None:
    client = world.client(peer=peer)
    assert client.end == "reset"
    client.protocol.data_received(get())  # uvloop reads what he had sent
    assert not world.accepts
    assert world.worker_cell(WorkerCell.REQUESTS) == 0


def test_an_ipv4_client_of_a_dual_stack_listener_has_its_ipv4_address(world: World) -> None:
    client = world.client(peer=("::ffff:192.0.2.7", 1, 0, 0))
    client.sends(get())
    world.accepted().sees(forwarded(get(), client=b"192.0.2.7"))
