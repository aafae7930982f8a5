from collections.abc import Callable

import pytest

from headgate.limits.decision import Banned
from headgate.store.memory import MemoryStore
from headgate.testing.clock import ManualClock
from headgate.testing.stores import CONTRACT, PLACES, Subject, never
from tests.unit.store.limits import limit


@pytest.mark.parametrize("check", [*CONTRACT, *PLACES])
def test_the_contract_is_kept(check: Callable[[Subject], None]) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    check(Subject(store.hit, clock.advance, charge=store.charge, release=store.release))


def keys(count: int, first: int = 0) -> list[bytes]:
    return [str(number).encode() for number in range(first, first + count)]


def test_a_full_store_forgets_what_is_over_first() -> None:
    clock = ManualClock()
    store = MemoryStore(clock, room=16)
    short, long = limit(1, "short", 1.0), limit(1, "long", 60.0)
    for key in keys(8):
        store.hit([(short, key, 1)], never)
        store.hit([(long, key, 1)], never)
    clock.advance(1.0)
    assert store.hit([(long, b"new", 1)], never)[0].allowed
    assert not any(store.hit([(long, key, 1)], never)[0].allowed for key in keys(8))


def test_a_full_store_forgets_what_ends_soonest_and_lets_a_new_key_pass() -> None:
    clock = ManualClock()
    store = MemoryStore(clock, room=16)
    one = limit(1)
    for key in keys(17):
        assert store.hit([(one, key, 1)], never)[0].allowed
        clock.advance(0.001)
    assert not any(store.hit([(one, key, 1)], never)[0].allowed for key in keys(10, first=7))
    assert store.hit([(one, b"0", 1)], never)[0].allowed


def test_a_closed_store_has_forgotten_everything() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    store.hit([(limit(1), b"k", 1)], never)
    store.close()
    assert store.hit([(limit(1), b"k", 1)], never)[0].allowed


def test_what_is_held_is_kept_over_a_lack_of_room_and_a_ban() -> None:
    clock = ManualClock()
    store = MemoryStore(clock, room=8)
    one = limit(2, period=0.0, algorithm="concurrency")
    check = (one, b"k", 1)
    assert store.hit([check], never)[0].allowed
    for key in keys(20):
        store.hit([(limit(1, "other"), key, 1)], never)
    store.ban(one, b"k", 1.0)
    refusal = store.hit([check], never)[0]
    assert isinstance(refusal, Banned)
    assert refusal.reset_after == 1_000_000
    clock.advance(1.0)
    assert [store.hit([check], never)[0].remaining for _ in range(2)] == [0, 0]
    store.hold([check])
    store.release([check] * 3)
    assert store.hit([check], never)[0].remaining == 1
