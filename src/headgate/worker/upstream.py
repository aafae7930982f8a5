"""A connection to a server: sends requests, reads responses, passes their bodies on to the client.

One exchange uses it at a time. It reads a response's head and hands it to the exchange; the body it passes on by
itself, piece by piece as it comes, and tells the exchange when it is complete. A failure becomes an error of
`errors.py` here, where it is met.
"""

import asyncio
import errno
import select
from typing import TYPE_CHECKING, cast

from headgate.errors import BadResponse, ConnectFailed, Exhausted, ServerReset
from headgate.http1.body import Chunked
from headgate.http1.response import MAX_HEAD, UNTIL_CLOSE, ResponseHead, read_response
from headgate.model.address import Address
from headgate.wire.cells import ServerCell
from headgate.worker.server import Server

if TYPE_CHECKING:
    from headgate.worker.passage import Passage

# Bodies are read in large pieces; while a client takes them slowly no more than this waits in memory for it.
HIGH_WATER = 262144
# Failures to connect that say nothing about the server.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
_LARGE = 16384  # bytes from which on a body is passed without copying it


class ServerConnection(asyncio.Protocol):
    """One connection to one server.

    received: what was read last, from the start of the response's head; the exchange takes it with the head.
    since: when it was used last; deadline: until when it is kept while it is idle. reused: whether it served an
    exchange before this one.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_in_body",
        "_interim",
        "_left",
        "_reading",
        "_waiting",
        "deadline",
        "exchange",
        "is_lost",
        "paused",
        "received",
        "reused",
        "server",
        "since",
        "transport",
        "write",
    )

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.exchange: Passage | None = None
        self._buffer = b""
        self._chunked: Chunked | None = None
        self.deadline = 0.0
        self.since = 0.0
        self._in_body = False
        self._interim = 0  # bytes of the interim responses to the request that it serves
        self._left = 0  # bytes of the body still to come, CHUNKED or UNTIL_CLOSE where the bytes themselves tell
        self._reading = True
        self._waiting = 0  # how much waited for the server when that was last looked at
        self.is_lost = False
        self.paused = False  # the server takes the request's body more slowly than the client sends it
        self.received = b""
        self.reused = False

    # What the exchange does with it.

    def begin_body(self, head: ResponseHead, framed: bool) -> tuple[bytes | memoryview, bool]:
        """What came of the body together with the head, ready to pass on, and whether that was all of it.

        framed: whether a chunked body keeps its framing. Raises BadResponse.
        """
        received, self.received = self.received, b""
        length = head.length
        if length >= 0:
            self._left = length - len(received) + head.end
            self._in_body = self._left > 0
            if len(received) > _LARGE:
                return memoryview(received)[head.end : head.end + length], not self._in_body
            return received[head.end : head.end + length], not self._in_body
        data = received[head.end :]
        self._left = length
        self._in_body = True
        if length == UNTIL_CLOSE:
            return data, False
        self._chunked = Chunked(framed, BadResponse)
        passed = self._chunked.feed(data)
        return passed, self._chunked.done

    def release(self, now: float, keep_for: float, *, reuse: bool) -> None:
        """Ends an exchange whose response is complete: the connection goes back to the idle ones, if it may be reused.

        It may not when anything came after the response, for then the next one would not be told from it.
        """
        self.exchange = None
        chunked, self._chunked = self._chunked, None
        if not reuse or self.is_lost or (chunked.rest if chunked is not None else self._left):
            return self.close()
        self._in_body = False
        self._interim = 0
        self.reused = True
        self.since = now
        self.deadline = now + keep_for
        if not self._reading:
            self.resume_reading()
        self.server.idle.append(self)

    def close(self) -> None:
        """Closes a connection that nobody uses any more."""
        self.exchange = None
        self.is_lost = True
        self.transport.abort()

    @property
    def is_stale(self) -> bool:
        """Whether it served before and nothing came of the next response, as when a server closes idle ones."""
        return self.reused and not self._buffer and not self._interim

    def has_news(self) -> bool:
        """Whether the server has sent or closed something that the loop has not read yet. A system call."""
        sock = self.transport.get_extra_info("socket")
        if sock is None:
            return False
        look = select.poll()
        look.register(sock.fileno(), select.POLLIN | select.POLLRDHUP)
        return bool(look.poll(0))

    def took_some(self) -> bool:
        """Whether something waits for the server and it took some of it since this was last asked."""
        before, self._waiting = self._waiting, self.transport.get_write_buffer_size()
        return 0 != self._waiting != before

    def pause_reading(self) -> None:
        """The client is slow: reads no more of the response for now."""
        if self._reading and not self.is_lost:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The client caught up."""
        if not self._reading and not self.is_lost:
            self._reading = True
            self.transport.resume_reading()

    # What the loop tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclass of asyncio's.
        self.transport = stream = cast("asyncio.Transport", transport)
        self.write = stream.write
        stream.set_write_buffer_limits(HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            # Bytes that nobody asked for: whatever they are, the next response could not be told from them.
            return self._drop_idle()
        if self._in_body:
            return self._body_received(exchange, data)
        if self._buffer:
            data = self._buffer + data
        try:
            while True:
                head = read_response(data, exchange.head.method, exchange.head.minor)
                if head is None:
                    self._buffer = data
                    return None
                if head.status >= 200:
                    break
                if head.status == 101:
                    exchange.require_upgrade(head)
                    break
                self._interim += head.end
                if self._interim > MAX_HEAD:  # each one is written to the client: a flood would hold up the loop
                    raise BadResponse("too many interim responses")
                exchange.interim(head)
                data = data[head.end :]
        except BadResponse as error:
            return exchange.fail(error)
        self._buffer = b""
        self.received = data
        return exchange.resume(head)

    def _body_received(self, exchange: "Passage", data: bytes) -> None:
        if self._left >= 0:
            self._left -= len(data)
            if self._left > 0:
                return exchange.relay(data)
            return exchange.relay_last(data if self._left == 0 else data[: self._left])
        if self._chunked is None:
            return exchange.relay(data)
        try:
            passed = self._chunked.feed(data)
        except BadResponse as error:
            return exchange.fail(error)
        if self._chunked.done:
            return exchange.relay_last(passed)
        return exchange.relay(passed) if passed else None

    def eof_received(self) -> bool:
        if self.exchange is not None and self.exchange.server_ended():
            return True  # a tunnel's other half stays open
        self.is_lost = True
        self.transport.abort()  # or it would stay until the server took the rest of an upload
        return False

    def end_writing(self) -> None:
        """Tells the server, after all that waits for it, that nothing more will come."""
        try:
            self.transport.write_eof()
        except OSError:  # asyncio: the server reset the connection and the loop has not read that yet
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        exchange = self.exchange
        if exchange is None:
            return self._drop_idle()
        if self._in_body and self._left == UNTIL_CLOSE and self._chunked is None and error is None:
            return exchange.relay_last(b"")
        return exchange.fail(ServerReset(str(error) if error else "connection closed by the server"))

    def _drop_idle(self) -> None:
        self.server.closed_idle(self)
        if not self.is_lost:
            self.close()

    def pause_writing(self) -> None:
        self.paused = True
        self._waiting = self.transport.get_write_buffer_size()
        if self.exchange is not None:
            self.exchange.client.update_reading()

    def resume_writing(self) -> None:
        self.paused = False
        if self.exchange is not None:
            self.exchange.client.update_reading()
            self.exchange.goes_on()


async def connect(server: Server) -> ServerConnection:
    """A new connection to the server. Raises ConnectFailed, or Exhausted when it failed for want of something here."""
    loop = asyncio.get_running_loop()
    address: Address = server.state.address
    server.cells[ServerCell.CONNECTS] += 1
    try:
        if address.path:
            _, connection = await loop.create_unix_connection(lambda: ServerConnection(server), address.path)
        else:
            _, connection = await loop.create_connection(lambda: ServerConnection(server), address.host, address.port)
    except OSError as error:
        why = error.strerror or str(error)
        raise (Exhausted(why) if error.errno in _OURS else ConnectFailed(why)) from error
    except UnicodeError as error:  # a host that no name server could be asked for
        raise ConnectFailed(f"{address.host}: no host name") from error
    return connection
