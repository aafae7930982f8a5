"""What a Headgate knows of the others on the same Redis, for the time in which it cannot be asked.

While Redis is up each worker says now and then that its Headgate lives, and is told how many do. While Redis is down a
limit that counts on this machine instead lets its share pass, the limit divided by that number. What was let pass
is remembered, and charged to Redis when it is back: so nobody who used up his share has the whole limit once more.
So is what requests that Redis had counted turn out to cost: what they give back is taken from what is owed of the key,
and the rest is given back to Redis, unless it is gone for longer than a period: then nothing counts there any more of
what they took.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from headgate.limits.decision import Decision
from headgate.limits.memo import PerLimit
from headgate.limits.meter import Meter
from headgate.limits.step import period_us
from headgate.model.config import Rate
from headgate.model.snapshot import LimitState
from headgate.store import script
from headgate.store.base import Check, Resume
from headgate.store.resp import command

EVERY = 5.0  # seconds between two signs of life
_LIVES = 15_000  # milliseconds that one counts
_KEYS = 65536  # whose use is remembered
_PART = 64  # charges told at once; they take Redis a millisecond

_SOURCE = b"""\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.status_reply(tostring(redis.call('ZCARD', KEYS[1])))
"""


class Peers:
    """The Headgates on one Redis, and what this worker let pass without it."""

    def __init__(self, prefix: str, name: bytes, clock: Callable[[], int]) -> None:
        """name: of this Headgate, the same in all of its workers. clock: microseconds, monotonic."""
        self.sign = command(b"EVAL", _SOURCE, 1, f"{prefix}:alive", name, _LIVES)
        self.count = 1
        self._before = 0  # what the last answer on this connection was, 0 where there was none
        self._clock = clock
        self._shares = PerLimit(self._share)
        self._meters = PerLimit(lambda limit: Meter(limit.limit))
        self._used: dict[tuple[int, bytes], _Used] = {}
        self._lost_at = 0  # 0 while there is a connection

    def heard(self, answer: bytes) -> None:
        """Redis answered a sign of life. What is no number is no news.

        That they are fewer counts when it was heard twice, `EVERY` seconds apart, on one connection: of a Redis that
        came back empty the first to find it hears that he is alone, and would have the whole limit if it failed again.
        """
        if answer.isdigit() and 0 < int(answer) < 1_000_000:
            number = int(answer)
            self.are(max(number, self._before or self.count))
            self._before = number

    def are(self, number: int) -> None:
        """So many live."""
        if number != self.count:
            self.count = number
            self._shares.clear()

    def lost(self) -> None:
        """The connection is gone, and with it who was heard of on it."""
        self._before = 0
        self._lost_at = self._lost_at or self._clock()

    def back(self) -> None:
        """There is a connection again."""
        self._lost_at = 0

    def share(self, limit: LimitState) -> LimitState:
        """The part of the limit that this Headgate lets pass alone: the whole when there is no other, and in any case
        enough for one request.
        """
        return limit if self.count == 1 else self._shares.of(limit)

    def _share(self, limit: LimitState) -> LimitState:
        one = limit.limit
        rate = Rate(max(1, one.cost, one.rate.limit // self.count), one.rate.period)
        burst = one.burst and max(1, one.cost, one.burst // self.count)
        return LimitState(replace(one, rate=rate, burst=burst), limit.slot)

    def passed(self, *checks: Check) -> None:
        """These were let pass without Redis, or turned out to cost so much more, or less than nothing more."""
        now = self._clock()
        for limit, key, cost in checks:
            used = self._used.get((id(limit), key))
            if used is None:
                if len(self._used) >= _KEYS:
                    continue
                used = self._used[id(limit), key] = _Used(limit, self._meters.of(limit))
            used.charge(cost, now, (self._lost_at or now) + period_us(limit.limit.rate))

    def joined(self, checks: Sequence[Check]) -> Sequence[Check]:
        """What is charged now, and with what is given back what is owed of that key still; it is forgotten here.

        Else it would be given back first, of which nothing comes where nothing was taken yet, and charged then.
        """
        if not self._used:
            return checks
        now, found = self._clock(), []
        for limit, key, cost in checks:
            used = self._used.pop((id(limit), key), None) if cost < 0 else None
            found.append((limit, key, cost if used is None else cost + used.owed(now)))
        return found

    def settle(self, most: int) -> list[Check]:
        """So much, at the most, of what Redis is to be charged with because it counts still, or is to be given back.

        It is forgotten here.
        """
        now = self._clock()
        owed: list[Check] = []
        while self._used and len(owed) < most:
            (_, key), used = self._used.popitem()
            if cost := used.owed(now):
                owed.append((used.limit, key, cost))
        return owed


class _Used:
    """What is owed of a key, as its algorithm counts it, and what is to be given back besides, as long as `until`."""

    __slots__ = ("_back", "_ends", "_meter", "_until", "_value", "limit")

    def __init__(self, limit: LimitState, meter: Meter) -> None:
        """It holds the limit, so that its id() stays its own."""
        self.limit = limit
        self._meter = meter
        self._value = self._ends = self._back = self._until = 0

    def charge(self, cost: int, now: int, until: int) -> None:
        """Owes so much more. Of what is given back and was not owed Redis is to give back, if it is told until then."""
        before = self._counts(now)
        self._value, self._ends = self._meter.charge(self._value, self._ends, now, cost)
        if cost < 0 and (rest := cost + before - self._counts(now)) < 0:
            if now >= self._until:
                self._back, self._until = 0, until
            self._back -= rest

    def owed(self, now: int) -> int:
        """What Redis is to be charged with; below 0 what it is to give back."""
        return self._counts(now) - (self._back if now < self._until else 0)

    def _counts(self, now: int) -> int:
        """How much of it still counts."""
        meter = self._meter
        return max(0, meter.burst - meter.decide(self._value, self._ends, now, 0).remaining) if now < self._ends else 0


class Charges:
    """Tells Redis what was let pass without it: a part, and the next one when that is answered.

    All at once would hold up what else is asked for longer than its deadline. What is on its way when Redis fails again
    may be counted or not, so it is forgotten: nobody is ever charged twice. The rest is kept.
    """

    def __init__(self, peers: Peers, send: "Send") -> None:
        """send: sends what is to be charged; it calls `resume` when that is answered."""
        self._peers = peers
        self._send = send
        self._on_their_way = 0
        self._stopped = True

    def begin(self) -> None:
        """Redis can be told."""
        self._peers.back()
        self._stopped = False
        if self._on_their_way:
            return
        form = script.CHARGE_WITH_TEXT  # the first brings the script along
        for owed in self._peers.settle(_PART):
            self._on_their_way += 1
            self._send(form, owed, resume=self._answered)
            form = script.CHARGE

    def stop(self) -> None:
        """Redis fails again."""
        self._peers.lost()
        self._stopped = True
        self._on_their_way = 0

    def _answered(self, _: Sequence[Decision]) -> None:
        self._on_their_way = max(0, self._on_their_way - 1)
        if not self._on_their_way and not self._stopped:
            self.begin()


class Send(Protocol):
    """Sends what is to be charged, in that form of script.py."""

    def __call__(self, form: int, *checks: Check, resume: Resume) -> None: ...
