"""How long Redis takes: one batch of questions at a time is timed, from its being sent to its last answer being read.

So a question pays nothing, and a batch a few tests: those that are sent while one is timed are not timed themselves.
What a connection was lost over is not timed either; it is counted as an error.
"""

from collections.abc import Callable
from time import perf_counter


class Stopwatch:
    """Times the questions on one connection, whose answers come in their order."""

    __slots__ = ("_clock", "_left", "_note", "_since")

    def __init__(self, note: Callable[[float], None], clock: Callable[[], float] = perf_counter) -> None:
        """note: given the seconds of each batch. clock: seconds; that of a loop on uvloop stands still within one."""
        self._note = note
        self._clock = clock
        self._since = 0.0
        self._left = 0  # answers to come until the batch that is timed has its last; 0 when none is timed

    def sent(self, waiting: int) -> None:
        """A batch is sent, with which so many questions wait for an answer."""
        if not self._left:
            self._left = waiting
            self._since = self._clock()

    def answered(self, answers: int) -> None:
        """So many answers were read."""
        if self._left:
            self._left -= answers
            if self._left <= 0:
                self._left = 0
                self._note(self._clock() - self._since)

    def reset(self) -> None:
        """The connection is lost."""
        self._left = 0
