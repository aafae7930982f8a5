"""Limits in Redis: exact over any number of Headgates that name the same one.

All checks of one turn of the event loop travel as one write, and each is one atomic script (`store/script.py`); so a
limit in Redis costs little more than none. A client that is known to be over its limit is refused here, without asking
(`store/known.py`).

Redis can be slow, gone, full or read-only, and no request may fail or hang for it: a check waits for the store's
`deadline` at most, and when Redis fails (`pipeline.py`) what waits and what comes is decided at once by
`on_store_error`.
"""

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import cast

from headgate.limits.decision import Decision
from headgate.limits.refusals import REFUSALS
from headgate.model import config
from headgate.model.snapshot import LimitState
from headgate.store import known, script
from headgate.store.base import Check, LocalStore, Resume, decide_without
from headgate.store.breaker import State
from headgate.store.foreign import Finds, is_foreign
from headgate.store.holders import TERM, Here, Holders
from headgate.store.lease import Leases
from headgate.store.link import brief, is_passing
from headgate.store.peers import Charges, Peers
from headgate.store.pipeline import Pipeline
from headgate.store.place import Place, find
from headgate.store.plain import FAR
from headgate.store.resp import ErrorReply, Reply
from headgate.store.script import Rule
from headgate.store.waiting import Told, Waiting, command, done
from headgate.store.ways import Tally

_RULES = 1024  # limits that are remembered
_KEPT = 4096  # questions of several limits that are remembered, half a kilobyte each

_NO_CHECK = script.SIGN  # forms from here on: no request waits for them


class _Kept:
    """A question of several limits, ready to be asked again. It holds the checks, so that their id() stays their own.

    overs: `over` of each rule. far: the decisions where all limits are far from their end.
    """

    __slots__ = ("checks", "command", "far", "holds", "overs", "rules")

    def __init__(self, checks: Sequence[Check], rules: Sequence[Rule]) -> None:
        self.checks = checks
        self.rules = rules
        self.command = script.ask(rules, checks)
        self.far: Sequence[Decision] = [rule.far[0] for rule in rules]
        self.overs = [rule.over for rule in rules]
        self.holds = any(rule.holds for rule in rules)


