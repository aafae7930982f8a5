"""What is left for a key, for operators who want to see it: nothing is taken, and nothing begins.

The stores read the state of the key and call this; no request does.
"""

from typing import NamedTuple

from headgate.limits.meter import BANNED, Meter


class Standing(NamedTuple):
    """How a key stands under a limit. Times are microseconds from now.

    remaining: how many more requests of cost 1 would pass now. reset_after: until all of the limit is there again, or
    the ban is over; 0 when nothing of it is used. retry_after: until a request passes; 0 when one does now.
    """

    remaining: int
    reset_after: int
    retry_after: int
    is_banned: bool = False


def standing(meter: Meter, value: int, ends: int, now: int, cost: int) -> Standing:
    """How a key of this state stands. ends, now: microseconds. cost: of a request."""
    if value == BANNED and now < ends:
        return Standing(0, ends - now, ends - now, is_banned=True)
    left = meter.decide(value, ends, now, 0)
    next_one = meter.decide(value, ends, now, cost)
    return Standing(left.remaining, max(0, ends - now), 0 if next_one.allowed else next_one.reset_after)
