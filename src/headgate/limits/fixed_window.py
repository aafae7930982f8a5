"""The fixed window: so many in a period, then none until the next period begins.

The window of a key begins with the key's first request and not at the full minute. So there is no stampede when the
minute turns, and what comes in a burst around the turn is counted in one window instead of two. The next window begins
with the first request after the end of the last.

`value` is how many passed in the window, `ends` its end.
"""

from headgate.limits.step import Step


def step(
    taken: int, reset_at: int, now: int, limit: int, period: int, burst: int = 0, cost: int = 1, delay: int = 0
) -> Step:
    """One request against one key; see step.py.

    A clock that was set back never blocks a key for longer than one period: its window is cut to end a period from now
    (the Redis store keeps that cut; the others count on a monotonic clock and never see one).
    """
    if now >= reset_at:
        if cost > limit:
            return Step(taken, reset_at, False, limit, period)
        return Step(cost, now + period, True, limit - cost, period)
    reset_at = min(reset_at, now + period)
    if taken + cost > limit and cost:
        return Step(taken, reset_at, False, max(0, limit - taken), reset_at - now)
    return Step(taken + cost, reset_at, True, max(0, limit - taken - cost), reset_at - now)


def charge(
    taken: int, reset_at: int, now: int, limit: int, period: int, burst: int, cost: int, delay: int = 0
) -> tuple[int, int]:
    """Takes without asking; see step.py. What is given back of a window that has ended is nothing any more."""
    if now >= reset_at:
        return (cost, now + period) if cost > 0 else (0, 0)
    return max(0, taken + cost), min(reset_at, now + period)
