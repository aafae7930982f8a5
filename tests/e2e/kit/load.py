"""Load: some connections that are kept busy while a test does something else, and a record of every response."""

import asyncio
import random
import threading
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.e2e.kit.client import TIMEOUT, Address, Broken, Response, Stream
from tests.e2e.kit.waiting import wait_for

GET = b"GET / HTTP/1.1\r\nHost: load\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one request. begun: how many others had come to their end when it was sent. status: 0 when there was
    no response, and then `error` says why.
    """

    connection: int
    begun: int
    status: int
    body: str
    error: str = ""


class Load:
    """Requests on so many keep-alive connections, one at a time on each, from `with` to the end of its block.

    pause: seconds between two requests of a connection, at random up to this many; 0 for as fast as it goes.
    """

    def __init__(self, address: Address, connections: int = 8, *, request: bytes = GET, pause: float = 0.0) -> None:
        self.results: list[Result] = []
        self._address = address
        self._connections = connections
        self._request = request
        self._pause = pause
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join(2 * TIMEOUT)
        assert not self._thread.is_alive(), "the load does not end"

    def more(self, count: int = 100) -> None:
        """Waits until so many more requests have come to their end."""
        target = len(self.results) + count
        wait_for(lambda: len(self.results) >= target, f"{count} more responses under load")

    @property
    def failures(self) -> list[Result]:
        """Requests without a response of 200."""
        return [result for result in self.results if result.status != 200]

    def counts(self, since: int = -1) -> Counter[str]:
        """How many responses each server gave; its name is the body. since: only to requests that were sent when more
        than so many had come to their end; one sent before may be answered after any number of others.
        """
        return Counter(result.body for result in list(self.results) if result.status == 200 and result.begun > since)

    async def _run(self) -> None:
        await asyncio.gather(*(self._keep_busy(number) for number in range(self._connections)))

    async def _keep_busy(self, number: int) -> None:
        stream: Stream | None = None
        while not self._stopping:
            begun = len(self.results)
            try:
                stream = stream or await Stream.open(self._address)
                stream.send(self._request)
                response = await stream.response()
            except (OSError, Broken) as error:
                self.results.append(Result(number, begun, 0, "", repr(error)))
                stream = _closed(stream)
                await asyncio.sleep(0.01)
            else:
                self.results.append(Result(number, begun, response.status, _name(response)))
                if response.fields.get("connection") == "close":
                    stream = _closed(stream)
            if self._pause:
                await asyncio.sleep(random.random() * self._pause)
        _closed(stream)


def _name(response: Response) -> str:
    return response.body[:100].decode("latin-1")


def _closed(stream: Stream | None) -> Stream | None:
    """Closes a connection, if there is one: there is none afterwards."""
    if stream:
        stream.close()
    return None
