"""Plays one case against a proxy: what the client sends, what it hears, what the server behind it is shown.

A case is followed by another request on the same connection, for END with `Connection: close`, as soon as the first
answer is complete. So the proxy closes in any case, and a case that put client and proxy, or proxy and server, out of
step shows: the answer to END is then missing or another one.
"""

import asyncio
import contextlib

from tests.conformance.backend import ANSWER, END, Backend
from tests.conformance.cases import Case
from tests.conformance.played import Played
from tests.conformance.transcript import Message, read_response

_END = b"GET " + END + b" HTTP/1.1\r\nHost: end\r\nConnection: close\r\n\r\n"


async def play(case: Case, port: int, backend: Backend, *, silence: float, settle: float = 0.0) -> Played:
    """Plays the case. Raises OSError when the proxy takes no connection.

    silence: seconds without a byte after which the proxy counts as waiting for more. settle: seconds to wait for what
    may still be on its way to the server.
    """
    backend.begin(case.answer)
    heard = _Heard(case.method)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    end = "closed"
    try:
        writer.write(case.sends)
        asked = False
        while data := await asyncio.wait_for(reader.read(65536), silence):
            heard.add(data)
            if heard.answered >= case.requests and not asked:
                asked = True
                writer.write(_END)
    except TimeoutError:
        end = "waits"
    except ConnectionError:
        end = "reset"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    await asyncio.sleep(settle)
    own, in_step = _apart(heard.finish(closed=end == "closed"), case.requests, asked=asked)
    in_step = in_step and not heard.rest and not (asked and end == "waits")
    played = Played(tuple(own), tuple(backend.seen), backend.unfinished, end, in_step, heard.rest)
    backend.end()
    return played


def _apart(answers: list[Message], requests: int, *, asked: bool) -> tuple[list[Message], bool]:
    """The answers to the case, and whether the one to END, where it was asked for and has come, is the right one."""
    if not asked or len(answers) <= requests:  # a proxy may close after any answer
        return answers, True
    *own, last = answers
    return own, last.status == 200 and last.content == ANSWER[-2:]


class _Heard:
    """What the client hears, answer by answer; interim ones are left out."""

    def __init__(self, method: bytes) -> None:
        self._first = method
        self._answers: list[Message] = []
        self.rest = b""

    @property
    def answered(self) -> int:
        """How many answers are whole."""
        return len(self._answers)

    def add(self, data: bytes) -> None:
        self.rest += data
        while (read := read_response(self.rest, self._method)) is not None and read[0].is_whole:
            self._take(*read)

    def finish(self, *, closed: bool) -> list[Message]:
        """All answers, the one that never came to its end too; closed: whether the connection's end ended it."""
        if (read := read_response(self.rest, self._method)) is not None:
            message, self.rest = read
            is_whole = closed and message.framing == "until close"
            self._answers.append(
                Message(message.line, message.fields, message.framing, message.content, is_whole or message.is_whole)
            )
        return self._answers

    @property
    def _method(self) -> bytes:
        return b"GET" if self._answers else self._first

    def _take(self, message: Message, rest: bytes) -> None:
        self.rest = rest
        if not 100 <= message.status < 200:
            self._answers.append(message)
