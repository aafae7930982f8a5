"""The shortest way through limits in shared memory: for one client, as long as its limits are far from their end.

A client's requests come under the same limits with the same keys, one after the other. A way is a function made for
these, so nothing is looked up and nothing is returned but whether the request passed: the check of one limit costs
0.25 us instead of 0.8, and its caller needs no decision to look at. It passes only what surely passes and is worth no
word to anybody: each key is where it was last seen, in a running window, and more than a fifth of its limit is left
after it. In every other case it changes nothing, and the store decides as always.
The time of a request is that at which it began. What another process decided meanwhile may be of a later one; that can
only say that there is less room, or that the window is another one by now.
Each does what its algorithm in `headgate.limits` does for such a request, under the lock of the key's slot. Of several
limits all locks are held before anything is looked at, and nobody is waited for, so their order does not matter.

Most of the time goes into cells that are read and written, and numbers that are made for it. So a way for a window
keeps what cannot change while the window runs: how long it runs, and how much room there is at least. And it counts in
doubles, which are exact here (`LARGEST` in `headgate.limits.step`) and made in half the time of large integers.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from headgate.limits.meter import BANNED, Meter
from headgate.limits.sliding_window import MASK, SHIFT
from headgate.store.stripes import Stripe

S = TypeVar("S", int, float)
Way = Callable[[float], bool]  # of the time of the request, in seconds on the clock of the store

_HIGH = 1 if sys.byteorder == "little" else 0  # which half of a cell has its upper 32 bits
_ROUND = 3 * 2.0**51  # a double, less than 2**51, is rounded by adding and subtracting this


class Slot(NamedTuple):
    """Where a key was last seen: the store's cells, also as doubles, the slot's first one, what stands there, its lock.

    mark: the hash that stands there, read as a double.
    """

    cells: memoryview
    doubles: "memoryview[float]"
    at: int
    mark: float
    stripe: Stripe


class Tally:
    """Of a limit, a stroke for each request that went a short way, and one for each place that was given back on one.

    A list becomes one longer in a quarter of the time in which a number becomes one more.
    """

    __slots__ = ("left", "passed")

    def __init__(self) -> None:
        self.passed: list[None] = []
        self.left: list[None] = []

    def take(self) -> tuple[int, int]:
        """How many passed and how many left since it was called last."""
        counts = len(self.passed), len(self.left)
        self.passed.clear()
        self.left.clear()
        return counts


class Part(NamedTuple, Generic[S]):
    """One of several limits: look says what the key's state becomes, None where it must not; write makes it so."""

    look: Callable[[int], S | None]
    write: Callable[[S, int], None]


class Step(NamedTuple):
    """A limit that a way goes through, its key's slot, and the tally of requests that went it."""

    meter: Meter
    algorithm: str
    slot: Slot
    tally: Tally


def way(steps: Sequence[Step]) -> Way | None:
    """The way through these limits, each with its own key; None where one of them has none, or nobody could go it."""
    for meter, algorithm, _, _ in steps:
        if algorithm not in _ALONE or not meter.is_plain or meter.most < 1 or meter.far < 1:
            return None
    if len(steps) == 1 and steps[0].meter.unit == 1:
        meter, algorithm, slot, tally = steps[0]
        alone = _gcra_in_whole if algorithm == "gcra" and meter.period % meter.most == 0 else _ALONE[algorithm]
        return alone(meter, slot, tally)
    return _together(steps)


def _together(steps: Sequence[Step]) -> Way:
    cells = steps[0].slot.cells
    stripes = {step.slot.stripe.index: step.slot.stripe for step in steps}.values()
    locks = [(stripe.acquire, stripe.release, stripe.owner) for stripe in stripes]
    me = steps[0].slot.stripe.me
    parts = [_PARTS[step.algorithm](step.meter, step.slot) for step in steps]
    looks, writes = [part.look for part in parts], [part.write for part in parts]
    tallies = [step.tally.passed for step in steps]

    def passes(seconds: float) -> bool:
        held = 0
        try:
            for acquire, _, owner in locks:
                if not acquire(False):
                    return False
                cells[owner] = me
                held += 1
            now = round(seconds * 1e6)
            states: list[float] = []
            for look in looks:
                if (state := look(now)) is None:
                    return False
                states.append(state)
            for write, state in zip(writes, states, strict=True):
                write(state, now)
        finally:
            for _, release, owner in locks[:held]:
                cells[owner] = 0
                release()
        for passed in tallies:
            passed.append(None)
        return True

    return passes


def _fixed_window_part(meter: Meter, slot: Slot) -> Part[int]:
    cells, doubles, at, mark, _ = slot
    ends, value, most = at + 1, at + 2, meter.far

    def look(now: int) -> int | None:
        if doubles[at] != mark or (count := cells[value]) >= most or doubles[ends] <= now:
            return None
        return count + 1

    def write(count: int, now: int) -> None:
        cells[value] = count

    return Part(look, write)


def _sliding_window_part(meter: Meter, slot: Slot) -> Part[int]:
    cells, doubles, at, mark, _ = slot
    ends, value = at + 1, at + 2
    most, period, unit, wanted = meter.most, meter.period, meter.unit, (meter.most - meter.far + 1) * meter.period

    def look(now: int) -> int | None:
        counts, left = cells[value], int(doubles[ends]) // unit - now // unit  # of two periods
        if doubles[at] != mark or counts == BANNED or not period < left <= 2 * period:
            return None
        room = (most - (counts >> SHIFT)) * period - (counts & MASK) * (left - period)
        return counts + (1 << SHIFT) if room >= wanted else None

    def write(counts: int, now: int) -> None:
        cells[value] = counts

    return Part(look, write)