class RedisStore(Pipeline):
    """A store in Redis. It belongs to one event loop and begins to connect as soon as that runs."""

    _rule: type[Rule] = Rule

    def __init__(
        self,
        store: config.Store,
        local: LocalStore,
        loop: asyncio.AbstractEventLoop,
        *,
        on_change: Callable[[bool], None] = lambda down: None,
        on_error: Callable[[LimitState], None] = lambda limit: None,
        on_time: Callable[[float], None] = lambda seconds: None,
        chance: Callable[[], float] = random.random,
        name: bytes = b"",
        place: Place | None = None,
        term: float = TERM,
    ) -> None:
        """local: decides while Redis cannot, for limits that say so.

        on_change: called with whether Redis is down, at each change. on_error: called with each limit that
        `on_store_error` decides, once for each request. on_time: called with how long Redis took, for some of the
        questions (`stopwatch.py`). chance: from 0 to 1, spreads the attempts to reconnect.
        name: of this Headgate among those on the same Redis, the same in all of its workers; a random one if empty.
        place: where Redis is; by default as the URL says. term: seconds for which what this worker holds still counts
        when it is not heard of any more. Raises ValueError when the URL is none.
        """
        found = place or find(store.url, store.prefix)
        super().__init__(found, store.deadline, loop, on_change=on_change, on_time=on_time, chance=chance)
        self._prefix = store.prefix
        self._local = local
        self._on_error = on_error
        self._peers = Peers(store.prefix, name or os.urandom(8).hex().encode(), lambda: int(loop.time() * 1_000_000))
        self._holders = Holders(local, self._peers.share, self._rule_of, self._say, term)
        self._renew_every = term / 3
        self._renewing: asyncio.TimerHandle | None = None
        self._rules: dict[int, Rule] = {}
        self._kept: dict[int, _Kept] = {}
        self._charges = Charges(self._peers, self._send)
        self._finds = Finds()

    @property
    def headgates(self) -> int:
        """How many Headgates lived on this Redis when that was last heard of, this one included."""
        return self._peers.count

    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision] | None:
        """None, and `resume` is called with the decisions; or the decisions, when Redis need not or cannot be asked."""
        if not self._accepts:
            return self._without(checks)
        if len(checks) == 1:
            limit, key, cost = checks[0]
            rule = self._rules.get(id(limit)) or self._enter(limit)
            if rule.over and key in rule.over and (refusal := known.refusal(rule, key, self._loop.time())):
                return [refusal]
            if rule.leases is not None and cost == 1:
                return self._hit_leased(rule, rule.leases, checks, resume)
            command = (rule.asked.get(key) or rule.ask(key)) if cost == 1 else script.ask([rule], checks)
            if rule.holds:
                resume = self._holders.asks(checks, resume)
        else:
            kept = self._kept.get(id(checks)) or self._keep(checks)
            if any(kept.overs) and (refusals := known.refusals(kept.rules, checks, self._loop.time())):
                return refusals
            command = kept.command
            if kept.holds:
                resume = self._holders.asks(checks, resume)
        if not self._flushing:
            self._begin()
        self._waiting.append((checks, resume, self._now, script.BY_HASH))
        self._out.append(command)
        return None

    def _hit_leased(
        self, rule: Rule, leases: Leases, checks: Sequence[Check], resume: Resume
    ) -> Sequence[Decision] | None:
        limit, key, _ = checks[0]
        now = self._loop.time()
        if (decision := leases.take(limit, key, now)) is not None:
            return [decision]
        if not leases.joins((checks, resume), key):
            self._put(checks, partial(self._leased, leases, key, now, resume), now, script.LEASED)
        return None

    def _leased(self, leases: Leases, key: bytes, asked: float, resume: Resume, decisions: Sequence[Decision]) -> None:
        """The question for places is answered: tells him who asked and, in turns of their own, those who waited."""
        for checks, told in leases.answered(key, decisions[0], asked):
            self._loop.call_soon(self._hit_again, checks, told)
        resume(decisions)

    def _hit_again(self, checks: Sequence[Check], resume: Resume) -> None:
        if (decisions := self.hit(checks, resume)) is not None:
            resume(decisions)

    def charge(self, checks: Sequence[Check]) -> None:
        """Takes without asking, or gives back; on this machine while Redis cannot be asked, where the limit says so.

        Redis is told when it is back. What is on its way to it when the connection breaks may be lost.
        """
        if self._accepts:
            checks = self._peers.joined(checks)
        checks = [check for check in checks if check[2]]  # nothing is nothing, where the script would begin a window
        if not checks:
            return
        if self._accepts:
            self._send(script.CHARGE, *checks)
            return
        here = [check for check in checks if check[0].limit.on_store_error == "local"]
        self._local.charge([(self._peers.share(limit), key, cost) for limit, key, cost in here])
        self._peers.passed(*checks)

    def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on, for so long; on this machine alone while Redis cannot be asked."""
        rule = self._rules.get(id(limit)) or self._enter(limit)
        now = self._loop.time()
        known.note(rule, key, now + seconds, now, is_ban=True)
        if rule.leases is not None:
            rule.leases.drop(key)
        if not self._accepts:
            self._local.ban(self._peers.share(limit), key, seconds)
            return
        self._send(script.BAN, (limit, key, max(1, ceil(seconds * 1000))))

    def way(self, checks: Sequence[Check], tallies: Sequence[Tally]) -> None:
        """There is no shorter way than to ask."""

    def gate(self, check: Check, tally: Tally) -> None:
        """Nor here."""

    def forget(self, limit: str, key: bytes) -> None:
        """Forgets what is remembered of a key of the limit of this name: somebody changed what Redis has of it."""
        names = (limit, f"{limit}{REFUSALS}")
        for rule in self._rules.values():
            if rule.limit.limit.name in names:
                rule.over.pop(key, None)
                if rule.leases is not None:
                    rule.leases.drop(key)

    def forget_all(self) -> None:
        """Forgets what is remembered of any key."""
        self._rules.clear()
        self._kept.clear()

    def tell(
        self, limit: LimitState, key: bytes, make: Callable[[Rule], bytes], resume: Callable[[Reply], object]
    ) -> None:
        """Sends Redis another command about a key. make: makes it of the limit's rule.

        `resume` is called later, with the reply, or None when it could not be asked.
        """
        told = Told(make(self._rules.get(id(limit)) or self._enter(limit)), resume)
        if self._accepts:
            self._send(script.TOLD, (limit, key, 0), resume=told)
        else:
            self._loop.call_soon(told, ())

    def release(self, checks: Sequence[Check]) -> None:
        """Gives places back, wherever they are counted."""
        self._holders.release(checks)

    def close(self) -> None:
        """Gives up the connection. What waits, and whatever still comes, is decided by `on_store_error`."""
        if self._breaker.state is State.CLOSED:
            return
        if self._link is not None:
            self._holders.leave()
        self._end()

    # The way of a check.

    def _replied(self, replies: list[Reply]) -> None:
        self._stopwatch.answered(len(replies))
        link = self._link
        for reply in replies:
            if self._link is not link:  # given up: an earlier one of the replies was a failure
                return
            if not self._waiting:
                self._fail("it answered what was not asked")
                return
            waiting = self._waiting.popleft()
            if waiting[3] >= _NO_CHECK:
                self._told(waiting, reply)
                continue
            if reply == FAR:
                waiting[1](self._far(waiting[0]))
                continue
            try:
                decisions = script.decisions(reply, waiting[0]) if isinstance(reply, bytes) else ()
            except ValueError:
                decisions = ()
            if not decisions:
                self._refused(waiting, reply)
                continue
            for decision in decisions:
                if not decision.remaining:
                    known.remember(self._rules_of(waiting[0]), waiting[0], decisions, waiting[2])
                    break
            waiting[1](decisions)

    def _far(self, checks: Sequence[Check]) -> Sequence[Decision]:
        """The decisions on a request all of whose limits are far from their end."""
        if len(checks) == 1:
            return self._rule_of(checks[0][0]).far
        kept = self._kept.get(id(checks))
        return [self._rule_of(check[0]).far[0] for check in checks] if kept is None else kept.far

    def _told(self, waiting: Waiting, reply: Reply) -> None:
        if waiting[3] == script.TOLD:
            if isinstance(reply, ErrorReply) and self._elsewhere(waiting, reply.text):
                return
            if isinstance(reply, ErrorReply) and is_passing(reply):
                self._holders.unheard(*waiting[0][0][:2])
            cast("Told", waiting[1]).reply(reply)
        elif isinstance(reply, bytes):
            waiting[1](())
            if waiting[3] == script.SIGN:
                self._heard(reply)
        elif waiting[3] != script.SIGN:
            self._refused(waiting, reply)
        elif isinstance(reply, ErrorReply):
            self._elsewhere(waiting, reply.text)  # or by an ACL, say: that is no reason to leave Redis

    def _elsewhere(self, waiting: Waiting, text: str) -> bool:
        """Whether the error says that another Redis is to be asked, and is."""
        return False

    def _heard(self, answer: bytes) -> None:
        self._peers.heard(answer)

    def _refused(self, waiting: Waiting, reply: Reply) -> None:
        """Redis does not decide this check."""
        text = reply.text if isinstance(reply, ErrorReply) else "its answer is not that of the script"
        checks, resume, asked, form = waiting
        if self._elsewhere(waiting, text):
            return
        if text.startswith("NOSCRIPT") and (again := script.with_text(form)) is not None:
            self._await(asked)  # it has no more time than before
            self._put(checks, resume, asked, again)
        elif is_foreign(text):
            if form < _NO_CHECK and script.plain_forms(self._rules_of(checks), checks, form):
                # A ban, perhaps, of which the general script knows.
                self._await(asked)
                self._put(checks, resume, asked, script.IN_GENERAL)
            else:
                self._finds.add(checks, self._loop.time())
                resume(self._without(checks) if form < _NO_CHECK else ())
        else:
            if form & ~script.WITH_TEXT == script.CHARGE and isinstance(reply, ErrorReply) and is_passing(reply):
                self._peers.passed(*checks)  # it was not done
            self._waiting.appendleft(waiting)
            self._fail(brief(text))

    def _send(self, form: int, *checks: Check, resume: Resume = done) -> None:
        """Tells Redis something for whose answer no request waits; `resume` is called all the same."""
        self._put(checks, resume, self._loop.time(), form)

    def _put(self, checks: Sequence[Check], resume: Resume, asked: float, form: int) -> None:
        if not self._flushing:
            self._begin()
        self._waiting.append((checks, resume, asked, form))
        is_sign = form == script.SIGN
        self._out.append(self._peers.sign if is_sign else command(self._rules_of(checks), checks, resume, form))

    def _without(self, checks: Sequence[Check]) -> Sequence[Decision]:
        for limit, _, _ in checks:
            self._on_error(limit)
        decisions = decide_without(checks, self._local, self._peers.share)
        if all(decision.allowed for decision in decisions):
            self._holders.took_here(checks, decisions)
            for check in checks:
                if check[0].limit.on_store_error == "local" and not self._rule_of(check[0]).holds:
                    self._peers.passed(check)
        return Here(decisions)

    def _enter(self, limit: LimitState) -> Rule:
        if len(self._rules) >= _RULES:
            self._rules.clear()
            self._kept.clear()
        rule = self._rules[id(limit)] = self._rule(limit, self._prefix)
        rule.held_by(self._holders.id, self._holders.term)
        return rule

    def _keep(self, checks: Sequence[Check]) -> _Kept:
        """The question of several limits. That of a client that will ask it again, a tuple, is kept by its identity."""
        kept = _Kept(checks, self._rules_of(checks))
        if type(checks) is tuple:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[id(checks)] = kept
        return kept

    def _rule_of(self, limit: LimitState) -> Rule:
        return self._rules.get(id(limit)) or self._enter(limit)

    def _say(self, limit: LimitState, key: bytes, command: bytes, told: Callable[[Reply], object]) -> None:
        """Tells Redis what is held of a key: `_send`, without the calls that are not needed for it."""
        if not self._flushing:
            self._begin()
        self._waiting.append((((limit, key, 0),), Told(command, told), self._now, script.TOLD))
        self._out.append(command)

    def _renew(self) -> None:
        """Tells Redis of all that is held, now and again and again."""
        self._renewing = self._loop.call_later(self._renew_every, self._renew)
        self._holders.renew()

    def _rules_of(self, checks: Sequence[Check]) -> list[Rule]:
        return [self._rules.get(id(limit)) or self._enter(limit) for limit, _, _ in checks]

    # What the pipeline tells.

    def _sign(self) -> None:
        self._send(script.SIGN)

    def _came(self) -> None:
        self._holders.back()
        self._charges.begin()
        self._renew()

    def _went(self) -> None:
        self._holders.lost([checks[0][:2] for checks, _, _, form in self._waiting if form == script.TOLD])
        self._kept.clear()
        for rule in self._rules.values():
            rule.held_by(self._holders.id, self._holders.term)
        self._charges.stop()
        if self._renewing is not None:
            self._renewing.cancel()

    def _leave(self, waiting: Waiting) -> None:
        """Decides what Redis does not."""
        checks, resume, _, form = waiting
        if form == script.BAN:
            limit, key, milliseconds = checks[0]
            self._local.ban(self._peers.share(limit), key, milliseconds / 1000)
        # Each in its own call, so that an error in one does not keep the others from being answered.
        self._loop.call_soon(resume, self._without(checks) if form < _NO_CHECK else ())
