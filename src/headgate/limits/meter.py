"""A limit made ready to be counted: its algorithm, and its numbers in the unit of time that keeps them exact."""

from headgate.limits import fixed_window, gcra, sliding_window
from headgate.limits.step import LARGEST, Algorithm, Step, period_us
from headgate.model.config import Limit

ALGORITHMS: dict[str, Algorithm] = {
    "fixed_window": fixed_window.step,
    "sliding_window": sliding_window.step,
    "gcra": gcra.step,
}


class Meter:
    """One limit.

    most: requests in a period. period: in units. burst: requests at once. unit: microseconds; 1, but for algorithms
    whose products of time and requests would be too large for a double.
    """

    __slots__ = ("burst", "is_window", "most", "period", "step", "unit")

    def __init__(self, limit: Limit) -> None:
        self.step = ALGORITHMS[limit.algorithm]
        self.most = limit.rate.limit
        self.burst = limit.burst or self.most
        self.is_window = limit.algorithm == "fixed_window"
        period = period_us(limit.rate)
        self.unit = 1 if self.is_window else _unit(2 * max(self.most, self.burst), period)
        self.period = -(-period // self.unit)

    def decide(self, value: int, ends: int, now: int) -> Step:
        """One request against one key, with `ends`, `now` and `reset_after` in microseconds."""
        unit = self.unit
        if unit == 1:
            return self.step(value, ends, now, self.most, self.period, self.burst)
        after = self.step(value, ends // unit, now // unit, self.most, self.period, self.burst)
        return Step(
            after.value, after.ends * unit, after.allowed, after.remaining, after.reset_after * unit - now % unit
        )


def _unit(requests: int, period: int) -> int:
    unit = 1
    while requests * (period // unit + 1) > LARGEST:
        unit *= 10
    return unit
