"""The shortest way through a limit in shared memory: for one key, as long as its limit is far from its end.

A client's requests come under the same limit with the same key, one after the other. A way is a function made for that
pair, so nothing is looked up and nothing is returned but whether the request passed: the whole check costs 0.6 us
instead of 1.0, and its caller needs no decision to look at. It passes only what surely passes and is worth no word to
anybody: the key is where it was last seen, in a running window, and more than a fifth of the limit is left after it.
In every other case it changes nothing, and the store decides as always.
Each does what its algorithm in `headgate.limits` does for such a request, under the lock of the key's slot.
"""

from collections.abc import Callable
from typing import NamedTuple

from headgate.limits.meter import BANNED, Meter
from headgate.limits.sliding_window import MASK, SHIFT
from headgate.store.stripes import Stripe

Way = Callable[[], bool]


class Slot(NamedTuple):
    """Where a key was last seen: the store's cells, the slot's first one, what stands there, its lock, the clock."""

    cells: memoryview
    at: int
    hash: int
    stripe: Stripe
    nanoseconds: Callable[[], int]


def way(algorithm: str, meter: Meter, slot: Slot, passed: memoryview, place: int) -> Way | None:
    """The way for this key; None for a limit that has none. passed[place] counts the requests that went it."""
    make = _WAYS.get(algorithm)
    if make is None or not meter.is_plain or meter.unit > 1:
        return None
    return make(meter, slot, passed, place)


def _fixed_window(meter: Meter, slot: Slot, passed: memoryview, place: int) -> Way:
    cells, at, hash_, stripe, nanoseconds = slot
    acquire, release, owner, me = stripe.acquire, stripe.release, stripe.owner, stripe.me
    ends, value = at + 1, at + 2
    most = meter.most - _kept(meter.most)

    def passes() -> bool:
        if not acquire(False):
            return False
        cells[owner] = me
        try:
            if cells[at] != hash_ or (count := cells[value]) >= most or cells[ends] <= nanoseconds() // 1000:
                return False
            cells[value] = count + 1
        finally:
            cells[owner] = 0
            release()
        passed[place] += 1
        return True

    return passes


def _sliding_window(meter: Meter, slot: Slot, passed: memoryview, place: int) -> Way:
    cells, at, hash_, stripe, nanoseconds = slot
    acquire, release, owner, me = stripe.acquire, stripe.release, stripe.owner, stripe.me
    ends, value = at + 1, at + 2
    most, period, kept = meter.most, meter.period, (_kept(meter.most) + 1) * meter.period

    def passes() -> bool:
        if not acquire(False):
            return False
        cells[owner] = me
        try:
            counts, left = cells[value], cells[ends] - nanoseconds() // 1000  # of two periods
            if cells[at] != hash_ or counts == BANNED or not period < left <= 2 * period:
                return False
            if (most - (counts >> SHIFT)) * period - (counts & MASK) * (left - period) < kept:
                return False
            cells[value] = counts + (1 << SHIFT)
        finally:
            cells[owner] = 0
            release()
        passed[place] += 1
        return True

    return passes


def _gcra(meter: Meter, slot: Slot, passed: memoryview, place: int) -> Way:
    cells, at, hash_, stripe, nanoseconds = slot
    acquire, release, owner, me = stripe.acquire, stripe.release, stripe.owner, stripe.me
    ends, value = at + 1, at + 2
    most, period = meter.most, meter.period
    ahead = (meter.burst - _kept(meter.burst)) * period

    def passes() -> bool:
        if not acquire(False):
            return False
        cells[owner] = me
        try:
            now = nanoseconds() // 1000
            rest = cells[value]
            wanted = (cells[ends] - now) * most - rest
            wanted = wanted + period if wanted > 0 else period
            if cells[at] != hash_ or wanted > ahead or rest == BANNED:
                return False
            until = -(-wanted // most)
            cells[value] = until * most - wanted
            cells[ends] = now + until
        finally:
            cells[owner] = 0
            release()
        passed[place] += 1
        return True

    return passes


def _kept(most: int) -> int:
    """How many must be left after a request: so many that it is not near the end of its limit."""
    return most // 5 + 1


_WAYS: dict[str, Callable[[Meter, Slot, memoryview, int], Way]] = {
    "fixed_window": _fixed_window,
    "sliding_window": _sliding_window,
    "gcra": _gcra,
}
