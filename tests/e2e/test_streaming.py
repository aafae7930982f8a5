"""Bodies of a gigabyte pass in either direction, past readers that stall, in a worker that hardly grows."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.kit.backend import Backend, Peer, Request, says_its_name
from tests.e2e.kit.client import Raw
from tests.e2e.kit.flow import BareServer, receiving, sending
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.waiting import settled, wait_for

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

GIB = 1 << 30
MOST = 32 << 20  # bytes by which a worker may grow


@pytest.fixture
def server() -> Iterator[BareServer]:
    """A server whose connections the test handles itself."""
    bare = BareServer()
    yield bare
    bare.close()


class Memory:
    """The memory of a process from now on, by proc(5)."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}")
        (self._directory / "clear_refs").write_text("5")  # the peak begins anew
        self._before = self._read("VmRSS")

    @property
    def growth(self) -> int:
        """By how many bytes its peak is above its start."""
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        lines = (self._directory / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def test_a_gigabyte_comes_down_to_a_client_that_stalls(make: Make, server: BareServer) -> None:
    headgate = make(settings([server.address])).start()
    memory = Memory(headgate.worker_pid())
    with Raw(headgate.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
            flow = sending(connection, GIB)
            assert settled(lambda: flow.moved, "the server's sending") < GIB / 8
            client.until(b"\r\n\r\n")
            assert len(client.received) + receiving(client.socket, GIB - len(client.received)).join() == GIB
            assert flow.join() == GIB
    assert memory.growth < MOST


def test_a_gigabyte_goes_up_to_a_server_that_stalls(make: Make, server: BareServer) -> None:
    headgate = make(settings([server.address])).start()
    memory = Memory(headgate.worker_pid())
    with Raw(headgate.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % GIB)
        flow = sending(client.socket, GIB)
        connection, rest = server.accept()
        with connection:
            assert settled(lambda: flow.moved, "the client's sending") < GIB / 8
            assert len(rest) + receiving(connection, GIB - len(rest)).join() == GIB
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert client.until(b"ok").startswith(b"HTTP/1.1 200 OK\r\n")
            assert flow.join() == GIB
    assert memory.growth < MOST


def test_many_stalled_downloads_cost_little_each(make: Make, backend: Start) -> None:
    written = 0

    async def endless(request: Request, peer: Peer) -> None:
        nonlocal written
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
        while True:
            peer.writer.write(bytes(65536))
            written += 65536
            await peer.writer.drain()

    headgate = make(settings([backend("a", endless).address])).start()
    memory = Memory(headgate.worker_pid())
    clients = [Raw(headgate.address) for _ in range(20)]
    try:
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            client.until(b"\r\n\r\n")
        settled(lambda: written, "the servers' sending")
        assert headgate.metric("headgate_in_flight") == 20
        assert memory.growth < MOST
    finally:
        for client in clients:
            client.socket.close()
    wait_for(lambda: headgate.metric("headgate_requests_in_flight") == 0, "the end of the downloads")


def test_a_download_that_is_taken_too_slowly_is_cut(make: Make, server: BareServer) -> None:
    rate = {"response_min_rate": 1_000, "min_rate_window": "300ms"}
    headgate = make(settings([server.address], timeouts=rate)).start()
    with Raw(headgate.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
            with pytest.raises(ConnectionError):
                connection.sendall(bytes(GIB // 16))
        wait_for(lambda: headgate.metric("headgate_requests_in_flight") == 0, "the end of the download")
        assert len(client.rest()) < GIB // 16


def test_a_chunked_body_of_unknown_length_arrives_whole(make: Make, backend: Start) -> None:
    server = backend("a", says_its_name)
    headgate = make(settings([server.address])).start()
    with Raw(headgate.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for k in range(200):
            piece = bytes([k]) * (k * 37 + 1)
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        client.until(b"\r\n\r\n")
    assert server.requests[0].body == b"".join(bytes([k]) * (k * 37 + 1) for k in range(200))
