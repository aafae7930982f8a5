from headgate.control.refusals import Refusals
from headgate.limits.heavy_hitters import NOTHING, Counter, Summary
from headgate.wire.messages import Top


def test_the_workers_are_added_up() -> None:
    refusals = Refusals()
    refusals.heard(0, (Top("one", 5, 0, ((b"a", 3, 0), (b"b", 2, 0))), Top("two", 1, 0, ((b"x", 1, 0),))))
    refusals.heard(1, (Top("one", 9, 2, ((b"b", 7, 1), (b"c", 2, 0))),))
    assert refusals.of("one") == Summary(14, 2, (Counter(b"b", 9, 1), Counter(b"a", 5, 2), Counter(b"c", 2, 0)))
    assert refusals.of("none") == NOTHING


def test_the_newest_word_counts_and_none_is_one_too() -> None:
    refusals = Refusals()
    refusals.heard(0, (Top("one", 1, 0, ((b"a", 1, 0),)), Top("two", 1, 0, ((b"x", 1, 0),))))
    refusals.heard(0, (Top("one", 2, 0, ((b"a", 2, 0),)), Top("three")))
    assert refusals.of("one").total == 2
    assert refusals.of("two").total == 1
    refusals.heard(0, (Top("one"),))
    assert refusals.of("one") == NOTHING


def test_what_a_dead_worker_told_is_forgotten() -> None:
    refusals = Refusals()
    for row in (0, 1):
        refusals.heard(row, (Top("one", 1, 0, ((b"a", 1, 0),)),))
    refusals.died(1)
    refusals.died(7)
    assert refusals.of("one").total == 1
