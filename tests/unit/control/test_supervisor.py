import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

import headgate as headgate_package
from headgate.model.address import Address
from headgate.model.config import AccessLog, Admin, Config, HealthCheck, Listener
from tests.tree import SOURCE
from tests.unit.control.configs import A, config, upstream

RUN = str(Path(__file__).with_name("run_headgate.py"))
ANY = Address("127.0.0.1", 0)
BASE = replace(config(upstream("web", A, check=None)), admin=Admin(ANY), drain=20.0)
ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), SOURCE))}


class Headgate:
    """A supervisor process and its log."""

    def __init__(self, path: Path, base: Config, behaviour: str = "good", **environment: str) -> None:
        self.path = path
        self.configure(base)
        self.log: list[str] = []
        self.grown = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, RUN, str(path), behaviour],
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**ENVIRONMENT, **environment},
        )
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def configure(self, new: Config | bytes) -> None:
        self.path.write_bytes(new if isinstance(new, bytes) else msgspec.json.encode(new))

    def read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.grown:
                self.log.append(line.decode().rstrip("\n"))
                self.grown.notify_all()

    def logged(self, pattern: str) -> re.Match[str]:
        """The first match in the log, waited for."""

        def find() -> re.Match[str] | None:
            return next((match for line in self.log if (match := re.search(pattern, line))), None)

        with self.grown:
            if not self.grown.wait_for(lambda: find() is not None, 20):
                raise AssertionError(f"{pattern!r} is not in the log:\n" + "\n".join(self.log))
            match = find()
        assert match is not None
        return match

    def port(self, name: str = "listening") -> int:
        return int(self.logged(rf"{name} .*on http://127.0.0.1:(\d+)")[1])

    def ready(self) -> "Headgate":
        self.logged("is ready")
        return self

    def admin(self, method: str, path: str, body: dict[str, object] | None = None) -> tuple[int, dict[str, object]]:
        status, content = get(self.port("admin API"), method, path, body)
        return status, json.loads(content)

    def workers(self) -> list[int]:
        _, status = self.admin("GET", "/api/v1/status")
        return [worker["pid"] for worker in msgspec.convert(status["workers"], list[dict[str, int]])]

    def end(self, *signals: int) -> int:
        """The exit code, after these signals."""
        for number in signals:
            self.process.send_signal(number)
        status = self.process.wait(30)
        self.reader.join()
        return status


