"""A limit as shared memory counts it: what is made ready once, and the short way of a request that passes.

The store (`shared.py`) looks a limit up for each request; everything that does not change with the request is here.
The short ways do what the algorithms of `headgate.limits` do for a request that passes, without a call they could do
without; for all others they say None and change nothing.
"""

from collections.abc import Callable
from hashlib import blake2b

from headgate.limits.decision import Decision, Holding
from headgate.limits.keys import limit_identity
from headgate.limits.meter import BANNED, Meter
from headgate.limits.sliding_window import MASK, SHIFT
from headgate.model.snapshot import LimitState
from headgate.store.held import Held
from headgate.store.stripes import Stripe

Place = tuple[int, int, Callable[..., bool], Stripe]  # hash, the slot's cell when last seen, the lock's acquire, lock


class Entry:
    """A limit, ready for use. It holds the limit, so that its id() stays its own.

    short: for the algorithms that have one, the short way of a request that passes. held: where its places are, if it
    is one on what is in flight.
    """

    __slots__ = (
        "burst",
        "counts_refused",
        "decide",
        "far",
        "hash_key",
        "held",
        "holding",
        "is_plain_window",
        "limit",
        "meter",
        "most",
        "period",
        "places",
        "schedule",
        "short",
        "tells",
    )

    def __init__(self, limit: LimitState, seed: bytes, held: Held | None) -> None:
        self.limit = limit
        self.held = held
        self.most = limit.limit.rate.limit
        self.meter = meter = Meter(limit.limit)
        self.decide = meter.decide
        self.counts_refused = meter.counts_refused
        self.is_plain_window = meter.is_window and meter.is_plain
        self.period = meter.period
        self.schedule = self.most if limit.limit.algorithm == "gcra" else 0  # as `Table` has it
        self.burst = meter.burst * meter.period
        is_plain = meter.is_plain and meter.unit == 1 and meter.most > 0
        self.short = _SHORT.get(limit.limit.algorithm) if is_plain else None
        self.far = meter.far
        self.holding = Holding.far(limit)  # on what is in flight, unless clients are told how much is left
        self.tells = limit.limit.headers == "always"
        if held is not None:
            self.short = _short_concurrency
        self.hash_key = blake2b(limit_identity(limit.limit).encode(), key=seed).digest()
        self.places: dict[bytes, Place] = {}


def _short_gcra(entry: Entry, cells: memoryview, doubles: "memoryview[float]", at: int, now: int) -> Decision | None:
    """What `gcra.step` says to a request that passes, and writes it; None for all others, and they change nothing."""
    most, value = entry.most, cells[at + 2]
    if value == BANNED:
        return None
    wanted = (int(doubles[at + 1]) - now) * most - int(doubles[at + 2])
    wanted = wanted + entry.period if wanted > 0 else entry.period
    if wanted > entry.burst:
        return None
    until = -(-wanted // most)
    doubles[at + 1] = now + until  # first: the old end with the new value may be later than both
    doubles[at + 2] = until * most - wanted
    return Decision(True, entry.limit, (entry.burst - wanted) // entry.period, until)


def _short_sliding_window(
    entry: Entry, cells: memoryview, doubles: "memoryview[float]", at: int, now: int
) -> Decision | None:
    """The same of `sliding_window.step`, for a request in the window of the one before it."""
    value, period = cells[at + 2], entry.period
    left = int(doubles[at + 1]) - now  # of two periods
    if not period < left <= 2 * period or value == BANNED:
        return None
    room = (entry.most - (value >> SHIFT)) * period - (value & MASK) * (left - period)
    if room < period:
        return None
    cells[at + 2] = value + (1 << SHIFT)
    return Decision(True, entry.limit, room // period - 1, left)


def _short_concurrency(
    entry: Entry, cells: memoryview, doubles: "memoryview[float]", at: int, now: int
) -> Decision | None:
    """The same of `concurrency.step`, while nobody is banned; what is held is found as `held.py` says."""
    places = entry.held
    assert places is not None
    mine, own, cell = places.mine, places.own, at - places.first
    if mine is None or cells[places.bans] > now:
        return None
    own[cell] = mine[cell] = count = own[cell] + 1
    is_far = places.drawer(at)(False)
    if is_far and not entry.tells:
        return entry.holding
    held = places.sum(at, now) if is_far else places.restock(at, entry.far, now)
    if held > entry.most and not is_far:
        own[cell] = mine[cell] = count - 1
        return None
    return Holding(True, entry.limit, max(0, entry.most - held), 0)


_SHORT = {"gcra": _short_gcra, "sliding_window": _short_sliding_window}
