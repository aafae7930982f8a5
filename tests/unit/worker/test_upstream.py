"""Connecting to servers over real sockets, on both loops. What a connection does then is in tests/exchange."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headgate.errors import ConnectFailed, Exhausted
from headgate.model.address import Address
from headgate.model.server import ServerState
from headgate.wire.cells import SERVER_CELLS, ServerCell
from headgate.worker.server import Server
from headgate.worker.upstream import connect
from tests.descriptors import none_left

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on a loop of its own."""
    return asyncio.run if request.param == "asyncio" else uvloop.run


def server_at(address: Address) -> Server:
    """A server there."""
    return Server("web", ServerState(address, 0), memoryview(bytearray(SERVER_CELLS * 8)).cast("Q"))


def test_a_server_that_listens_is_connected_to(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = server_at(Address(*listener.getsockname()))

        async def main() -> None:
            connection = await connect(server)
            accepted, _ = listener.accept()
            with accepted:
                connection.write(b"hello")
                assert accepted.recv(5, socket.MSG_WAITALL) == b"hello"
                connection.close()
                await asyncio.sleep(0)
                assert connection.is_lost

        run(main())
    assert server.cells[ServerCell.CONNECTS] == 1


def test_a_server_at_a_unix_socket_is_connected_to(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        async def main() -> None:
            (await connect(server_at(Address(path=path)))).close()
            await asyncio.sleep(0)

        run(main())


def unused_port() -> int:
    """A port that nobody listens on: bound a moment ago, never listened on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert isinstance(port, int)
        return port


@pytest.mark.parametrize(
    "address",
    [
        Address("127.0.0.1", unused_port()),
        Address("name-that-is-not.invalid", 80),
        Address("a" * 64, 80),
        Address("two..dots", 80),
        Address(path="/nonexistent/socket"),
        Address(path="/tmp/" + "x" * 200),
    ],
    ids=["refused", "no such name", "label too long", "empty label", "no such socket", "path too long"],
)
def test_whatever_hinders_is_a_failure_to_connect(run: Run, address: Address) -> None:
    async def main() -> None:
        with pytest.raises(ConnectFailed) as caught:
            await connect(server_at(address))
        assert str(caught.value)

    run(main())


def test_a_want_of_descriptors_is_no_failure_of_the_server(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def main() -> None:
            address = Address(*listener.getsockname())
            with none_left(), pytest.raises(Exhausted, match="oo many open files"):
                await connect(server_at(address))

        run(main())


def test_giving_up_leaves_no_connection_behind(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def main() -> None:
            task = asyncio.ensure_future(connect(server_at(Address(*listener.getsockname()))))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)

        run(main())
        listener.setblocking(False)
        try:
            accepted, _ = listener.accept()
        except BlockingIOError:
            return
        with accepted:
            accepted.setblocking(True)
            accepted.settimeout(5)
            try:
                assert accepted.recv(1) == b""
            except ConnectionResetError:
                return