def get(port: int, method: str = "GET", path: str = "/", body: dict[str, object] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        content = json.dumps(body) if body is not None else None
        connection.request(method, path, content, {"Content-Type": "application/json"} if body is not None else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


Start = Callable[..., Headgate]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Headgate; what still runs after the test is killed."""
    started: list[Headgate] = []

    def starting(base: Config = BASE, behaviour: str = "good", **environment: str) -> Headgate:
        started.append(Headgate(tmp_path / f"config{len(started)}.json", base, behaviour, **environment))
        return started[-1]

    yield starting
    for headgate in started:
        headgate.process.kill()
        headgate.process.wait()
        headgate.reader.join()
        assert headgate.process.stderr is not None
        headgate.process.stderr.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_serves_until_sigterm_and_leaves_nothing_behind(start: Start) -> None:
    headgate = start().ready()
    port, pids = headgate.port(), headgate.workers()
    assert headgate.logged(r"listening on .* \(2 workers\)")
    assert get(port)[0] == 200
    assert headgate.admin("GET", "/healthz") == (200, {"status": "ok"})
    assert headgate.admin("GET", "/readyz") == (200, {"status": "ok", "problems": []})
    assert headgate.end(signal.SIGTERM) == 0
    assert all(gone(pid) for pid in pids)
    with pytest.raises(ConnectionRefusedError):
        get(port)
    assert not any("Traceback" in line or "ERROR" in line for line in headgate.log)


def test_ctrl_c_is_a_stop_too(start: Start) -> None:
    assert start().ready().end(signal.SIGINT) == 0


def test_a_second_signal_stops_at_once(start: Start) -> None:
    headgate = start(behaviour="stubborn").ready()
    pids = headgate.workers()
    begun = time.monotonic()
    headgate.process.send_signal(signal.SIGTERM)
    headgate.logged("stopping")
    assert headgate.end(signal.SIGTERM) == 0
    assert time.monotonic() - begun < 15  # less than the 20 s that the configuration gives
    assert all(gone(pid) for pid in pids)


def test_while_it_drains_it_says_so(start: Start) -> None:
    headgate = start(behaviour="stubborn").ready()
    headgate.process.send_signal(signal.SIGTERM)
    headgate.logged("stopping")
    status, body = headgate.admin("GET", "/readyz")
    assert status == 503
    assert "draining" in msgspec.convert(body["problems"], list[str])
    assert headgate.admin("GET", "/api/v1/status")[1]["draining"] is True


def test_the_supervisor_of_these_tests_is_the_one_under_test() -> None:
    code = "import headgate, tests; print(headgate.__file__, tests.__file__, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env=ENVIRONMENT)
    assert done.stdout.splitlines() == [headgate_package.__file__, str(ROOT / "tests" / "__init__.py")]


class TestMistakes:
    """Each of them is one line and an exit code, before any worker runs."""

    def test_a_port_in_use(self, start: Start) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            headgate = start(replace(BASE, listeners=(Listener(Address("127.0.0.1", port)),)))
            assert headgate.end() == 71
        assert headgate.log == [
            f"headgate: cannot listen on 127.0.0.1:{port}: it is in use, by another program or another Headgate"
        ]

    def test_the_admin_apis_port_in_use(self, start: Start) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            admin = Admin(Address("127.0.0.1", other.getsockname()[1]))
            headgate = start(replace(BASE, admin=admin))
            assert headgate.end() == 71
        assert len(headgate.log) == 1

    def test_a_state_file_that_another_has(self, start: Start, tmp_path: Path) -> None:
        base = replace(BASE, state_file=str(tmp_path / "state.json"))
        start(base).ready()
        second = start(base)
        assert second.end() == 74
        assert "in use by another Headgate" in second.log[0]
        assert len(second.log) == 1

    def test_a_state_file_that_makes_no_sense(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "state.json").write_text("{")
        headgate = start(replace(BASE, state_file=str(tmp_path / "state.json")))
        assert headgate.end() == 74
        assert "mend it, or move it away" in headgate.log[0]

    def test_an_access_log_that_cannot_be_written(self, start: Start, tmp_path: Path) -> None:
        headgate = start(replace(BASE, access_log=AccessLog(path=str(tmp_path / "none" / "access.log"))))
        assert headgate.end() == 1
        assert headgate.log == [
            f"headgate: the access log {tmp_path}/none/access.log cannot be written: no such file or directory"
        ]

    def test_a_configuration_that_is_bad(self, start: Start, tmp_path: Path) -> None:
        path = tmp_path / "bad.json"
        path.write_text("{")
        found = subprocess.run(
            [sys.executable, RUN, path, "good"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=30,
            env=ENVIRONMENT,
        )
        assert found.returncode == 78
        assert found.stderr.splitlines() == [f"headgate: {path}: one", f"{path}: two"]

    def test_a_worker_that_does_not_come_up(self, start: Start) -> None:
        headgate = start(behaviour="dies")
        assert headgate.end() == 70
        assert "does not come up" in headgate.log[-1]
        assert not any("Traceback" in line for line in headgate.log)


class TestReload:
    """SIGHUP."""

    def test_listeners_come_and_go(self, start: Start) -> None:
        headgate = start().ready()
        port = headgate.port()
        with socket.create_server(("127.0.0.1", 0)) as sock:
            new = Address("127.0.0.1", sock.getsockname()[1])
        headgate.configure(replace(BASE, listeners=(Listener(new),)))
        headgate.process.send_signal(signal.SIGHUP)
        headgate.logged("the configuration was read again: snapshot 2")
        answers = {get(new.port)[1].split()[0] for _ in range(40)}
        assert answers == {b"0", b"1"}
        with pytest.raises(ConnectionRefusedError):
            get(port)
        assert headgate.admin("GET", "/api/v1/status")[1]["listeners"] == [str(new)]

    def test_a_bad_file_changes_nothing_and_every_problem_is_logged(self, start: Start) -> None:
        headgate = start().ready()
        headgate.configure(b"{")
        headgate.process.send_signal(signal.SIGHUP)
        headgate.logged("not reloaded: .*one")
        headgate.logged("not reloaded: .*two")
        assert get(headgate.port())[0] == 200
        assert headgate.admin("GET", "/api/v1/status")[1]["snapshot"] == 1


def test_sigusr1_reaches_the_workers(start: Start) -> None:
    headgate = start().ready()
    headgate.process.send_signal(signal.SIGUSR1)
    until(lambda: b"\nheadgate_access_log_dropped_total 2\n" in get(headgate.port("admin API"), path="/metrics")[1])


def test_a_killed_worker_is_replaced(start: Start) -> None:
    headgate = start().ready()
    old = headgate.workers()
    os.kill(old[1], signal.SIGKILL)
    headgate.logged(rf"worker 1 \(pid {old[1]}\) died: killed by SIGKILL")
    headgate.logged("worker 1 is replaced")
    until(lambda: headgate.admin("GET", "/healthz")[0] == 200)
    assert headgate.workers()[0] == old[0]
    assert get(headgate.port())[0] == 200


def test_a_change_is_everywhere_when_it_is_answered(start: Start) -> None:
    headgate = start().ready()
    status, _ = headgate.admin("POST", "/api/v1/upstreams/web/servers", {"address": "10.0.0.9:9"})
    assert status == 201
    assert {get(headgate.port())[1].split()[2] for _ in range(40)} == {b"2"}


def test_a_worker_that_does_not_adopt_is_told(start: Start) -> None:
    headgate = start(behaviour="stuck").ready()
    status, _ = headgate.admin("POST", "/api/v1/upstreams/web/servers", {"address": "10.0.0.9:9"})
    assert status == 201
    headgate.logged("snapshot 2 is on its way still to worker 0, 1")
    _, body = headgate.admin("GET", "/readyz")
    assert body["problems"] == ["worker 0 serves snapshot 1 still", "worker 1 serves snapshot 1 still"]


def test_the_admin_api_may_be_on_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    headgate = start(replace(BASE, admin=Admin(Address(path=str(path))))).ready()
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
        assert caller.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert headgate.end(signal.SIGTERM) == 0
    assert not path.exists()


def test_systemd_is_told(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(20)
        headgate = start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert notified.recv(100) == b"READY=1"
        headgate.process.send_signal(signal.SIGHUP)
        assert notified.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert notified.recv(100) == b"READY=1"
        headgate.process.send_signal(signal.SIGTERM)
        assert notified.recv(100) == b"STOPPING=1"


class Backend(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_a_server_that_dies_is_noticed_and_so_is_its_return(start: Start) -> None:
    backend = HTTPServer(("127.0.0.1", 0), Backend)
    address = Address("127.0.0.1", backend.server_port)
    check = HealthCheck(interval=0.1, timeout=5.0, rise=2, fall=2)
    thread = threading.Thread(target=backend.serve_forever, args=(0.01,))
    thread.start()
    try:
        headgate = start(replace(BASE, upstreams=(upstream("web", address, check=check),)))
        headgate.logged(f"server {address} of web is up: 200 OK in")
    finally:
        backend.shutdown()
        thread.join()
        backend.server_close()
    headgate.logged(rf"server {address} of web is down: connection refused \(2 in a row\)")
    until(lambda: headgate.admin("GET", "/readyz")[0] == 503)
    with HTTPServer(("127.0.0.1", address.port), Backend) as again:
        thread = threading.Thread(target=again.serve_forever, args=(0.01,))
        thread.start()
        headgate.logged(rf"server {address} of web is up: 200 OK in \d+ ms \(2 in a row\)")
        until(lambda: headgate.admin("GET", "/readyz")[0] == 200)
        again.shutdown()
        thread.join()
