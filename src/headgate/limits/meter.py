"""A limit made ready to be counted: its algorithm, and its numbers in the unit of time that keeps them exact."""

from headgate.limits import concurrency, fixed_window, gcra, sliding_window
from headgate.limits.decision import spare
from headgate.limits.step import LARGEST, Algorithm, Step, period_us
from headgate.model.config import Limit

ALGORITHMS: dict[str, Algorithm] = {  # of a rate
    "fixed_window": Algorithm(fixed_window.step, fixed_window.charge),
    "sliding_window": Algorithm(sliding_window.step, sliding_window.charge),
    "gcra": Algorithm(gcra.step, gcra.charge),
}
_CONCURRENCY = Algorithm(concurrency.step, concurrency.charge)
LONGEST = 10 * 365 * 86400  # seconds in which a burst must be there again: stores keep times in 64 bits
BANNED = 2**64 - 1  # the value of a key that is banned until `ends`


class Meter:
    """One limit.

    most: requests in a period. period, delay: in units. burst: requests at once. far: those of them after which it is
    still far from its end. unit: microseconds; 1, but for
    algorithms whose products of time and requests would be too large for a double. is_window: whether it is a fixed
    window. is_plain: whether a request passes at once or is refused, and counts only if it passes. holds: whether it is
    a limit on what is in flight, whose state has no time and so cannot be that of a ban.
    """

    __slots__ = (
        "_charge",
        "_step",
        "burst",
        "counts_refused",
        "delay",
        "far",
        "holds",
        "is_plain",
        "is_window",
        "most",
        "period",
        "unit",
    )

    def __init__(self, limit: Limit) -> None:
        self.holds = limit.algorithm == concurrency.NAME
        self._step, self._charge = _CONCURRENCY if self.holds else ALGORITHMS[limit.algorithm]
        self.most = limit.rate.limit
        self.burst = limit.at_once
        self.far = self.burst - spare(self.burst)
        self.is_window = limit.algorithm == "fixed_window"
        self.counts_refused = limit.count_refused
        period = period_us(limit.rate)
        delay = round(limit.delay * 1_000_000)
        self.unit = 1 if self.is_window else _unit(4 * max(self.most, self.burst), max(period, delay))
        self.period = -(-period // self.unit)
        self.delay = delay // self.unit
        self.is_plain = not self.counts_refused and not self.delay and not self.holds

    def decide(self, value: int, ends: int, now: int, cost: int = 1) -> Step:
        """One request against one key, with `ends`, `now`, `reset_after` and `wait` in microseconds.

        The state that comes back is the one to keep if the request passes, or in any case where refused requests count.
        """
        if value == BANNED:
            if now < ends:
                return Step(value, ends, False, 0, ends - now)
            value = ends = 0
        unit = self.unit
        after = self._step(value, ends // unit, now // unit, self.most, self.period, self.burst, cost, self.delay)
        if unit > 1:
            since = now % unit
            after = after._replace(
                ends=after.ends * unit,
                reset_after=max(0, after.reset_after * unit - since),
                wait=after.wait and after.wait * unit - since,
            )
        if self.counts_refused and not after.allowed:
            value, ends = self.charge(value, ends, now, cost)
            return after._replace(value=value, ends=ends)
        return after

    def charge(self, value: int, ends: int, now: int, cost: int) -> tuple[int, int]:
        """The state of a key of which so much is taken without asking, in microseconds. A ban stays as it is."""
        if value == BANNED:
            if now < ends:
                return value, ends
            value = ends = 0
        unit = self.unit
        numbers = self.most, self.period, self.burst, cost, self.delay
        value, ends = self._charge(value, ends // unit, now // unit, *numbers)
        return value, ends * unit


def _unit(requests: int, period: int) -> int:
    unit = 1
    while requests * (period // unit + 1) > LARGEST:
        unit *= 10
    return unit
