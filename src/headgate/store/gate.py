"""The short way through one limit on what is in flight, for one key: in, and out again.

What `ways.py` is for rates: a pair of functions made for a client's connection, so nothing is looked up. `enter` passes
only what surely passes and is worth no word to anybody: the key is in its slot, nobody is banned, and more than a fifth
of the places is free after it. In every other case it changes nothing, and the store decides as always. `leave` gives
the place back, and leaves it to the store where it cannot be done at once. The order of the writes is that of held.py.
"""

from collections.abc import Callable

from headgate.limits.decision import spare
from headgate.limits.meter import Meter
from headgate.store.held import Held
from headgate.store.ways import Slot, Tally


class Gate:
    """enter: whether the request took its place. leave: gives it back, once."""

    __slots__ = ("enter", "leave")

    def __init__(self, enter: Callable[[float], bool], leave: Callable[[], None]) -> None:
        self.enter = enter
        self.leave = leave


def gate(meter: Meter, places: Held, slot: Slot, tally: Tally, release: Callable[[], None]) -> Gate | None:
    """The gate of a key. release: what gives a place back in any case. None where this process has no column."""
    cells, doubles, at, mark, stripe = slot
    acquire, unlock, owner, me = stripe.acquire, stripe.release, stripe.owner, stripe.me
    total, bans, most = at + 1, places.bans, meter.most - spare(meter.most)
    if places.mine is None:
        return None
    mine, cell = places.mine, (at - places.first) // 2

    def enter(now: float) -> bool:
        if not acquire(False):
            return False
        cells[owner] = me
        try:
            if doubles[at] != mark or (held := cells[total]) >= most or cells[bans] > now * 1e6:
                return False
            cells[total] = held + 1
            mine[cell] += 1
        finally:
            cells[owner] = 0
            unlock()
        tally[0] += 1
        return True

    def leave() -> None:
        if acquire(False):
            cells[owner] = me
            try:
                if (held := mine[cell]) and doubles[at] == mark:
                    mine[cell] = held - 1
                    cells[total] -= 1
            finally:
                cells[owner] = 0
                unlock()
        else:
            release()
        tally[1] += 1

    return Gate(enter, leave)
