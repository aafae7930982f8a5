"""Programs on the stage: they start, they are told apart when they do not, and nothing of them outlives the block."""

import os
import select
import sys

import pytest
from benchmarks.cpu import Cores
from benchmarks.stage import Stage, StartFailed, free_ports, pinned

ALL = frozenset(os.sched_getaffinity(0))
ONE = frozenset({min(ALL)})

# Listens, and has a child of its own that ignores being asked to end.
SERVER = """
import signal, socket, subprocess, sys, time
child = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
first = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
first.stdout.readline()
with open("child", "w") as file:
    file.write(str(first.pid))
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""


def test_leaving_the_block_ends_children_that_do_not_want_to_and_removes_the_files() -> None:
    (port,) = free_ports(1)
    with Stage(Cores(ONE, ALL)) as stage:
        process = stage.start("server", [sys.executable, "-c", SERVER, str(port)], [port], cores=ONE)
        assert os.sched_getaffinity(process.pid) == ONE
        child = os.pidfd_open(int((stage.directory / "child").read_text()))
    assert process.returncode is not None
    assert select.select([child], [], [], 5.0)[0], "the child still runs"
    assert not stage.directory.exists()
    os.close(child)


def test_a_program_that_ends_is_reported_with_what_it_said() -> None:
    (port,) = free_ports(1)
    with Stage(Cores(ONE, ALL)) as stage, pytest.raises(StartFailed, match="broken ended: no such option"):
        stage.start("broken", [sys.executable, "-c", "raise SystemExit('no such option')"], [port], cores=ONE)


def test_stopping_twice_is_harmless() -> None:
    with Stage(Cores(ONE, ALL)) as stage:
        process = stage.start("short", [sys.executable, "-c", ""], [], cores=ONE)
        stage.stop(process)
        stage.stop(process)


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20


def test_pinning_ends_with_its_block_even_by_an_error() -> None:
    def fail() -> None:
        with pinned(ONE):
            assert os.sched_getaffinity(0) == ONE
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert os.sched_getaffinity(0) == ALL
