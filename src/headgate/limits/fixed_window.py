"""The fixed window: so many in a period, then none until the next period begins.

The window of a key begins with the key's first request and not at the full minute. So there is no stampede when the
minute turns, and what comes in a burst around the turn is counted in one window instead of two. The next window begins
with the first request after the end of the last.

Time is whole microseconds everywhere: it is exact in Python, in a 64-bit cell and in a Lua double (up to 2**53).
This is the reference; the shared and the Redis store repeat it in the form that is fastest there, and a property test
compares them.
"""

from typing import NamedTuple

from headgate.model.config import Rate


class Step(NamedTuple):
    """The outcome of one step: the new state of the key (taken, reset_at) and what is decided."""

    taken: int
    reset_at: int
    allowed: bool
    remaining: int
    reset_after: int


def period_us(rate: Rate) -> int:
    """The rate's period in whole microseconds, at least 1."""
    return max(1, round(rate.period * 1_000_000))


def step(taken: int, reset_at: int, now: int, limit: int, period: int, cost: int = 1) -> Step:
    """One request against one key.

    taken, reset_at: the requests that passed in the window and its end; 0, 0 for a key that was never seen.
    now, reset_at, period: microseconds, on one clock. limit: requests in a period. cost: requests that this one counts
    for, >= 1; above `limit` it never passes.
    A refused request costs nothing: the `taken` that comes back is the one that went in.
    A clock that was set back never blocks a key for longer than one period: its window is cut to end a period from now
    (the Redis store keeps that cut; the others count on a monotonic clock and never see one).
    """
    if now >= reset_at:
        if cost > limit:
            return Step(taken, reset_at, False, limit, period)
        return Step(cost, now + period, True, limit - cost, period)
    reset_at = min(reset_at, now + period)
    if taken + cost > limit:
        return Step(taken, reset_at, False, max(0, limit - taken), reset_at - now)
    return Step(taken + cost, reset_at, True, limit - taken - cost, reset_at - now)
