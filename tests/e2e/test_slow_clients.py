"""Limits on what is in flight and clients that are slow: they hold their places to their end, whichever it is."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from tests.e2e.kit.backend import Backend, Peer, Request, says_its_name
from tests.e2e.kit.client import Raw
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.waiting import wait_for
from tests.redis_server import RedisServer

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

SIZE = 64 << 20  # of the body; far more than all buffers on the way take
RATE = 100_000  # bytes a second, where there is a least rate
IN_REDIS = pytest.mark.parametrize("in_redis", [False, True], ids=["on this machine", "in Redis"])


async def is_large(request: Request, peer: Peer) -> None:
    """What asks for /large gets a body of SIZE bytes, as fast as it is taken."""
    if request.target != "/large":
        return await says_its_name(request, peer)
    peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
    for _ in range(SIZE >> 16):
        peer.writer.write(bytes(1 << 16))
        await peer.writer.drain()
    return None


class Download:
    """A client that takes its response slowly."""

    too_slow, silent = "response_min_rate", "response_body"

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self._taken = 0
        raw.send(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        raw.until(b"\r\n\r\n")

    def moves(self, size: int) -> None:
        """So many bytes of the body pass. Raises OSError when the connection was cut."""
        left = size
        while left:
            data = self.raw.received or self.raw.socket.recv(left)
            if not data:
                raise ConnectionError(f"closed after {self._taken}")
            data, self.raw.received = data[:left], data[left:]
            self._taken += len(data)
            left -= len(data)

    def ends_well(self) -> None:
        """The rest of the body passes, and the response is good."""
        self.moves(SIZE - self._taken)
        assert self.raw.rest() == b""

    def is_cut(self) -> None:
        """The response breaks off."""
        with pytest.raises(ConnectionError):
            self.moves(SIZE - self._taken)


class Upload:
    """A client that sends its request slowly."""

    too_slow, silent = "request_min_rate", "request_body"

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self._sent = 0
        raw.send(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % SIZE)
        self.moves(1)

    def moves(self, size: int) -> None:
        """So many bytes of the body pass. Raises OSError when the connection was cut."""
        self.raw.send(bytes(size))
        self._sent += size

    def ends_well(self) -> None:
        """The rest of the body passes, and the response is good."""
        self.moves(SIZE - self._sent)
        assert self.raw.rest().startswith(b"HTTP/1.1 200 ")

    def is_cut(self) -> None:
        """It is told so."""
        with suppress(ConnectionResetError):  # what it sent after that
            assert self.raw.rest()[:12] in (b"HTTP/1.1 408", b"HTTP/1.1 504")


KINDS = pytest.mark.parametrize("kind", [Download, Upload])
Kind = type[Download] | type[Upload]


@pytest.fixture
def start(make: Make, backend: Start, redis_server: RedisServer) -> Callable[..., Headgate]:
    """Starts a Headgate with two workers and one request in flight, with these timeouts."""

    def starting(in_redis: bool, timeouts: dict[str, object] | None = None) -> Headgate:
        limits = {"flying": {"algorithm": "concurrency", "in_flight": 1, "key": "constant"}}
        store = {"store": {"url": redis_server.url, "deadline": "10s"}} if in_redis else {}
        routes = [{"upstream": "web", "limits": ["flying"]}]
        server = backend("a", is_large)
        return make(
            settings([server.address], workers=2, limits=limits, routes=routes, timeouts=timeouts or {}, **store)
        ).start()

    return starting


@pytest.fixture
def connect() -> Iterator[Callable[[Headgate, Kind], Download | Upload]]:
    """A client in the middle of its request, which has the one place."""
    opened: list[socket.socket] = []

    def connecting(headgate: Headgate, kind: Kind) -> Download | Upload:
        raw = Raw(headgate.address)
        opened.append(raw.socket)
        client = kind(raw)
        wait_for(lambda: held(headgate) == 1, "a place to be held")
        return client

    yield connecting
    for one in opened:
        one.close()


Connect = Callable[[Headgate, Kind], Download | Upload]


def held(headgate: Headgate) -> float:
    return headgate.metric("headgate_limit_in_flight", limit="flying")


def is_free(headgate: Headgate) -> None:
    """The place can be had again, by each worker, and nothing is left of who had it."""
    wait_for(lambda: held(headgate) == 0, "the place to be free")
    for _ in range(4):
        wait_for(lambda: headgate.get().status == 200, "the place to be free")  # one has it a moment after its response
    assert headgate.metric("headgate_store_errors_total") == 0


@IN_REDIS
@KINDS
def test_a_slow_client_holds_its_place_until_all_has_passed(
    start: Callable[..., Headgate], connect: Connect, kind: Kind, in_redis: bool
) -> None:
    headgate = start(in_redis)
    client = connect(headgate, kind)
    for _ in range(4):
        client.moves(SIZE // 16)
        assert headgate.get().status == 429
    assert held(headgate) == 1
    client.ends_well()
    is_free(headgate)


@KINDS
@pytest.mark.parametrize(
    ("by", "in_redis"),
    [("rate", False), ("rate", True), ("silence", False), ("total", False)],
    ids=["rate", "rate, in Redis", "silence", "total"],
)
def test_a_client_that_is_too_slow_is_cut_and_its_place_is_free(
    start: Callable[..., Headgate], connect: Connect, kind: Kind, by: str, in_redis: bool
) -> None:
    timeouts: dict[str, dict[str, object]] = {
        "rate": {kind.too_slow: RATE, "min_rate_window": "1s"},
        "silence": {kind.silent: "1s"},
        "total": {"total": "1s"},
    }
    headgate = start(in_redis, timeouts[by])
    client = connect(headgate, kind)
    statuses: list[int] = []

    def is_over() -> bool:
        if by != "silence":
            with suppress(OSError):
                client.moves(1)
        statuses.append(headgate.get().status)
        return statuses[-1] == 200

    wait_for(is_over, "the place to be free")
    assert len(statuses) > 1, "it was held"
    assert {*statuses[:-1]} == {429}
    client.is_cut()
    is_free(headgate)


@IN_REDIS
def test_a_client_that_goes_away_in_the_middle_frees_its_place(
    start: Callable[..., Headgate], connect: Connect, in_redis: bool
) -> None:
    headgate = start(in_redis)
    for kind in (Download, Upload):
        for resets in (False, True):
            client = connect(headgate, kind)
            client.moves(1)
            assert headgate.get().status == 429
            with closing(client.raw.socket) as connection:
                if resets:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            is_free(headgate)
