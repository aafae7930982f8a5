"""The counts of limits as operators see and change them, key by key, wherever they are kept.

Requests do not come here. The control plane has a store of its own for this, beside those of the workers: the memory is
shared, or the Redis is the same. What is changed here counts for the next request: the workers of this machine are told
to forget what they remember of the key, those of others ask Redis again within a second (`known.py`).
With the count of a key, or with its ban, go its refusals that would lead to another ban.
"""

import asyncio
import struct
from collections.abc import Callable
from math import ceil
from typing import Protocol, TypeVar, cast

from headgate.errors import StoreDown
from headgate.limits import concurrency
from headgate.limits.meter import BANNED, Meter
from headgate.limits.refusals import refusals
from headgate.limits.sliding_window import SHIFT
from headgate.limits.standing import Standing, standing
from headgate.model.snapshot import LimitState
from headgate.store import general, holding
from headgate.store.base import LocalStore
from headgate.store.cluster import ClusterStore
from headgate.store.foreign import is_foreign
from headgate.store.link import brief
from headgate.store.plain import STATE
from headgate.store.redis import RedisStore
from headgate.store.resp import ErrorReply, Reply, command
from headgate.store.script import Rule, period_ms

T = TypeVar("T")
_FOREIGN = "what Redis holds under this key is no count of this limit (headgate limit reset removes it)"
_LONGEST = 2**53  # microseconds, as the scripts have it

_LOOK = b"""\
local time = redis.call('TIME')
return {time[1], time[2], redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1])}
"""
_UNBAN = b"""\
if redis.call('GET', KEYS[1]) == 'ban' then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Counts(Protocol):
    """What an operator can do. Everything raises StoreDown when the store cannot be asked."""

    async def look(self, limit: LimitState, key: bytes) -> Standing:
        """How the key stands; nothing is taken."""

    async def reset(self, limit: LimitState, key: bytes) -> bool:
        """Forgets the key's count and its ban; whether there was something to forget."""

    async def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on, for so long."""

    async def unban(self, limit: LimitState, key: bytes) -> bool:
        """Lifts the ban of a key, whose count begins anew; whether there was one."""


class LocalCounts:
    """Counts on this machine. A process that keeps a lock is waited for, but the event loop goes on meanwhile."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    async def look(self, limit: LimitState, key: bytes) -> Standing:
        """How the key stands."""
        await self._store.come_free(limit, key)
        return _known(self._store.look(limit, key))

    async def reset(self, limit: LimitState, key: bytes) -> bool:
        """Forgets the key's count and its ban."""
        return await self._forget(limit, key, ban_only=False)

    async def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on."""
        await self._store.come_free(limit, key)
        self._store.ban(limit, key, seconds)
        if not _known(self._store.look(limit, key)).is_banned:
            raise StoreDown("a lock of the limits' memory could not be had")
        await self._forget_refusals(limit, key)

    async def unban(self, limit: LimitState, key: bytes) -> bool:
        """Lifts the ban."""
        return await self._forget(limit, key, ban_only=True)

    async def _forget(self, limit: LimitState, key: bytes, *, ban_only: bool) -> bool:
        await self._store.come_free(limit, key)
        had = _known(self._store.reset(limit, key, ban_only=ban_only))
        if had or not ban_only:
            await self._forget_refusals(limit, key)
        return had

    async def _forget_refusals(self, limit: LimitState, key: bytes) -> None:
        counter = refusals(limit)
        if counter is not None:
            await self._store.come_free(counter, key)
            _known(self._store.reset(counter, key))


class RedisCounts:
    """Counts in Redis, one or a Cluster."""

    def __init__(self, store: RedisStore | ClusterStore) -> None:
        self._store = store

    async def look(self, limit: LimitState, key: bytes) -> Standing:
        """How the key stands."""
        reply = await self._run(holding.LOOK if _holds(limit) else _LOOK, limit, key)
        try:
            seconds, microseconds, left, text = cast("list[bytes]", reply)
            now = int(seconds) * 1_000_000 + int(microseconds)
            value, ends = _state(limit, text, int(left), now)
            if not 0 <= now <= _LONGEST or ends - now > _LONGEST:
                raise ValueError("no time")
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            raise StoreDown(_FOREIGN) from error
        return standing(Meter(limit.limit), value, ends, now, limit.limit.cost)

    async def reset(self, limit: LimitState, key: bytes) -> bool:
        """Forgets the key's count and its ban."""
        await self._forget_refusals(limit, key)
        if _holds(limit):  # what is in flight is not forgotten
            return await self._run(holding.RESET, limit, key) != 0
        return await self._delete(limit, key)

    async def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on."""
        milliseconds = max(1, ceil(seconds * 1000))
        await self._tell(limit, key, lambda rule: rule.ban(key, milliseconds))
        await self._forget_refusals(limit, key)

    async def unban(self, limit: LimitState, key: bytes) -> bool:
        """Lifts the ban."""
        had = await self._run(holding.UNBAN if _holds(limit) else _UNBAN, limit, key) == 1
        if had:
            await self._forget_refusals(limit, key)
        return had

    async def _forget_refusals(self, limit: LimitState, key: bytes) -> None:
        counter = refusals(limit)
        if counter is not None:
            await self._delete(counter, key)

    async def _delete(self, limit: LimitState, key: bytes) -> bool:
        return await self._tell(limit, key, lambda rule: b"*2\r\n" + command(b"DEL")[4:] + rule.key(key)) == 1

    async def _run(self, source: bytes, limit: LimitState, key: bytes) -> Reply:
        begin = b"*4\r\n" + command(b"EVAL", source, 1)[4:]
        return await self._tell(limit, key, lambda rule: begin + rule.key(key))

    async def _tell(self, limit: LimitState, key: bytes, command: Callable[[Rule], bytes]) -> Reply:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def told(reply: Reply) -> None:
            if not answer.done():  # who asked may have gone
                answer.set_result(reply)

        self._store.tell(limit, key, command, told)
        reply = await answer
        if reply is None:
            raise StoreDown("the limit store does not answer (the log says why)")
        if isinstance(reply, ErrorReply):
            if is_foreign(reply.text):
                raise StoreDown(_FOREIGN)
            raise StoreDown(f"the limit store refuses: {brief(reply.text)}")
        return reply


def _holds(limit: LimitState) -> bool:
    return limit.limit.algorithm == concurrency.NAME


def _known(value: T | None) -> T:
    if value is None:
        raise StoreDown("a process that does not go on keeps a lock of the limits' memory")
    return value


def _state(limit: LimitState, text: bytes | None, left: int, now: int) -> tuple[int, int]:
    """The state that a value of Redis means, on the clock `now`. left: milliseconds that it has still."""
    if text is None:
        return 0, 0
    if text == b"ban":
        return BANNED, now + max(1, left) * 1000
    if _holds(limit):
        return int(text), 0
    if limit.limit.algorithm == "fixed_window":
        period = period_ms(limit.limit.rate)
        return int(text), now + (left + 1 if 0 <= left < period else period) * 1000
    letter, ends, one, two = map(int, STATE.unpack(text))
    if letter != general.KINDS[limit.limit.algorithm][0]:
        raise ValueError("the state of another algorithm")
    value = one << SHIFT | two if limit.limit.algorithm == "sliding_window" else one
    return value, ends * Meter(limit.limit).unit
