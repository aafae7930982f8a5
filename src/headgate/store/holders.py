"""Who holds how many places in Redis: limits on what is in flight, exact over machines that may die.

A holder is one connection of one worker. What it holds of a key counts for half a minute at the most after it was last
heard of, on the clock of Redis; workers speak of all that they hold every ten seconds. So what a machine held that is
gone is free again, and nobody has to notice.

Each worker knows what it holds (`Holders`), wherever it is counted, and each command but a question says it: so many at
least, and as many more as questions are on their way whose answers are not known yet. Whatever got lost, by an emptied
Redis or a failover, is so put right with the next one. Between these two it says what has changed: so many are given
back, or were taken without Redis and are new to it (less than nothing is given back).

A new connection is a new holder. What was sent on an old one may still arrive: it then counts for a holder that nobody
renews, and can take nothing from what the new one says. Its last words to a key are removed as the new one names it:
until Redis has answered that, each word to the key says it, however many connections are lost meanwhile. Old ones are
looked for at every key that is held, or of which something was on its way when the connection was lost.
While Redis is down, what is held is counted on this machine, with what passes there; when it is back, Redis is told.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil

from headgate.limits.decision import Decision, Holding
from headgate.model.snapshot import LimitState
from headgate.store import holding
from headgate.store.base import Check, LocalStore, Resume
from headgate.store.link import is_passing
from headgate.store.resp import ErrorReply, Reply, command
from headgate.store.script import Rule, forms

OnReply = Callable[[Reply], object]

TERM = 30.0  # seconds
_PIECE = 100  # keys that are renewed at one go
_OLD = 64  # holders of a key: more connections than can be lost while what the first has said still counts


class Hold:
    """What this worker holds of a key: in all, how much of it is counted on this machine, and what it has asked for.

    untold: how much of it the present holder has not told Redis yet. share: the part of the limit that stands for it on
    this machine. old: holders that may still have some from before. is_unheard: whether Redis refused a word to it.
    """

    __slots__ = ("asked", "count", "here", "is_unheard", "key", "limit", "old", "share", "untold")

    def __init__(self, limit: LimitState, key: bytes) -> None:
        self.limit = limit
        self.key = key
        self.count = 0
        self.here = 0
        self.asked = 0
        self.untold = 0
        self.share = limit
        self.old: tuple[bytes, ...] = ()
        self.is_unheard = False

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to say of it."""
        return not self.count and not self.asked and not self.old and not self.is_unheard


class Asked:
    """A `resume` that notes what Redis said before it passes it on."""

    __slots__ = ("_checks", "_resume", "_taken")

    def __init__(self, taken: Sequence[tuple[Hold, int]], checks: Sequence[Check], resume: Resume) -> None:
        """taken: what was asked for, and how much of it."""
        self._taken = taken
        self._checks = checks
        self._resume = resume

    def __call__(self, decisions: Sequence[Decision]) -> None:
        passes = bool(decisions) and not isinstance(decisions, Here) and all([one.allowed for one in decisions])  # noqa: C419
        for held, cost in self._taken:
            held.asked -= cost
            if passes:
                held.count += cost
        self._resume(decisions)

    def moved_to(self, holders: "Holders") -> Resume:
        """Who waits, where another master of a Cluster is asked instead: what that one gives is held of it."""
        for held, cost in self._taken:
            held.asked -= cost
        return holders.asks(self._checks, self._resume)


class Here(list[Decision]):
    """Decisions that were made on this machine, where what they gave is noted already."""


