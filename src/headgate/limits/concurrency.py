"""Concurrency: so many at once, however long each of them takes.

A request takes its place when it passes and gives it back when it is over, so no time comes into it: nobody knows when
the next place is free, and `reset_after` is 0. `value` is how many places are taken, `ends` is `NEVER` while any is:
what is held is never forgotten because some time has passed.
"""

from headgate.limits.step import Step

NAME = "concurrency"
NEVER = 2**63 - 1


def step(
    held: int, ends: int, now: int, limit: int, period: int = 0, burst: int = 0, cost: int = 1, delay: int = 0
) -> Step:
    """One request against one key; see step.py."""
    left = limit - held
    if cost > left and cost:
        return Step(held, ends, False, max(0, left), 0)
    held += cost
    return Step(held, NEVER if held else 0, True, max(0, left - cost), 0)


def charge(
    held: int, ends: int, now: int, limit: int, period: int, burst: int, cost: int, delay: int = 0
) -> tuple[int, int]:
    """Takes places without asking, or gives them back (cost < 0); see step.py."""
    held = max(0, held + cost)
    return held, NEVER if held else 0
