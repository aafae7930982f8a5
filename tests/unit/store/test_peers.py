from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headgate.model.snapshot import LimitState
from headgate.store.peers import Peers
from headgate.testing.clock import ManualClock
from tests.unit.store.limits import limit

K = b"192.0.2.1"


def test_alone_a_headgate_has_the_whole_limit() -> None:
    one = limit(100)
    assert Peers("p", b"me", ManualClock()).share(one) is one


def test_each_has_its_share_and_at_least_one() -> None:
    peers = Peers("p", b"me", ManualClock())
    wide, narrow, bursts = limit(100), limit(2, "narrow"), limit(100, "bursts", algorithm="gcra", burst=10)
    peers.heard(b"3")
    assert peers.share(wide).limit.rate.limit == 33
    assert peers.share(wide) is peers.share(wide), "a store knows a limit by its identity"
    assert peers.share(narrow).limit.rate.limit == 1
    assert (peers.share(bursts).limit.rate.limit, peers.share(bursts).limit.burst) == (33, 3)
    dear = LimitState(replace(wide.limit, name="dear", cost=40), 0)
    assert peers.share(dear).limit.rate.limit == 40, "or no request would ever pass"
    peers.are(2)
    assert peers.share(wide).limit.rate.limit == 50


def test_that_they_are_fewer_must_be_heard_twice_on_one_connection() -> None:
    peers = Peers("p", b"me", ManualClock())

    def count_after(answer: bytes) -> int:
        peers.heard(answer)
        return peers.count

    assert [count_after(answer) for answer in (b"3", b"2", b"3", b"2", b"1", b"1", b"3")] == [3, 3, 3, 3, 2, 1, 3]
    for _ in range(2):
        peers.lost()
        assert count_after(b"1") == 3, "a Redis that came back empty"
    assert [count_after(answer) for answer in (b"2", b"2")] == [2, 2]


def test_what_is_no_number_of_headgates_is_no_news() -> None:
    peers = Peers("p", b"me", ManualClock())
    peers.heard(b"2")
    for answer in (b"", b"OK", b"0", b"-1", b"1000000", b"2.5"):
        peers.heard(answer)
    assert peers.count == 2


def test_what_was_let_pass_is_owed_as_far_as_it_still_counts() -> None:
    clock = ManualClock()
    peers = Peers("p", b"me", clock)
    window, steady = limit(10), limit(10, "steady", 60.0, algorithm="gcra")
    for _ in range(4):
        peers.passed((window, K, 1))
        peers.passed((steady, K, 1))
    peers.passed((window, b"other", 3))
    clock.advance(12)  # two of the steady one have come back
    assert peers.settle(10**6) == [(window, b"other", 3), (steady, K, 2), (window, K, 4)]
    assert peers.settle(10**6) == []
    peers.passed((window, K, 1))
    clock.advance(60)
    assert peers.settle(10**6) == []


def test_what_is_given_back_goes_with_what_is_owed_of_the_key() -> None:
    clock = ManualClock()
    peers = Peers("p", b"me", clock)
    one = limit(10)
    back = [(one, K, -2), (one, b"other", -2), (one, b"taken", 2)]
    assert peers.joined(back) is back, "nothing is owed"
    for key in (K, b"taken"):
        peers.passed((one, key, 3))
    assert peers.joined(back) == [(one, K, 1), *back[1:]]
    assert peers.joined(back) == back
    assert peers.settle(10) == [(one, b"taken", 3)]
    peers.passed((one, K, 3))
    clock.advance(60)
    assert peers.joined(back) == back, "it has ended"


def test_what_is_remembered_is_bounded() -> None:
    peers = Peers("p", b"me", ManualClock())
    one = limit(10)
    for number in range(65537):
        peers.passed((one, b"%d" % number, 1))
    peers.passed((one, b"0", 1))
    owed = peers.settle(10**6)
    assert len(owed) == 65536
    assert owed[-1] == (one, b"0", 2)
    peers.heard(b"2")
    limits = [limit(10) for _ in range(1025)]
    assert {peers.share(one).limit.rate.limit for one in limits} == {5}
    assert len(peers._shares._known) == 1


def test_what_is_owed_is_settled_in_parts() -> None:
    peers = Peers("p", b"me", ManualClock())
    one = limit(10)
    for number in range(5):
        peers.passed((one, b"%d" % number, 1))
    parts = [peers.settle(2) for _ in range(4)]
    assert [len(part) for part in parts] == [2, 2, 1, 0]
    assert {key for part in parts for _, key, _ in part} == {b"0", b"1", b"2", b"3", b"4"}


def test_what_redis_had_counted_is_given_back_for_a_period_after_it_was_lost() -> None:
    clock = ManualClock()
    peers = Peers("p", b"me", clock)
    one = limit(10)
    clock.advance(100)
    peers.lost()
    clock.advance(30)
    peers.lost()  # an attempt that failed
    peers.passed((one, K, -2))
    peers.passed((one, b"other", 3))
    peers.passed((one, b"other", -5))
    clock.advance(29)
    assert peers.settle(10) == [(one, b"other", -2), (one, K, -2)]
    peers.passed((one, K, -2))
    clock.advance(1)
    peers.passed((one, K, -2))
    assert peers.settle(10) == []
    peers.back()
    peers.passed((one, K, -2))  # refused by a Redis that is there
    clock.advance(59)
    assert peers.joined([(one, K, -1)]) == [(one, K, -3)]
    peers.passed((one, K, -2))
    peers.lost()
    clock.advance(60)
    peers.passed((one, K, -1))
    assert peers.joined([(one, K, -1)]) == [(one, K, -1)]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 20), st.booleans()), max_size=30))
def test_what_requests_cost_is_counted_once_wherever_they_began_and_ended(
    requests: list[tuple[bool, int, int, bool]],
) -> None:
    peers = Peers("p", b"me", ManualClock())
    one = limit(10_000)
    in_redis, ends = 0, []
    for began_in_redis, taken, real, ends_at_once in requests:
        if began_in_redis:
            in_redis += taken
        else:
            peers.passed((one, K, taken))
        ends.append((one, K, real - taken))
        if ends_at_once:
            peers.passed(ends.pop())
    for end in ends:
        peers.passed(end)
    in_redis += sum(cost for _, _, cost in peers.settle(10))
    assert in_redis == sum(real for _, _, real, _ in requests)
    assert peers.settle(10) == []
