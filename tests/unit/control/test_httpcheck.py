import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from headgate.control.httpcheck import Result, probe
from headgate.model.address import Address
from headgate.model.config import HealthCheck

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ticking() -> Callable[[], float]:
    """A clock on which 3 ms pass between any two looks."""
    steps = itertools.count()
    return lambda: next(steps) * 0.003


def probed(answer: bytes | Handler, check: HealthCheck | None = None, *, path: str = "") -> tuple[Result, bytes]:
    """The result of probing a server that answers so, and what it was sent."""
    received = bytearray()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            received.extend(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def main() -> Result:
        if path:
            server = await asyncio.start_unix_server(handle, path)
            address = Address(path=path)
        else:
            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        async with server:
            return await probe(address, check or HealthCheck(timeout=5), ticking())

    return asyncio.run(main()), bytes(received)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "passed", "text"),
    [
        pytest.param(OK, True, "200 OK in 3 ms", id="200"),
        pytest.param(b"HTTP/1.0 302 Found\r\n\r\n", True, "302 Found in 3 ms", id="1.0, a redirect is not followed"),
        pytest.param(b"HTTP/1.1 299 \x1b[31mred\r\n\r\n", True, "299 in 3 ms", id="its own words are not shown"),
        pytest.param(b"HTTP/1.1 204\r\n\r\n", True, "204 No Content in 3 ms", id="no reason, no space"),
        pytest.param(b"HTTP/1.1 200 OK\nA: b\n\n", True, "200 OK in 3 ms", id="bare line feeds are alive"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, True, "200 OK in 3 ms", id="interim first"),
        pytest.param(b"HTTP/1.1 500 No\r\n\r\n", False, "status 500, expected 200-399", id="500"),
        pytest.param(b"HTTP/1.1 101 S\r\n\r\n", False, "status 101, expected 200-399", id="101 is final"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", False, "not HTTP", id="another protocol"),
        pytest.param(b"HTTP/2 200\r\n\r\n", False, "not HTTP", id="another version"),
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", False, "not HTTP", id="a status of two digits"),
        pytest.param(b"HTTP/1.1 999 OK\r\n\r\n", False, "not HTTP", id="a status beyond 599"),
        pytest.param(b"", False, "closed the connection without a whole answer", id="nothing"),
        pytest.param(b"HTT", False, "closed the connection without a whole answer", id="the beginning of a line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA", False, "closed the connection without a whole answer", id="half a head"),
        pytest.param(b"nope", False, "not HTTP", id="another protocol without a line end"),
        pytest.param(b"x" * 40000, False, "not HTTP", id="endless first line"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 8000, False, "a head of more than 32768 bytes", id="endless fields"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nA: " + b"b" * 40000, False, "a head of more than 32768 bytes", id="endless field"
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
            False,
            "more than 32768 bytes of interim answers",
            id="endless 100s",
        ),
    ],
)
def test_the_status_line_decides(answer: bytes, passed: bool, text: str) -> None:
    result, _ = probed(answer)
    assert result == Result(passed, text)


@pytest.mark.parametrize(
    ("status", "ranges", "passed", "text"),
    [
        (204, ((204, 204),), True, "204 No Content in 3 ms"),
        (200, ((204, 204),), False, "status 200, expected 204"),
        (404, ((200, 299), (404, 404)), True, "404 Not Found in 3 ms"),
        (301, ((200, 299), (404, 404)), False, "status 301, expected 200-299, 404"),
    ],
)
def test_the_expected_status_is_the_configurations(
    status: int, ranges: tuple[tuple[int, int], ...], passed: bool, text: str
) -> None:
    result, _ = probed(b"HTTP/1.1 %d X\r\n\r\n" % status, HealthCheck(timeout=5, status=ranges))
    assert result == Result(passed, text)


def test_the_request_is_a_get_that_closes_its_connection() -> None:
    _, request = probed(OK, HealthCheck(path="/health?x=1", host="app.example", timeout=5))
    assert request == (
        b"GET /health?x=1 HTTP/1.1\r\nHost: app.example\r\nUser-Agent: headgate-check\r\n"
        b"Accept: */*\r\nConnection: close\r\n\r\n"
    )


def test_without_a_host_the_servers_address_is_it() -> None:
    _, request = probed(OK)
    assert b"\r\nHost: 127.0.0.1:" in request


def test_a_unix_socket_is_probed_too(tmp_path: Path) -> None:
    result, request = probed(OK, path=str(tmp_path / "s"))
    assert result.passed
    assert b"\r\nHost: localhost\r\n" in request


def test_a_head_that_comes_byte_by_byte_is_read() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for k in range(len(OK)):
            writer.write(OK[k : k + 1])
            await writer.drain()
            await asyncio.sleep(0)

    assert probed(dribble)[0].passed


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["silence", "half a head"])
def test_a_server_that_does_not_finish_times_out(said: bytes) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()

    result, _ = probed(hang, HealthCheck(timeout=0.05))
    assert result == Result(False, "timed out after 0.05 s")


def test_a_reset_is_told() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    assert probed(reset)[0] == Result(False, "connection reset")


def failed(address: Address) -> str:
    result = asyncio.run(probe(address, HealthCheck(timeout=5), ticking()))
    assert not result.passed
    return result.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_connection_is_told(host: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening
        assert failed(Address(host, nobody.getsockname()[1])) == "connection refused"


def test_a_socket_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert failed(Address(path=str(tmp_path / "none"))) == "no such socket"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70 + ".example"], ids=["unknown", "no host name"])
def test_a_name_that_is_not_known_is_told(host: str) -> None:
    assert failed(Address(host, 80)) == "host name not known"
