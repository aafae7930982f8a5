"""What changed of late, for operators who were not looking: a bounded number of events, each with its number.

Whoever asks gives the number of the last event that he has seen, and is told what came after it. Numbers begin at 1
with each start. Who was away for too long is told that some are missing; all of it is in the log.
What strangers can cause, as bans by a limit's own rule, has a room of its own: an attack from many addresses drives out
nothing of what operators and servers did.
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
        self._kept: deque[Event] = deque()
        self._by_strangers: deque[Event] = deque()
        self._gone = 0  # the number of the latest that is not kept any more
        self.last = 0  # the number of the latest

    def add(self, kind: str, text: str, **fields: object) -> None:
        """Something changed, and is in the log already."""
        self._note(self._kept, kind, text, fields)

    def add_by_strangers(self, kind: str, text: str, **fields: object) -> None:
        """The same of what whoever sends requests can cause."""
        self._note(self._by_strangers, kind, text, fields)

    def _note(self, kept: deque[Event], kind: str, text: str, fields: dict[str, object]) -> None:
        self.last += 1
        moment = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if len(kept) >= ROOM:
            self._gone = max(self._gone, kept.popleft().number)
        kept.append(Event(self.last, moment, kind, text, fields))

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
        found = [event for kept in (self._kept, self._by_strangers) for event in kept if event.number > number]
        return sorted(found, key=lambda event: event.number), number < self._gone
