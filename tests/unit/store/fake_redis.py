"""A Redis of a few lines, on the event loop of the test: it answers what it is told to, or not at all."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from headgate.store.resp import Reader
from tests.accepting import accept_no_more

Command = list[bytes]
ALLOWED = b"+1 60000\r\n"
REFUSED = b"+4 60000\r\n"


def is_probe(command: Command) -> bool:
    return command[0] == b"EVAL" and command[3].endswith(b":probe")


def is_sign(command: Command) -> bool:
    return command[0] == b"EVAL" and command[3].endswith(b":alive")


class FakeRedis:
    """answer: the bytes for a command; None keeps silent. It is not asked about the opening while `opens` is set.

    path: of its Unix socket; without one it is at a port of 127.0.0.1 that the system chooses.
    """

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.port = 0
        self.answer: Callable[[Command], bytes | None] = lambda command: ALLOWED
        self.opens = True
        self.commands: list[Command] = []  # without those of the openings
        self.openings: list[Command] = []
        self.signs: list[Command] = []  # signs of life, which are answered with `alive`
        self.alive = b"+1\r\n"
        self.writes = 0  # reads in which commands after the opening came
        self.connections: list[asyncio.Transport] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        if self.path:
            with suppress(FileNotFoundError):
                os.unlink(self.path)  # until Python 3.13 the file of a server that ended stays
            self._server = await loop.create_unix_server(lambda: _Connection(self), self.path)
            return
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuses connections from now on and drops those that are."""
        assert self._server is not None
        await accept_no_more(self._server)
        self.drop()
        await asyncio.sleep(0)

    def drop(self) -> None:
        for transport in self.connections:
            transport.abort()
        self.connections.clear()

    def say(self, data: bytes) -> None:
        """Writes to the newest connection."""
        self.connections[-1].write(data)


class _Connection(asyncio.Protocol):
    def __init__(self, fake: FakeRedis) -> None:
        self.fake = fake
        self.reader = Reader()
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.fake.connections.append(self.transport)

    def data_received(self, data: bytes) -> None:
        fake = self.fake
        fake.writes += self.is_open
        commands = cast("list[Command]", self.reader.feed(data))
        signs = [command for command in commands if is_sign(command)]
        fake.signs += signs
        fake.writes -= self.is_open and signs == commands
        for command in commands:
            if command in signs:
                self.transport.write(fake.alive)
                continue
            (fake.commands if self.is_open else fake.openings).append(command)
            if not self.is_open and fake.opens:
                self.is_open = is_probe(command)
                self.transport.write(ALLOWED if self.is_open else b"+OK\r\n")
            elif answer := fake.answer(command):
                self.transport.write(answer)
