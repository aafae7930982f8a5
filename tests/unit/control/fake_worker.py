"""A worker that speaks the supervisor's protocol and answers every connection with its index, its pid and its version.

Run as a program, like the real one, with its Launch as the last argument. The argument before it says how it behaves:
"good", "dies" (at once), "silent" (adopts nothing), "stuck" (adopts
nothing but its first snapshot), "stubborn" (does not end when drained), "garbled" (says what is no message).
"""

import os
import select
import signal
import socket
import sys
import threading

import msgspec

from headgate.wire.cells import Cells, WorkerCell
from headgate.wire.messages import Adopt, Adopted, Drain, Drained, Launch, Reader, ReopenLog, encode


class FakeWorker:
    def __init__(self, launch: Launch, behaviour: str) -> None:
        self.launch = launch
        self.behaviour = behaviour
        self.control = socket.socket(fileno=launch.control)
        self.cells = Cells(launch.cells, launch.workers).worker(launch.index)
        self.listeners: dict[str, socket.socket] = {}
        self.version = 0

    def serve(self) -> None:
        reader = Reader()
        fresh: list[int] = []
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.control, 65536, 64)
            if not data:
                return
            fresh += descriptors
            for message in reader.feed(data):
                if isinstance(message, Adopt):
                    self.adopt(message, fresh)
                elif isinstance(message, ReopenLog):
                    self.cells[WorkerCell.LOG_DROPPED] += 1  # something that a test can see from outside
                elif isinstance(message, Drain) and self.behaviour != "stubborn":
                    self.control.sendall(encode(Drained()))
                    return

    def adopt(self, message: Adopt, fresh: list[int]) -> None:
        if self.behaviour == "silent" or (self.behaviour == "stuck" and self.version):
            return
        if self.behaviour == "garbled":
            self.control.sendall(b"\0\0\0\1\xc1")
            return
        for name in message.sockets:
            self.listeners[name] = listener = socket.socket(fileno=fresh.pop(0))
            listener.setblocking(False)
            threading.Thread(target=self.accept, args=(listener,), daemon=True).start()
        wanted = {str(listener.address) for listener in message.snapshot.listeners}
        for name in self.listeners.keys() - wanted:
            self.listeners.pop(name).shutdown(socket.SHUT_RDWR)
        assert self.listeners.keys() == wanted
        self.version = message.snapshot.version
        self.cells[WorkerCell.VERSION] = self.version
        self.control.sendall(encode(Adopted(self.version)))

    def accept(self, listener: socket.socket) -> None:
        while True:
            # Waiting apart from accepting: a thread that is killed inside accept takes a connection with it.
            select.select([listener], [], [])
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError:
                return
            connection.setblocking(True)
            with connection:
                connection.recv(65536)
                body = f"{self.launch.index} {os.getpid()} {self.version}"
                connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def main() -> None:
    behaviour, launch = sys.argv[-2:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if behaviour == "dies":
        sys.exit(3)
    FakeWorker(msgspec.json.decode(launch, type=Launch), behaviour).serve()
    os._exit(0)  # the accepting threads wait in the kernel


if __name__ == "__main__":
    main()
