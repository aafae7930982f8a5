from collections import Counter as Truth

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.heavy_hitters import NOTHING, Counter, HeavyHitters, Summary, merged

KEYS = st.integers(0, 20).map(lambda number: b"%d" % number)
# Few keys that come often and many that come once: both what is kept and what takes over is exercised.
STREAMS = st.lists(KEYS | st.sampled_from([b"1", b"2", b"3"]), max_size=120)


def summed(stream: list[bytes], room: int) -> Summary:
    hitters = HeavyHitters(room)
    for key in stream:
        hitters.add(key)
    return hitters.summary()


def holds(summary: Summary, truth: "Truth[bytes]", room: int) -> None:
    """The bounds that the module's documentation gives."""
    assert summary.total == truth.total()
    assert len(summary.counters) <= room
    for key, count, error in summary.counters:
        assert count - error <= truth[key] <= count
    known = {counter.key for counter in summary.counters}
    assert len(known) == len(summary.counters)
    assert all(count <= summary.least for key, count in truth.items() if key not in known)
    counts = [counter.times for counter in summary.counters]
    assert counts == sorted(counts, reverse=True)


@given(STREAMS, st.integers(1, 8))
def test_no_count_is_further_off_than_its_bound(stream: list[bytes], room: int) -> None:
    summary = summed(stream, room)
    holds(summary, Truth(stream), room)
    assert summary.least * room <= len(stream)
    assert all(counter.error <= summary.least for counter in summary.counters)
    assert sum(counter.times for counter in summary.counters) == len(stream)


@given(st.lists(STREAMS, max_size=4), st.integers(1, 8), st.integers(1, 8))
def test_summaries_that_are_added_keep_their_bounds(streams: list[list[bytes]], room: int, kept: int) -> None:
    summary = merged([summed(stream, room) for stream in streams], kept)
    holds(summary, sum((Truth(stream) for stream in streams), Truth()), kept)


@pytest.mark.parametrize("strangers", [100, 10_000])
def test_who_comes_often_is_found_among_any_number_of_strangers(strangers: int) -> None:
    hitters = HeavyHitters(16)
    for number in range(strangers):
        hitters.add(b"%d" % number)
        if number % 8 == 0:
            hitters.add(b"often")
    first = hitters.summary().counters[0]
    assert first.key == b"often"
    assert first.times - first.error <= -(-strangers // 8) <= first.times


def test_who_is_known_exactly_is_told_exactly() -> None:
    assert summed([b"a", b"b", b"a"], 3) == Summary(3, 0, (Counter(b"a", 2, 0), Counter(b"b", 1, 0)))


def test_the_newcomer_takes_over_the_lowest_counter() -> None:
    assert summed([b"a", b"a", b"b", b"c"], 2) == Summary(4, 2, (Counter(b"a", 2, 0), Counter(b"c", 2, 1)))


def test_nothing_adds_nothing() -> None:
    assert merged([], 4) == summed([], 4) == NOTHING
