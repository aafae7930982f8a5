"""Connections: kept alive, slow, gone, of every family of addresses; and what must never reach a server."""

import os
import socket
import struct
from collections.abc import Callable

import pytest

from tests.e2e.kit.backend import Backend, Peer, Request, breaks_off, is_silent, says_its_name, takes
from tests.e2e.kit.client import Broken, Raw, burst, fetch
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.load import GET, Load
from tests.e2e.kit.waiting import settled, wait_for
from tests.ports import free_port

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def test_servers_that_close_idle_connections_never_cost_a_get(make: Make, backend: Start) -> None:
    servers = [backend(name, idle=0.02) for name in "ab"]
    headgate = make(settings([server.address for server in servers], timeouts={"server_idle": "10s"})).start()
    with Load(headgate.address, connections=4, pause=0.06) as load:
        wait_for(lambda: all(server.connections > 30 for server in servers), "many connections that were closed idle")
    assert load.failures == []


def test_a_get_on_a_used_connection_that_dies_is_sent_again_and_a_post_is_not(make: Make, backend: Start) -> None:
    used: set[object] = set()

    async def serves_one_request_each_connection(request: Request, peer: Peer) -> None:
        if peer.writer in used:
            raise ConnectionAbortedError
        used.add(peer.writer)
        await says_its_name(request, peer)

    server = backend("a", serves_one_request_each_connection)
    headgate = make(settings([server.address])).start()
    assert headgate.names(5) == ["a"] * 5
    assert headgate.metric("headgate_server_retries_total") == 4
    assert fetch(headgate.address, "/", "POST", body=b"x").status == 502
    assert headgate.metric("headgate_server_retries_total") == 4


def test_connections_to_servers_are_used_again(make: Make, backend: Start) -> None:
    server = backend()
    headgate = make(settings([server.address])).start()
    assert headgate.names(20) == ["a"] * 20
    assert server.connections == 1


@pytest.mark.parametrize("phase", ["upload", "response head", "download"])
@pytest.mark.parametrize("how", ["closes", "resets"])
def test_a_client_that_goes_away_leaves_nothing_behind(make: Make, backend: Start, phase: str, how: str) -> None:
    async def endless(request: Request, peer: Peer) -> None:
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            peer.writer.write(bytes(65536))
            await peer.writer.drain()

    server = backend("a", endless if phase == "download" else is_silent)
    headgate = make(settings([server.address])).start()
    with Raw(headgate.address) as client:
        if phase == "upload":
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nsome")
        else:
            client.send(REQUEST)
        wait_for(lambda: headgate.metric("headgate_in_flight") == 1, "the request in flight")
        if phase == "download":
            client.until(b"\r\n\r\n")
        if how == "resets":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: headgate.metric("headgate_in_flight") == 0, "nothing in flight at the server")
    wait_for(lambda: headgate.metric("headgate_requests_in_flight") == 0, "nothing in flight")
    wait_for(lambda: headgate.metric("headgate_connections") == 0, "no connection")
    headgate.await_flagged("DC", 1)


def test_a_client_that_sends_byte_by_byte_is_served(make: Make, backend: Start) -> None:
    server = backend()
    headgate = make(settings([server.address])).start()
    with Raw(headgate.address) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello":
            client.send(bytes([byte]))
        client.until(b"\r\n\r\na")
    assert server.requests[0].body == b"hello"


def test_a_client_that_does_not_finish_its_head_is_told_and_closed(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], timeouts={"request_head": "300ms"})).start()
    with Raw(headgate.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost:")
        assert client.rest().startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_finish_its_body_is_told_and_closed(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], timeouts={"request_body": "300ms"})).start()
    with Raw(headgate.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
        assert client.rest().startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed_in_silence(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], timeouts={"idle": "300ms"})).start()
    with Raw(headgate.address) as client:
        client.send(REQUEST)
        client.until(b"\r\n\r\na")
        assert client.rest() == b""


