"""The generic cell rate algorithm: a steady rate with a burst (ITU-T I.371; a leaky bucket read as a schedule).

Each request that passes moves the key's schedule on by a period's share, and one passes when the schedule is no more
than a burst ahead of the clock. So after a burst one more passes with every share, and there is no window at whose turn
twice the limit could pass: in any stretch of time t at most burst + limit * t / period do.

A share, period / limit, is no whole number. The schedule is kept exactly nevertheless, as the moment
`ends` at which it is not ahead any more, rounded up, and `value`, by how much it was: so many of 1 / limit.
Products stay below `LARGEST` when burst * period and limit do.
"""

from headgate.limits.step import Step


def step(value: int, ends: int, now: int, limit: int, period: int, burst: int, cost: int = 1) -> Step:
    """One request against one key; see step.py. All that is ahead is in units of 1 / limit."""
    most = burst * period
    ahead = min(max(0, (ends - now) * limit - value), most)  # a clock that was set back holds nobody for longer
    wanted = ahead + cost * period
    if limit < 1 or wanted > most:
        late = period if limit < 1 or cost > burst else -((most - wanted) // limit)
        return Step(value, ends, False, (most - ahead) // period, late)
    left = -(-wanted // limit)
    return Step(left * limit - wanted, now + left, True, (most - wanted) // period, left)
