"""What a worker says to Redis of what it holds: so many at least, and as many more as may have been taken by now."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.limits.decision import Decision, Holding
from headgate.limits.memo import PerLimit
from headgate.model.snapshot import LimitState
from headgate.store import holding
from headgate.store.base import Check
from headgate.store.holders import Asked, Here, Hold, Holders
from headgate.store.memory import MemoryStore
from headgate.store.resp import ErrorReply, Reader, Reply
from headgate.store.script import Rule
from headgate.testing.clock import ManualClock
from headgate.testing.stores import never
from tests.unit.store.limits import limit
from tests.unit.store.test_held import in_flight

K = b"192.0.2.1"
FLYING = in_flight(5)
CHECK = (FLYING, K, 1)


def open_of(holders: Holders) -> list[Hold]:
    """The keys of which there is more to say."""
    return [held for held in holders._held.values() if not held.is_over]


class Desk:
    """A worker's holders with what they said: (back, least, asked, olds) of each command."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []
        self.waiting: list[Callable[[Reply], object]] = []
        self.told: list[Sequence[Decision]] = []
        self.local = MemoryStore(ManualClock())
        self.share = FLYING  # of this machine
        rules = PerLimit(lambda one: Rule(one, "p"))
        self.holders = Holders(self.local, lambda limit: self.share, rules.of, self._hear, 30.0)

    def _hear(self, limit: LimitState, key: bytes, command: bytes, told: Callable[[Reply], object]) -> None:
        assert b"concurrency" in command
        assert key in command
        self.commands += Reader().feed(command)  # type: ignore[arg-type]
        self.waiting.append(told)

    def answer(self) -> None:
        """Redis answers what it was told so far."""
        waiting, self.waiting = self.waiting, []
        for told in waiting:
            told(b"OK")

    def said(self) -> list[tuple[int, int, int, tuple[bytes, ...]]]:
        """What was said since this was last asked, and is answered now."""
        self.answer()
        commands, self.commands = self.commands, []
        for command in commands:
            assert command[0] in (b"EVAL", b"EVALSHA")
            assert command[2:6] == [b"1", b"p:flying:client_ip:concurrency:5/1:" + K, self.holders.id, b"30000"]
        return [(int(c[6]), int(c[7]), int(c[8]), tuple(c[9:])) for c in commands]

    def takes(self, *checks: Check) -> None:
        """Asks for places and gets them."""
        self.holders.asks(checks, self.told.append)([Holding(True, one, 0, 0) for one, _, _ in checks])

    def in_local(self, share: LimitState = FLYING) -> int:
        return share.limit.rate.limit - self.local.hit([(share, K, 0)], never)[0].remaining

    def passes_here(self) -> None:
        self.holders.took_here([CHECK], self.local.hit([(self.share, K, 1)], never))


def test_what_is_given_back_is_said_with_what_is_held_still() -> None:
    desk = Desk()
    desk.takes(CHECK, (limit(3), K, 1), (FLYING, K, 2))
    assert len(desk.told) == 1
    desk.holders.release([(FLYING, K, 2), CHECK])
    assert desk.said() == [(2, 1, 0, ()), (1, 0, 0, ())]
    assert not open_of(desk.holders)


def test_what_is_asked_meanwhile_may_be_held_or_not() -> None:
    desk = Desk()
    desk.takes(CHECK)
    answer = desk.holders.asks([CHECK], desk.told.append)
    refusal = desk.holders.asks([CHECK, (limit(3), K, 1)], desk.told.append)
    desk.holders.release([CHECK])
    assert desk.said() == [(1, 0, 2, ())]
    answer([Holding(True, FLYING, 0, 0)])
    refusal([Holding(True, FLYING, 0, 0), Decision(False, limit(3), 0, 5)])
    desk.holders.renew()
    assert desk.said() == [(0, 1, 0, ())]


def test_more_than_is_held_cannot_be_given_back() -> None:
    desk = Desk()
    desk.takes(CHECK)
    desk.holders.release([(FLYING, K, 3)])
    assert desk.said() == [(1, 0, 0, ())]


def test_a_reloaded_limit_is_the_same_limit() -> None:
    desk = Desk()
    again = in_flight(5)
    desk.takes(CHECK)
    desk.takes((again, K, 1))
    desk.holders.release([(again, K, 1)])
    assert desk.said() == [(1, 1, 0, ())]


