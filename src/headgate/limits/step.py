"""One step of a limit: the form that every algorithm has.

    step(value, ends, now, limit, period, burst, cost=1) -> Step

value, ends: the state of the key, 0 and 0 for one that was never seen. What the value means is the algorithm's affair;
`ends` is the moment from which on the state says no more than none. now, ends, period: on one clock, in one unit.
limit: requests in a period. burst: how many may pass at once, for the algorithms that know it. cost: requests that this
one counts for, >= 1; more than can ever pass at once never do.

A refused request costs nothing: the state that comes back is the one that went in, less what a clock that was set back
made of it. A limit of none refuses everything.
All numbers are whole: exact in Python, in a 64-bit cell and in a Lua double (up to 2**53). So the unit is the
microsecond where products of time and requests stay below that, else a larger one (`meter.py`).
These are the references; the shared and the Redis store repeat them in the form that is fastest there, and property
tests compare them decision by decision.
"""

from collections.abc import Callable
from typing import NamedTuple

from headgate.model.config import Rate

LARGEST = 2**52  # of the products below: what a double holds with the half that rounding needs


class Step(NamedTuple):
    """The outcome of one step.

    value, ends: the new state of the key. remaining: how many more requests of cost 1 would pass now. reset_after:
    time until all of the limit is there again; after a refusal, until the same request would pass.
    """

    value: int
    ends: int
    allowed: bool
    remaining: int
    reset_after: int


Algorithm = Callable[[int, int, int, int, int, int], Step]


def period_us(rate: Rate) -> int:
    """The rate's period in whole microseconds, at least 1."""
    return max(1, round(rate.period * 1_000_000))
