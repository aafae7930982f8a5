"""A loop and a transport that do nothing unless a test says so.

Both are as strict as the stricter of asyncio and uvloop: a write after `write_eof` or after `connection_lost` raises,
`pause_writing` and `resume_writing` come from inside `write` and from the draining of the buffer, `connection_lost`
comes later and exactly once. What a protocol raises in a callback goes straight to the test.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")


class ManualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks when it is told to. `now` is its time and moves only in `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def create_task(self, coro: Any, **kwargs: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self, **kwargs)

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise context.get("exception") or AssertionError(context["message"])

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.now + delay, callback, args, self, context)
        heapq.heappush(self._timers, (handle.when(), next(self._order), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked of every loop by TimerHandle.cancel; cancelled timers are skipped when they are due."""

    def run(self) -> None:
        """Runs what is ready, and what that makes ready, until nothing is."""
        while self._ready:
            _run(self._ready.popleft())

    def step(self) -> None:
        """Runs the next callback that is ready, if there is one."""
        if self._ready:
            _run(self._ready.popleft())

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is ready to run."""
        return not self._ready

    def advance(self, seconds: float) -> None:
        """Moves the time on, from timer to timer."""
        end = self.now + seconds
        self.run()
        while self._timers and self._timers[0][0] <= end:
            self.now, _, handle = heapq.heappop(self._timers)
            _run(handle)
            self.run()
        self.now = end


def _run(handle: asyncio.Handle) -> None:
    # Not Handle._run: it hands exceptions to a handler, and a test is to fail where one was raised.
    if handle.cancelled():
        return
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(handle._loop)  # type: ignore[attr-defined]  # tasks of Python 3.14 look at it
    try:
        handle._context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]
    finally:
        asyncio._set_running_loop(before)


class FakeTransport(asyncio.Transport):
    """One end of a connection whose other end is the test.

    out: what reached the other end. end: how this end closed: "" (open), "eof" (half), "closed" or "reset". saw_end:
    whether the other end was told that nothing more comes, whatever became of the connection then.
    stalled: the other end takes nothing; what is written waits in the buffer until `drain`.
    vanished: the other end reset the connection and the loop has not read that yet. info: what `get_extra_info` knows.
    """

    def __init__(self, loop: ManualLoop, protocol: asyncio.Protocol, peer: object = ("192.0.2.1", 4000)) -> None:
        self.info: dict[str, object] = {"peername": peer, "sockname": ("198.51.100.9", 8000)}
        super().__init__(self.info)
        self._loop = loop
        self._protocol: asyncio.Protocol | None = protocol
        self._pending: deque[bytes] = deque()
        self._waiting = bytearray()
        self._high, self._low = 65536, 16384
        self._eof = False
        self._closing = False
        self._full = False
        self._scheduled = False
        self.reading = True
        self.out = bytearray()
        self.end = ""
        self.saw_end = False
        self.stalled = False
        self.vanished = False
        protocol.connection_made(self)

    # What a protocol asks of it.

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        if self._eof or self._protocol is None:
            raise RuntimeError("write after the end")
        if self._closing and not self._waiting:
            return
        self._waiting += data
        if not self.stalled:
            self.drain()
        elif len(self._waiting) > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        if self._protocol is None:
            raise RuntimeError("write_eof after the end")
        if not self._eof and not self._closing:
            if self.vanished:
                raise OSError(107, "Transport endpoint is not connected")  # asyncio passes on what shutdown says
            self._eof = True
            self.drain(0)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.reading = False
            self.drain(0)

    def abort(self) -> None:
        if self._protocol is not None and self.end not in ("closed", "reset"):
            self._closing = True
            self.reading = False
            self._waiting.clear()
            self.end = "reset"
            self._lose(None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self._closing:
            self.reading = True
            self._loop.call_soon(self._deliver)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self._high, self._low = high, high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    # What the other end does.

    def arrive(self, data: bytes) -> None:
        """Bytes come in; the protocol gets them in these pieces, when it reads."""
        self._pending.append(data)
        self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        while self._pending and self.reading and self._protocol is not None:
            data = self._pending.popleft()
            if data:
                self._protocol.data_received(data)
            else:
                if not self._protocol.eof_received():
                    self.close()

    @property
    def unread(self) -> int:
        """Bytes that came and were not read."""
        return sum(map(len, self._pending))

    @property
    def has_news(self) -> bool:
        """Whether anything came, or the end of all, that was not read."""
        return bool(self._pending)

    def finish(self) -> None:
        """The other end closes in order: after all that it sent."""
        self.arrive(b"")

    def break_off(self) -> None:
        """The other end resets the connection: what was not read is gone, what waits is never taken."""
        if self._protocol is not None and self.end not in ("closed", "reset"):
            self._pending.clear()
            self._waiting.clear()
            self._closing = True
            self.end = "reset"
            self._lose(ConnectionResetError(104, "Connection reset by peer"))

    def drain(self, size: int | None = None) -> None:
        """The other end takes so many bytes of what waits for it, or all."""
        taken = self._waiting[: len(self._waiting) if size is None else size]
        del self._waiting[: len(taken)]
        self.out += taken
        if self._full and len(self._waiting) <= self._low and self._protocol is not None:
            self._full = False
            self._protocol.resume_writing()
        if not self._waiting and not self.end:
            self.saw_end = self._closing or self._eof
            if self._closing:
                self.end = "closed"
                self._lose(None)
            elif self._eof:
                self.end = "eof"
        elif not self._waiting and self.end == "eof" and self._closing:
            self.end = "closed"
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        assert protocol is not None
        # Let go of only after the call, as both loops do: a write from inside connection_lost is dropped, not refused.
        protocol.connection_lost(error)
