"""`headgate backend`: a small web server to try a load balancer with.

It answers every request with its own name and what it received, over HTTP/1.1 with keep-alive, and its health can be
turned by hand. It is for demonstrations, examples and tests; the standard library's server carries it.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

import click

from headgate.errors import ListenFailed
from headgate.model.words import counted

_MAX_LINE = 4096
_PIECE = 65536
_HEALTH = {"/health/fail": False, "/health/ok": True}


@click.command
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="Where to listen; 0 lets the system choose.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--name", help="What it calls itself (backend-PORT).")
@click.option("--delay", type=click.FloatRange(0), default=0, metavar="MS", help="Wait so long before each answer.")
def backend(port: int, host: str, name: str | None, delay: float) -> None:
    """Run the demo backend, which answers with its name and what it received.

    \b
    GET  /health       200, or 503 while it fails
    POST /health/fail  let the health check fail
    POST /health/ok    let it pass again
    anything else      what was received, as text, or as JSON with Accept: application/json
    """
    with Backend(host, port, name or "", delay / 1000) as server:
        click.echo(f"{server.name} listens on http://{host}:{server.server_port}")
        server.serve_forever()


class Backend(ThreadingHTTPServer):
    """The listening server. Raises ListenFailed when it cannot have its address."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_port = False  # a port that another backend has must be refused and not shared
    request_queue_size = 1024

    def __init__(self, host: str, port: int, name: str = "", delay: float = 0.0) -> None:
        """delay: seconds to wait before each answer."""
        self.delay = delay
        self.healthy = True
        self.answered = 0
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ListenFailed(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        self.name = name or f"backend-{self.server_port}"

    def server_bind(self) -> None:
        """Binds without what the base class does more: it asks the name service for the host's name, which can hang."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def count(self) -> int:
        """The number of this answer, from 1."""
        with self._lock:
            self.answered += 1
            return self.answered

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of a backend; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _BadBody(Exception):
    """The request's body is not what its head says."""


class _Handler(BaseHTTPRequestHandler):
    server: Backend
    protocol_version = "HTTP/1.1"
    timeout = 75.0
    # An answer is one write: two of them wait for each other's acknowledgement (Nagle and delayed ACK, 40 ms).
    wbufsize = _PIECE
    disable_nagle_algorithm = True

    def handle_expect_100(self) -> bool:
        """Sends 100 Continue at once instead of leaving it in the buffer."""
        answer = super().handle_expect_100()
        self.wfile.flush()
        return answer

    def version_string(self) -> str:
        """What the Server field says."""
        return "headgate-backend"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: a backend under load would do little else."""

    def _answer(self) -> None:
        try:
            length = sum(map(len, self._body()))
        except (_BadBody, ValueError) as error:
            self.close_connection = True
            self._send(400, "text/plain", f"bad request body: {error}\n".encode())
            return
        path = self.path.partition("?")[0]
        if path == "/health" or (path in _HEALTH and self.command == "POST"):
            self.server.healthy = _HEALTH.get(path, self.server.healthy)
            passes = self.server.healthy
            status = 503 if path == "/health" and not passes else 200
            self._send(status, "text/plain", b"ok\n" if passes else b"failing\n")
            return
        time.sleep(self.server.delay)
        if "application/json" in self.headers.get("Accept", ""):
            self._send(200, "application/json", json.dumps(self._received(length)).encode() + b"\n")
        else:
            self._send(200, "text/plain; charset=utf-8", self._text(length).encode())

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    def _received(self, length: int) -> dict[str, object]:
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return {
            "name": self.server.name,
            "port": self.server.server_port,
            "number": self.server.count(),
            "method": self.command,
            "target": self.path,
            "headers": headers,
            "body_bytes": length,
        }

    def _text(self, length: int) -> str:
        first = f"{self.server.name} on port {self.server.server_port}, its answer number {self.server.count()}"
        fields = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        return f"{first}\n{self.command} {self.path}\n{fields}\n{counted(length, 'byte')} of body\n"

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Backend", self.server.name)
        if self.close_connection or self.request_version == "HTTP/1.0":
            self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> Iterator[bytes]:
        """The pieces of the request's body. Raises _BadBody or ValueError when it is broken."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self._line().partition(b";")[0].strip() or b"-", 16):
                yield from self._exactly(size)
                if self._line().strip():
                    raise _BadBody("a chunk longer than it says")
            while self._line().strip():
                pass  # trailers
        else:
            yield from self._exactly(int(self.headers.get("Content-Length") or 0))

    def _line(self) -> bytes:
        line = self.rfile.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise _BadBody("it ends too early")
        return line

    def _exactly(self, size: int) -> Iterator[bytes]:
        if size < 0:
            raise _BadBody("a negative length")
        while size:
            piece = self.rfile.read(min(size, _PIECE))
            if not piece:
                raise _BadBody("it ends too early")
            size -= len(piece)
            yield piece
