"""What a request turned out to cost, told from its response: the forms of a limit's `settle` that need no Python.

A limit takes an estimate (`cost`) when a request comes. When it is over, the difference to what it really cost is taken
too, or given back, by `charge` of the limit's algorithm. Who does not know what it cost says None: the estimate stays.
"""

import re
from collections.abc import Callable
from typing import Protocol

MOST = 1_000_000_000  # that one request can cost

_STATUSES = re.compile(r"([1-5])xx|([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")
_FIELD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")


class Outcome(Protocol):
    """What became of a request, as much of it as is needed here. status: what the client saw, 0 for nothing."""

    @property
    def status(self) -> int: ...
    @property
    def sent(self) -> int: ...
    def header(self, name: str) -> str | None: ...


Cost = Callable[[Outcome], int | None]


def cost(text: str) -> Cost:
    """What tells the cost, for `response_header:NAME`, `response_bytes` or `free:STATUSES`. Raises ValueError."""
    kind, colon, rest = text.partition(":")
    if kind == "response_header" and _FIELD.fullmatch(rest):
        return lambda outcome: _number(outcome.header(rest))
    if kind == "response_bytes" and not colon:
        # Of a client that was gone before it was sent anything the estimate stays: its server worked all the same.
        return lambda outcome: min(outcome.sent, MOST) if outcome.status else None
    if kind == "free" and rest:
        free = statuses(rest)
        return lambda outcome: 0 if outcome.status in free else None
    raise ValueError('expected "response_header:NAME", "response_bytes" or "free:5xx"')


def statuses(text: str) -> frozenset[int]:
    """The statuses of `5xx`, `404`, `500-504`, several with commas. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        match = _STATUSES.fullmatch(part.strip())
        if match is None:
            raise ValueError("expected statuses as in 404, 5xx or 500-504, several with commas")
        low = int(match[1]) * 100 if match[1] else int(match[2])
        high = low + 99 if match[1] else int(match[3] or low)
        if high < low:
            raise ValueError(f"there is no status from {low} to {high}")
        found.update(range(low, high + 1))
    return frozenset(found)


def _number(value: str | None) -> int | None:
    if value is None or not value.isascii() or not value.isdigit():
        return None
    return min(int(value[:20]), MOST)  # who says more than that means as much as there can be
