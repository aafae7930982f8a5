"""An admin API that answers what a test tells it to, and remembers what it was asked."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

SERVER: dict[str, object] = {
    "address": "127.0.0.1:5000",
    "weight": 1,
    "mode": "ready",
    "probe": "up",
    "detail": "200 OK in 3 ms",
    "ejected_for": 0,
    "available": True,
    "in_flight": 2,
    "idle": 1,
    "requests": 1234,
    "failures": 0,
    "source": "config",
}
LATE: dict[str, object] = SERVER | {"address": "[::1]:5001", "weight": 10, "ejected_for": 7.6, "source": "runtime"}
STATUS: dict[str, object] = {
    "version": "0.1.0",
    "snapshot": 5,
    "pid": 42,
    "started": "2026-01-01T00:00:00Z",
    "uptime": 7384.2,
    "draining": False,
    "workers": [
        {"index": 0, "pid": 43, "snapshot": 5, "connections": 3, "in_flight": 1, "requests": 700},
        {"index": 1, "pid": 44, "snapshot": 5, "connections": 4, "in_flight": 1, "requests": 534},
    ],
    "listeners": ["127.0.0.1:8000", "[::1]:8000"],
    "upstreams": [{"name": "web", "policy": "round_robin", "health_check": True, "servers": [SERVER, LATE]}],
    "limits": [
        {"name": "per_ip", "rate": "100/minute", "key": "client_ip", "allowed": 900, "refused": 12},
        {
            "name": "trial",
            "rate": "5/second",
            "key": "client_ip",
            "algorithm": "gcra",
            "dry_run": True,
            "allowed": 800,
            "refused": 0,
            "dry_run_refused": 112,
        },
    ],
    "store": {"kind": "local", "down": False},
}


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    body: object
    token: str
    host: str


@dataclass
class FakeAdmin:
    """Answers by method and path; a path that it does not know is 404 as the admin API says it."""

    address: str
    answers: dict[str, tuple[int, object]] = field(default_factory=lambda: {"GET /api/v1/status": (200, STATUS)})
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(path: Path | None = None) -> Iterator[FakeAdmin]:
    """A fake admin API while the block runs, on a port that the system chooses or on a Unix socket."""
    server = _Server(path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(HTTPServer):
    def __init__(self, path: Path | None) -> None:
        self.address_family = socket.AF_UNIX if path else socket.AF_INET
        # HTTPServer wants a host and a port of its address, a Unix socket has neither: bound here, listening there.
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.server_activate()
        self.fake = FakeAdmin(f"unix:{path}" if path else f"127.0.0.1:{self.socket.getsockname()[1]}")

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, _ = self.socket.accept()
        return connection, ("client", 0)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fake, token = self.server.fake, self.headers.get("Authorization", "")
        body = json.loads(content) if content else None
        fake.asked.append(Asked(self.command, self.path, body, token, self.headers["Host"]))
        missing = (404, {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "no such thing"})
        status, answer = fake.answers.get(f"{self.command} {self.path}", missing)
        sent = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer
