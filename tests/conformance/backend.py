"""The server behind a proxy: it writes down every request and answers as the case wants it.

What reaches it is read with transcript.py, so that it answers whatever a proxy lets through.
"""

import asyncio
from typing import cast

from tests.accepting import accept_no_more
from tests.conformance.transcript import Message, read_request

END = b"/end"  # the target of the request that follows each case: see play.py
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Backend:
    """A server on a port of the system's choice. One case at a time: `begin`, then `seen` and `unfinished`, `end`.

    patience: seconds after a case's own answer in which the proxy may send another request, before the server closes.
    seen: the requests of the case, without those for END. unfinished: what came of another.
    """

    def __init__(self, patience: float = 0.15) -> None:
        self.patience = patience
        self.seen: list[Message] = []
        self._answer: bytes | None = None
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listens; the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def begin(self, answer: bytes | None = None) -> None:
        """Forgets the case before. answer: what to say to the next request and then close; None for a usual one."""
        self.seen = []
        self._answer = answer
        for connection in self.connections:
            connection.unfinished = b""

    def end(self) -> None:
        """Closes what the next case must not find: connections that an answer has spoiled or a request not ended."""
        for connection in list(self.connections):
            if connection.is_spoiled or connection.unfinished:
                connection.close()

    async def stop(self) -> None:
        """Closes everything, at once: nobody waits for what has not been taken."""
        if self._server:
            await accept_no_more(self._server)
        for connection in list(self.connections):
            connection.close(at_once=True)

    @property
    def unfinished(self) -> bytes:
        """What came of a request that never came to its end."""
        return b"".join(connection.unfinished for connection in self.connections)

    def answer_to(self, request: Message) -> tuple[bytes, bool]:
        """What to answer, and whether that is the case's own answer."""
        method, target, *_ = [*request.line.split(b" "), b"", b""]
        if target == END:
            return ANSWER, False
        self.seen.append(request)
        if self._answer is not None:
            return self._answer, True
        return ANSWER[:-2] if method == b"HEAD" else ANSWER, False


class _Connection(asyncio.Protocol):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._timer: asyncio.TimerHandle | None = None
        self.unfinished = b""
        self.is_spoiled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._backend.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.unfinished += data
        while (read := read_request(self.unfinished)) is not None and read[0].is_whole:
            request, self.unfinished = read
            answer, is_last = self._backend.answer_to(request)
            self._transport.write(answer)
            self.is_spoiled = self.is_spoiled or is_last
            if is_last:
                self._timer = asyncio.get_running_loop().call_later(self._backend.patience, self.close)

    def connection_lost(self, error: Exception | None) -> None:
        # What came of a request stays known until the next case begins.
        if not self.unfinished:
            self._backend.connections.discard(self)

    def close(self, *, at_once: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._backend.connections.discard(self)
        if at_once:
            self._transport.abort()
        else:
            self._transport.close()
