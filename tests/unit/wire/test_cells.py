import os
from collections.abc import Iterator

import pytest

from headgate.wire.cells import (
    FLAGS,
    LIMIT_CELLS,
    LIMITS,
    SERVER_CELLS,
    SERVERS,
    TURNS,
    WORKER_CELLS,
    Cells,
    LimitCell,
    ServerCell,
    WorkerCell,
)


@pytest.fixture
def fd() -> Iterator[int]:
    fd = Cells.create(2)
    yield fd
    os.close(fd)


@pytest.fixture
def cells(fd: int) -> Cells:
    return Cells(fd, 2)


def test_fresh_memory_is_zero(cells: Cells) -> None:
    assert not any(any(cells.worker(index)) for index in range(2))
    assert not any(cells.turns)


def test_no_two_cells_are_the_same(fd: int) -> None:
    cells = Cells(fd, 2)
    places = [cells.worker(index) for index in range(2)]
    places += [cells.limit(index, slot) for index in range(2) for slot in (0, 1, LIMITS - 1)]
    places += [cells.server(index, slot) for index in range(2) for slot in (0, 1, SERVERS - 1)]
    places.append(cells.turns)
    for mark, place in enumerate(places, 1):
        for k in range(len(place)):
            assert place[k] == 0
            place[k] = mark
    for mark, place in enumerate(places, 1):
        assert set(place) == {mark}


def test_every_kind_of_cell_has_its_room(cells: Cells) -> None:
    assert len(cells.worker(0)) == WORKER_CELLS
    assert len(cells.limit(0, 0)) == LIMIT_CELLS
    assert len(cells.server(0, 0)) == SERVER_CELLS
    assert len(cells.turns) == TURNS


def test_what_one_mapping_writes_the_other_reads(fd: int) -> None:
    writer, reader = Cells(fd, 2), Cells(fd, 2)
    writer.server(1, 17)[ServerCell.CONNECTS] = 2**64 - 1
    assert reader.server(1, 17)[ServerCell.CONNECTS] == 2**64 - 1


def test_totals_sum_the_rows(cells: Cells) -> None:
    for index in range(2):
        cells.server(index, 3)[ServerCell.RESETS] = 5 + index
        cells.limit(index, 3)[LimitCell.REFUSED] = 7 + index
        cells.worker(index)[WorkerCell.RETRIES] = 9 + index
        cells.worker(index)[WorkerCell.FLAG + FLAGS.index("UH")] = 20 + index
    assert cells.server_total(3, ServerCell.RESETS) == 11
    assert cells.limit_total(3, LimitCell.REFUSED) == 15
    assert cells.worker_total(WorkerCell.RETRIES) == 19
    assert cells.worker_most(WorkerCell.RETRIES) == 10
    assert cells.flag_total("UH") == 41


def test_clearing_a_server_leaves_its_neighbours(cells: Cells) -> None:
    for slot in (4, 5, 6):
        for index in range(2):
            for k in range(SERVER_CELLS):
                cells.server(index, slot)[k] = 1
    cells.clear_server(5)
    for index in range(2):
        assert set(cells.server(index, 4)) == set(cells.server(index, 6)) == {1}
        assert set(cells.server(index, 5)) == {0}


def test_clearing_a_limit_leaves_its_neighbours(cells: Cells) -> None:
    for slot in (4, 5, 6):
        for index in range(2):
            for k in range(LIMIT_CELLS):
                cells.limit(index, slot)[k] = 1
    cells.clear_limit(5)
    for index in range(2):
        assert set(cells.limit(index, 4)) == set(cells.limit(index, 6)) == {1}
        assert set(cells.limit(index, 5)) == {0}


def test_a_dead_workers_gauges_are_zeroed_and_its_counters_stay(cells: Cells) -> None:
    for index in range(2):
        cells.worker(index)[WorkerCell.CONNECTIONS] = 3
        cells.worker(index)[WorkerCell.IN_FLIGHT] = 3
        cells.worker(index)[WorkerCell.STORE_DOWN] = 1
        cells.worker(index)[WorkerCell.HEADGATES] = 4 - index
        cells.worker(index)[WorkerCell.ACCEPTED] = 9
        server = cells.server(index, 8)
        server[ServerCell.IN_FLIGHT] = server[ServerCell.IDLE] = server[ServerCell.EJECTED_UNTIL] = 2
        server[ServerCell.CONNECTS] = 6
        cells.limit(index, 4)[LimitCell.IN_FLIGHT] = cells.limit(index, 4)[LimitCell.ALLOWED] = 5
    cells.worker_died(0, [8])
    assert cells.limit_total(4, LimitCell.IN_FLIGHT) == 5
    assert cells.limit_total(4, LimitCell.ALLOWED) == 10
    dead, alive = cells.worker(0), cells.worker(1)
    assert dead[WorkerCell.CONNECTIONS] == dead[WorkerCell.IN_FLIGHT] == dead[WorkerCell.STORE_DOWN] == 0
    assert cells.worker_most(WorkerCell.HEADGATES) == 3
    assert dead[WorkerCell.ACCEPTED] == alive[WorkerCell.ACCEPTED] == 9
    assert alive[WorkerCell.CONNECTIONS] == alive[WorkerCell.IN_FLIGHT] == 3
    assert cells.server(0, 8)[ServerCell.IN_FLIGHT] == 0
    assert cells.server(0, 8)[ServerCell.IDLE] == 0
    assert cells.server(0, 8)[ServerCell.EJECTED_UNTIL] == 0
    assert cells.server_total(8, ServerCell.CONNECTS) == 12
    assert cells.server_total(8, ServerCell.IN_FLIGHT) == 2


def test_the_descriptor_may_be_closed_once_it_is_mapped() -> None:
    fd = Cells.create(1)
    cells = Cells(fd, 1)
    os.close(fd)
    cells.worker(0)[WorkerCell.REQUESTS] = 1
    assert cells.worker_total(WorkerCell.REQUESTS) == 1


def test_the_descriptor_is_not_inherited_by_accident(fd: int) -> None:
    assert not os.get_inheritable(fd)
