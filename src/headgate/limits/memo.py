"""What is made once for each limit, because making it for each request would cost more than all else."""

from collections.abc import Callable
from typing import Generic, TypeVar

from headgate.model.snapshot import LimitState

T = TypeVar("T")

_ROOM = 1024  # limits that are remembered


class PerLimit(Generic[T]):
    """Something of each limit, remembered.

    A limit is known by its identity: hashing all that it has costs more than most of what is kept here. It is held, so
    that its id() stays its own.
    """

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[LimitState], T]) -> None:
        """make: makes it."""
        self._make = make
        self._known: dict[int, tuple[LimitState, T]] = {}

    def of(self, limit: LimitState) -> T:
        """That of the limit."""
        known = self._known.get(id(limit))
        if known is None:
            if len(self._known) >= _ROOM:
                self._known.clear()
            known = self._known[id(limit)] = limit, self._make(limit)
        return known[1]

    def clear(self) -> None:
        """Makes all of it anew from now on."""
        self._known.clear()
