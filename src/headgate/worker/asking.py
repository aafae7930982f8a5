"""Waiting for async functions of users: a task, made only when one of them really has to be awaited.

`begin` goes as far as plain functions, and what is remembered of async ones, lead. Only then is there a task. It gives
each function its time, and hands what came of it, or the error, back to the generator in `functions.py`, which decides.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from headgate.worker.functions import Faults, Saying, Wait

T = TypeVar("T")


class Later(Protocol):
    """Calls something after so many seconds."""

    def __call__(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle: ...


class Made(Protocol):
    """Makes a task of a coroutine."""

    def __call__(self, coro: Coroutine[Any, Any, T]) -> "asyncio.Task[T]": ...


def begin(saying: Saying[T], task: Made, later: Later) -> "T | asyncio.Task[T]":
    """What the functions say, or the task that waits for it. It may be cancelled; it raises nothing else."""
    try:
        first = next(saying)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    return _Asking(saying, first, later).start(task)


class _Asking(Generic[T]):
    """What some request waits for."""

    def __init__(self, saying: Saying[T], first: Wait, later: Later) -> None:
        self._saying = saying
        self._first = first
        self._later = later
        self._task: asyncio.Task[T] | None = None
        self._is_late = False

    def start(self, task: Made) -> "asyncio.Task[T]":
        self._task = made = task(self._run())
        # One that is cancelled before it begins would leave a coroutine that nobody ever awaited.
        made.add_done_callback(self._close)
        return made

    def _close(self, task: "asyncio.Task[T]") -> None:
        close = getattr(self._first[0], "close", None)
        if close is not None:
            close()
        self._task = None  # or the two would hold each other

    async def _run(self) -> T:
        waits = self._first
        try:
            while True:
                try:
                    answer = await self._within(*waits)
                except Faults as error:
                    waits = self._saying.throw(error)
                else:
                    waits = self._saying.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _within(self, awaitable: Awaitable[object], seconds: float) -> object:
        """asyncio.timeout, told apart from a function that cancels itself: that must not look like our own end."""
        self._is_late = False
        timer = self._later(seconds, self._expire)
        task = self._task
        assert task is not None
        try:
            answer = await awaitable
        except asyncio.CancelledError:
            if self._is_late:
                task.uncancel()
            if task.cancelling():
                raise
            raise TimeoutError(
                f"no answer within {seconds * 1000:g} ms" if self._is_late else "it was cancelled"
            ) from None
        finally:
            timer.cancel()
        if self._is_late:
            task.uncancel()
            raise TimeoutError(f"no answer within {seconds * 1000:g} ms")
        return answer

    def _expire(self) -> None:
        self._is_late = True
        if self._task is not None:
            self._task.cancel()
