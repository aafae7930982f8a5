"""Gigabytes from a thread: a body is sent or received by blocking sockets in large pieces, without keeping it."""

import socket
import threading
from collections.abc import Callable

_PIECE = memoryview(bytes(1 << 20))


class Flow:
    """A thread that moves bytes. `moved` counts them; `paused` holds it up until it is set to False.

    step: moves one piece, given how much is left, and returns its size; 0 means that the other side closed.
    """

    def __init__(self, step: Callable[[int], int], size: int, *, paused: bool = False) -> None:
        self.moved = 0
        self._step = step
        self._size = size
        self._go = threading.Event()
        if not paused:
            self._go.set()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def go_on(self) -> None:
        """Ends the pause."""
        self._go.set()

    def join(self) -> int:
        """Waits for the end; how much was moved."""
        self._thread.join(60)
        assert not self._thread.is_alive(), f"stuck after {self.moved} bytes"
        return self.moved

    def _work(self) -> None:
        self._go.wait()
        while self.moved < self._size and (moved := self._step(self._size - self.moved)):
            self.moved += moved


def sending(sock: socket.socket, size: int) -> Flow:
    """Sends so many bytes."""
    return Flow(lambda left: sock.send(_PIECE[:left]), size)


def receiving(sock: socket.socket, size: int, *, paused: bool = False) -> Flow:
    """Receives so many bytes, or until the other side closes."""
    room = bytearray(1 << 20)
    return Flow(lambda left: sock.recv_into(room, min(left, len(room))), size, paused=paused)


class BareServer:
    """A listening socket whose connections a test handles itself."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(20)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def accept(self) -> tuple[socket.socket, bytes]:
        """The next connection, and what came with its first head."""
        connection, _ = self._socket.accept()
        connection.settimeout(20)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        return connection, received.partition(b"\r\n\r\n")[2]

    def close(self) -> None:
        """Stops listening."""
        self._socket.close()