def test_a_question_that_was_answered_here_took_nothing_in_redis() -> None:
    desk = Desk()
    decisions = Here([Holding(True, FLYING, 0, 0)])
    desk.holders.asks([CHECK], desk.told.append)(decisions)
    assert desk.told == [decisions]
    assert not desk.holders.has(FLYING, K)
    desk.takes(CHECK)
    assert desk.holders.has(FLYING, K)
    assert not desk.holders.has(FLYING, b"other")


def test_a_question_that_another_master_answers_is_held_of_that_one() -> None:
    desk, other = Desk(), Desk()
    asked = desk.holders.asks([CHECK], desk.told.append)
    assert isinstance(asked, Asked)
    asked.moved_to(other.holders)([Holding(True, FLYING, 0, 0)])
    assert len(desk.told) == 1
    assert not open_of(desk.holders)
    assert other.holders.has(FLYING, K)


def test_without_redis_this_machine_counts_and_the_next_connection_takes_over() -> None:
    desk = Desk()
    desk.takes((FLYING, K, 3))
    before = desk.holders.id
    desk.holders.lost()
    assert desk.holders.id != before
    assert desk.in_local() == 3
    checks = [CHECK, (in_flight(9, "free", "allow"), K, 1)]
    desk.holders.took_here(checks, [desk.local.hit([CHECK], never)[0], Decision(True, checks[1][0], 9, 0)])
    desk.holders.release([(FLYING, K, 2)])
    assert desk.in_local() == 2
    assert desk.said() == []
    desk.holders.lost()  # once more, before it was back
    desk.holders.back()
    desk.holders.renew()
    assert desk.said() == [(-2, 2, 0, (before,))]
    assert desk.in_local() == 0
    desk.holders.renew()
    assert desk.said() == [(0, 2, 0, ())]
    desk.holders.release([(FLYING, K, 2)])
    assert desk.said() == [(2, 0, 0, ())]
    assert not open_of(desk.holders)


def test_what_began_and_ended_without_redis_is_forgotten_however_long_that_lasts() -> None:
    desk = Desk()
    desk.takes(CHECK)
    desk.holders.lost()
    for number in range(100):
        check = (FLYING, b"%d" % number, 1)
        desk.holders.took_here([check], desk.local.hit([check], never))
        desk.holders.release([check])
    assert [held.key for held in desk.holders._held.values()] == [K]


def test_what_ended_without_redis_is_taken_from_the_old_holder() -> None:
    desk = Desk()
    desk.takes(CHECK)
    before = desk.holders.id
    desk.holders.lost()
    desk.holders.release([CHECK])
    assert desk.in_local() == 0
    desk.holders.back()
    desk.holders.renew()
    assert desk.said() == [(0, 0, 0, (before,))]
    assert not open_of(desk.holders)


def test_an_old_holder_is_removed_until_redis_has_said_so() -> None:
    desk = Desk()
    desk.takes(CHECK)
    olds = []
    for _ in range(3):  # connections that are lost before Redis has answered, and before it was told anything
        olds.append(desk.holders.id)
        desk.holders.lost()
        desk.holders.lost()  # there was none in between
        desk.holders.back()
        if len(olds) < 3:
            desk.holders.renew()
            waiting, desk.waiting = desk.waiting, []
            for told in waiting:
                told(None)
    desk.commands.clear()
    desk.holders.renew()
    desk.holders.release([CHECK])
    assert desk.said() == [(-1, 1, 0, tuple(olds)), (1, 0, 0, tuple(olds))]
    assert not open_of(desk.holders)


def test_what_redis_cannot_remove_is_not_said_for_ever() -> None:
    desk = Desk()
    desk.takes(CHECK)
    before = desk.holders.id
    desk.holders.lost()
    desk.holders.back()
    desk.holders.renew()
    (told,) = desk.waiting
    told(ErrorReply("OOM command not allowed"))
    desk.waiting.clear()
    desk.holders.renew()
    (told,) = desk.waiting
    told(ErrorReply("WRONGTYPE"))
    desk.waiting.clear()
    desk.holders.renew()
    assert [tuple(command[9:]) for command in desk.commands] == [(before,), (before,), ()]


