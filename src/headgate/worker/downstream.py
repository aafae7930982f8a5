"""A client's connection: reads requests, one exchange at a time, and writes what the exchange gives it.

Requests that a client sends ahead (pipelining) wait in the buffer and are answered in their order. Everything that is
waited for has one deadline, looked at by the worker's sweep; no timer is started for a connection or a request.
"""

import asyncio
import fcntl
import sys
import termios
from enum import Enum
from typing import TYPE_CHECKING, cast

from headgate.errors import BadRequest, ClientGone, ExchangeError, RequestTimeout
from headgate.http1.request import read_request
from headgate.model.address import Address
from headgate.model.config import Listener
from headgate.routing.client import plain_address
from headgate.worker.client import Client
from headgate.worker.exchange import Exchange

if TYPE_CHECKING:
    from headgate.worker.process import Worker

_PIPELINE = 65536  # bytes of requests sent ahead that wait in memory; beyond, the client is not read
_LARGE = 16384  # bytes of a body from which on what came with its head is not copied
_TURN = 100  # requests sent ahead that are answered at one go, where the answers need no server
_LINGER = 2.0  # seconds in which a client that still sends may read the answer before the connection is cut
_NEVER = float("inf")


class State(Enum):
    """What a client's connection is about."""

    HEAD = "head"  # a request's head is awaited or incomplete
    IDLE = "idle"  # between two requests
    EXCHANGE = "exchange"  # the exchange rules
    LINGER = "linger"  # answered for the last time; what still comes is thrown away
    CLOSED = "closed"


# Looking a member up in its class costs more than all else that is done with it (Python 3.11).
_HEAD, _IDLE, _EXCHANGE, _LINGERS, _CLOSED = State
_READS_HEADS = (_IDLE, _HEAD)


