import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator

import pytest

from headgate.store.shared import SharedStore
from headgate.wire.cells import Cells
from headgate.worker.turns import SharedTurn

_EACH = 20_000


@pytest.fixture
def descriptors() -> Iterator[tuple[int, int]]:
    cells, limits = Cells.create(1), SharedStore.create()
    yield cells, limits
    os.close(cells)
    os.close(limits)


def _many(cells: int, limits: int, pipe: "multiprocessing.connection.Connection") -> None:
    take = SharedTurn(Cells(cells, 1).turns, 3, SharedStore(limits).spare_lock).take
    pipe.send(Counter(take() % 3 for _ in range(_EACH)))


def test_one_turn_is_counted_for_all(descriptors: tuple[int, int]) -> None:
    cells, limits = descriptors
    turns, lock = Cells(cells, 1).turns, SharedStore(limits).spare_lock
    first, second = SharedTurn(turns, 3, lock).take, SharedTurn(turns, 3, lock).take
    assert [first(), second(), second(), first()] == [0, 1, 2, 3]
    assert turns[3] == 4
    assert turns[2] == turns[4] == 0


def test_turns_begin_anew_where_their_cell_ends(descriptors: tuple[int, int]) -> None:
    cells, limits = descriptors
    turns = Cells(cells, 1).turns
    turn = SharedTurn(turns, 0, SharedStore(limits).spare_lock)
    for take in (turn.take, turn.take_alone):
        turns[0] = 2**64 - 1
        assert [take(), take(), take()] == [2**64 - 1, 0, 1]


def test_an_only_worker_asks_for_no_lock(descriptors: tuple[int, int]) -> None:
    cells, limits = descriptors
    lock = SharedStore(limits).spare_lock
    take = SharedTurn(Cells(cells, 1).turns, 0, lock).take_alone
    assert lock.acquire(False)
    assert [take(), take()] == [0, 1]
    lock.release()


def test_a_lock_that_is_never_given_back_leaves_a_worker_its_own_turn(descriptors: tuple[int, int]) -> None:
    cells, limits = descriptors
    turns, lock = Cells(cells, 1).turns, SharedStore(limits).spare_lock
    take = SharedTurn(turns, 0, lock).take
    assert lock.acquire(False)
    assert [take() % 3 for _ in range(6)] == [1, 2, 0, 1, 2, 0]
    assert turns[0] == 0
    lock.release()


def test_servers_differ_by_one_for_each_worker_at_most_when_all_hurry(descriptors: tuple[int, int]) -> None:
    context = multiprocessing.get_context("fork")
    pipes, processes = [], []
    for _ in range(3):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_many, args=(*descriptors, theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    counts: Counter[int] = sum((pipe.recv() for pipe in pipes), Counter())
    for process, pipe in zip(processes, pipes, strict=True):
        process.join()
        pipe.close()
    assert sum(counts.values()) == 3 * _EACH
    # One for the turn that they share and one for each worker's own.
    assert max(counts.values()) - min(counts.values()) <= 1 + 3