@pytest.mark.parametrize("goes", [False, True], ids=["on this connection", "on the next"])
def test_a_give_back_that_was_refused_for_now_is_said_again_until_it_is_heard(goes: bool) -> None:
    desk = Desk()
    desk.takes(CHECK)
    desk.holders.release([CHECK])
    desk.answer()
    for _ in range(2):
        desk.holders.unheard(FLYING, K)
        desk.commands.clear()
        before = desk.holders.id
        if goes:
            desk.holders.lost()
            desk.holders.back()
        desk.holders.renew()
        assert desk.said() == [(0, 0, 0, (before,) * goes)]
    assert not open_of(desk.holders)
    desk.holders.unheard(limit(3), K)
    assert not open_of(desk.holders)


def test_old_holders_are_bounded() -> None:
    desk = Desk()
    desk.takes(CHECK)
    for _ in range(100):
        desk.holders.lost()
        desk.holders.back()
    desk.holders.renew()
    assert len(desk.commands[-1]) == 9 + 64


def test_a_give_back_that_redis_may_not_have_heard_is_said_again() -> None:
    desk = Desk()
    desk.takes(CHECK)
    before = desk.holders.id
    desk.holders.release([CHECK])
    desk.commands.clear()
    desk.holders.lost([(FLYING, K), (limit(3), K)])  # an operator's word about a count may be on its way, too
    desk.holders.back()
    desk.holders.renew()
    assert desk.said() == [(0, 0, 0, (before,))]
    assert not open_of(desk.holders)


def test_what_passed_here_and_ends_before_redis_was_told_is_taken_from_both() -> None:
    desk = Desk()
    desk.holders.lost()
    desk.holders.took_here([CHECK], desk.local.hit([CHECK], never))
    desk.holders.back()
    desk.takes(CHECK)
    desk.holders.release([CHECK])
    assert desk.in_local() == 0
    assert desk.said() == [(0, 1, 0, ())]


@pytest.mark.parametrize("released", [True, False], ids=["released", "renewed"])
@pytest.mark.parametrize("held_before", [True, False], ids=["held before", "passed here"])
def test_what_redis_was_not_told_of_hides_nothing_of_what_it_may_have_given_meanwhile(
    held_before: bool, released: bool
) -> None:
    desk = Desk()
    if held_before:
        desk.takes(CHECK)
    desk.holders.lost()
    if not held_before:
        desk.holders.took_here([CHECK], desk.local.hit([CHECK], never))
    desk.holders.back()
    desk.holders.asks([CHECK], desk.told.append)  # it is on its way, and taken before the next word is heard
    if released:
        desk.holders.release([CHECK])
    else:
        desk.holders.renew()
    assert [told[:3] for told in desk.said()] == [(0, 0, 1) if released else (-1, 1, 1)]
    desk.holders.renew()
    assert [told[:3] for told in desk.said()] == [(0, 0, 1) if released else (0, 1, 1)]


def test_what_redis_was_not_told_of_before_it_goes_again_counts_under_the_share_of_then() -> None:
    desk, half = Desk(), in_flight(2)
    desk.takes(CHECK)
    desk.holders.lost()
    desk.passes_here()
    assert desk.in_local() == 2
    desk.holders.back()
    desk.share = half  # another Headgate was heard of
    desk.holders.lost()
    assert (desk.in_local(), desk.in_local(half)) == (0, 2)
    desk.holders.release([CHECK, CHECK])
    assert (desk.in_local(), desk.in_local(half)) == (0, 0)


def test_what_passes_here_counts_under_one_share() -> None:
    desk, half = Desk(), in_flight(2)
    desk.passes_here()  # a key whose value in Redis is none of ours
    desk.share = half
    desk.passes_here()
    assert (desk.in_local(), desk.in_local(half)) == (0, 2)
    desk.holders.release([CHECK, CHECK])
    assert (desk.in_local(), desk.in_local(half)) == (0, 0)


@pytest.mark.parametrize("on_store_error", ["allow", "deny"])
def test_a_limit_that_does_not_count_here_is_not_counted_here(on_store_error: str) -> None:
    desk = Desk()
    one = in_flight(5, on_store_error=on_store_error)
    desk.takes((one, K, 2))
    desk.holders.lost()
    assert desk.in_local() == 0
    desk.holders.release([(one, K, 1)])
    desk.holders.back()
    desk.holders.renew()
    assert [told[:3] for told in desk.said()] == [(-1, 1, 0)]


def test_who_leaves_holds_nothing() -> None:
    desk = Desk()
    desk.takes(CHECK)
    desk.holders.asks([CHECK], desk.told.append)
    desk.holders.leave()
    assert desk.said() == [(0, 0, 0, ())]


