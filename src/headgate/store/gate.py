"""The short way through one limit on what is in flight, for one key: in, and out again.

What `ways.py` is for rates: a pair of functions made for a client's connection, so nothing is looked up. `enter` passes
only what surely passes and is worth no word to anybody: there was a token for it (`held.py`), and the key is in its
slot. When there are none left it sees to it that there are, once for many, if that lock is free. In every other case it
changes nothing, and the store decides as always. `leave` gives the place back, for which no lock is needed.
"""

from collections.abc import Callable
from typing import NamedTuple

from headgate.store.held import Held
from headgate.store.ways import Slot, Tally


class Gate(NamedTuple):
    """enter: whether the request took its place. leave: gives it back, once."""

    enter: Callable[[float], bool]
    leave: Callable[[], None]


def gate(places: Held, slot: Slot, far: int, tally: Tally) -> Gate | None:
    """The gate of a key. far: so many may be held for it to be open. None where this process has no column."""
    cells, doubles, at, mark, stripe = slot
    if places.mine is None:
        return None
    mine, own, cell, draw = places.mine, places.own, at - places.first, places.drawer(at)
    passed, left = tally.passed, tally.left
    is_gone = False  # the key from its slot

    def enter(now: float) -> bool:
        nonlocal is_gone
        if is_gone and (is_gone := doubles[at] != mark):
            return False
        own[cell] = mine[cell] = held = own[cell] + 1
        if draw(False):
            if doubles[at] == mark:  # looked at last: a token may be one of the key that came after
                passed.append(None)
                return True
        elif refills(now):
            passed.append(None)
            return True
        own[cell] = mine[cell] = held - 1
        is_gone = doubles[at] != mark  # or it would be in that key's way again and again
        return False

    def refills(now: float) -> bool:
        if not stripe.acquire(False):
            return False
        cells[stripe.owner] = stripe.me
        try:
            is_open = doubles[at] == mark and cells[places.bans] <= now * 1e6
            # Another may have put tokens meanwhile.
            return is_open and (draw(False) or places.restock(at, far, round(now * 1e6)) <= far)
        finally:
            stripe.leave()

    def leave() -> None:
        if held := own[cell]:
            own[cell] = mine[cell] = held - 1
        left.append(None)

    return Gate(enter, leave)
