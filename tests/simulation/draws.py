"""Where a simulation gets its choices from: one seed, or the bytes that a fuzzer thought of.

Everything that can go one way or another asks here, so the same seed (or the same bytes) plays the same run.
"""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """Choices from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, bound: int) -> int:
        """A number from 0 to bound - 1."""
        return int(self._random.random() * bound)

    def between(self, low: int, high: int) -> int:
        """A number from low to high."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.below(100) >= 100 - percent

    def pick(self, things: Sequence[T]) -> T:
        """One of them."""
        return things[self.below(len(things))]

    def cut(self, data: bytes) -> Iterator[bytes]:
        """The data in pieces as they might be read: in one, in a few, or in many small ones."""
        if self.chance(50) and len(data) <= 65536:
            yield data
            return
        most = self.pick([len(data) // 2 + 1, len(data) // 4 + 1, len(data) // 40 + 7, len(data) // 100 + 1])
        at = 0
        while at < len(data):
            size = self.between(1, min(most, 65536))
            yield data[at : at + size]
            at += size


class ScriptedDraws(Draws):
    """Choices from bytes; from a fixed seed where they have come to their end."""

    def __init__(self, script: bytes) -> None:
        super().__init__(0)
        self._script = script
        self._at = 0

    def below(self, bound: int) -> int:
        if self._at >= len(self._script):
            return super().below(bound)
        width = 1 if bound <= 256 else 3
        number = int.from_bytes(self._script[self._at : self._at + width], "big")
        self._at += width
        return number % bound
