"""One step of a limit: the form that every algorithm has.

    step(value, ends, now, limit, period, burst, cost=1, delay=0) -> Step
    charge(value, ends, now, limit, period, burst, cost, delay=0) -> (value, ends)

value, ends: the state of the key, 0 and 0 for one that was never seen. What the value means is the algorithm's affair;
`ends` is the moment from which on the state says no more than none. now, ends, period: on one clock, in one unit.
limit: requests in a period. burst: how many may pass at once, for the algorithms that know it. cost: requests that this
one counts for; more than can ever pass at once never do, and with 0 the step only says what is left. delay: how long a
request may be held back instead of being refused, for the algorithm that knows it.

A refused request costs nothing: the state that comes back is the one that went in, less what a clock that was set back
made of it. A limit of none refuses everything.
`charge` takes without asking: what a request turned out to cost more, or less (cost < 0), than was taken, and refused
requests where these count. A debt can be no larger than one more period makes good.
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

    value, ends: the new state of the key. remaining: how many more requests of cost 1 would pass now, without delay.
    reset_after: time until all of the limit is there again; after a refusal, until the same request would pass.
    wait: how long the request is held back.
    """

    value: int
    ends: int
    allowed: bool
    remaining: int
    reset_after: int
    wait: int = 0


class Algorithm(NamedTuple):
    """The two functions of an algorithm."""

    step: Callable[..., Step]
    charge: Callable[..., tuple[int, int]]


def period_us(rate: Rate) -> int:
    """The rate's period in whole microseconds, at least 1."""
    return max(1, round(rate.period * 1_000_000))
