"""A worker on real loops and real sockets: listening, connecting, closing. What it does by the byte is in exchange/."""

import asyncio
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headgate.model.address import Address
from headgate.model.config import AccessLog, Connections, Ejection, Limit, Listener, Rate, Route, Store, Timeouts
from headgate.model.server import ServerState
from headgate.model.snapshot import LimitState, Snapshot, UpstreamState
from headgate.store.redis import RedisStore
from headgate.store.shared import SharedStore
from headgate.wire.cells import Cells, ServerCell
from headgate.wire.messages import Adopted, Drained, Launch, Message, StoreChanged
from headgate.worker import process
from headgate.worker.downstream import Downstream
from headgate.worker.process import Worker
from tests.descriptors import none_left

Run = Callable[[Coroutine[Any, Any, None]], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on a loop of its own."""
    return asyncio.run if request.param == "asyncio" else uvloop.run


class Backend(threading.Thread):
    """A server that answers each connection's requests with the same bytes, read without care for what they are."""

    def __init__(self, answer: bytes = OK) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self.listener.getsockname())
        self._answer = answer
        self.start()

    def run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    return
                time.sleep(0.01)  # a test has left none for a while
                continue
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                while sock.recv(65536):
                    sock.sendall(self._answer)
            except OSError:
                return

    def stop(self) -> None:
        """Takes no more connections."""
        # A blocked accept is not woken by a close, but by a shutdown.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join(5)
        self.listener.close()


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A server that says hi."""
    backend = Backend()
    yield backend
    backend.stop()


@dataclass
class Running:
    """A worker that runs. told: what it said to the supervisor."""

    worker: Worker
    cells: Cells
    told: list[Message]
    address: tuple[str, int]
    snapshot: Snapshot


@asynccontextmanager
async def running(*servers: Address, **changes: Any) -> AsyncIterator[Running]:
    """A worker on a port of its own, with these servers; it is drained in the end."""
    loop = asyncio.get_running_loop()
    cells, memory = Cells.create(1), SharedStore.create(1024)
    told: list[Message] = []
    worker = Worker(Launch(0, 1, 0, cells, memory), loop, told.append)
    states = tuple(ServerState(address, slot) for slot, address in enumerate(servers))
    sock = socket.create_server(("127.0.0.1", 0))
    address = sock.getsockname()
    web = UpstreamState("web", states, "round_robin", Ejection(), Timeouts())
    snapshot = replace(Snapshot(1, (Listener(Address(*address)),), (web,), (Route("web"),)), **changes)
    task = loop.create_task(worker.run())
    try:
        await worker.adopt(snapshot, {str(Address(*address)): sock})
        yield Running(worker, Cells(cells, 1), told, address, snapshot)
    finally:
        worker.drain(5)  # also where a test failed: uvloop waits for ever to close with a server that listens
        try:
            await asyncio.wait_for(task, 10)
        finally:
            os.close(cells)
            os.close(memory)


async def ask(address: tuple[str, int], data: bytes = GET, *, half: bool = False, source: str = "127.0.0.1") -> bytes:
    """All that comes until the connection ends; the client asks for that. half: the client closes its half at once."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    writer.write(data.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n"))
    if half:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    """Waits until it is so."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), 10)


def scenario(run: Run, play: Callable[[Running], Awaitable[None]], *servers: Address, **changes: Any) -> Running:
    """Plays it on a worker; nothing may be in flight afterwards."""
    kept: list[Running] = []

    async def main() -> None:
        async with running(*servers, **changes) as world:
            kept.append(world)
            await play(world)
        await asyncio.sleep(0)

    run(main())
    world = kept[0]
    assert all(world.cells.server(0, slot)[ServerCell.IN_FLIGHT] == 0 for slot in range(len(servers)))
    assert not world.worker._connecting
    assert world.told[-1] == Drained()
    return world


def test_requests_are_served_over_real_sockets(run: Run, backend: Backend) -> None:
    async def play(world: Running) -> None:
        answers = await asyncio.gather(*(ask(world.address) for _ in range(20)))
        assert all(answer.endswith(b"\r\n\r\nhi") and answer.startswith(b"HTTP/1.1 200") for answer in answers)

    world = scenario(run, play, backend.address)
    assert world.told[0] == Adopted(1)
    assert world.cells.server(0, 0)[ServerCell.CLASS + 2] == 20


def test_a_refused_server_costs_nothing_while_another_answers(run: Run, backend: Backend) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        refusing = Address(*unused.getsockname())

        async def play(world: Running) -> None:
            for _ in range(6):
                assert (await ask(world.address)).startswith(b"HTTP/1.1 200")

        world = scenario(run, play, refusing, backend.address)
    assert world.cells.server(0, 0)[ServerCell.CONNECT_FAILURES] == 3


def test_a_host_that_is_no_name_is_502_at_once(run: Run) -> None:
    async def play(world: Running) -> None:
        assert (await ask(world.address)).startswith(b"HTTP/1.1 502")

    scenario(run, play, Address("two..dots", 80))


def test_a_want_of_descriptors_is_503_and_said_once(
    run: Run, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(world: Running) -> None:
        reader, writer = await asyncio.open_connection(*world.address)
        await until(lambda: bool(world.worker._clients))
        with none_left():
            for _ in range(2):
                writer.write(GET)
                assert b" 503 " in await reader.readuntil(b"\r\n\r\n503 Service Unavailable\n")
        writer.write(GET)
        assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()

    world = scenario(run, play, backend.address)
    assert world.cells.flag_total("OM") == 2
    assert world.cells.server(0, 0)[ServerCell.CONNECT_FAILURES] == 0
    assert sum("raise the limit of open files?" in message for message in caplog.messages) == 1


def test_a_client_that_goes_while_it_is_connected_for_leaves_nothing(run: Run) -> None:
    # A listener whose queue is full: the connection is neither made nor refused.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())

        async def play(world: Running) -> None:
            _, writer = await asyncio.open_connection(*world.address)
            writer.write(GET)
            await until(lambda: bool(world.worker._connecting))
            writer.transport.abort()
            await until(lambda: not world.worker._connecting)
            assert world.cells.flag_total("DC") == 1

        scenario(run, play, Address(*full.getsockname()))


def test_an_early_answer_arrives_although_the_client_goes_on_sending(run: Run) -> None:
    async def play(world: Running) -> None:
        reader, writer = await asyncio.open_connection(*world.address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 3_000_000)
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"\n")
        writer.close()
        await writer.wait_closed()

    scenario(run, play)


def test_a_client_that_closes_its_half_is_gone(run: Run, backend: Backend) -> None:
    async def play(world: Running) -> None:
        await ask(world.address, half=True)
        await until(lambda: not world.worker._clients)

    scenario(run, play, backend.address)


def test_a_pipeline_of_a_thousand_over_real_sockets(run: Run) -> None:
    async def play(world: Running) -> None:
        answer = await ask(world.address, b"GET / HTTP/1.1\r\nHost: b\r\n\r\n" * 1000 + GET)
        assert answer.count(b"HTTP/1.1 503 ") == 1001

    scenario(run, play)


def test_large_bodies_pass_both_ways_at_once(run: Run) -> None:
    body = bytes(range(256)) * 20_000
    backend = Backend(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def play(world: Running) -> None:
        answers = await asyncio.gather(*(ask(world.address) for _ in range(4)))
        assert all(answer.partition(b"\r\n\r\n")[2] == body for answer in answers)

    try:
        scenario(run, play, backend.address)
    finally:
        backend.stop()


def test_a_close_that_nobody_read_yet_is_noticed_before_a_post_is_sent(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)  # a second connection that never comes fails the test
        accepted: list[socket.socket] = []

        def serve(answers: int) -> None:
            for _ in range(answers):
                if not accepted:
                    accepted.append(listener.accept()[0])
                while not accepted[-1].recv(65536).endswith(b"\r\n\r\nx"):
                    pass
                accepted[-1].sendall(OK)

        async def play(world: Running) -> None:
            post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
            with socket.create_connection(world.address) as client:
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                client.send(post)
                await loop.run_in_executor(None, serve, 1)
                assert (await loop.sock_recv(client, 1000)).startswith(b"HTTP/1.1 200")
                # The request comes before the close, and the loop finds both at once, in this order.
                client.send(post)
                accepted.pop().close()
                await loop.run_in_executor(None, serve, 1)
                assert (await loop.sock_recv(client, 1000)).startswith(b"HTTP/1.1 200")
            accepted.pop().close()

        world = scenario(run, play, Address(*listener.getsockname()))
        assert world.cells.server(0, 0)[ServerCell.RETRIES] == 0


class Echo(Backend):
    """A server that upgrades every connection and then sends back what comes, until no more does, and `bye`."""

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            while not sock.recv(65536).endswith(b"\r\n\r\n"):
                pass
            sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := sock.recv(65536):
                sock.sendall(data)
            sock.sendall(b"bye")


def test_a_tunnel_passes_everything_and_its_halves_close_one_by_one(run: Run) -> None:
    backend = Echo()
    sent = bytes(range(256)) * 20_000

    async def echoed(address: tuple[str, int]) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(sent)
        writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
            await writer.wait_closed()

    async def play(world: Running) -> None:
        assert set(await asyncio.gather(*(echoed(world.address) for _ in range(4)))) == {sent + b"bye"}
        await until(lambda: not world.worker._clients)

    try:
        world = scenario(run, play, backend.address)
    finally:
        backend.stop()
    assert world.cells.server(0, 0)[ServerCell.CLASS + 1] == 4


def test_a_listener_that_is_not_wanted_any_more_is_closed_and_its_clients_are_drained(
    run: Run, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(world: Running) -> None:
        monkeypatch.setattr(process, "_QUIET_BEFORE_CLOSE", 3600.0)
        worker = world.worker
        (asks, writer), (idle, other) = [await asyncio.open_connection(*world.address) for _ in range(2)]
        await until(lambda: len(worker._clients) == 2)
        await worker.adopt(replace(world.snapshot, version=2, listeners=()), {})
        await until(lambda: not worker._listeners.are_taking_in)
        with pytest.raises(OSError):
            await asyncio.open_connection(*world.address)
        await until(lambda: all(client.draining for client in worker._clients if isinstance(client, Downstream)))
        writer.write(GET)
        answer = await asks.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close\r\n" in answer
        monkeypatch.setattr(process, "_QUIET_BEFORE_CLOSE", 0.0)
        assert await idle.read() == b""
        await until(lambda: not worker._clients)
        await until(lambda: not worker._listeners._removed)
        for each in (writer, other):
            each.close()
            await each.wait_closed()

    assert scenario(run, play, backend.address).told[1] == Adopted(2)


def test_the_clients_of_a_listener_that_came_back_or_of_another_stay(run: Run, backend: Backend) -> None:
    async def play(world: Running) -> None:
        more = socket.create_server(("127.0.0.1", 0))
        address = Address(*more.getsockname())
        (mine,) = world.snapshot.listeners
        adopt = world.worker.adopt
        both = replace(world.snapshot, version=2, listeners=(mine, Listener(address)))
        await adopt(both, {str(address): more.dup()})
        connections = [await asyncio.open_connection(each.host, each.port) for each in (mine.address, address)]
        await until(lambda: len(world.worker._clients) == 2)
        await adopt(replace(world.snapshot, version=3), {})
        await adopt(replace(both, version=4), {str(address): more})
        world.worker._listeners.sweep(world.worker._clients, 0.0)
        assert len(world.worker._clients) == 2
        for reader, writer in connections:
            writer.write(GET)
            assert b"Connection: close" not in await reader.readuntil(b"hi")
            writer.close()
            await writer.wait_closed()

    scenario(run, play, backend.address)


def test_an_access_log_that_cannot_be_opened_does_not_stop_the_service(
    run: Run, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(world: Running) -> None:
        assert (await ask(world.address)).startswith(b"HTTP/1.1 200")

    scenario(run, play, backend.address, access_log=AccessLog(path="/nonexistent/access.log"))
    assert "access log /nonexistent/access.log cannot be opened" in caplog.text


def test_the_access_log_changes_with_the_snapshot(run: Run, backend: Backend, tmp_path: Any) -> None:
    first, second = tmp_path / "1.log", tmp_path / "2.log"

    async def play(world: Running) -> None:
        await ask(world.address)
        await world.worker.adopt(replace(world.snapshot, version=2, access_log=AccessLog("json", str(second))), {})
        await ask(world.address)
        await ask(world.address)
        await world.worker.adopt(replace(world.snapshot, version=3, access_log=None), {})
        await ask(world.address)

    scenario(run, play, backend.address, access_log=AccessLog(path=str(first)))
    assert len(first.read_bytes().splitlines()) == 1
    assert len(second.read_bytes().splitlines()) == 2


def test_a_store_that_is_not_wanted_any_more_is_closed(run: Run) -> None:
    async def play(world: Running) -> None:
        here = world.worker.store
        await world.worker.adopt(replace(world.snapshot, version=2, store=Store(url="redis://127.0.0.1:1/0")), {})
        elsewhere = world.worker.store
        assert elsewhere is not here
        await world.worker.adopt(replace(world.snapshot, version=3), {})
        assert world.worker.store is here

    scenario(run, play)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis+cluster://127.0.0.1:1"])
def test_the_supervisor_is_told_of_a_store_that_is_down_and_of_one_that_is_given_up(run: Run, url: str) -> None:
    async def play(world: Running) -> None:
        def stores() -> list[Message]:
            return [message for message in world.told if isinstance(message, StoreChanged)]

        await world.worker.adopt(replace(world.snapshot, version=2, store=Store(url=url)), {})
        await until(lambda: bool(stores()))
        (down,) = stores()
        assert isinstance(down, StoreChanged)
        assert down.down
        assert "127.0.0.1:1" in down.reason or url.startswith("redis:")
        assert down.reason
        await world.worker.adopt(replace(world.snapshot, version=3), {})
        assert stores() == [down, StoreChanged(False)]

    scenario(run, play)


def test_what_the_store_remembers_of_keys_is_forgotten_when_the_supervisor_says_so(run: Run) -> None:
    async def play(world: Running) -> None:
        world.worker.forget_all()  # on this machine nothing is remembered
        await world.worker.adopt(replace(world.snapshot, version=2, store=Store(url="redis://127.0.0.1:1/0")), {})
        store = world.worker.store
        assert isinstance(store, RedisStore)
        rule = store._enter(LimitState(Limit("a", Rate(1, 60.0)), 0))
        rule.over = dict.fromkeys((b"k", b"other"), (1000000000.0, 1000000000.0, False))
        world.worker.forget("a", b"k")
        assert rule.over.keys() == {b"other"}
        world.worker.forget_all()
        assert not store._rules
        await world.worker.adopt(replace(world.snapshot, version=3), {})

    scenario(run, play)


def test_beyond_the_most_connections_others_wait_until_one_is_closed(
    run: Run, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(world: Running) -> None:
        held = [await asyncio.open_connection(*world.address) for _ in range(2)]
        await until(lambda: len(world.worker._clients) == 2)
        waiting = asyncio.ensure_future(ask(world.address))
        done, _ = await asyncio.wait([waiting], timeout=0.6)
        assert not done
        assert len(world.worker._clients) == 2
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        assert (await waiting).startswith(b"HTTP/1.1 200")
        assert (await ask(world.address)).startswith(b"HTTP/1.1 200")

    scenario(run, play, backend.address, connections=Connections(max=2))
    assert sum("no more are accepted" in message for message in caplog.messages) == 1


def test_a_listener_that_comes_while_room_is_made_accepts(run: Run, backend: Backend) -> None:
    async def play(world: Running) -> None:
        more = socket.create_server(("127.0.0.1", 0))
        address = more.getsockname()
        listeners = (*world.snapshot.listeners, Listener(Address(*address)))
        world.worker._is_full = True  # idle connections were closed and are gone in the next turn
        await world.worker.adopt(
            replace(world.snapshot, version=2, listeners=listeners), {str(Address(*address)): more}
        )
        world.worker._require_room()
        assert (await ask(address)).startswith(b"HTTP/1.1 200")

    scenario(run, play, backend.address)


def test_a_listener_that_comes_without_descriptors_waits_for_one(run: Run, backend: Backend) -> None:
    async def play(world: Running) -> None:
        more = socket.create_server(("127.0.0.1", 0))
        address = more.getsockname()
        listeners = (*world.snapshot.listeners, Listener(Address(*address)))
        with none_left():
            sockets = {str(Address(*address)): more}
            adopting = asyncio.ensure_future(
                world.worker.adopt(replace(world.snapshot, version=2, listeners=listeners), sockets)
            )
            await asyncio.sleep(0.01)
            assert not adopting.done()
        await asyncio.wait_for(adopting, 10)
        assert (await ask(address)).startswith(b"HTTP/1.1 200")

    # Else so many as half of the descriptors, of which the test leaves few.
    scenario(run, play, backend.address, connections=Connections(max=10))


def test_a_drain_takes_those_who_wait_for_a_full_worker(run: Run, backend: Backend) -> None:
    async def play(world: Running) -> None:
        _, writer = await asyncio.open_connection(*world.address)
        await until(lambda: len(world.worker._clients) == 1)
        waiting = asyncio.ensure_future(ask(world.address))
        await asyncio.sleep(0.05)
        writer.close()
        world.worker.drain(5)
        assert (await waiting).startswith(b"HTTP/1.1 200")

    scenario(run, play, backend.address, connections=Connections(max=1))


@pytest.mark.parametrize("how", ["drain", "reload"])
def test_who_waits_where_no_more_are_accepted_is_served_when_others_have_gone(
    run: Run, backend: Backend, how: str
) -> None:
    async def play(world: Running) -> None:
        worker, loop = world.worker, asyncio.get_running_loop()
        held = [await asyncio.open_connection(*world.address) for _ in range(2)]
        await until(lambda: len(worker._clients) == 2)
        waiting = [socket.create_connection(world.address) for _ in range(5)]
        for client in waiting:
            client.send(GET)
        if how == "drain":
            worker.drain(60)
        else:
            await worker.adopt(replace(world.snapshot, version=2, listeners=()), {})
        for _ in range(5):  # it has seen who waits
            await asyncio.sleep(0)
        late = socket.create_connection(world.address)
        answers = []
        for client in waiting:
            client.setblocking(False)
            if held:
                held.pop()[1].close()
            answers.append(await asyncio.wait_for(loop.sock_recv(client, 100), 10))
            assert len(worker._clients) <= 2
            client.close()
        assert [answer[9:12] for answer in answers] == [b"200"] * 5
        late.setblocking(False)
        with pytest.raises(ConnectionResetError):  # else there might be no end of them
            await asyncio.wait_for(loop.sock_recv(late, 100), 10)
        late.close()
        assert not worker._listeners.are_taking_in
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(world.address)

    scenario(run, play, backend.address, connections=Connections(max=2))


def test_a_drain_without_descriptors_takes_who_waits_when_there_are_some(run: Run, backend: Backend) -> None:
    async def play(world: Running) -> None:
        clients = [socket.create_connection(world.address) for _ in range(3)]
        for client in clients:
            client.send(GET)
        with none_left():
            world.worker.drain(60)
            for _ in range(10):
                await asyncio.sleep(0)
        for client in clients:  # one has the descriptor by which connections were accepted
            client.setblocking(False)
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), 10)
            client.close()
            assert answer[9:12] in (b"200", b"503")
        assert answer.startswith(b"HTTP/1.1 200")

    scenario(run, play, backend.address)


def test_a_drain_serves_who_waits_at_a_unix_socket(run: Run, backend: Backend, tmp_path: Path) -> None:
    async def play(world: Running) -> None:
        address, sock = Address(path=str(tmp_path / "s")), socket.socket(socket.AF_UNIX)
        sock.bind(address.path)
        sock.listen()
        sock.setblocking(False)
        await world.worker.adopt(
            replace(world.snapshot, version=2, listeners=(Listener(address),)), {str(address): sock}
        )
        held = await asyncio.open_unix_connection(address.path)
        await until(lambda: len(world.worker._clients) == 1)
        waiting = [await asyncio.open_unix_connection(address.path) for _ in range(2)]
        world.worker.drain(60)
        held[1].close()
        for reader, writer in waiting:
            writer.write(GET)
            assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
            writer.close()

    scenario(run, play, backend.address, connections=Connections(max=1))
    assert (tmp_path / "s").is_socket(), "others serve it too"


def reset(sock: socket.socket) -> None:
    """Closes it as one does who no longer wants to know of the other side."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_who_has_gone_before_he_is_accepted_is_taken_for_nobody_else(
    run: Run, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(world: Running) -> None:
        taken: list[str] = []
        accepts = world.worker.accepted

        def accepted(client: Downstream) -> bool:
            taken.append(client.ip)
            return accepts(client)

        monkeypatch.setattr(world.worker, "accepted", accepted)
        gone = socket.create_connection(world.address, source_address=("127.0.0.2", 0))
        gone.send(GET)
        reset(gone)  # what was sent can be read all the same
        assert (await ask(world.address, source="127.0.0.3")).startswith(b"HTTP/1.1 200")
        assert taken in (["127.0.0.3"], ["127.0.0.2", "127.0.0.3"])

    scenario(run, play, backend.address)


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("how", ["drains", "is full"])
def test_who_is_being_accepted_when_no_more_are_is_served(run: Run, backend: Backend, how: str, turns: int) -> None:
    async def play(world: Running) -> None:
        with socket.create_connection(world.address) as client:
            client.send(GET)
            for _ in range(turns):
                await asyncio.sleep(0)
            if how == "drains":
                world.worker.drain(5)
            else:
                world.worker._listeners.pause()
                world.worker._is_full = True  # for a sweep
            client.setblocking(False)
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), 5)
        assert answer.startswith(b"HTTP/1.1 200")

    scenario(run, play, backend.address)


def test_a_drain_cuts_what_does_not_end_and_says_how_many(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    silent = socket.create_server(("127.0.0.1", 0))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with silent:
            async with running(Address(*silent.getsockname())) as world:
                _, writer = await asyncio.open_connection(*world.address)
                writer.write(GET)
                await until(lambda: world.cells.server(0, 0)[ServerCell.IN_FLIGHT] == 1)
                world.worker.drain(0)
                started = loop.time()
                await asyncio.wait_for(world.worker._finished, 5)
                assert loop.time() - started < 2
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    run(main())
    assert "1 connection cut: not over in the time given" in caplog.text
