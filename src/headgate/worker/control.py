"""The worker's end of the socket pair to the supervisor.

Snapshots are adopted one after the other, in the order they come. When the supervisor is gone the worker goes on
serving by the last one. Listening sockets for which it has no descriptor left would be lost with the read: they, and
what comes after them, wait in the socket pair until there is room.
"""

import asyncio
import logging
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable

from headgate.wire.messages import Adopt, Message, Reader, encode

logger = logging.getLogger("headgate.worker")

_READ = 65536
_MOST = 1 << 20  # bytes that wait for a supervisor that does not read; more messages are left out
_DESCRIPTORS = 253  # the most that Linux passes in one message
_AGAIN = 0.1  # seconds after which it is looked again whether there are descriptors


class Control:
    """Messages from the supervisor, with the listening sockets that come with them, and messages to it."""

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[Message, dict[str, socket.socket]], None],
    ) -> None:
        """on_message: given each message and, for an Adopt, its listening sockets by address."""
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._on_message = on_message
        self._reader = Reader()
        self._descriptors: deque[int] = deque()
        self._unsent = bytearray()
        self._lacks = False  # descriptors, for what comes next
        loop.add_reader(sock, self._receive)

    def send(self, message: Message) -> None:
        """Tells the supervisor something, if it is still there. It never waits."""
        if len(self._unsent) > _MOST:
            logger.debug("the supervisor does not read: a %s is left out", type(message).__name__)
            return
        waits = bool(self._unsent)
        self._unsent += encode(message)
        if not waits:
            self._send_some()

    def _send_some(self) -> None:
        try:
            del self._unsent[: self._sock.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            logger.debug("the supervisor does not hear: %s", error)
            self._unsent.clear()
        if self._unsent:
            self._loop.add_writer(self._sock, self._send_some)
        else:
            self._loop.remove_writer(self._sock)

    def _receive(self) -> None:
        length = self._look()
        if self._lacks:
            self._loop.remove_reader(self._sock)
            self._loop.call_later(_AGAIN, self._loop.add_reader, self._sock, self._receive)
            return
        try:
            data, descriptors, _ = _read(self._sock, length)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data:
            self._loop.remove_reader(self._sock)
            logger.warning("the supervisor is gone; serving on by the last snapshot")
            return
        for message in self._reader.feed(data):
            names = message.sockets if isinstance(message, Adopt) else ()
            self._on_message(message, {name: socket.socket(fileno=self._descriptors.popleft()) for name in names})

    def _look(self) -> int:
        """How many bytes come next, and whether there are descriptors for what comes with them."""
        try:
            data, descriptors, flags = _read(self._sock, _READ, socket.MSG_PEEK)
        except OSError:  # who reads is told the same
            self._lacks = False
            return _READ
        for descriptor in descriptors:
            os.close(descriptor)
        lacked, self._lacks = self._lacks, bool(flags & socket.MSG_CTRUNC)
        if self._lacks and not lacked:
            logger.error("a snapshot waits for descriptors, for its listeners; raise the limit of open files?")
        return len(data)


def _read(sock: socket.socket, length: int, flags: int = 0) -> tuple[bytes, list[int], int]:
    """Bytes, the descriptors that came with them, and the kernel's flags.

    `socket.recv_fds` takes flags and leaves them out.
    """
    size = array("i").itemsize
    data, extra, flags, _ = sock.recvmsg(length, socket.CMSG_LEN(_DESCRIPTORS * size), flags)
    found = array("i")
    for level, kind, content in extra:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(content[: len(content) - len(content) % size])
    return data, list(found), flags
