"""Backends: servers that answer with their name, or do whatever a test wants a server to do.

`Backend` runs in a thread of the test's process, so a test can change what it does and see what it received.
`BackendProcess` is the same in a process of its own, to be killed. `python -m tests.e2e.kit.backend` is that process.
"""

import argparse
import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.accepting import accept_no_more
from tests.e2e.kit.waiting import PATIENCE

ROOT = Path(__file__).parents[3]  # where `tests` is found as a package


@dataclass(frozen=True, slots=True)
class Request:
    """What a backend received. fields: with names in lower case; of one that stands there twice the last counts."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """The connection that a request came on."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def answer(self, status: int, body: bytes, fields: str = "") -> None:
        """A whole response, with further field lines."""
        self.writer.write(f"HTTP/1.1 {status} -\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body)


Behaviour = Callable[[Request, Peer], Awaitable[None]]


async def says_its_name(request: Request, peer: Peer) -> None:
    """200 with the backend's name."""
    peer.answer(200, peer.name.encode())


async def is_silent(request: Request, peer: Peer) -> None:
    """No response ever."""
    await peer.reader.read()


async def breaks_off(request: Request, peer: Peer) -> None:
    """A reset in the middle of a response."""
    peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this much")
    await peer.writer.drain()
    raise ConnectionAbortedError


def answers(status: int, body: bytes = b"", fields: str = "") -> Behaviour:
    """A fixed response."""

    async def behave(request: Request, peer: Peer) -> None:
        peer.answer(status, body, fields)

    return behave


def takes(seconds: float) -> Behaviour:
    """200 with the backend's name after so many seconds."""

    async def behave(request: Request, peer: Peer) -> None:
        await asyncio.sleep(seconds)
        await says_its_name(request, peer)

    return behave


class Gate:
    """A behaviour: what asks for /slow waits until the gate is open."""

    def __init__(self) -> None:
        self.is_open = False

    async def __call__(self, request: Request, peer: Peer) -> None:
        while request.target == "/slow" and not self.is_open:
            await asyncio.sleep(0.005)
        await says_its_name(request, peer)


class Backend:
    """A server in a thread. `/health` does `health` and is counted in `probes`; all else does `behaviour`.

    host: to listen on, at a port that the system chooses; path: of a Unix socket, instead. idle: seconds after which
    it closes an idle connection.
    """

    def __init__(
        self,
        name: str = "a",
        behaviour: Behaviour = says_its_name,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "",
        idle: float = 600.0,
    ) -> None:
        self.name = name
        self.behaviour = behaviour
        self.health: Behaviour = says_its_name
        self.requests: list[Request] = []
        self.probes = 0
        self.connections = 0  # accepted so far
        self.port = port
        self._host = host
        self._path = path
        self._idle = idle
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"backend {name}", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens, as a configuration names it."""
        if self._path:
            return f"unix:{self._path}"
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    def start(self) -> Self:
        """Listens, at the same address as before."""
        self._do(self._listen())
        return self

    def stop(self) -> None:
        """Refuses connections from now on, and resets those that there are, as a killed process does."""
        self._do(self._hang_up())

    def close(self) -> None:
        """Ends it for good."""
        if self._loop.is_closed():
            return
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Awaitable[None]) -> None:
        async def working() -> None:
            await work

        asyncio.run_coroutine_threadsafe(working(), self._loop).result(PATIENCE)

    async def _listen(self) -> None:
        if self._path:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
            return
        self._server = await asyncio.start_server(self._serve, self._host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _hang_up(self) -> None:
        if self._server:
            await accept_no_more(self._server)
        # Again and again, because who was being accepted in this moment comes to `_serve` some turns of the loop later.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in list(self._open):
                writer.transport.abort()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.wait(others, timeout=0.01)
        if self._server:
            await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        try:
            while await self._serve_one(reader, writer):
                pass
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()  # ends here: the loop goes on
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            async with asyncio.timeout(self._idle):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return False
        request = await _request(head, reader)
        peer = Peer(self.name, reader, writer)
        if request.target == "/health":
            self.probes += 1
            await self.health(request, peer)
        else:
            self.requests.append(request)
            await self.behaviour(request, peer)
        await writer.drain()
        return request.fields.get("connection") != "close"


async def _request(head: bytes, reader: asyncio.StreamReader) -> Request:
    line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = line.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b""
    if fields.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    elif length := int(fields.get("content-length", "0")):
        body = await reader.readexactly(length)
    return Request(method, target, fields, body)


class BackendProcess:
    """A backend in a process of its own, which can be killed and started again at the same address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Starts it and waits until it listens."""
        command = [sys.executable, "-m", "tests.e2e.kit.backend", "--name", self.name, "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        return self

    def kill(self) -> None:
        """Kills it, with all that it was about to do."""
        if self._process:
            assert self._process.stdout
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def main() -> None:
    """Runs one backend until it is killed; its port is the only line that it prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    backend = Backend(given.name, port=given.port).start()
    print(backend.port, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    main()
