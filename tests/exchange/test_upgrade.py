"""Upgraded connections: who is asked for what, and what passes once both have agreed."""

from dataclasses import replace

import pytest

from headgate.wire.cells import LATENCY_BUCKETS, ServerCell
from tests.exchange.kit import Client, Make, ServerPeer, World, forwarded, get, ok, post

UPGRADE = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
ASKS = (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n"
)
SEEN = (
    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n"
)


def asked(request: bytes, upgrade: bytes = UPGRADE) -> bytes:
    """What the server sees of a request that may upgrade."""
    return forwarded(request).replace(b"X-Request-ID", upgrade + b"X-Request-ID")


def tunnel(world: World) -> tuple[Client, ServerPeer]:
    """A client and a server whose connections are one."""
    client = world.client()
    client.sends(get(b"/", *ASKS))
    server = world.accepted()
    server.new()
    server.sends(AGREED)
    client.sees(SEEN)
    return client, server


def test_a_server_that_agrees_has_the_client_for_itself(world: World) -> None:
    client = world.client()
    client.sends(get(b"/chat", *ASKS))
    server = world.accepted()
    server.sees(asked(get(b"/chat", b"Sec-WebSocket-Key: x")))
    server.sends(AGREED + b"\x81\x02hi")
    client.sees(SEEN + b"\x81\x02hi")
    client.sends(b"\x81\x83GET / HTTP/1.1\r\n\r\n", b"\0")
    server.sees(b"\x81\x83GET / HTTP/1.1\r\n\r\n\0")
    server.sends(b"HTTP/1.1 200 OK\r\n", b"\r\n")
    client.sees(b"HTTP/1.1 200 OK\r\n\r\n")


def test_what_the_client_sent_early_waits_until_both_agreed(world: World) -> None:
    client = world.client()
    client.sends(get(b"/", *ASKS) + b"early", b" bird")
    server = world.accepted()
    server.sees(asked(get(b"/", b"Sec-WebSocket-Key: x")))
    server.sends(AGREED)
    server.sees(b"early bird")


def test_where_the_server_does_not_agree_the_connection_goes_on_in_http(world: World) -> None:
    client = world.client()
    client.sends(get(b"/", *ASKS) + get(b"/next"))
    server = world.accepted()
    server.new()
    server.sends(ok(b"no"))
    client.sees(ok(b"no"))
    server.sees(forwarded(get(b"/next"), 2))


@pytest.mark.parametrize(
    ("upgrade", "passes"),
    [
        (b"websocket", b"websocket"),
        (b"foo/2, WebSocket", b"foo/2, WebSocket"),
        (b"h2c, websocket", b"websocket"),
        (b"HTTP/2.0", b""),
        (b"H2C", b""),
        (b"TLS/1.2", b""),
        (b"web socket", b""),
        (b"websocket,,", b""),
        (b"", b""),
    ],
)
def test_a_server_is_never_asked_for_http_in_disguise(world: World, upgrade: bytes, passes: bytes) -> None:
    world.client().sends(get(b"/", b"Connection: upgrade", b"Upgrade: " + upgrade))
    fields = b"Connection: upgrade\r\nUpgrade: %b\r\n" % passes if passes else b""
    world.accepted().sees(asked(get(), fields))


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/", b"Upgrade: websocket"),
        get(b"/", b"Upgrade: websocket", b"Connection: keep-alive"),
        get(b"/", b"Connection: upgrade"),
        get(b"/", b"Connection: upgrade", b"Upgrade: websocket", method=b"HEAD"),
        post(b"body", b"Connection: upgrade", b"Upgrade: websocket"),
        get(b"/", b"Connection: upgrade", b"Upgrade: websocket").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["no option", "other option", "no field", "HEAD", "body", "1.0"],
)
def test_what_is_no_upgrade_is_passed_on_as_none(world: World, request_: bytes) -> None:
    world.client().sends(request_)
    server = world.accepted()
    assert b"pgrade" not in server.new()
    server.sends(ok())


@pytest.mark.parametrize(("upgrades", "passes"), [(("websocket",), True), (("other",), False), ((), False)])
def test_a_route_says_what_may_be_asked_for(make: Make, upgrades: tuple[str, ...], passes: bool) -> None:
    world = make()
    (route,) = world.snapshot.routes
    world.adopt(replace(world.snapshot, version=2, routes=(replace(route, upgrades=upgrades),)))
    world.client().sends(get(b"/", *ASKS))
    assert (b"Upgrade: websocket" in world.accepted().new()) is passes


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (get(), AGREED),
        (get(b"/", *ASKS), AGREED.replace(b"WebSocket\r\n", b"other\r\n")),
        (get(b"/", *ASKS), AGREED.replace(b"WebSocket\r\n", b"websocket, other\r\n")),
        (get(b"/", *ASKS), AGREED.replace(b"Upgrade: WebSocket\r\n", b"")),
        (get(b"/", *ASKS), AGREED.replace(b"Connection: Upgrade\r\n", b"")),
        (get(b"/", b"Connection: upgrade", b"Upgrade: h2c"), AGREED.replace(b"WebSocket", b"h2c")),
    ],
    ids=["none asked", "another", "one too many", "no field", "no option", "h2c"],
)
def test_a_101_that_nobody_asked_for_is_502(make: Make, request_: bytes, answer: bytes) -> None:
    world = make()
    client = world.client()
    client.sends(request_)
    for server in iter(lambda: world.accepts.popleft() if world.accepts else None, None):
        server.sends(answer)
    client.sees_answer(502)
    assert world.flagged("UPE") == 1


