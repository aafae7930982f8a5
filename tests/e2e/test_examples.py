"""The examples do what their pages say, with the real Flask, FastAPI and PyJWT."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.kit.backend import Backend, answers
from tests.e2e.kit.client import fetch
from tests.e2e.kit.headgate import Headgate
from tests.e2e.kit.load import Load
from tests.e2e.kit.waiting import PATIENCE, wait_for
from tests.ports import free_port, free_ports
from tests.redis_server import RedisServer

Make = Callable[..., Headgate]

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example:
    """One example: its servers on ports that are free, its headgate.toml with those ports, and its scripts."""

    def __init__(self, name: str, make: Make, stack: ExitStack, needs: str = "") -> None:
        """needs: what must be installed for it, if that has another name."""
        pytest.importorskip(needs or name)
        self.directory = EXAMPLES / name
        self._make = make
        self._stack = stack
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def serve(self, port: int) -> None:
        """Starts a server by hand, as its page says."""
        process = subprocess.Popen([sys.executable, "server.py", str(port)], cwd=self.directory)
        self._stack.callback(_end, process)
        self._processes[port] = process
        wait_for(lambda: _answers(port), f"the server on {port}")

    def stop(self, port: int) -> None:
        """Stops a server, as Ctrl-C does."""
        process = self._processes[port]
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)

    def headgate(self, changes: dict[str, str], **env: str) -> Headgate:
        """Headgate with its headgate.toml, but for these addresses, and the modules beside it."""
        text = (self.directory / "headgate.toml").read_text()
        for address, other in {"127.0.0.1:8000": "127.0.0.1:0", "127.0.0.1:9000": "127.0.0.1:0", **changes}.items():
            assert f'"{address}"' in text
            text = text.replace(f'"{address}"', f'"{other}"')
        headgate = self._make(flags=["headgate.toml"], env=env)
        headgate.file.write_text(text)
        for module in self.directory.glob("*.py"):
            shutil.copy(module, headgate.directory)
        return headgate.start()

    def script(self, *arguments: str, **env: str) -> str:
        """What a script of its prints."""
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_flask_servers_answer_in_turn_until_the_limit(make: Make, stack: ExitStack, redis_server: RedisServer) -> None:
    example = Example("flask", make, stack)
    ports = free_ports(3)
    for port in ports:
        example.serve(port)
    changes = {f"127.0.0.1:{5001 + k}": f"127.0.0.1:{port}" for k, port in enumerate(ports)}
    headgate = example.headgate({**changes, "redis://127.0.0.1:6379/0": redis_server.url})
    lines = example.script("try.py", f"http://127.0.0.1:{headgate.port}/").splitlines()
    turns = [int(line.rpartition(" ")[2]) for line in lines if ": 200, server " in line]
    assert len(turns) == 12
    assert turns == turns[:3] * 4
    assert set(turns) == set(ports)
    assert re.fullmatch(r"request 13: 429, The limit is 12/30s; try again in (2\d|30) s\.", lines[12])
    assert sorted(lines[13:]) == sorted(f"server {port} answered 4 requests" for port in ports)
    assert b"headgate" in redis_server.command("KEYS", "*")


def test_a_stopped_flask_server_costs_no_request(make: Make, stack: ExitStack) -> None:
    example = Example("flask", make, stack)
    ports = free_ports(3)
    for port in ports:
        example.serve(port)
    changes = {f"127.0.0.1:{5001 + k}": f"127.0.0.1:{port}" for k, port in enumerate(ports)}
    headgate = example.headgate({**changes, "12/30s": "100000/30s", "redis://127.0.0.1:6379/0": ""})
    assert {headgate.get().status for _ in range(9)} == {200}
    example.stop(ports[0])
    answers = [headgate.get() for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.json()["server"] for answer in answers} == set(ports[1:])


def test_fastapi_servers_come_and_go_through_the_api(make: Make, stack: ExitStack) -> None:
    example = Example("fastapi", make, stack)
    ports = free_ports(3)
    for port in ports[:2]:
        example.serve(port)
    headgate = example.headgate({"127.0.0.1:5001": f"127.0.0.1:{ports[0]}", "127.0.0.1:5002": f"127.0.0.1:{ports[1]}"})
    third = f"127.0.0.1:{ports[2]}"
    admin = f"http://127.0.0.1:{headgate.admin[1]}"

    def servers(count: int) -> set[object]:
        return {fetch(headgate.address).json()["server"] for _ in range(count)}

    # The load takes turns, too: eight requests between its own may all meet the same server.
    with Load(headgate.address, connections=2) as load:
        wait_for(lambda: servers(8) == set(ports[:2]), "requests for both")
        example.serve(ports[2])
        assert f"{third} ready" in example.script("scale.py", "add", third, ADMIN=admin)
        wait_for(lambda: servers(8) == set(ports), "requests for the third")
        assert f"{third} ready" not in example.script("scale.py", "remove", third, ADMIN=admin)
        assert servers(8) <= set(ports[:2])
        example.stop(ports[2])
        load.more(50)
    assert load.failures == []


def test_users_have_the_rate_of_the_plan_that_is_in_their_token(
    make: Make, stack: ExitStack, backend: Callable[..., Backend]
) -> None:
    example = Example("tiers", make, stack, "jwt")
    headgate = example.headgate({"127.0.0.1:5001": backend().address})

    def statuses(count: int, *user: str) -> list[int]:
        token = example.script("make_token.py", *user).strip()
        return [headgate.get(Authorization=f"Bearer {token}").status for _ in range(count)]

    assert statuses(7, "alice", "gold") == [200] * 6 + [429]
    assert statuses(4, "bob") == [200] * 3 + [429]
    assert statuses(2, "alice", "gold") == [429] * 2
    assert [headgate.get(Authorization="Bearer x.y.z").status for _ in range(4)] == [200] * 3 + [429]
    assert headgate.metric("headgate_limit_function_errors_total") == 0

    # A function that is changed takes effect with a reload, in all workers, and a broken one with none.
    module = headgate.directory / "tiers.py"
    text = module.read_text()
    module.write_text(text.replace('"sub"', '"name"'))
    assert headgate.cli("reload").returncode == 0
    assert statuses(3, "bob") == [429] * 3, "he counts by his address, of which nothing is left"
    module.write_text("import nowhere")
    refused = headgate.cli("reload")
    assert refused.returncode != 0
    assert 'limits.per_user.key: module "tiers" cannot be imported: ModuleNotFoundError' in refused.stderr
    assert statuses(1, "carol") == [429]


def test_requests_cost_what_the_prices_say(make: Make, stack: ExitStack, backend: Callable[..., Backend]) -> None:
    example = Example("prices", make, stack, "headgate")
    one = backend()
    headgate = example.headgate({"127.0.0.1:5001": one.address})

    def left(target: str) -> int | None:
        found = re.search(r";r=(\d+);", headgate.get(target).fields.get("ratelimit", ""))
        return int(found[1]) if found else None

    assert [left("/search"), left("/"), left("/health"), left("/searching")] == [20, 19, None, 18]
    one.behaviour = answers(503)
    assert [left("/search"), left("/search")] == [8, 8], "failures cost nothing in the end"
    one.behaviour = answers(200, fields="X-Cache: hit\r\n")
    assert [left("/search"), left("/search")] == [8, 7]
    assert headgate.get("/report").status == 429
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_prices.py"],
        cwd=example.directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_partners_are_asked_for_over_http(make: Make, stack: ExitStack, backend: Callable[..., Backend]) -> None:
    example = Example("partners", make, stack, "headgate")
    directory = free_port()
    process = subprocess.Popen([sys.executable, "directory.py", str(directory)], cwd=example.directory)
    stack.callback(_end, process)
    wait_for(lambda: _answers(directory, "/partners/acme-2041"), "the directory")
    headgate = example.headgate({"127.0.0.1:5001": backend().address}, DIRECTORY=f"127.0.0.1:{directory}")
    headgate.has_failing_functions = True
    assert [headgate.get().status for _ in range(6)] == [200] * 5 + [429]
    assert [headgate.get(X_Partner_Key="acme-2041").status for _ in range(8)] == [200] * 8
    assert [headgate.get(X_Partner_Key="else").status for _ in range(2)] == [429] * 2
    _end(process)
    assert headgate.get(X_Partner_Key="globex-77").status == 429
    assert headgate.metric("headgate_limit_function_errors_total", limit="strangers") == 1
    headgate.await_log("limit strangers: its function for exempt (partners:is_partner) failed; on_error is used")


def _answers(port: int, target: str = "/health") -> bool:
    try:
        return fetch(("127.0.0.1", port), target).status == 200
    except OSError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