def test_who_leaves_does_not_speak_of_what_has_ended() -> None:
    desk = Desk()
    desk.takes(CHECK)
    desk.holders.release([CHECK])
    assert desk.said() == [(1, 0, 0, ())]
    desk.holders.leave()
    assert desk.said() == []


def test_much_is_told_in_parts_each_when_the_one_before_is_answered() -> None:
    desk = Desk()
    for number in range(250):
        desk.takes((FLYING, b"%d" % number, 1))
    desk.holders.renew()
    desk.holders.renew()  # while it is at it, it begins anew with what is left to say
    told = []
    for _ in range(4):
        told.append(len(desk.commands))
        desk.answer()
    assert told == [100, 200, 300, 350]
    assert not desk.waiting


def test_what_ends_and_begins_anew_while_much_is_told_is_still_held() -> None:
    desk = Desk()
    checks = [(FLYING, b"%d" % number, 1) for number in range(250)]
    for check in checks:
        desk.takes(check)
    desk.holders.renew()
    desk.holders.release(checks[100:])
    desk.takes(checks[-1])
    desk.commands.clear()
    desk.answer()
    desk.answer()
    assert [(int(c[6]), int(c[7]), int(c[8])) for c in desk.commands] == [(0, 1, 0)]
    assert desk.holders.has(FLYING, b"249")


def test_what_was_to_be_told_is_told_anew_with_the_next_connection() -> None:
    desk = Desk()
    for number in range(150):
        desk.takes((FLYING, b"%d" % number, 1))
    desk.holders.renew()
    desk.holders.lost()
    desk.answer()  # late, or never
    assert len(desk.commands) == 100
    desk.holders.back()
    desk.holders.renew()
    desk.answer()
    assert len(desk.commands) == 250


def test_the_script_goes_along_with_the_first_word_on_a_connection() -> None:
    desk = Desk()
    for _ in range(2):
        desk.takes(CHECK, CHECK)
        desk.holders.release([CHECK, CHECK])
        desk.answer()
        desk.takes(CHECK)
        desk.holders.release([CHECK])
        text, digest = holding.SAY, hashlib.sha1(holding.SAY).hexdigest().encode()
        assert [command[:2] for command in desk.commands] == [[b"EVAL", text]] * 2 + [[b"EVALSHA", digest]]
        desk.holders.lost()
        desk.holders.back()
        desk.commands.clear()


def test_a_redis_that_lost_the_script_is_told_all_anew() -> None:
    desk = Desk()
    other = (FLYING, b"other", 1)
    desk.takes(CHECK, other, other)
    desk.holders.release([other, CHECK, other])
    desk.answer()
    desk.takes(CHECK, other)
    desk.holders.release([other, CHECK])
    lost, desk.waiting = desk.waiting, []
    desk.commands.clear()
    for told in lost:
        told(ErrorReply("NOSCRIPT No matching script."))
    assert [command[0] for command in desk.commands] == [b"EVAL", b"EVAL"], "once, and of all that was held of late"
    assert {command[3].rpartition(b":")[2] for command in desk.commands} == {K, b"other"}
    assert [command[6:] for command in desk.commands] == [[b"0", b"0", b"0"]] * 2
    desk.answer()
    assert not desk.waiting


def test_a_redis_that_lost_the_script_is_told_all_anew_although_it_is_time_to_renew() -> None:
    desk = Desk()
    checks = [(FLYING, b"%d" % number, 1) for number in range(150)]
    desk.takes(*checks)
    desk.holders.release(checks[:1])
    desk.answer()
    desk.holders.release(checks[1:])
    lost, desk.waiting = desk.waiting, []
    desk.commands.clear()
    for told in lost:
        told(ErrorReply("NOSCRIPT No matching script."))
    desk.holders.renew()
    desk.answer()
    assert {command[3].rpartition(b":")[2] for command in desk.commands} == {key for _, key, _ in checks}
    desk.answer()
    desk.holders.renew()
    assert not desk.holders._held


def test_holders_are_told_apart_from_a_ban() -> None:
    assert len(Desk().holders.id) == 16


