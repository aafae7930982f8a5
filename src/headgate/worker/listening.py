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
            self._server.close()
            self._server = None

    @property
    def is_paused(self) -> bool:
        """Whether nothing is accepted, for now or for good."""
        return self._server is None

    async def resume(self, loop: asyncio.AbstractEventLoop) -> None:
        """Accepts again. Raises OSError when there is no descriptor for it."""
        self._sock = self._spare.dup()
        await self.open(loop)

    def close(self) -> list[socket.socket]:
        """Accepts no more; the connections that the kernel made and nobody took yet, for `attend`.

        Closing with them still waiting would reset them, although their clients may have sent requests already.
        """
        if self._server is not None:
            self._server.close()
        self._spare.setblocking(False)
        waiting: list[socket.socket] = []
        try:
            while True:
                waiting.append(self._spare.accept()[0])
        except OSError:  # none is left, or no descriptor for more
            self._spare.close()
        return waiting

    async def attend(self, waiting: list[socket.socket], loop: asyncio.AbstractEventLoop) -> None:
        """Serves connections that `close` returned."""
        for sock in waiting:
            sock.setblocking(False)
            try:
                await loop.connect_accepted_socket(self._accepted, sock)
            except OSError:  # the client is gone again
                sock.close()

    def _accepted(self) -> Downstream:
        return Downstream(self._worker, self.listener)
