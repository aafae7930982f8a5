"""Limits in memory that all workers of this machine share: exact over every process, at 0.6 us a check.

The memory is a table (table.py) that the supervisor makes and each worker maps. A key's hash is keyed with the seed of
the memory, so a client cannot choose addresses that crowd one bucket, and with the limit's identity, so limits never
meet. A decision over several limits takes their stripes in rising order, so no two can wait for each other.

Limits on what is in flight have their counts in a table of their own (held.py), and here only their bans. A bucket of
either table belongs to the same stripe.
"""

import os
import time
from collections.abc import Callable, Sequence

from headgate.limits import concurrency
from headgate.limits.decision import Banned, Decision, decision
from headgate.limits.meter import BANNED
from headgate.limits.standing import Standing, standing
from headgate.model.snapshot import LimitState
from headgate.store import stripes
from headgate.store.base import Check, Resume, settle, undecided
from headgate.store.directory import Directory
from headgate.store.entry import Entry, Place
from headgate.store.held import NOWHERE, Held
from headgate.store.stripes import Stripe


def monotonic_us() -> int:
    """Microseconds of CLOCK_MONOTONIC, which is one clock for all processes of a machine."""
    return time.monotonic_ns() // 1000


class SharedStore(Directory):
    """A store in memory shared by the processes of this machine. An object belongs to the process that made it.

    on_uncounted: called with each limit that `on_store_error` had to decide, because there was no room for one more key
    that is held, or no way to a lock.
    """

    def __init__(
        self,
        fd: int,
        clock: Callable[[], int] = monotonic_us,
        *,
        owner: int = 0,
        is_alive: Callable[[int], bool] = stripes.is_alive,
    ) -> None:
        """fd: of the memory that `create` made; it may be closed afterwards. clock: microseconds, one for all.

        owner, is_alive: who holds the places that are taken here, this process if 0, and whether such a one lives.
        """
        super().__init__(fd, owner or stripes.identity(os.getpid()), is_alive)
        self._clock = clock
        self._late: list[Check] = []  # what a stuck lock has kept from being taken
        self.on_uncounted: Callable[[LimitState], None] = lambda limit: None

    def hit(self, checks: Sequence[Check], resume: Resume | None = None) -> Sequence[Decision]:
        """The decisions; always at once.

        One check of a fixed window is the usual case and is written out here, without a call it could do without.
        """
        if len(checks) != 1:
            return self._hit_all(checks)
        limit, key, cost = checks[0]
        entry = self._entries.get(id(limit)) or self._enter(limit)
        hash_, at, acquire, stripe = entry.places.get(key) or self._place(entry, key)
        if not acquire(False) and not stripe.wait():
            return [undecided(limit)]
        cells = self._cells
        owner = stripe.owner
        cells[owner] = self._me
        try:
            # The clock is read under the lock: a window then never seems to begin in another process's future.
            now = self._clock()
            if cells[at] != hash_ or cost != 1:
                return [self._hit_in_full(entry, key, now, cost)]
            if entry.short is not None and (passed := entry.short(entry, cells, self._doubles, at, now)) is not None:
                return [passed]
            if not entry.is_plain_window:
                return [self._hit_in_full(entry, key, now, cost)]
            left = int(self._doubles[at + 1]) - now
            if left <= 0:
                return [self._hit_in_full(entry, key, now, cost)]
            count = cells[at + 2]
            if count < entry.most:
                cells[at + 2] = count = count + 1
                return [Decision(True, limit, entry.most - count, left)]
            if count == BANNED:
                return [Banned(False, limit, 0, left)]
            return [Decision(False, limit, 0, left)]
        finally:
            cells[owner] = 0
            stripe.release()

    def charge(self, checks: Sequence[Check]) -> None:
        """Takes without asking, or gives back; nothing where another process keeps the lock for too long."""
        for limit, key, cost in checks:
            entry, (hash_, _, _, stripe) = self._at(limit, key)
            if stripe.enter():
                try:
                    self._charge(entry, hash_, cost)
                finally:
                    stripe.leave()

    def _charge(self, entry: Entry, hash_: int, cost: int) -> None:
        now = self._clock()
        at = self._find(hash_, now)
        if self._cells[at] == hash_ or cost > 0:  # nobody loses his slot for what is nothing
            state = self._read(at, hash_, entry.schedule)
            self._write(at, hash_, *entry.meter.charge(*state, now, cost), entry.schedule)

    def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on, for so long."""
        entry, (hash_, _, _, stripe) = self._at(limit, key)
        if stripe.enter():
            try:
                now = self._clock()
                until = now + round(seconds * 1_000_000)
                if entry.held is not None:
                    entry.held.banned(until)
                    if (at := entry.held.where(hash_)) != NOWHERE:
                        entry.held.withdraw(at)
                at = self._find(hash_, now)
                self._cells[at] = 0  # or who is killed in between would have banned it until its count ends
                self._write(at, hash_, BANNED, until, 0)
            finally:
                stripe.leave()

    async def come_free(self, limit: LimitState, key: bytes) -> None:
        """Waits for the locks that `look`, `reset` and `ban` take, as long as these would."""
        if limit.limit.algorithm == concurrency.NAME:
            await self._owners_lock.come_free()
        _, (_, _, _, stripe) = self._at(limit, key)
        await stripe.come_free()

    def look(self, limit: LimitState, key: bytes) -> Standing | None:
        """How the key stands; None when a process that does not go on keeps the lock."""
        entry, (hash_, _, _, stripe) = self._at(limit, key)
        if not stripe.enter():
            return None
        try:
            now = self._clock()
            value, ends = self._read(self._find(hash_, now), hash_, entry.schedule)
            if entry.held is not None and (value != BANNED or now >= ends):
                value, ends = entry.held.living(hash_, now), 0
        finally:
            stripe.leave()
        return standing(entry.meter, value, ends, now, limit.limit.cost)

    def reset(self, limit: LimitState, key: bytes, *, ban_only: bool = False) -> bool | None:
        """Forgets the key's count and its ban, or the ban alone; whether there was something to forget.

        None when a process that does not go on keeps the lock.
        """
        entry, (hash_, _, _, stripe) = self._at(limit, key)
        if not stripe.enter():
            return None
        try:
            now = self._clock()
            at = self._find(hash_, now)
            value, ends = self._read(at, hash_, entry.schedule)
            if ends <= now or (ban_only and value != BANNED):
                return False
            self._cells[at] = 0
            return True
        finally:
            stripe.leave()

    def _hit_in_full(self, entry: Entry, key: bytes, now: int, cost: int) -> Decision:
        """The decision for a key, wherever its slot is and whatever its state."""
        if entry.held is not None:
            return self._hold_one(entry, entry.held, key, now, cost)
        hash_, at, acquire, stripe = entry.places[key]
        if self._cells[at] != hash_:  # not in the slot where it was last seen, or never was anywhere
            at = self._find(hash_, now)
            entry.places[key] = hash_, at, acquire, stripe
        value, ends = self._read(at, hash_, entry.schedule)
        after = entry.decide(value, ends, now, cost)
        if after.allowed or entry.counts_refused:
            self._write(at, hash_, after.value, after.ends, entry.schedule)
        return decision(after, entry.limit, value == BANNED)

    def _hit_all(self, checks: Sequence[Check]) -> Sequence[Decision]:
        """The decisions over several limits, under the locks of all of them."""
        entries = [self._entries.get(id(limit)) or self._enter(limit) for limit, _, _ in checks]
        places = [
            entry.places.get(key) or self._place(entry, key) for entry, (_, key, _) in zip(entries, checks, strict=True)
        ]
        held: list[Stripe] = []
        try:
            for stripe in sorted({place[3] for place in places}, key=lambda stripe: stripe.index):
                if not stripe.enter():
                    return [undecided(limit) for limit, _, _ in checks]
                held.append(stripe)
            return self._decide(entries, places, checks)
        finally:
            for stripe in held:
                stripe.leave()

    def _decide(self, entries: list[Entry], places: list[Place], checks: Sequence[Check]) -> list[Decision]:
        now = self._clock()
        cells = self._cells
        taken: dict[int, tuple[int, int, int, int]] = {}  # hash -> slot, value, ends, schedule
        kept: list[int] = []  # of them those that count although the request is refused
        claimed: list[int] = []
        decisions = []
        held: dict[int, tuple[int, int, int]] = {}  # hash -> slot, cost, how many are far from the end
        for entry, place, (_, key, cost) in zip(entries, places, checks, strict=True):
            hash_, at, acquire, stripe = place
            if entry.held is not None:
                decisions.append(self._look(entry, entry.held, hash_, at, now, cost, held))
                if hash_ in held:
                    entry.places[key] = hash_, held[hash_][0], acquire, stripe
                continue
            if hash_ in taken:  # the same limit and key twice in one decision counts twice
                at, value, ends, _ = taken[hash_]
            else:
                if cells[at] != hash_ or at in claimed:  # a new key of this decision may have taken it
                    at = self._find(hash_, now, claimed)
                    entry.places[key] = hash_, at, acquire, stripe
                value, ends = self._read(at, hash_, entry.schedule)
                claimed.append(at)
            after = entry.decide(value, ends, now, cost)
            taken[hash_] = at, after.value, after.ends, entry.schedule
            if entry.counts_refused:
                kept.append(hash_)
            decisions.append(decision(after, entry.limit, value == BANNED))
        passes = settle(decisions, checks)
        for hash_ in taken if passes else kept:
            at, value, ends, schedule = taken[hash_]
            self._write(at, hash_, value, ends, schedule)
        if passes and held:
            for hash_, (at, cost, far) in held.items():
                self._places().add(at, hash_, cost, far, now)
        return decisions

    # Limits on what is in flight.

    def _hold_one(self, entry: Entry, places: Held, key: bytes, now: int, cost: int) -> Decision:
        hash_, at, acquire, stripe = entry.places[key]
        taken: dict[int, tuple[int, int, int]] = {}
        said = self._look(entry, places, hash_, at, now, cost, taken)
        if said.allowed and taken:
            at = taken[hash_][0]
            places.add(at, hash_, cost, entry.far, now)
            entry.places[key] = hash_, at, acquire, stripe
        return said

    def _look(
        self,
        entry: Entry,
        places: Held,
        hash_: int,
        at: int,
        now: int,
        cost: int,
        taken: dict[int, tuple[int, int, int]],
    ) -> Decision:
        """What the limit says, and in `taken` what is to be taken if all others allow it too."""
        if self._cells[places.bans] > now:
            value, ends = self._read(self._find(hash_, now), hash_, 0)
            if value == BANNED and now < ends:
                return Banned(False, entry.limit, 0, ends - now)
        before = 0
        if hash_ in taken:  # the same limit and key twice in one decision counts twice
            at, before, _ = taken[hash_]
        elif self._cells[at] != hash_ or (taken and any(at == slot for slot, _, _ in taken.values())):
            at = places.find(hash_, now, [slot for slot, _, _ in taken.values()])
        if at == NOWHERE or (places.mine is None and not places.claim(now)):
            self.on_uncounted(entry.limit)
            return undecided(entry.limit)
        held = places.held(at, hash_, now, before + cost, entry.most)
        after = entry.decide(held + before, 0, now, cost)
        if after.allowed:
            taken[hash_] = at, before + cost, entry.far
        return decision(after, entry.limit, False, holds=True)

    def release(self, checks: Sequence[Check]) -> None:
        """Gives places back."""
        if self._late:
            self._catch_up()
            checks = [self._taken(check) for check in checks]
        for check in checks:
            self._give_back(check)

    def hold(self, checks: Sequence[Check]) -> None:
        """Takes places without asking."""
        self._late += [check for check in checks if not self._take(check)]

    def _catch_up(self) -> None:
        """Takes the places that a stuck lock has kept from being taken."""
        self._late = [check for check in self._late if not self._take(check)]

    def _taken(self, check: Check) -> Check:
        """What is to be given back of these places, without those that are still to be taken, and now never are."""
        limit, key, cost = check
        late, self._late = self._late, []
        for one, name, more in late:
            never = min(cost, more) if (one, name) == (limit, key) else 0
            cost -= never
            if more > never:
                self._late.append((one, name, more - never))
        return limit, key, cost

    def _give_back(self, check: Check) -> None:
        """Gives places back, which no lock has to guard: nobody else writes where this process does, and as long as it
        holds one the key keeps its slot.
        """
        limit, key, cost = check
        entry = self._entries.get(id(limit)) or self._enter(limit)
        hash_, at, _, _ = entry.places.get(key) or self._place(entry, key)
        places = entry.held
        if places is not None and (self._cells[at] == hash_ or (at := places.where(hash_)) != NOWHERE):
            places.give_back(at, cost)

    def _take(self, check: Check) -> bool:
        """Takes places without asking; False when the lock is stuck."""
        limit, key, cost = check
        _, (hash_, _, _, stripe) = self._at(limit, key)
        if not stripe.enter():
            return False
        try:
            places = self._places()
            now = self._clock()
            at = places.find(hash_, now)
            if at == NOWHERE or not places.claim(now):
                self.on_uncounted(limit)
            else:
                places.add(at, hash_, cost, 0, now)  # without tokens for others, who may be banned
        finally:
            stripe.leave()
        return True
