"""The supervisor's end of the socket pair to one worker: messages out, with descriptors, and messages in.

Sending never blocks and never raises: what does not fit in the socket's buffer waits here, and a snapshot that waits
is replaced by a newer one, so a worker that is slow gets the truth of now and not a history. What is to be done once,
however often it was asked for, waits once, ahead of the snapshots and so between no two of them: it has nothing to do
with what they say. When the worker is gone the channel ends once, by `on_end`, however that was noticed.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from headgate.model.address import Address
from headgate.model.snapshot import Snapshot
from headgate.wire.messages import Adopt, Forget, ForgetAll, Message, Reader, ReopenLog, encode

logger = logging.getLogger("headgate.workers")

_READ = 65536
_KEYS = 1024  # to be forgotten that wait; beyond, all are


@dataclass(slots=True)
class _Update:
    """A snapshot that waits for its turn, with all its listening sockets."""

    snapshot: Snapshot
    sockets: Mapping[Address, socket.socket]


@dataclass(slots=True)
class _Outgoing:
    """What is left to send of a message, and the sockets that go with its first byte: copies, closed once sent."""

    data: memoryview
    sockets: list[socket.socket]

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.sockets = []


class Channel:
    """Messages to and from one worker."""

    def __init__(
        self, sock: socket.socket, *, on_message: Callable[[Message], None], on_end: Callable[[], None]
    ) -> None:
        """Takes the socket over. on_end: called once, when the worker has closed its end or does not make sense."""
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._reader = Reader()
        self._queue: deque[_Update | Message] = deque()
        self._chores: dict[Forget | ForgetAll | ReopenLog, None] = {}  # what is to be done once, in its order
        self._outgoing: _Outgoing | None = None
        self._passed: set[Address] = set()  # the listeners whose sockets the worker has
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._receive)

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        """Our end, non-blocking, and the worker's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        return ours, theirs

    def adopt(self, snapshot: Snapshot, sockets: Mapping[Address, socket.socket]) -> None:
        """Sends a snapshot. sockets: of all its listeners; only those that are new to the worker travel."""
        last = self._queue[-1] if self._queue else None
        # A listener that comes and goes between two snapshots must not be left out: the worker closes its socket at
        # the one without it.
        if isinstance(last, _Update) and last.snapshot.listeners == snapshot.listeners:
            self._queue.pop()
        self._queue.append(_Update(snapshot, sockets))
        self._send()

    def send(self, message: Message) -> None:
        """Sends another message."""
        if isinstance(message, Forget | ReopenLog):
            self._add(message)
        else:
            self._queue.append(message)
        self._send()

    def _add(self, chore: Forget | ReopenLog) -> None:
        if len(self._chores) >= _KEYS:
            for key in [one for one in self._chores if isinstance(one, Forget)]:
                del self._chores[key]
            self._chores[ForgetAll()] = None
        if not isinstance(chore, Forget) or ForgetAll() not in self._chores:
            self._chores[chore] = None

    def close(self) -> None:
        """Ends the channel without calling `on_end`."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
        self._queue.clear()
        self._chores.clear()
        if self._outgoing:
            self._outgoing.close()
            self._outgoing = None

    def _send(self) -> None:
        if self._sock.fileno() < 0:
            return
        while self._outgoing or self._chores or self._queue:
            message = self._outgoing = self._outgoing or self._next()
            try:
                sent = self._send_some(message)
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._send)
                return
            except OSError:
                self._end()
                return
            message.close()
            message.data = message.data[sent:]
            if not message.data:
                self._outgoing = None
        self._loop.remove_writer(self._sock)

    def _send_some(self, message: _Outgoing) -> int:
        if not message.sockets:
            return self._sock.send(message.data)
        return socket.send_fds(self._sock, [message.data], [sock.fileno() for sock in message.sockets])

    def _next(self) -> _Outgoing:
        if self._chores:
            chore = next(iter(self._chores))
            del self._chores[chore]
            return _Outgoing(memoryview(encode(chore)), [])
        item = self._queue.popleft()
        if not isinstance(item, _Update):
            return _Outgoing(memoryview(encode(item)), [])
        # A listener that was closed while this waited is left out; the snapshot without it is on its way.
        listeners = tuple(
            listener
            for listener in item.snapshot.listeners
            if listener.address in self._passed or item.sockets[listener.address].fileno() >= 0
        )
        wanted = [listener.address for listener in listeners]
        news = [address for address in wanted if address not in self._passed]
        self._passed = set(wanted)
        message = Adopt(replace(item.snapshot, listeners=listeners), tuple(str(address) for address in news))
        return _Outgoing(memoryview(encode(message)), [item.sockets[address].dup() for address in news])

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        try:
            messages = self._reader.feed(data)
        except msgspec.MsgspecError as error:
            logger.error("a worker sends what is no message: %s", error)
            self._end()
            return
        for message in messages:
            self._on_message(message)

    def _end(self) -> None:
        if self._sock.fileno() >= 0:
            self.close()
            self._on_end()
