"""The kernel's accounts: of this very process, and of readings made up."""

import os
import subprocess
import sys
import threading
import time

import pytest
from benchmarks import cpu
from benchmarks.cpu import Cores, Reading, TreeChanged


def cores(proxy: int, *load: int) -> Cores:
    return Cores(frozenset({proxy}), frozenset(load))


@pytest.mark.parametrize(
    ("available", "siblings", "expected"),
    [
        pytest.param({0}, {}, cores(0, 0), id="one core is shared"),
        pytest.param({2, 3}, {}, cores(2, 3), id="two cores, not numbered from zero"),
        pytest.param({0, 1}, {0: {0, 1}}, cores(0, 1), id="a sibling is better than the same thread"),
        pytest.param({0, 1, 2, 3}, {0: {0, 1}}, cores(0, 1, 2, 3), id="two cores without the sibling are too few"),
        pytest.param(set(range(8)), {0: {0, 4}}, cores(0, 1, 2, 3, 5, 6, 7), id="the sibling stays idle"),
    ],
)
def test_the_proxy_has_one_core_and_the_load_the_others(
    available: set[int], siblings: dict[int, set[int]], expected: Cores
) -> None:
    found = cpu.share_out(frozenset(available), {core: frozenset(s) for core, s in siblings.items()})
    assert found == expected


def test_cores_know_whether_load_and_proxy_are_apart() -> None:
    assert cores(0, 1).apart
    assert not cores(0, 0).apart


def test_what_was_used_is_the_difference_of_two_readings() -> None:
    spent = Reading(frozenset({1, 2}), 3.5, 20.0).since(Reading(frozenset({1, 2}), 1.5, 10.0))
    assert (spent.cpu, spent.elapsed) == (2.0, 10.0)


def test_readings_of_different_processes_are_not_subtracted() -> None:
    with pytest.raises(TreeChanged, match=r"\[1, 2\] became \[1, 3\]"):
        Reading(frozenset({1, 3}), 2.0, 2.0).since(Reading(frozenset({1, 2}), 1.0, 1.0))


def test_cpu_time_of_this_process_agrees_with_its_own_clock() -> None:
    before, clock = cpu.read(os.getpid()), -_process_time()
    _work(0.1)
    clock += _process_time()
    used = cpu.read(os.getpid()).since(before).cpu
    # Not exactly: times() may count in ticks.
    assert used == pytest.approx(clock, abs=0.05)
    assert used > 0.05


def test_what_a_thread_used_counts_after_it_ended() -> None:
    before = cpu.read(os.getpid())
    thread = threading.Thread(target=_work, args=(0.1,))
    thread.start()
    thread.join()
    assert cpu.read(os.getpid()).since(before).cpu > 0.05


def test_a_process_that_is_gone_has_no_account() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    with pytest.raises(TreeChanged, match=f"process {child.pid} ended"):
        cpu.read(child.pid)


def test_a_tree_holds_children_and_their_memory() -> None:
    code = "import sys, time; block = bytearray(50_000_000); print('x', flush=True); sys.stdin.read()"
    before = cpu.memory(os.getpid())
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in cpu.tree(os.getpid())
        assert cpu.memory(os.getpid()) - before > 40_000_000
        child.stdin.close()
    assert child.pid not in cpu.tree(os.getpid())


def test_a_kernel_list_names_ranges_and_single_numbers() -> None:
    assert cpu.parse_list("0-2,5\n") == [0, 1, 2, 5]


def _process_time() -> float:
    times = os.times()
    return times.user + times.system


def _work(seconds: float) -> None:
    """Takes so much CPU time, on whatever machine and Python."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
