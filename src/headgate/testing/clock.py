"""Time that moves only when a test says so.

`ManualClock` stands in for the clock that a store or a policy is given. `VirtualLoop` is an event loop whose timers
fire without anybody waiting: when nothing is ready to be read it jumps to the next timer, so a test of deadlines and
backoff runs at once and takes the same way each time. Real sockets within the same process and loop work on it.
"""

import asyncio
import selectors
import time

_GIVE_UP = 0.05  # real seconds between two looks when no timer is set


class ManualClock:
    """A clock in microseconds; call it to read it."""

    def __init__(self, now: int = 1_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        """Moves the clock on."""
        self.now += round(seconds * 1_000_000)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, which begins at 0."""

    def __init__(self) -> None:
        self._selector_on_virtual_time = _JumpingSelector()
        super().__init__(self._selector_on_virtual_time)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._selector_on_virtual_time.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (asyncio's own)
        """Waits for the threads, which take real time: the timeout that a runner has for them would be over at once."""
        await super().shutdown_default_executor()


class _JumpingSelector(selectors.DefaultSelector):
    """Reports what is ready at once; when nothing is, time passes instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # A peer in this process has always written before the loop comes here, and a local socket is readable at once.
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # Nothing is scheduled: only another thread or process can go on. That takes real time, so wait for it.
            return super().select(_GIVE_UP)
        self.now += max(timeout, time.get_clock_info("monotonic").resolution)
        return []