def _gcra_part(meter: Meter, slot: Slot) -> Part[float]:
    _, doubles, at, mark, _ = slot
    ends, value = at + 1, at + 2
    most, period, unit = meter.most, meter.period, meter.unit
    ahead = meter.far * period

    def look(now: int) -> float | None:
        wanted = (doubles[ends] // unit - now // unit) * most - doubles[value] + period  # of a ban: not a number
        if wanted < period:
            wanted = period
        return wanted if wanted <= ahead and doubles[at] == mark else None

    def write(wanted: float, now: int) -> None:
        until = -(-wanted // most)
        doubles[ends] = (now // unit + until) * unit  # first, as in `entry.py`
        doubles[value] = until * most - wanted

    return Part(look, write)


# The same, written out for a limit alone whose unit is the microsecond: the usual case, in half the time.


def _fixed_window(meter: Meter, slot: Slot, tally: Tally) -> Way:
    cells, doubles, at, mark, stripe = slot
    passed = tally.passed
    acquire, release, owner, me = stripe.acquire, stripe.release, stripe.owner, stripe.me
    ends, value = at + 1, at + 2
    most = meter.far
    until = 0.0  # the window runs at least until then: the end of a key's window never comes nearer

    def passes(now: float) -> bool:
        nonlocal until
        if not acquire(False):
            return False
        cells[owner] = me
        try:
            if doubles[at] != mark or (count := cells[value]) >= most:
                return False
            if now >= until and now >= (until := doubles[ends] / 1e6):
                return False
            cells[value] = count + 1
        finally:
            cells[owner] = 0
            release()
        passed.append(None)
        return True

    return passes


def _sliding_window(meter: Meter, slot: Slot, tally: Tally) -> Way:
    cells, doubles, at, mark, stripe = slot
    passed = tally.passed
    halves = cells.cast("B").cast("I")
    acquire, release, owner, me = stripe.acquire, stripe.release, stripe.owner, stripe.me
    count_at, before_at, ends = 2 * at + 4 + _HIGH, 2 * at + 5 - _HIGH, at + 1
    limit, period = meter.far, meter.period
    # So many pass in the window that ends then, until it turns: there is only ever more room in it.
    most, end, turn = 0, 0.0, 0.0

    def passes(now: float) -> bool:
        nonlocal most, end, turn
        if not acquire(False):
            return False
        cells[owner] = me
        try:
            if doubles[at] != mark:
                return False
            if (count := halves[count_at]) >= most or now >= turn or doubles[ends] != end:
                end = doubles[ends]
                turn = (end - period) / 1e6
                left = int(end) - period - round(now * 1e6)
                most = limit + -halves[before_at] * left // period if 0 < left <= period else 0
                if count >= most:
                    return False
            halves[count_at] = count + 1
        finally:
            cells[owner] = 0
            release()
        passed.append(None)
        return True

    return passes


def _gcra(meter: Meter, slot: Slot, tally: Tally) -> Way:
    cells, doubles, at, mark, stripe = slot
    passed = tally.passed
    acquire, release, owner, me = stripe.acquire, stripe.release, stripe.owner, stripe.me
    ends, value = at + 1, at + 2
    most, period = float(meter.most), float(meter.period)
    far = float((meter.far - 1) * meter.period)
    # The key's schedule is noted as a moment and by how much it is before that; so only the latter changes mostly.
    span = float(-(-meter.burst * meter.period // meter.most))
    whole = span * most
    first = whole - period
    rounding = _ROUND

    def passes(now: float) -> bool:
        if not acquire(False):
            return False
        cells[owner] = me
        try:
            now = now * 1e6 + rounding - rounding
            before = doubles[value]
            ahead = (doubles[ends] - now) * most - before  # of a ban: not a number
            if doubles[at] != mark:
                return False
            if ahead <= 0.0:
                doubles[value] = first
                doubles[ends] = now + span
            elif ahead <= far:
                if before >= period:
                    doubles[value] = before - period
                else:
                    doubles[value] = before + first
                    doubles[ends] += span
            else:
                return False
        finally:
            cells[owner] = 0
            release()
        passed.append(None)
        return True

    return passes


def _gcra_in_whole(meter: Meter, slot: Slot, tally: Tally) -> Way:
    """The same where a share is a whole number of microseconds: then `value` is nothing, and stays so."""
    cells, doubles, at, mark, stripe = slot
    passed = tally.passed
    acquire, release, owner, me = stripe.acquire, stripe.release, stripe.owner, stripe.me
    ends, value = at + 1, at + 2
    share = float(meter.period // meter.most)
    far = (meter.far - 1) * share
    rounding = _ROUND

    def passes(now: float) -> bool:
        if not acquire(False):
            return False
        cells[owner] = me
        try:
            now = now * 1e6 + rounding - rounding
            end = doubles[ends]
            ahead = end - now
            if ahead > far or doubles[at] != mark or doubles[value]:  # of a ban: not a number, which is true
                return False
            doubles[ends] = (end if ahead > 0.0 else now) + share
        finally:
            cells[owner] = 0
            release()
        passed.append(None)
        return True

    return passes


_ALONE: dict[str, Callable[[Meter, Slot, Tally], Way]] = {
    "fixed_window": _fixed_window,
    "sliding_window": _sliding_window,
    "gcra": _gcra,
}
_PARTS: dict[str, Callable[[Meter, Slot], Part[Any]]] = {
    "fixed_window": _fixed_window_part,
    "sliding_window": _sliding_window_part,
    "gcra": _gcra_part,
}
