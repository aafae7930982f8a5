"""Headgate in processes of its own, started from a configuration or from flags, as a user starts it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, cast

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.kit.client import Address, Response, fetch
from tests.e2e.kit.waiting import PATIENCE, wait_for

Settings = dict[str, object]
Json = dict[str, object]

COMMAND = (sys.executable, "-m", "headgate")
_LISTENING = re.compile(r"listening on (?:http://(\S+):(\d+)|unix:(\S+)) \(")
_ADMIN = re.compile(r"admin API and metrics on (?:http://(\S+):(\d+)|unix:(\S+))\n")


def settings(servers: Sequence[object], **more: object) -> Settings:
    """A configuration with one upstream `web` of these servers, ports chosen by the system and one worker.

    limit: a rate for each client. upstream: further settings of the upstream. Everything else is a top-level key.
    """
    limit, upstream = more.pop("limit", None), cast("Settings", more.pop("upstream", {}))
    route: Settings = {"upstream": "web", "limits": ["per_ip"] if limit else []}
    return {
        "workers": 1,
        "drain": "10s",
        "admin": {"listen": "127.0.0.1:0"},
        "listeners": [{"address": "127.0.0.1:0"}],
        "upstreams": {"web": {"servers": list(servers), **upstream}},
        "limits": {"per_ip": {"rate": limit}} if limit else {},
        "routes": [route],
        **more,
    }


def toml(value: object) -> str:
    """The value in TOML, a table as an inline one."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value)


class Headgate:
    """One Headgate: its processes, its log and its admin API. `close` ends all of its processes, whatever happened."""

    def __init__(
        self,
        directory: Path,
        config: Settings | None = None,
        *,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """config: written to a file that is named on the command line; None for flags alone."""
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.file = directory / "headgate.toml"
        self.output = directory / "out"
        self._errors = directory / "err"
        self._arguments = [*flags]
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.address: Address = ""
        self.addresses: list[Address] = []
        self.admin: Address = ""
        self.has_failing_functions = False
        if config is not None:
            self.configure(config)
            self._arguments.insert(0, str(self.file))

    def configure(self, config: Settings) -> None:
        """Writes the configuration file anew."""
        self.file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in config.items()))

    def launch(self) -> Self:
        """Starts it without waiting."""
        with self.output.open("ab") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*COMMAND, "run", *self._arguments],
                stdout=output,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env=self._env,
                cwd=self.directory,
                start_new_session=True,  # the workers stay in it, wherever their parent goes
            )
        return self

    def start(self, *, ready: bool = True) -> Self:
        """Starts it and waits until it listens. ready: and until /readyz says so."""
        self.launch()
        wait_for(lambda: " is ready\n" in self.log or self._is_over, f"a start: {self.log}")
        self.addresses = [_address(found) for found in _LISTENING.finditer(self.log)]
        assert self.addresses, f"it did not start: {self.log}"
        self.address = self.addresses[0]
        if found := _ADMIN.search(self.log):
            self.admin = _address(found)
            if ready:
                self.await_ready()
        return self

    def await_ready(self) -> None:
        """Waits until /readyz says that every worker serves and every upstream has a server."""
        wait_for(lambda: fetch(self.admin, "/readyz").status == 200, f"readiness: {self.log}")

    @property
    def log(self) -> str:
        """What was written to standard error so far."""
        return self._errors.read_text() if self._errors.exists() else ""

    def await_log(self, text: str, times: int = 1) -> None:
        """Waits until the log has the text."""
        wait_for(lambda: self.log.count(text) >= times, f'"{text}" in the log, which is:\n{self.log}')

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert isinstance(self.address, tuple)
        return self.address[1]

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the supervisor."""
        assert self._process
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Waits until the supervisor has ended; its exit code."""
        assert self._process
        return self._process.wait(timeout)

    def stop(self) -> int:
        """Asks it to stop and waits until it has; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """Ends every process that it started."""
        if self._process:
            kill_session(self.pid)
            self._process.wait(PATIENCE)

    @property
    def _is_over(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def processes(self) -> list[int]:
        """Every process of it that lives, the supervisor's too."""
        return session(self.pid)

    def get(self, target: str = "/", **fields: str) -> Response:
        """A GET on a connection of its own."""
        return fetch(self.address, target, fields={name.replace("_", "-"): value for name, value in fields.items()})

    def names(self, count: int) -> list[str]:
        """The bodies of so many GETs, one after the other, each on a connection of its own."""
        return [self.get().text for _ in range(count)]

    def api(self, method: str, path: str, body: object = None, **fields: str) -> Response:
        """A request to the admin API."""
        content = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        return fetch(self.admin, path, method, body=content, fields={**kind, **fields})

    def status(self) -> Json:
        """`GET /api/v1/status`."""
        return self.api("GET", "/api/v1/status").json()

    def workers(self) -> list[Json]:
        """The workers as the status shows them."""
        return cast("list[Json]", self.status()["workers"])

    def worker_pid(self, index: int = 0) -> int:
        """A worker's process."""
        return cast("int", self.workers()[index]["pid"])

    def kill_worker(self, index: int = 0) -> None:
        """Kills a worker and waits until another serves in its place."""
        pid = self.worker_pid(index)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.worker_pid(index) not in (0, pid), "a new worker")
        self.await_ready()

    def server(self, address: str) -> Json:
        """A server of the upstream `web` as the status shows it; empty when it is not there."""
        servers = cast("list[Json]", self.api("GET", "/api/v1/upstreams/web/servers").json()["servers"])
        return next((server for server in servers if server["address"] == address), {})

    def await_server(self, address: str, **wanted: object) -> None:
        """Waits until the status shows this of a server."""
        wait_for(lambda: self.server(address).items() >= wanted.items(), f"{address} to be {wanted}\n{self.log}")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        families = text_string_to_metric_families(self.api("GET", "/metrics").text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and sample.labels.items() >= labels.items()
        )

    def await_flagged(self, flag: str, count: int) -> None:
        """Waits until so many requests ended with this flag: an answer is counted after it was sent."""
        wait_for(lambda: self.metric("headgate_local_answers_total", flag=flag) >= count, f"{count} times {flag}")
        assert self.metric("headgate_local_answers_total", flag=flag) == count

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs a headgate command against its admin API."""
        admin = f"{self.admin[0]}:{self.admin[1]}" if isinstance(self.admin, tuple) else f"unix:{self.admin}"
        return headgate(*arguments, env={"HEADGATE_ADMIN": admin})


def headgate(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a headgate command to its end; one that has none is killed, with every process of its session."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=pipe,
        stderr=pipe,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        kill_session(process.pid)
        process.wait()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def session(leader: int) -> list[int]:
    """The processes of a session that live."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _session(pid) == leader]


def kill_session(leader: int) -> None:
    """Kills the processes of a session and waits until they are gone."""

    def killed() -> bool:
        for pid in (living := session(leader)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not living

    wait_for(killed, f"the end of the session of {leader}")


def _address(found: re.Match[str]) -> Address:
    host, port, path = found.groups()
    return path or (host.strip("[]"), int(port))


def _session(pid: int) -> int:
    """The session of a process that lives, else 0."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
    except OSError:
        return 0
    return 0 if state in "ZX" else int(session)