def test_pipelined_requests_are_answered_in_their_order(make: Make, backend: Start) -> None:
    async def says_the_target(request: Request, peer: Peer) -> None:
        peer.answer(200, request.target.encode())

    servers = [backend(name, says_the_target).address for name in "abc"]
    headgate = make(settings(servers)).start()
    with Raw(headgate.address) as client:
        client.send(b"".join(b"GET /%04d HTTP/1.1\r\nHost: h\r\n\r\n" % k for k in range(500)))
        for k in range(500):
            client.until(b"\r\n\r\n/%04d" % k)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", id="CL and TE"),
        pytest.param(b"Content-Length: 4\r\nContent-Length: 5\r\n", id="two lengths"),
        pytest.param(b"Transfer-Encoding: gzip, chunked\r\n", id="two codings"),
        pytest.param(b"Transfer-Encoding : chunked\r\n", id="space before the colon"),
        pytest.param(b"Content-Length: 0x4\r\n", id="a length in hex"),
        pytest.param(b"X: a\r\n b\r\n", id="folded line"),
        pytest.param(b"X: a\nY: b\r\n", id="bare line feed"),
        pytest.param(b"Host: other\r\n", id="two hosts"),
    ],
)
def test_what_two_parsers_could_read_in_two_ways_reaches_no_server(make: Make, backend: Start, head: bytes) -> None:
    server = backend()
    headgate = make(settings([server.address])).start()
    with Raw(headgate.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n" % head)
        answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert server.requests == []
    assert server.connections == 0


def test_a_server_that_breaks_off_its_response_breaks_off_the_clients(make: Make, backend: Start) -> None:
    headgate = make(settings([backend("a", breaks_off).address])).start()
    with Raw(headgate.address) as client:
        client.send(REQUEST)
        with pytest.raises((Broken, ConnectionResetError)):
            client.until(b"x" * 1000)
    wait_for(lambda: headgate.metric("headgate_in_flight") == 0, "nothing in flight")
    headgate.await_flagged("UC", 1)


def test_a_silent_server_is_given_up_in_time_and_another_answers(make: Make, backend: Start) -> None:
    servers = [backend("a", is_silent), backend("b")]
    timeouts = {"response_head": "300ms"}
    headgate = make(settings([server.address for server in servers], timeouts=timeouts)).start()
    assert headgate.names(4) == ["b"] * 4
    assert len(servers[0].requests) > 0


def test_a_post_is_not_sent_twice(make: Make, backend: Start) -> None:
    servers = [backend("a", is_silent), backend("b", is_silent)]
    timeouts = {"response_head": "300ms"}
    headgate = make(settings([server.address for server in servers], timeouts=timeouts)).start()
    with Raw(headgate.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        assert client.until(b"\r\n").startswith(b"HTTP/1.1 504 ")
    assert len(servers[0].requests) + len(servers[1].requests) == 1


def test_a_refusing_server_costs_not_even_a_post(make: Make, backend: Start) -> None:
    headgate = make(settings([f"127.0.0.1:{free_port()}", backend("b").address])).start()
    for _ in range(6):
        with Raw(headgate.address) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
            client.until(b"\r\n\r\nb")


def test_unix_sockets_serve_on_both_sides(make: Make, backend: Start, tmp_path: str) -> None:
    server = backend(path=f"{tmp_path}/backend.sock")
    config = settings([server.address], workers=2, listeners=[{"address": f"unix:{tmp_path}/front.sock"}])
    headgate = make({**config, "admin": {"listen": f"unix:{tmp_path}/admin.sock"}}).start()
    assert headgate.names(10) == ["a"] * 10
    assert headgate.cli("server", "drain", server.address).returncode == 0
    assert headgate.get().status == 503
    assert headgate.stop() == 0
    with pytest.raises(FileNotFoundError):
        Raw(headgate.address)


def test_ipv6_serves_on_both_sides(make: Make, backend: Start) -> None:
    server = backend(host="::1")
    headgate = make(settings([server.address], listeners=[{"address": "[::1]:0"}])).start()
    assert headgate.address[0] == "::1"
    assert headgate.names(2) == ["a", "a"]
    assert server.requests[0].fields["x-forwarded-for"] == "::1"


def test_routes_go_by_host_and_by_the_longest_path(make: Make, backend: Start) -> None:
    servers = {name: backend(name) for name in ("site", "api", "v2", "shop")}
    config = settings([])
    config["upstreams"] = {name: {"servers": [server.address]} for name, server in servers.items()}
    config["routes"] = [
        {"upstream": "site", "match": {"path": "/site"}},
        {"upstream": "api", "match": {"path": "/api"}},
        {"upstream": "v2", "match": {"path": "/api/v2"}},
        {"upstream": "shop", "match": {"host": "shop.example"}},
    ]
    headgate = make(config).start()
    assert headgate.get("/site/x").text == "site"
    assert headgate.get("/api/v1").text == "api"
    assert headgate.get("/api/v2?x=/site").text == "v2"
    assert headgate.get("/api/v2", Host="SHOP.example:8000").text == "shop"
    assert headgate.get("/apix").status == 404


def test_a_thousand_connections_are_served_at_once(make: Make, backend: Start) -> None:
    server = backend("a", takes(0.5))
    headgate = make(settings([server.address], workers=2)).start()
    responses = burst([headgate.address], 1000, GET)
    assert {response.status for response in responses} == {200}
    assert settled(lambda: len(server.requests), "requests") == 1000


def test_nothing_is_left_of_connections_that_are_over(make: Make, backend: Start) -> None:
    def open_files() -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))

    headgate = make(settings([backend().address], timeouts={"server_idle": "100ms"})).start()
    pid = headgate.worker_pid()
    before = open_files()
    for _ in range(3):
        burst([headgate.address], 100, GET)
        with Raw(headgate.address) as client:
            client.send(b"nonsense\r\n\r\n")
            client.rest()
    wait_for(lambda: open_files() == before, "every descriptor to be closed")
    assert headgate.metric("headgate_connections") == 0
    assert headgate.metric("headgate_server_idle") == 0
