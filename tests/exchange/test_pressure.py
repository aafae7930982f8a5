"""Who is slow slows the other down: nothing is lost, and no more than a bounded amount waits in memory."""

from headgate.worker.upstream import HIGH_WATER
from tests.exchange.kit import Make, World, chunked, forwarded, get, ok, post

PIECE = b"z" * 65_536


def test_a_slow_client_stops_the_reading_from_its_server(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    client.transport.stalled = True
    whole = ok(PIECE * 64)
    server.sends(whole[:100], *[PIECE] * 63, whole[100 + 63 * 65_536 :])
    assert client.transport.get_write_buffer_size() < 3 * 65_536
    assert server.transport.unread > 60 * 65_536
    while not client.transport.out.endswith(whole[-100:]) or len(client.transport.out) < len(whole):
        before = len(client.transport.out)
        client.takes(50_000)
        assert len(client.transport.out) > before, "it stands still"
        assert client.transport.get_write_buffer_size() < 3 * 65_536
    client.sees(whole)
    assert server.transport.reading
    assert client.end == server.end == ""


def test_a_slow_client_of_a_chunked_body_gets_every_byte(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    client.transport.stalled = True
    head, body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(*[PIECE] * 16)
    whole = head + body
    server.sends(*(whole[i : i + 10_000] for i in range(0, len(whole), 10_000)))
    for _ in range(1000):
        client.takes(3_000)
    client.sees(whole)


def test_a_slow_server_stops_the_reading_from_its_client(world: World) -> None:
    client = world.client()
    whole = post(PIECE * 64)
    client.sends(whole[:200])
    server = world.accepted()
    server.transport.stalled = True
    client.sends(*(whole[i : i + 65_536] for i in range(200, len(whole), 65_536)))
    assert server.transport.get_write_buffer_size() < HIGH_WATER + 2 * 65_536
    assert client.transport.unread > 50 * 65_536
    for _ in range(200):
        server.takes(50_000)
    server.sees(forwarded(whole))
    assert client.transport.reading
    server.sends(ok())
    client.sees(ok())


def test_a_client_is_not_read_while_its_server_is_connected_to(world: World) -> None:
    world.holds_connects = True
    client = world.client()
    whole = post(PIECE * 64)
    client.sends(*(whole[i : i + 65_536] for i in range(0, len(whole), 65_536)))
    assert client.transport.unread > 60 * 65_536
    world.attempts[0].succeed().sees(forwarded(whole))


def test_a_client_is_read_again_after_its_slow_server_died(make: Make) -> None:
    world = make(2)
    client = world.client()
    whole = post(PIECE * 16)
    client.sends(whole[:200])
    server = world.accepted()
    server.transport.stalled = True
    client.sends(whole[200:-1])
    server.resets()
    client.sees_answer(502)
    client.sends(b"z")
    assert client.transport.unread == 0
    client.closes()
    assert client.end == "closed"


def test_a_server_connection_is_read_again_after_a_response_for_a_slow_client(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    client.transport.stalled = True
    whole = ok(PIECE * 4)
    server.sends(whole[:-70_000], whole[-70_000:-1])
    assert not server.transport.reading
    client.takes(100_000)
    client.takes()
    client.takes()
    server.sends(whole[-1:])
    assert server.connection in server.connection.server.idle
    server.closes()
    assert not server.connection.server.idle


def test_a_response_that_is_complete_lets_its_server_go_although_the_client_is_slow(world: World) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    client.transport.stalled = True
    server.sends(ok(PIECE * 4))
    assert world.in_flight() == 0
    assert server.transport.reading
    other = world.client()
    other.sends(get(b"/2"))
    server.sends(ok(b"2"))
    other.sees(ok(b"2"))


def test_the_next_request_of_a_slow_client_waits_until_it_has_read(world: World) -> None:
    client = world.client()
    client.sends(get(b"/1"))
    client.transport.stalled = True
    server = world.accepted()
    server.sends(ok(PIECE * 4))
    server.new()
    client.sends(get(b"/2"), get(b"/3"))
    server.sees_nothing()
    client.takes(100_000)
    server.sees_nothing()
    client.takes()
    server.sees(forwarded(get(b"/2"), 2))
    server.sends(ok(b"2"))
    server.sees(forwarded(get(b"/3"), 3))


def test_both_directions_at_once_lose_nothing(world: World) -> None:
    client = world.client()
    upload = post(PIECE * 32)
    client.sends(upload[:200])
    server = world.accepted()
    server.transport.stalled = client.transport.stalled = True
    download = ok(PIECE * 32)
    client.sends(*(upload[i : i + 30_000] for i in range(200, len(upload), 30_000)))
    server.sends(*(download[i : i + 30_000] for i in range(0, len(download) - 30_000, 30_000)))
    for turn in range(200):
        (client if turn % 3 else server).takes(40_000)
        (server if turn % 2 else client).takes(25_000)
    server.sees(forwarded(upload))
    server.sends(download[len(download) // 30_000 * 30_000 :])
    client.takes()
    client.sees(ok(PIECE * 32, b"Connection: close"))


def test_a_server_that_closes_while_it_takes_nothing_is_not_waited_for(world: World) -> None:
    client = world.client()
    client.sends(post(b"x" * 500_000)[:-400_000])
    server = world.accepted()
    server.transport.stalled = True
    client.sends(b"x" * 300_000)
    server.closes()
    client.sees_answer(502)
