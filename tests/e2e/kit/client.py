"""Clients: one request on a connection of its own, a connection as a transcript of bytes, and many requests at once."""

import asyncio
import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Address = tuple[str, int] | str  # a host and a port, or the path of a Unix socket

TIMEOUT = 20.0


class Broken(Exception):
    """A response that did not come, or not whole."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. Field names are in lower case; of a field that stands there twice the last one counts."""

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> dict[str, object]:
        """The body as the JSON object that it is."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


def connect(address: Address, timeout: float = TIMEOUT) -> socket.socket:
    """A connected socket."""
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def fetch(
    address: Address,
    target: str = "/",
    method: str = "GET",
    *,
    body: bytes | None = None,
    fields: Mapping[str, str] | None = None,
) -> Response:
    """The response to one request on a connection of its own. Raises OSError or Broken."""
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT)
    connection.sock = connect(address)
    try:
        connection.request(method, target, body, {"Connection": "close", **(fields or {})})
        response = connection.getresponse()
        return Response(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    except http.client.HTTPException as error:
        raise Broken(repr(error)) from error
    finally:
        connection.close()


class Raw:
    """A connection that sends and receives exactly what the test says."""

    def __init__(self, address: Address) -> None:
        self.socket = connect(address)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends all of it."""
        self.socket.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """What is received up to and with the mark; what follows is kept for later."""
        while mark not in self.received:
            data = self.socket.recv(65536)
            if not data:
                raise Broken(f"closed after {self.received!r}, before {mark!r}")
            self.received += data
        found, _, self.received = self.received.partition(mark)
        return found + mark

    def rest(self) -> bytes:
        """What is received until the other side closes."""
        while data := self.socket.recv(65536):
            self.received += data
        found, self.received = self.received, b""
        return found


class Stream:
    """A keep-alive connection in an event loop. begun: whether the head of the response that is awaited has come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.begun = False
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: Address) -> Self:
        """A connection to the address."""
        if isinstance(address, tuple):
            return cls(*await asyncio.open_connection(*address))
        return cls(*await asyncio.open_unix_connection(address))

    def send(self, request: bytes) -> None:
        """Sends a request."""
        self._writer.write(request)

    async def response(self) -> Response:
        """The next response, with Content-Length or chunked. Raises Broken when it does not come whole."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._response()
        except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
            raise Broken(repr(error)) from error

    async def _response(self) -> Response:
        self.begun = False
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.begun = True
        status, *lines = head.rstrip().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readexactly(2)
        else:
            body = await self._reader.readexactly(int(fields["content-length"]))
        return Response(int(status.split(" ")[1]), fields, body)

    def close(self) -> None:
        """Closes it."""
        self._writer.close()


def burst(addresses: list[Address], count: int, request: bytes) -> list[Response]:
    """The responses to so many requests that are all sent at once, each on a connection of its own."""

    async def one(address: Address, start: asyncio.Event) -> Response:
        stream = await Stream.open(address)
        try:
            await start.wait()
            stream.send(request)
            return await stream.response()
        finally:
            stream.close()

    async def all_of_them() -> list[Response]:
        start = asyncio.Event()
        tasks = [asyncio.create_task(one(addresses[k % len(addresses)], start)) for k in range(count)]
        await asyncio.sleep(0)
        start.set()
        return await asyncio.gather(*tasks)

    return asyncio.run(all_of_them())
