"""One health probe: an HTTP GET on a connection of its own, judged by its status line.

A client of a few lines rather than a library: it reads no further than the end of the head, follows nothing, reuses
nothing (a reused connection would hide a firewall or a full accept queue) and never reads more than it has room for.
Every way that a probe can fail becomes a text for people; nothing but cancellation is raised.
"""

import asyncio
import errno
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from headgate.model.address import Address
from headgate.model.config import HealthCheck

_MAX_HEAD = 32768  # bytes of the answer that are read at most
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")  # RFC 9112 section 4
_PLAIN = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ENOENT: "no such socket",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a probe found. `text` is for people: "200 OK in 3 ms", "connection refused"."""

    passed: bool
    text: str


class _NotHttp(Exception):
    """The server speaks, but not HTTP/1."""


async def probe(address: Address, check: HealthCheck, clock: Callable[[], float]) -> Result:
    """The result of one probe, after at most `check.timeout` seconds. clock: seconds, monotonic."""
    begun = clock()
    try:
        async with asyncio.timeout(check.timeout):
            status = await _get(address, check)
    except TimeoutError:
        return Result(False, f"timed out after {check.timeout:g} s")
    except _NotHttp as error:
        return Result(False, str(error))
    except (OSError, UnicodeError) as error:
        return Result(False, _reason(error))
    if not any(low <= status <= high for low, high in check.status):
        return Result(False, f"status {status}, expected {_ranges(check.status)}")
    return Result(True, f"{status} {_phrase(status)} in {(clock() - begun) * 1000:.0f} ms".replace("  ", " "))


async def _get(address: Address, check: HealthCheck) -> int:
    reader, writer = await _connect(address)
    try:
        host = check.host or ("localhost" if address.path else str(address))
        writer.write(
            f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: headgate-check\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        return await _final_status(reader)
    finally:
        # Not awaited: a peer that is slow to see it must not hold the probe beyond its timeout.
        writer.close()


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.path:
        return await asyncio.open_unix_connection(address.path, limit=_MAX_HEAD)
    return await asyncio.open_connection(address.host, address.port, limit=_MAX_HEAD)


async def _final_status(reader: asyncio.StreamReader) -> int:
    """The status of the first answer that is not interim (RFC 9110 section 15.2)."""
    room = _MAX_HEAD
    while True:
        head = await _head(reader)
        match = _STATUS_LINE.match(head)
        if match is None:
            raise _NotHttp("not HTTP")
        status = int(match[1])
        room -= len(head)
        if status >= 200 or status == 101:
            return status
        if room < 0:
            raise _NotHttp(f"more than {_MAX_HEAD} bytes of interim answers")


async def _head(reader: asyncio.StreamReader) -> bytes:
    # Line by line, because a server that is lax about line ends is no less alive for it.
    head = b""
    while not head.endswith((b"\n\r\n", b"\n\n")):
        try:
            line = await reader.readline()
        except ValueError:  # a line beyond the reader's limit
            raise _NotHttp("not HTTP" if not head else f"a head of more than {_MAX_HEAD} bytes") from None
        head += line
        if not line.endswith(b"\n"):
            cut_short = b"HTTP/".startswith(head[:5])
            raise _NotHttp("closed the connection without a whole answer" if cut_short else "not HTTP")
        if not head.startswith(b"HTTP/"):
            raise _NotHttp("not HTTP")
        if len(head) > _MAX_HEAD:
            raise _NotHttp(f"a head of more than {_MAX_HEAD} bytes")
    return head


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "host name not known"
    # When a name has several addresses and all failed, asyncio raises an OSError that has the numbers in its text only.
    numbers = {error.errno} if error.errno else {int(n) for n in re.findall(r"\[Errno (\d+)\]", str(error))}
    names = {_PLAIN.get(number) or os.strerror(number).lower() for number in numbers}
    return ", ".join(sorted(names)) or str(error)


def _ranges(ranges: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def _phrase(status: int) -> str:
    # Ours rather than the server's: its text would go to logs and terminals.
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
