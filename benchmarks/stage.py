"""The stage: a temporary directory, ports, and pinned processes that live no longer than the `with` block.

Every program runs in a session of its own, so that Ctrl-C reaches the benchmark alone and it is the benchmark that
ends them, children included. Their standard output goes nowhere (HAProxy's access log does); standard error is kept
for the message when one does not start.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.cpu import Cores

START = 15.0
STOP = 3.0


class StartFailed(Exception):
    """A program ended, or did not listen in time."""


class Stage:
    """Where the programs of a benchmark run. Leaving the `with` block ends them and removes their files."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Stage":
        # In memory where there is such a place: a slow disk under a body that is buffered to a file is not our subject.
        fast = Path("/dev/shm")
        self.directory = Path(
            tempfile.mkdtemp(prefix="headgate-bench-", dir=fast if os.access(fast, os.W_OK) else None)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._running.copy()):
            self.stop(process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def write(self, name: str, text: str) -> Path:
        """Where the text now stands."""
        path = self.directory / name
        path.write_text(text)
        return path

    def start(
        self, name: str, command: Sequence[str], ports: Sequence[int], *, cores: frozenset[int]
    ) -> subprocess.Popen[bytes]:
        """The program, pinned to the cores and listening on all the ports. Raises StartFailed when it does not."""
        errors = self.directory / f"{name}.stderr"
        with errors.open("wb") as stderr, pinned(cores):
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=self.directory,
                start_new_session=True,
            )
        self._running.append(process)
        deadline = time.monotonic() + START
        for port in ports:
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    why = "ended" if process.returncode is not None else f"did not listen on {port}"
                    raise StartFailed(f"{name} {why}: {errors.read_text(errors='replace')[-2000:].strip()}")
                time.sleep(0.02)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Ends the program and whatever is left of its session."""
        if process in self._running:
            self._running.remove(process)
        process.terminate()
        deadline = time.monotonic() + STOP
        # Not reaped while waiting: nobody else can get a zombie's id, so the group is surely its own.
        while _runs(process) and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Whatever is started inside runs on these cores: a process inherits the affinity of the thread that starts it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_ports(count: int) -> list[int]:
    """So many different ports that nothing listens on. They are held together, so none comes twice."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _runs(process: subprocess.Popen[bytes]) -> bool:
    if process.returncode is not None:
        return False
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
