from dataclasses import replace

from headgate.limits.decision import Decision
from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState
from headgate.wire.messages import Message, Top, Tops
from headgate.worker.refused import Refused

ONE = LimitState(Limit("one", Rate(3, 60.0)), 0)
TWO = LimitState(Limit("two", Rate(3, 60.0)), 1)


class World:
    """What a worker keeps of refusals, and what the supervisor is told."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.refused = Refused(self.told.append, 0.0)

    def refuse(self, limit: LimitState, key: bytes, times: int = 1) -> None:
        for _ in range(times):
            self.refused.note([(limit, key, 1)], [Decision(False, limit, 0, 1)])

    def tells(self, now: float) -> list[Top]:
        """What it tells at this moment."""
        self.told.clear()
        self.refused.sweep(now)
        return [top for message in self.told if isinstance(message, Tops) for top in message.tops]


def test_what_changed_is_told_every_other_second() -> None:
    world = World()
    world.refuse(ONE, b"a", 2)
    world.refuse(ONE, b"b")
    assert world.tells(1.9) == []
    assert world.tells(2.0) == [Top("one", 3, 0, ((b"a", 2, 0), (b"b", 1, 0)))]
    assert world.tells(4.0) == []
    world.refuse(TWO, b"c")
    assert world.tells(5.9) == []
    assert world.tells(6.0) == [Top("two", 1, 0, ((b"c", 1, 0),))]


def test_of_several_limits_those_that_refuse_are_charged_with_it() -> None:
    world = World()
    share = LimitState(replace(TWO.limit, rate=Rate(1, 60.0)), TWO.slot)  # what decides while Redis is down
    world.refused.note([(ONE, b"a", 1), (TWO, b"b", 1)], [Decision(False, share, 0, 1)])
    assert world.tells(2.0) == [Top("two", 1, 0, ((b"b", 1, 0),))]


def test_who_stopped_is_forgotten_after_two_minutes_at_the_most() -> None:
    world = World()
    world.refuse(ONE, b"a", 2)
    assert len(world.tells(59.9)) == 1
    world.refuse(ONE, b"b")
    assert world.tells(62.0) == [Top("one", 3, 0, ((b"a", 2, 0), (b"b", 1, 0)))]
    world.refuse(ONE, b"b", 4)
    assert world.tells(64.0) == [Top("one", 7, 0, ((b"b", 5, 0), (b"a", 2, 0)))]
    assert world.tells(122.0) == [Top("one", 4, 0, ((b"b", 4, 0),))]
    assert world.tells(182.0) == [Top("one")]
    assert world.tells(242.0) == []
    world.refuse(ONE, b"a")
    assert world.tells(244.0) == [Top("one", 1, 0, ((b"a", 1, 0),))]


def test_a_limit_that_is_gone_or_counts_by_something_else_begins_anew() -> None:
    world = World()
    for limit in (ONE, TWO):
        world.refuse(limit, b"a")
    assert len(world.tells(2.0)) == 2
    world.refused.keep([ONE, LimitState(replace(TWO.limit, rate=Rate(9, 1.0)), TWO.slot)])
    assert world.tells(4.0) == [], "another rate is no other limit: keys have rates of their own"
    other = LimitState(replace(ONE.limit, key="path"), ONE.slot)
    world.refused.keep([other])
    assert sorted(world.tells(6.0), key=lambda top: top.limit) == [Top("one"), Top("two")]
    world.refuse(other, b"=/")
    world.refused.keep([LimitState(replace(other.limit, private=True), 0)])
    world.refuse(other, b"~")
    assert world.tells(8.0) == [Top("one", 1, 0, ((b"~", 1, 0),))]


def test_what_is_known_of_a_limit_is_bounded() -> None:
    world = World()
    for number in range(1000):
        world.refuse(ONE, b"%d" % number)
    world.refuse(ONE, b"often", 500)
    (top,) = world.tells(2.0)
    assert top.total == 1500
    assert len(top.counters) == 128
    key, times, error = top.counters[0]
    assert key == b"often"
    assert times - error <= 500 <= times
