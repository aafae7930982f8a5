"""The listening sockets that a worker serves, and how one is given up without losing who waits in it."""

import asyncio
import select
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headgate.model.address import Address
from headgate.model.config import Listener
from headgate.worker.absent import Absent
from headgate.worker.downstream import Downstream

if TYPE_CHECKING:
    from headgate.worker.process import Worker

_BACKLOG = 4096
_AGAIN = 0.05  # seconds after which it is looked again whether there is room
_MANY = float("inf")
_UNACKED = slice(24, 28)  # of tcp_info (linux/tcp.h): how many wait to be accepted, for a socket that listens
# Others serve the socket too. From Python 3.13 on a server removes its file when it closes, unless told not to.
_FILE_STAYS: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


class Listeners:
    """Those of a worker."""

    def __init__(self, worker: "Worker", loop: asyncio.AbstractEventLoop, on_taken_in: Callable[[], None]) -> None:
        """on_taken_in: called when who waited at a socket that was given up is a client."""
        self._worker = worker
        self._loop = loop
        self._on_taken_in = on_taken_in
        self._open: dict[Address, Listening] = {}
        self._taking_in: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._removed: set[Address] = set()  # by a reload; as long as they have clients

    async def adopt(self, listeners: Sequence[Listener], sockets: Mapping[str, socket.socket]) -> None:
        """Serves these from now on. sockets: of those that are new, by address."""
        wanted = {listener.address: listener for listener in listeners}
        for address in set(self._open) - set(wanted):
            self._removed.add(address)
            self._give_up(self._open.pop(address))
        self._removed -= set(wanted)
        for address, listener in wanted.items():
            if address in self._open:
                self._open[address].listener = listener
                continue
            are_paused = any(listening.is_paused for listening in self._open.values())
            sock = sockets[str(address)]
            listening = self._open[address] = Listening(self._worker, listener, sock, await _copy(sock))
            await listening.open(self._loop)
            if are_paused:  # not by `_is_full`: that is also set for the turn in which idle connections make room
                listening.pause()

    def pause(self) -> None:
        """Accepts no more for now."""
        for listening in self._open.values():
            listening.pause()

    async def resume(self) -> None:
        """Accepts again. Raises OSError when there is no descriptor for it."""
        for listening in self._open.values():
            if listening.is_paused:
                await listening.resume(self._loop)

    def close(self) -> None:
        """Accepts no more, and takes in who has connected already."""
        for listening in self._open.values():
            self._give_up(listening)

    @property
    def are_taking_in(self) -> bool:
        """Whether somebody is on the way from a socket that was given up."""
        return bool(self._taking_in)

    def sweep(self, clients: "Iterable[Downstream | Absent]", quiet: float) -> None:
        """Drains the connections of listeners that were removed, whose limits nobody keeps any more.

        quiet: seconds of silence after which one is closed.
        """
        if not self._removed:
            return
        left = set()
        for client in list(clients):
            if isinstance(client, Downstream) and client.listener.address in self._removed:
                left.add(client.listener.address)
                client.drain(quiet)
        if not self._taking_in:
            self._removed &= left

    def _give_up(self, listening: "Listening") -> None:
        listening.pause()
        # In a task: when nobody is being accepted any more.
        task = self._loop.create_task(listening.give_up(self._loop, self._turn))
        self._taking_in.add(task)
        task.add_done_callback(self._taken_in)

    def _taken_in(self, task: asyncio.Task[None]) -> None:
        self._taking_in.discard(task)
        self._on_taken_in()


class Listening:
    """One listening socket. `listener` is what the snapshot says of it now."""

    def __init__(self, worker: "Worker", listener: Listener, sock: socket.socket, spare: socket.socket) -> None:
        """Takes the socket over, and its copy."""
        self.listener = listener
        self._worker = worker
        self._sock = sock
        self._spare = spare
        self._server: asyncio.Server | None = None

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to accept."""
        if self._sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(
                self._accepted, sock=self._sock, backlog=_BACKLOG, **_FILE_STAYS
            )
        else:
            self._server = await loop.create_server(self._accepted, sock=self._sock, backlog=_BACKLOG)

    def pause(self) -> None:
        """Accepts no more for now: who connects waits in the kernel's queue, which the spare descriptor keeps."""
        if self._server is not None:
            _end(self._server)
            self._server = None

    @property
    def is_paused(self) -> bool:
        """Whether nothing is accepted, for now or for good."""
        return self._server is None

    async def resume(self, loop: asyncio.AbstractEventLoop) -> None:
        """Accepts again. Raises OSError when there is no descriptor for it."""
        self._sock = self._spare.dup()
        await self.open(loop)

    async def give_up(self, loop: asyncio.AbstractEventLoop, turn: asyncio.Lock) -> None:
        """Serves the connections that the kernel made and nobody took yet, and closes the socket; after `pause`.

        Closing with them still waiting would reset them, although their clients may have sent requests already. Those
        for whom there is no room, or no descriptor, stay where they are until some have closed. Who connects meanwhile
        is not waited for: there may be no end of them.
        turn: of those who are given up at the same time, which fill the same room.
        """
        left = _MANY
        with self._spare as spare:
            spare.setblocking(False)
            while True:
                async with turn:
                    waiting = _accept(spare, min(self._worker.room, left))
                    left = min(left - len(waiting), _queued(spare))
                    if left <= 0:
                        spare.close()  # before anything is awaited: who connects from now on is refused
                    await asyncio.gather(*[self._take_in(sock, loop) for sock in waiting])
                if left <= 0:
                    return
                await asyncio.sleep(_AGAIN)

    async def _take_in(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        sock.setblocking(False)
        try:
            await loop.connect_accepted_socket(self._accepted, sock)
        except OSError:  # the client is gone again
            sock.close()

    def _accepted(self) -> Downstream:
        return Downstream(self._worker, self.listener)


async def _copy(sock: socket.socket) -> socket.socket:
    """The same socket once more, as soon as there is a descriptor for it."""
    while True:
        try:
            return sock.dup()
        except OSError:
            await asyncio.sleep(_AGAIN)


def _accept(sock: socket.socket, most: float) -> list[socket.socket]:
    """So many of those who wait at a socket, or as many as there are and descriptors for them."""
    accepted: list[socket.socket] = []
    while len(accepted) < most:
        try:
            accepted.append(sock.accept()[0])
        except ConnectionAbortedError:
            continue  # this client is gone again
        except OSError:
            break
    return accepted


def _queued(sock: socket.socket) -> float:
    """How many wait at a socket that listens; of a Unix socket only whether there is any is to be known."""
    if sock.family != socket.AF_UNIX:
        return int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[_UNACKED], sys.byteorder)
    looks = select.poll()
    looks.register(sock, select.POLLIN)
    return _MANY if looks.poll(0) else 0


def _end(server: asyncio.Server) -> None:
    """Closes a server, and loses none of those that it is just accepting.

    Whom asyncio's loop has accepted in this turn is given to the server in the next, and one that is closed then drops
    him without a word. On uvloop the server has them at once.
    """
    loop = server.get_loop()
    if loop.remove_reader(server.sockets[0].fileno()):  # asyncio's: there it is a reader
        loop.call_soon(server.close)
    else:
        server.close()