class Line:
    """Holders on a connection to a Redis of a few lines, in which each command is sent, executed and answered apart."""

    def __init__(self) -> None:
        self.redis: Counter[bytes] = Counter()  # by holder
        self.sent: deque[tuple[Callable[[], None], Callable[[bool], object], int]] = deque()
        self.executed: deque[Callable[[bool], object]] = deque()
        self.words: dict[Callable[[bool], object], Callable[[Reply], object]] = {}  # of `sent`, which are no questions
        self.granted = 0  # by Redis, which the worker does not know yet
        self.is_told = False  # whether Redis has executed a word on this connection
        self.live = 0
        self.ending = 0  # what the word that is sent gives back
        rules = PerLimit(lambda one: Rule(one, "p"))
        self.local = MemoryStore(ManualClock())
        self.holders = Holders(self.local, lambda limit: limit, rules.of, self._hear, 30.0)

    def _hear(self, limit: LimitState, key: bytes, command: bytes, told: Callable[[Reply], object]) -> None:
        words = cast("list[bytes]", Reader().feed(command)[0])
        holder, (back, least, asked), olds = words[4], map(int, words[6:9]), words[9:]

        def execute() -> None:
            for old in olds:
                del self.redis[old]
            self.redis[holder] = min(max(self.redis[holder] - back, least), least + asked)
            self.is_told = True

        def hear(heard: bool) -> None:
            told(b"OK" if heard else None)

        self.words[hear] = told
        self.sent.append((execute, hear, self.ending))

    def ask(self) -> None:
        if self.holders.is_here:
            return
        holder = self.holders.id
        answer = self.holders.asks([CHECK], lambda decisions: None)

        def execute() -> None:
            self.redis[holder] += 1
            self.granted += 1

        def told(heard: bool) -> None:
            self.granted -= heard
            self.live += heard
            answer([Holding(True, FLYING, 0, 0)] if heard else Here())

        self.sent.append((execute, told, 0))

    def end(self) -> None:
        if self.live:
            self.live -= 1
            self.ending = 1
            self.holders.release([CHECK])
            self.ending = 0

    def execute(self) -> None:
        if self.sent:
            execute, told, _ = self.sent.popleft()
            execute()
            self.executed.append(told)

    def refuse(self) -> None:
        """Redis is full, say, until all that was sent is answered; who hears so of a question goes."""
        while self.executed:
            self.answer()
        while self.sent:
            told = self.words.get(self.sent[0][1])
            if told is None:
                self.break_()
                return
            self.sent.popleft()
            self.is_told = False
            self.holders.unheard(FLYING, K)
            told(ErrorReply("OOM command not allowed"))

    def answer(self) -> None:
        if self.executed:
            self.executed.popleft()(True)

    def break_(self) -> None:
        """What was executed stays so, and nobody hears of it."""
        self.holders.lost([(FLYING, K)] if self.sent or self.executed else [])
        waiting = [*self.executed, *[told for _, told, _ in self.sent]]
        self.sent.clear()
        self.executed.clear()
        self.granted = 0
        for told in waiting:
            told(False)

    def reconnect(self) -> None:
        if self.holders.is_here:
            self.is_told = False
            self.holders.back()

    def renew(self) -> None:
        if not self.holders.is_here:
            self.holders.renew()

    def pass_here(self) -> None:
        if self.holders.is_here:
            self.holders.took_here([CHECK], [Holding(True, FLYING, 0, 0)])
            self.local.hold([CHECK])
            self.live += 1

    def agrees(self) -> None:
        assert self.live == sum(held.count for held in self.holders._held.values())
        if self.is_told and not self.holders.is_here:
            ending = sum(ends for _, _, ends in self.sent)
            assert sum(self.redis.values()) == self.live + self.granted + ending


STEPS = [Line.ask, Line.ask, Line.end, Line.end, Line.execute, Line.execute, Line.answer, Line.answer]
STEPS += [Line.break_, Line.reconnect, Line.reconnect, Line.pass_here, Line.renew, Line.refuse]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(STEPS), min_size=40, max_size=80))
def test_redis_knows_what_is_held_whatever_is_on_its_way_and_lost(steps: list[Callable[[Line], None]]) -> None:
    line = Line()
    for step in steps:
        step(line)
        line.agrees()
    line.reconnect()
    line.holders.renew()
    while line.sent or line.executed:
        line.execute()
        line.answer()
    line.holders.renew()
    line.execute()
    assert sum(line.redis.values()) == line.live
    assert line.local.hit([(FLYING, K, 0)], never)[0].remaining == 5
