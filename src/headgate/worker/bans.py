"""Bans: a client that goes on although it is refused is refused everything for a time.

Refusals are counted by a limit of their own, in the same store and by the same keys, so all workers and machines count
together. Only refused requests come here; the others pay nothing for it. Who is banned is so under that limit too: with
the ban's end his refusals begin anew, also where the time in which they count is longer than the ban.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from headgate.limits.decision import Banned, Decision
from headgate.limits.keytext import shown
from headgate.limits.memo import PerLimit
from headgate.limits.refusals import refusals
from headgate.model.config import Ban
from headgate.model.snapshot import LimitState
from headgate.model.words import counted
from headgate.store.base import Check, Store
from headgate.wire.messages import KeyBanned, Message

logger = logging.getLogger("headgate.worker")


class Bans:
    """What a worker knows of bans."""

    def __init__(self, store: Callable[[], Store], send: Callable[[Message], None]) -> None:
        """store: gives the one that is used now. send: tells the supervisor."""
        self._store = store
        self._send = send
        self._refusals = PerLimit(refusals)

    def refused(self, checks: Sequence[Check], decisions: Sequence[Decision]) -> None:
        """A request was refused. decisions: of these checks, or of those of them that refuse."""
        # By slot: what a store elsewhere could not decide was decided by a part of the limit.
        asked = {limit.slot: (limit, key) for limit, key, _ in checks}
        for decision in decisions:
            limit, key = asked[decision.limit.slot]
            if decision.allowed or decision.unavailable or isinstance(decision, Banned):
                continue
            ban, counter = limit.limit.ban, self._refusals.of(limit)
            if ban is None or counter is None:
                continue
            counted = partial(self._counted, limit, counter, key, ban)
            now = self._store().hit([(counter, key, 1)], counted)
            if now is not None:
                counted(now)

    def _counted(
        self, limit: LimitState, counter: LimitState, key: bytes, ban: Ban, decisions: Sequence[Decision]
    ) -> None:
        told = decisions[0]
        if told.unavailable or told.remaining or isinstance(told, Banned):
            return
        if told.allowed:  # the last one that is borne, told once
            logger.info(
                "limit %s: %s is banned for %g s after %s",
                limit.limit.name,
                shown(key),
                ban.period,
                counted(ban.refusals, "refusal"),
            )
            self._send(KeyBanned(limit.limit.name, key, ban.period, ban.refusals))
        for one in (limit, counter):
            self._store().ban(one, key, ban.period)
