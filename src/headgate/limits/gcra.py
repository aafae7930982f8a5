"""The generic cell rate algorithm: a steady rate with a burst (ITU-T I.371; a leaky bucket read as a schedule).

Each request that passes moves the key's schedule on by a period's share, and one passes when the schedule is no more
than a burst ahead of the clock. So after a burst one more passes with every share, and there is no window at whose turn
twice the limit could pass: in any stretch of time t at most burst + limit * t / period do.

A share, period / limit, is no whole number. The schedule is kept exactly nevertheless, as the moment
`ends` at which it is not ahead any more, rounded up, and `value`, by how much it was: so many of 1 / limit.
Products stay below `LARGEST` when burst * period and limit do.
"""

from headgate.limits.step import Step


def step(value: int, ends: int, now: int, limit: int, period: int, burst: int, cost: int = 1, delay: int = 0) -> Step:
    """One request against one key; see step.py. With a delay, as nginx's limit_req and HAProxy's shapers have it, the
    schedule may run so far ahead of the burst, and who comes then waits for his place in it.
    """
    most = burst * period
    ahead = _ahead(value, ends, now, limit, period, burst, delay)  # in units of 1 / limit, as all that is ahead
    wanted = ahead + cost * period
    left = max(0, (most - ahead) // period)
    if limit < 1 or cost > burst:
        return Step(value, ends, False, left, period)
    late = max(0, -((most - wanted) // limit))
    if wanted > most + delay * limit:
        until = -(-ahead // limit)  # `ends`, unless that was further ahead than any debt
        return Step(until * limit - ahead, now + until, False, left, late - delay)
    until = -(-wanted // limit)
    return Step(until * limit - wanted, now + until, True, max(0, left - cost), until, late)


def charge(
    value: int, ends: int, now: int, limit: int, period: int, burst: int, cost: int, delay: int = 0
) -> tuple[int, int]:
    """Takes without asking; see step.py."""
    if limit < 1:
        return value, ends
    ahead = _ahead(value, ends, now, limit, period, burst, delay)
    wanted = min(max(0, ahead + cost * period), _most(limit, period, burst, delay))
    until = -(-wanted // limit)
    return until * limit - wanted, now + until


def _ahead(value: int, ends: int, now: int, limit: int, period: int, burst: int, delay: int) -> int:
    # Bounded, so that a clock that was set back holds nobody for longer than the largest debt does: a refusal keeps it.
    return min(max(0, (ends - now) * limit - value), _most(limit, period, burst, delay))


def _most(limit: int, period: int, burst: int, delay: int) -> int:
    return burst * period + limit * max(period, delay)