class Downstream(Client, asyncio.Protocol):
    """One connection of one client.

    deadline: when `expire` is due. draining: whether its next response is its last. has_ended: whether it sends no more
    and may still read; the loop then reads nothing of it, and does not tell when it is gone. listener: the one it came
    by, as it was then.
    """

    __slots__ = (
        "_busy",
        "_paused",
        "_reading",
        "_waiting",
        "buffer",
        "deadline",
        "draining",
        "has_ended",
        "listener",
        "state",
        "transport",
        "write",
    )

    transport: asyncio.Transport

    def __init__(self, worker: "Worker", listener: Listener) -> None:
        super().__init__(worker)
        self.listener = listener
        self.buffer = b""
        self.state = _HEAD
        self.deadline = _NEVER
        self._paused = False  # the client reads more slowly than we write
        self.draining = False
        self._waiting = 0  # how much waited for the client when that was last looked at
        self._reading = True
        self._busy = False
        self.has_ended = False

    # What the loop tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclass of asyncio's.
        self.transport = stream = cast("asyncio.Transport", transport)
        self.write = stream.write
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.ip = plain_address(peer[0])
        elif self.listener.address.path:
            self.ip = "127.0.0.1"  # a Unix socket's peer has no address; only this machine can be there
        else:  # he has reset the connection already: what he sent could still be read, but not who he was
            self.state = _CLOSED
            stream.abort()
            return
        self.address = self.ip.encode()
        self.trusted = self.ip in self.worker.plan.trusted
        self.deadline = self.worker.now + self.listener.timeouts.request_head
        self.draining = self.worker.draining
        if not self.worker.accepted(self):
            self.state = _CLOSED
            stream.abort()

    def data_received(self, data: bytes) -> None:
        if self.exchange is not None:
            return self.exchange.uploaded(data)
        if self.state is _LINGERS or self.state is _CLOSED:
            return None
        if self.buffer or self._paused:
            self._more_of_head(data)
        else:
            self._start(data)
        return None

    def _more_of_head(self, data: bytes) -> None:
        """Adds to an incomplete head, without looking at it again as long as no line can have ended."""
        whole = self.buffer + data
        if (b"\n" not in data and len(whole) <= self.worker.plan.heads.max_target) or self._paused:
            self.buffer = whole
            self.update_reading()
            return
        self.buffer = b""
        self._start(whole)

    def _start(self, data: bytes) -> None:
        """Begins the next exchange, if its head is complete."""
        worker = self.worker
        try:
            head = read_request(data, worker.plan.heads, self.trusted)
        except BadRequest as error:
            return self.refuse(error)
        if head is None:
            if self.state is _IDLE:
                self.state = _HEAD
                self.deadline = worker.now + self.listener.timeouts.request_head
            self.buffer = data
            return None
        if not head.host and head.minor == 0:
            head.address_to(self._own_address())
        self.state = _EXCHANGE
        self.exchange = exchange = Exchange(worker, self, head)
        if head.end == len(data):
            exchange.begin(self, b"")
        else:  # the beginning of a large body is not worth a copy
            exchange.begin(self, data[head.end :] if head.length < _LARGE else memoryview(data)[head.end :])
        return None

    def _own_address(self) -> bytes:
        """Where the client connected to: what a request is for that does not say so (RFC 9112 section 3.3)."""
        own = self.transport.get_extra_info("sockname")
        return str(Address(own[0], own[1])).encode() if isinstance(own, tuple) else b"localhost"

    def refuse(self, error: ExchangeError) -> None:
        """Answers for something that never became an exchange, and closes."""
        self.worker.account.refused(self, error)
        self.write(self.worker.answer(error, b"Connection: close\r\n"))
        self.linger()

    def ended(self, keep: bool) -> None:
        """The exchange is over. keep: whether another may follow."""
        self.exchange = None
        if self.state is _CLOSED:
            return
        if not keep or (self.has_ended and not self.buffer):
            # A close with unread bytes would send a reset.
            return self.linger() if self.buffer else self._close()
        self.state = _IDLE
        self.deadline = self.worker.now + self.listener.timeouts.idle
        if self.buffer:
            self._next()
        elif not self._reading:
            self.update_reading()
        return None

    def _next(self) -> None:
        """Begins exchanges with what the client sent ahead, in a loop: a thousand of them must not nest."""
        if self._busy:
            return
        self._busy = True
        for _ in range(_TURN):
            if not self.buffer or self.state is not _IDLE or self._paused:
                break
            data, self.buffer = self.buffer, b""
            self._start(data)
        else:
            self.worker.soon(self._next)  # it goes on when others had their turn
        self._busy = False
        if self.state is not _CLOSED:
            self.update_reading()

    def linger(self) -> None:
        """Closes so that the answer arrives although the client may still be sending.

        A close with unread bytes would send a reset, which can overtake the answer (RFC 9112 section 9.6).
        """
        self.exchange = None
        self.buffer = b""
        if self.state is _CLOSED:
            return
        self.state = _LINGERS
        self.deadline = self.worker.now + _LINGER
        self._waiting = self.transport.get_write_buffer_size()
        if self.end_writing():
            self.update_reading()

    def end_writing(self) -> bool:
        """Tells the client, after all that waits for it, that nothing more will come; False when it is gone."""
        try:
            self.transport.write_eof()
        except OSError:  # asyncio: the client reset the connection and the loop has not read that yet
            self.transport.abort()
            return False
        return True

    def cut(self, *, reset: bool) -> None:
        """Breaks off a response that can't be completed. reset: where only a reset tells the client so."""
        self.exchange = None
        if self.state is _CLOSED:
            return
        if reset:
            self.state = _CLOSED
            self.transport.abort()
        else:
            self._close()

    def _close(self) -> None:
        """Closes as soon as the client has taken what waits for it, and in any case when it takes nothing."""
        self.state = _CLOSED
        self.deadline = self.worker.now + self.listener.timeouts.idle
        self._waiting = self.transport.get_write_buffer_size()
        self.transport.close()

    def ahead(self, data: bytes | memoryview) -> None:
        """Keeps what the client sent beyond the request that is served."""
        self.buffer += data
        if len(self.buffer) > _PIPELINE:
            self.update_reading()

    def take_ahead(self) -> bytes:
        """What the client sent beyond the request that is served, if it is not to be read as the next one."""
        ahead, self.buffer = self.buffer, b""
        return ahead

    def abort(self) -> None:
        """Breaks the connection off."""
        self.transport.abort()

    def eof_received(self) -> bool:
        exchange = self.exchange
        self.has_ended = exchange is not None and exchange.client_ended()
        if exchange is not None and not self.has_ended and exchange.status and exchange.head.minor == 0:
            self.abort()  # closed in order, a response that only the connection's end delimits would seem to be whole
        return self.has_ended

    def connection_lost(self, error: Exception | None) -> None:
        self.state = _CLOSED
        exchange = self.exchange
        if exchange is not None and exchange.goes_on_alone():
            self.exchange = None
        self.worker.closed(self)
        if self.exchange is not None:
            self.exchange.fail(ClientGone())

    def pause_writing(self) -> None:
        self._paused = True
        self._waiting = self.transport.get_write_buffer_size()
        if self.exchange is not None and self.exchange.connection is not None:
            self.exchange.connection.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if self.exchange is not None:
            if self.exchange.connection is not None:
                self.exchange.connection.resume_reading()
            self.exchange.goes_on()
        elif self.state in _READS_HEADS:
            self.worker.paces.goes_on(self)
            if self.buffer:
                data, self.buffer = self.buffer, b""
                self._start(data)

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests."""
        return self.state is _IDLE and not self.buffer

    @property
    def paused(self) -> bool:
        """Whether the client reads more slowly than we write."""
        return self._paused

    def update_reading(self) -> None:
        """Reads from the client exactly when somebody can take what it sends."""
        exchange = self.exchange
        wanted = len(self.buffer) <= _PIPELINE and (exchange is None or exchange.takes_body())
        if wanted is not self._reading and not self.transport.is_closing():
            self._reading = wanted
            if wanted:
                if exchange is not None:
                    self.worker.paces.resumes(self, exchange)
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    # What the exchange asks of it.

    def took_some(self) -> bool:
        """Whether something waits for the client and it took some of it since this was last asked."""
        before, self._waiting = self._waiting, self.transport.get_write_buffer_size()
        return 0 != self._waiting != before

    def untaken(self) -> int:
        """Bytes that the client has not taken, with those in the system's hands; 0 where none of them waits here.

        The system takes more for a slow client only when it has passed on a good part of what it has, which may be
        megabytes: from here alone, a client could seem to take nothing for minutes.
        """
        waiting = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket") if waiting else None
        if sock is None:
            return waiting
        return waiting + int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self.exchange is not None:
            self.exchange.expire(now)
        elif self.state is _HEAD and self.buffer:
            self.refuse(RequestTimeout("request head not complete in time"))
        elif self.took_some():
            self.deadline = now + (_LINGER if self.state is _LINGERS else self.listener.timeouts.idle)
        else:
            self.state = _CLOSED
            self.deadline = _NEVER
            self.transport.abort()

    def drain(self, quiet: float = 0.0) -> None:
        """Closes if no request can be on its way; else its next response asks the client to.

        quiet: seconds for which it must have been silent. A close that crosses a request costs the client an error.
        """
        self.draining = True
        if self.exchange is not None or self.buffer or self.state not in _READS_HEADS:
            return
        timeouts = self.listener.timeouts
        began = self.deadline - (timeouts.idle if self.state is _IDLE else timeouts.request_head)
        if self.worker.now - began >= quiet:
            self._close()
