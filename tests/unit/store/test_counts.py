import asyncio
import os
from collections.abc import Callable

import pytest

from headgate.errors import StoreDown
from headgate.limits.decision import Banned
from headgate.limits.standing import Standing
from headgate.store.counts import LocalCounts
from headgate.store.memory import MemoryStore
from headgate.store.shared import SharedStore
from headgate.testing.clock import ManualClock
from headgate.testing.counts import OPERATED, Operator
from headgate.testing.stores import Subject, never
from tests.unit.store.limits import limit


@pytest.mark.parametrize("check", OPERATED)
def test_memory_is_operated_as_the_contract_says(check: Callable[[Subject, Operator], None]) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    check(Subject(store.hit, clock.advance), Operator(LocalCounts(store), asyncio.run))


@pytest.mark.parametrize("check", OPERATED)
def test_shared_memory_is_operated_from_another_process_as_the_contract_says(
    check: Callable[[Subject, Operator], None],
) -> None:
    clock = ManualClock()
    fd = SharedStore.create(1024)
    store, operated = SharedStore(fd, clock), SharedStore(fd, clock)
    os.close(fd)
    check(Subject(store.hit, clock.advance), Operator(LocalCounts(operated), asyncio.run))
    store.close()
    operated.close()


def test_a_slot_that_was_emptied_is_given_to_the_next_key() -> None:
    clock = ManualClock()
    fd = SharedStore.create(8)
    store = SharedStore(fd, clock)
    os.close(fd)
    one = limit(1)
    for number in range(8):
        assert store.hit([(one, b"%d" % number, 1)], never)[0].allowed
    assert store.reset(one, b"3")
    assert store.hit([(one, b"new", 1)], never)[0].allowed
    assert [number for number in range(8) if store.look(one, b"%d" % number) == Standing(1, 0, 0)] == [3]
    store.close()


def test_a_lock_that_is_kept_is_no_answer() -> None:
    clock = ManualClock()
    fd = SharedStore.create(1024)
    store, holder = SharedStore(fd, clock), SharedStore(fd, clock)
    os.close(fd)
    one = limit(1)
    assert store.hit([(one, b"k", 1)], never)[0].allowed
    for stripe in store._stripes:
        stripe.patience = 0.0
    for stripe in holder._stripes:
        assert stripe.enter()
    counts = LocalCounts(store)
    for work in (counts.look, counts.reset, counts.unban):
        with pytest.raises(StoreDown, match="keeps a lock"):
            asyncio.run(work(one, b"k"))
    with pytest.raises(StoreDown, match="keeps a lock"):
        asyncio.run(counts.ban(one, b"k", 60.0))
    for stripe in holder._stripes:
        stripe.leave()
    asyncio.run(counts.ban(one, b"k", 60.0))
    assert isinstance(store.hit([(one, b"k", 1)], never)[0], Banned)
    store.close()
    holder.close()
