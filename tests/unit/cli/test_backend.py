import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from headgate.cli.backend import Backend
from headgate.errors import ListenFailed
from tests.unit.cli.conftest import Headgate


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend("127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(backend: Backend) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", backend.server_port, timeout=10)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, str]:
    client.request(method, path, body, headers)
    response = client.getresponse()
    return response.status, response.read().decode()


def exchange(backend: Backend, request: bytes) -> bytes:
    """All that comes back for the bytes of a request, until the backend closes."""
    with socket.create_connection(("127.0.0.1", backend.server_port), timeout=10) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_it_answers_with_its_name_and_what_it_received(backend: Backend, client: http.client.HTTPConnection) -> None:
    name = f"backend-{backend.server_port}"
    status, text = ask(client, "POST", "/a?b=c", b"12345", X="y")
    first, *rest = text.splitlines()
    assert (status, first) == (200, f"{name} on port {backend.server_port}, its answer number 1")
    assert rest[0] == "POST /a?b=c"
    assert "X: y" in rest
    assert rest[-1] == "5 bytes of body"
    socket_before = client.sock
    assert ask(client, "GET", "/")[1].startswith(f"{name} on port {backend.server_port}, its answer number 2\n")
    assert client.sock is socket_before, "the connection was kept"


def test_it_answers_in_json_when_asked_for_it(backend: Backend, client: http.client.HTTPConnection) -> None:
    answer = json.loads(ask(client, "PUT", "/x", b"abc", Accept="application/json")[1])
    assert answer["headers"].pop("Host") == f"127.0.0.1:{backend.server_port}"
    assert answer == {
        "name": backend.name,
        "port": backend.server_port,
        "number": 1,
        "method": "PUT",
        "target": "/x",
        "headers": {"Accept-Encoding": "identity", "Content-Length": "3", "Accept": "application/json"},
        "body_bytes": 3,
    }


def test_a_repeated_field_is_shown_whole(backend: Backend) -> None:
    answer = exchange(backend, b"GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nX: 1\r\nX: 2\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["X"] == "1, 2"


def test_its_health_can_be_turned(client: http.client.HTTPConnection) -> None:
    assert ask(client, "GET", "/health?x") == (200, "ok\n")
    assert ask(client, "GET", "/health/fail")[0] == 200  # only a POST turns it
    assert ask(client, "GET", "/health") == (200, "ok\n")
    assert ask(client, "POST", "/health/fail") == (200, "failing\n")
    assert ask(client, "GET", "/health") == (503, "failing\n")
    assert ask(client, "POST", "/health/ok") == (200, "ok\n")
    assert ask(client, "GET", "/health") == (200, "ok\n")


def test_a_head_request_gets_no_body(backend: Backend) -> None:
    head, _, body = exchange(backend, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length: " in head


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_the_connection_is_kept_or_closed_as_the_client_says(backend: Backend, version: str) -> None:
    kept = f"GET / HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n".encode()
    closed = f"GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    answer = exchange(backend, kept + closed + kept)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"\r\nConnection: close\r\n") == 1
    assert answer.count(b"\r\nConnection: keep-alive\r\n") == (1 if version == "1.0" else 0)


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_chunked_bodies_are_read_to_their_end(backend: Backend) -> None:
    body = b"5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n"
    answer = exchange(backend, CHUNKED + body + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"\n21 bytes of body\n" in answer
    assert b"\nGET /next\n" in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        CHUNKED + b"z\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"5",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
    ],
)
def test_a_broken_body_is_refused_and_the_connection_closed(backend: Backend, request_bytes: bytes) -> None:
    answer = exchange(backend, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"bad request body" in answer


def test_a_client_that_expects_it_is_told_to_continue_before_it_sends(backend: Backend) -> None:
    with socket.create_connection(("127.0.0.1", backend.server_port), timeout=10) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"ab")
        assert b"2 bytes of body" in sock.recv(65536)


def test_a_port_in_use_is_one_line(backend: Backend, headgate: Headgate) -> None:
    port = backend.server_port
    code, out, err = headgate("backend", "--port", str(port))
    assert (code, out, err) == (71, [], [f"headgate: cannot listen on 127.0.0.1:{port}: Address already in use"])


def test_an_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(ListenFailed, match=r"^cannot listen on 192\.0\.2\.1:0: "):
        Backend("192.0.2.1", 0)


def test_the_command_says_where_it_listens() -> None:
    command = [sys.executable, "-m", "headgate", "backend", "--port", "0", "--name", "blue", "--delay", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("blue listens on http://127.0.0.1:")
        client = http.client.HTTPConnection(said.strip().rpartition("/")[2], timeout=10)
        assert ask(client, "GET", "/")[1].startswith("blue on port ")
        client.close()
        process.terminate()
