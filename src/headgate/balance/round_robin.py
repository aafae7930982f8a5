"""Weighted round robin: each server in turn, as often as its weight says and spread out evenly.

The turns of one round are laid out once, when the servers change, and picking is then one index. Server of weight w
takes its k-th turn of a round at (k + 1/2) / w, which is earliest-deadline-first with equal starts: weights 5, 1, 1
give a a a b c a a. Where turns are counted is the caller's affair: for all workers together, who may see rounds of
different lengths for a moment, so a turn counts on past a round's end.
"""

from collections.abc import Callable, Sequence
from math import gcd
from typing import Generic, TypeVar

S = TypeVar("S")

# Up to this many turns in a round every rotation is kept ready. Beyond, so many turns are cut when they are asked for,
# and every server follows once: large weights must not make each request cost thousands of turns.
_READY = 64


class RoundRobin(Generic[S]):
    """The servers in turn."""

    def __init__(self, servers: Sequence[tuple[S, int]], take_turn: Callable[[], int]) -> None:
        """servers: with their weights (0 takes no turn). take_turn: returns the number of the next turn."""
        self._round = _lay_out(servers)
        self._servers = tuple(server for server, weight in servers if weight)
        self._take_turn = take_turn
        size = len(self._round)
        self._rotations = [self._rotated(start) for start in range(size)] if size <= _READY else None

    def order(self) -> Sequence[S]:
        """The servers from the one whose turn it is, each at least once. O(1) for small rounds, else O(servers)."""
        if not self._round:
            return ()
        start = self._take_turn() % len(self._round)
        if self._rotations is not None:
            return self._rotations[start]
        return self._round[start : start + _READY] + self._servers

    def _rotated(self, start: int) -> Sequence[S]:
        return self._round[start:] + self._round[:start]


def _lay_out(servers: Sequence[tuple[S, int]]) -> tuple[S, ...]:
    divisor = gcd(*(weight for _, weight in servers)) or 1
    turns = [
        ((k + 0.5) / (weight // divisor), place, server)
        for place, (server, weight) in enumerate(servers)
        for k in range(weight // divisor)
    ]
    return tuple(server for _, _, server in sorted(turns, key=lambda turn: turn[:2]))
