"""What changed of late, for operators who were not looking: a bounded number of events, each with its number.

Whoever asks gives the number of the last event that he has seen, and is told what came after it. Numbers begin at 1
with each start. Who was away for too long is told that some are missing; all of it is in the log.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

ROOM = 1000


class Event(msgspec.Struct, frozen=True):
    """Something that changed. time: RFC 3339. kind: one word. text: for people. fields: what it is about."""

    number: int
    time: str
    kind: str
    text: str
    fields: dict[str, object]


class Events:
    """The latest events."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """clock: Unix time."""
        self._clock = clock
        self._kept: deque[Event] = deque(maxlen=ROOM)
        self.last = 0  # the number of the latest

    def add(self, kind: str, text: str, **fields: object) -> None:
        """Something changed, and is in the log already."""
        self.last += 1
        moment = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._kept.append(Event(self.last, moment, kind, text, fields))

    def tell(self, log: Callable[..., None], kind: str, text: str, **fields: object) -> None:
        """Something changed, which is logged too. log: a method of a logger."""
        log("%s", text)
        self.add(kind, text, **fields)

    def since(self, number: int) -> tuple[list[Event], bool]:
        """What came after the event of this number, and whether some of it is missing.

        A number that there was not yet is of a process before this one: then it is all that there is.
        """
        if number > self.last:
            number = 0
        first = self._kept[0].number if self._kept else 1
        return [event for event in self._kept if event.number > number], number + 1 < first