def test_a_client_that_sends_no_more_still_receives(world: World) -> None:
    client, server = tunnel(world)
    client.sends(b"bye")
    client.closes()
    server.sees(b"bye")
    assert server.end == "eof"
    server.sends(b"good", b"bye")
    client.sees(b"goodbye")
    server.closes()
    assert (client.end, server.end) == ("closed", "closed")
    assert world.responses(1) == 1
    assert world.flagged("DC") == 0


def test_a_server_that_sends_no_more_still_receives(world: World) -> None:
    client, server = tunnel(world)
    server.sends(b"bye")
    server.closes()
    client.sees(b"bye")
    assert client.end == "eof"
    client.sends(b"good", b"bye")
    server.sees(b"goodbye")
    client.closes()
    assert (client.end, server.end) == ("closed", "closed")


def test_what_waits_for_the_server_arrives_before_the_end(world: World) -> None:
    client, server = tunnel(world)
    server.transport.stalled = True
    client.sends(b"last words")
    client.closes()
    server.closes()
    assert (client.end, server.end) == ("eof", "")
    server.takes()
    server.sees(b"last words")
    assert (client.end, server.end) == ("closed", "closed")


def test_a_half_that_does_not_follow_is_cut_after_a_while(world: World) -> None:
    client, server = tunnel(world)
    client.closes()
    world.advance(39)
    assert client.end == ""
    world.advance(2)
    assert client.end != ""
    assert server.end == "reset"
    assert world.flagged("SI") == 1


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_passes_through(make: Make, who: str) -> None:
    world = make()
    client, server = tunnel(world)
    (client if who == "client" else server).resets()
    assert (client.end, server.end) == ("reset", "reset")
    assert world.flagged("DC" if who == "client" else "UC") == 1
    assert world.server_cell(ServerCell.RESETS) == 0  # whatever it was, it was no failure to answer


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_slow_end_holds_the_other_up(make: Make, who: str) -> None:
    client, server = tunnel(make())
    fast, slow = (client, server) if who == "server" else (server, client)
    slow.transport.stalled = True
    fast.sends(b"x" * 300_000)
    held_up = not fast.transport.reading
    slow.takes()
    assert held_up
    assert fast.transport.reading
    slow.sees(b"x" * 300_000)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_tunnel_lasts_as_long_as_something_comes(make: Make, who: str) -> None:
    world = make()
    client, server = tunnel(world)
    for _ in range(5):
        world.advance(3000)
        (client if who == "client" else server).sends(b".")
    world.advance(3599)
    assert client.end + server.end == ""
    world.advance(2)
    assert (client.end, server.end) == ("reset", "reset")
    assert world.flagged("SI") == 1
    assert world.server_cell(ServerCell.TIMEOUTS) == 0


def test_an_end_that_takes_slowly_is_not_idle(world: World) -> None:
    client, server = tunnel(world)
    server.transport.stalled = True
    client.sends(b"x" * 300_000)
    for _ in range(3):
        world.advance(3500)
        server.takes(1000)
    assert server.end == ""
    world.advance(7300)
    assert server.end == "reset"


def test_how_long_a_tunnel_lasts_is_no_latency(make: Make) -> None:
    world = make()
    client, server = tunnel(world)
    log = world.logs("text")
    client.closes()
    server.closes()
    cells = world.cells.server(0, 0)
    assert sum(cells[ServerCell.LATENCY : ServerCell.LATENCY + LATENCY_BUCKETS]) == 0
    assert log.lines[0].split()[5] == b"101"


def test_a_drain_leaves_tunnels_their_time(make: Make) -> None:
    world = make()
    client, server = tunnel(world)
    world.worker.drain(30)
    world.advance(29)
    client.sends(b"still here")
    server.sees(b"still here")
    world.advance(2)
    assert client.end == "reset"


def test_an_idle_connection_that_died_is_replaced(make: Make) -> None:
    world = make()
    old = world.warm()
    client = world.client()
    client.sends(get(b"/", *ASKS))
    old.resets()
    server = world.accepted()
    assert b"Upgrade: websocket" in server.new()
    server.sends(AGREED)
    client.sees(SEEN)
