"""The sliding window, by counter: what passed in the last period, of which the part before this window is estimated.

Windows follow one another from the key's first request on. The requests of the window before are taken as spread over
it evenly, so of them as many count as their window still lies within the last period. There is no turn at which twice
the limit could pass at once, and no list of times is kept (the method of Cloudflare's "How we built rate limiting").

`value` holds both counts, that of this window times 2**32 and that of the one before; `ends` is two periods after this
window began. The estimate is compared in units of 1 / period, so nothing is rounded; products stay below `LARGEST` when
2 * limit * period does.
"""

from headgate.limits.step import Step

SHIFT = 32  # of the count of this window in a value
MASK = (1 << SHIFT) - 1


def step(
    value: int, ends: int, now: int, limit: int, period: int, burst: int = 0, cost: int = 1, delay: int = 0
) -> Step:
    """One request against one key; see step.py."""
    began, count, before = _window(value, ends, now, period)
    old = before * (period - (now - began))  # in units of 1 / period
    room = limit * period - count * period - old
    if cost * period > room and cost:
        wait = _wait(now - began, count, before, limit, period, cost)
        return Step(value, min(ends, now + 2 * period), False, max(0, room // period), wait)
    count += cost
    left = max(0, room // period - cost)
    return Step(count << SHIFT | before, began + 2 * period, True, left, began + 2 * period - now)


def charge(
    value: int, ends: int, now: int, limit: int, period: int, burst: int, cost: int, delay: int = 0
) -> tuple[int, int]:
    """Takes without asking; see step.py. What is given back and was not taken in this window was in the one before."""
    if now >= ends and cost <= 0:
        return 0, 0
    began, count, before = _window(value, ends, now, period)
    count += cost
    if count < 0:
        count, before = 0, max(0, before + count)
    return min(count, 2 * limit) << SHIFT | before, began + 2 * period


def _window(value: int, ends: int, now: int, period: int) -> tuple[int, int, int]:
    """When the present window began, what counts in it, and what counted in the one before."""
    began, count, before = ends - 2 * period, value >> SHIFT, value & MASK
    if now >= ends:
        return now, 0, 0
    if now >= began + period:
        return began + period, 0, count
    return min(began, now), count, before  # now, when the clock was set back


def _wait(since: int, count: int, before: int, limit: int, period: int, cost: int) -> int:
    """The time until so many more pass, if nothing does before. since: the time since this window began."""
    if cost > limit:
        return period
    if count + cost > limit:  # not in this window: in the next one this count is the one before
        since, before, count = since - period, count, 0
    # before * (period - at) <= (limit - count - cost) * period, for the first whole `at` in the window
    at = period - (limit - count - cost) * period // before
    return at - since