class Holders:
    """What one worker holds. id: the present holder, which rules write into their questions.

    As long as `is_here`, because Redis is down, this machine counts.
    """

    def __init__(
        self,
        local: LocalStore,
        share: Callable[[LimitState], LimitState],
        rule_of: Callable[[LimitState], Rule],
        send: Callable[[LimitState, bytes, bytes, OnReply], None],
        term: float,
    ) -> None:
        """share: the part of a limit for this machine. rule_of: how Redis is told of one.

        send: a command about a key, and who is to have the reply, None when there will be none. term: in seconds.
        """
        self._local = local
        self._share = share
        self._rule_of = rule_of
        self._send = send
        self._held: dict[bytes, Hold] = {}
        self._rest: list[bytes] = []  # the names of what is still to be renewed: it may end, and begin anew, meanwhile
        self._on_their_way = 0
        self._is_known = False  # the script, to Redis
        self._says_all = False  # also of what there was nothing more to say
        self.is_here = False
        self.term = b"%d" % ceil(term * 1000)
        self.id = _name()

    def asks(self, checks: Sequence[Check], resume: Resume) -> Resume:
        """Redis is about to be asked for places; who is to have its answer."""
        taken: list[tuple[Hold, int]] = []
        for limit, key, cost in checks:
            if (rule := self._rule_of(limit)).holds:
                held = self._of(rule, limit, key)
                held.asked += cost
                taken.append((held, cost))
        return Asked(taken, checks, resume)

    def took_here(self, checks: Sequence[Check], decisions: Sequence[Decision]) -> None:
        """A request passed on this machine: its places are counted here."""
        for (limit, key, cost), decision in zip(checks, decisions, strict=True):
            if isinstance(decision, Holding):
                held = self._of(self._rule_of(limit), limit, key)
                held.count += cost
                held.here += cost
                held.untold += cost
                self._share_as(held, decision.limit, held.here - cost)

    def has(self, limit: LimitState, key: bytes) -> bool:
        """Whether something is held of the key."""
        held = self._held.get(self._rule_of(limit).name(key))
        return held is not None and held.count > 0

    def release(self, checks: Sequence[Check]) -> None:
        """Gives places back, wherever they are counted."""
        for limit, key, cost in checks:
            held = self._of(self._rule_of(limit), limit, key)
            back = min(cost, held.count)
            held.count -= back
            if held.here:
                self._local.release([(held.share, key, min(cost, held.here))])
                held.here -= min(cost, held.here)
            if not self.is_here:
                self._say(held, back)
                continue
            held.untold = held.count
            if held.is_over:  # nobody renews, and so tidies up, until Redis is back
                self._held.pop(self._rule_of(limit).name(key), None)

    def unheard(self, limit: LimitState, key: bytes) -> None:
        """Redis refused a word to the key for a reason that passes: it is said with what is renewed next.

        Each word says all that is held, so one that is said again can give nothing back twice.
        """
        if (rule := self._rule_of(limit)).holds:
            held = self._of(rule, limit, key)
            held.is_unheard, held.untold = True, held.count  # whatever it was to say

    def lost(self, unanswered: Iterable[tuple[LimitState, bytes]] = ()) -> None:
        """The connection is gone: this machine counts what is held, until Redis is back.

        unanswered: keys of which Redis was told something that it may have heard or not.
        """
        if self.is_here:  # there was no connection since
            return
        old, self.id, self.is_here = self.id, _name(), True
        self._rest, self._on_their_way, self._is_known = [], 0, False
        self._tidy()
        for limit, key in unanswered:
            if (rule := self._rule_of(limit)).holds:
                self._of(rule, limit, key)
        for held in self._held.values():
            held.old = (*held.old, old)[-_OLD:]
            held.untold = held.count
            if held.limit.limit.on_store_error == "local":
                self._share_as(held, self._share(held.limit), held.here)
                self._local.hold([(held.share, held.key, held.count - held.here)])
                held.here = held.count

    def _share_as(self, held: Hold, share: LimitState, before: int) -> None:
        """This part of the limit stands for it from now on; before: how much is counted under the one until now."""
        if before and held.share is not share:
            self._local.release([(held.share, held.key, before)])
            self._local.hold([(share, held.key, before)])
        held.share = share

    def back(self) -> None:
        """There is a connection again: Redis counts from here on, and `renew` is to follow."""
        self.is_here = False

    def renew(self) -> None:
        """Tells Redis of all that is held: a part, and the next one when that is answered.

        All at once would hold up what else is asked for longer than its deadline.
        """
        if not self._says_all or not self._rest:  # else it is about to be told of more than that
            self._tidy()
            self._rest, self._says_all = list(self._held), False
        self._renew_some()

    def _renew_some(self) -> None:
        while self._rest and not self._on_their_way:
            some, self._rest = self._rest[:_PIECE], self._rest[_PIECE:]
            held = [self._held[name] for name in some if name in self._held]
            held = [one for one in held if self._says_all or not one.is_over]
            self._on_their_way += len(held)
            for one in held:
                self._renew_one(one)

    def _renew_one(self, held: Hold) -> None:
        if held.here:
            self._local.release([(held.share, held.key, held.here)])
            held.here = 0
        held.is_unheard = False
        self._say(held, told=self._renewed)

    def _renewed(self, reply: Reply) -> None:
        self._heard(reply)
        self._on_their_way = max(0, self._on_their_way - 1)
        if not self.is_here:
            self._renew_some()

    def leave(self) -> None:
        """Gives back all that is held in Redis; it is still held, but nobody would say so any more."""
        self._tidy()
        for held in self._held.values():
            self._send(held.limit, held.key, self._command(held, 0, 0, 0), self._heard)

    def _say(self, held: Hold, back: int = 0, told: OnReply | None = None) -> None:
        told = told or self._heard
        if held.old:
            told = partial(self._removed, held, held.old, told)
        self._send(held.limit, held.key, self._command(held, back - held.untold, held.count, held.asked), told)
        held.untold = 0

    def _heard(self, reply: Reply) -> None:
        """What is said with the next word to Redis, too, needs no answer, unless Redis has lost the words."""
        if isinstance(reply, bytes):
            self._is_known = True
        elif isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT" and self._is_known:
            self._is_known, self._says_all = False, True
            self._rest = list(self._held)
            self._renew_some()

    def _removed(self, held: Hold, old: tuple[bytes, ...], told: OnReply, reply: Reply) -> None:
        """These have nothing any more, if Redis answered; what it refuses will be no better later, but what passes."""
        if reply is not None and not (isinstance(reply, ErrorReply) and is_passing(reply)):
            held.old = tuple([one for one in held.old if one not in old])
        told(reply)

    def _command(self, held: Hold, back: int, least: int, asked: int) -> bytes:
        form = FORMS[not self._is_known]
        name = self._rule_of(held.limit).name(held.key)
        who = b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(self.id), self.id, len(self.term), self.term)
        numbers = _bulk(back) + _bulk(least) + _bulk(asked)
        old = b"".join([b"$%d\r\n%b\r\n" % (len(one), one) for one in held.old]) if held.old else b""
        return b"*%d\r\n%b$1\r\n1\r\n%b%b%b%b" % (9 + len(held.old), form, name, who, numbers, old)

    def _of(self, rule: Rule, limit: LimitState, key: bytes) -> Hold:
        """By the key's name in Redis: a reload makes another object of the same limit."""
        name = rule.name(key)
        return self._held.get(name) or self._held.setdefault(name, Hold(limit, key))

    def _tidy(self) -> None:
        """Forgets what there is nothing more to say of."""
        self._held = {name: held for name, held in self._held.items() if not held.is_over}


def _bulk(number: int) -> bytes:
    return _SMALL[number] if 0 <= number < len(_SMALL) else command(number)[4:]


FORMS = forms(holding.SAY)
_SMALL = [command(number)[4:] for number in range(64)]


def _name() -> bytes:
    return os.urandom(8).hex().encode()
