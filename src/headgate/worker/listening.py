"""A listening socket that a worker serves, and how it is given up without losing who waits in it."""

import asyncio
import socket
from typing import TYPE_CHECKING

from headgate.model.config import Listener
from headgate.worker.downstream import Downstream

if TYPE_CHECKING:
    from headgate.worker.process import Worker

_BACKLOG = 4096


class Listening:
    """One listening socket. `listener` is what the snapshot says of it now."""

    def __init__(self, worker: "Worker", listener: Listener, sock: socket.socket) -> None:
        """Takes the socket over."""
        self.listener = listener
        self._worker = worker
        self._sock = sock
        self._spare = sock.dup()
        self._server: asyncio.Server | None = None

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to accept."""
        if self._sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(self._accepted, sock=self._sock, backlog=_BACKLOG)
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

    async def give_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serves the connections that the kernel made and nobody took yet, and closes the socket; after `pause`.

        Closing with them still waiting would reset them, although their clients may have sent requests already.
        """
        self._spare.setblocking(False)
        waiting: list[socket.socket] = []
        while True:
            try:
                waiting.append(self._spare.accept()[0])
            except ConnectionAbortedError:
                continue  # this client is gone again
            except OSError:  # none is left, or no descriptor for more
                break
        self._spare.close()
        for sock in waiting:
            sock.setblocking(False)
            try:
                await loop.connect_accepted_socket(self._accepted, sock)
            except OSError:  # the client is gone again
                sock.close()

    def _accepted(self) -> Downstream:
        return Downstream(self._worker, self.listener)


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
