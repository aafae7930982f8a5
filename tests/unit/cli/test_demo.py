import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headgate.cli import demo
from headgate.wire.handover import ENVIRONMENT
from tests.unit.cli.conftest import Headgate

PATIENCE = 20.0  # seconds until something that must happen is taken for never happening

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


@contextmanager
def running(folder: Path) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """The demo, once it serves, and what it printed until then."""
    environ = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "headgate", "demo", "--limit", "5/30s"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        try:
            lines = list(iter(process.stdout.readline, "Ctrl-C stops everything.\n"))
            yield process, "".join(lines)
        finally:
            process.kill()


def family(pid: int) -> set[int]:
    """The process and all that came from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid}.union(*(family(int(child)) for child in children))


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has reaped yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_demo_balances_limits_and_stops_without_a_trace(tmp_path: Path) -> None:
    with running(tmp_path) as (process, text):
        found = re.search(r"http://127\.0\.0\.1:\d+", text)
        assert found is not None
        answers = []
        for _ in range(5):
            with urllib.request.urlopen(f"{found[0]}/", timeout=10) as response:
                answers.append(response.read().split()[0])
        assert len(set(answers)) == 3
        with pytest.raises(urllib.error.HTTPError, match="429") as refused:
            urllib.request.urlopen(f"{found[0]}/", timeout=10)
        refused.value.close()
        members = family(process.pid)
        assert len(members) == 1 + 3 + 1 + 2  # the demo, three backends, the supervisor and two workers
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert all(is_gone(pid) for pid in members)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    with running(tmp_path) as (process, _):
        members = family(process.pid)
        process.kill()
        process.wait(PATIENCE)
        wait_until(lambda: all(is_gone(pid) for pid in members))


def test_a_limit_that_is_none_ends_the_demo_with_the_reason() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headgate", "demo", "--limit", "many"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 78
    assert 'limits.per_ip.rate: "many" is not a rate' in done.stderr


def test_a_port_that_was_asked_for_and_is_taken_is_one_line(headgate: Headgate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = headgate("demo", "--port", str(port))
    assert (code, out, err) == (71, [], [f"headgate: cannot listen on 127.0.0.1:{port}: it is in use"])


def test_a_preferred_port_that_is_taken_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = demo.free_port(port)
    assert chosen != port
    assert capsys.readouterr().out == f"port {port} is in use: taking {chosen} instead\n"
    assert demo.free_port(chosen) == chosen


def test_what_the_demo_started_says_why_nobody_can_take_over_from_it() -> None:
    command = [sys.executable, "-m", "headgate.cli.bound", "0", "run"]
    done = subprocess.run(
        command, env={**os.environ, ENVIRONMENT: "{}"}, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert "ends with the demo" in done.stderr
