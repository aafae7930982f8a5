"""A newcomer's mistakes: each gives one clear line and a sensible exit code, and nothing is left running."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.kit.backend import Backend
from tests.e2e.kit.headgate import Headgate, headgate, settings, toml
from tests.e2e.kit.waiting import wait_for
from tests.ports import free_port
from tests.redis_server import RedisServer

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

HERE = ("--listen=127.0.0.1:0", "--admin=off")
USAGE, UNAVAILABLE, OS_ERROR, IO_ERROR, CONFIG = 2, 69, 71, 74, 78


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


def fails(done: "subprocess.CompletedProcess[str]", code: int, *lines: str) -> None:
    """Asserts that a command failed with this code and said just so many lines, with these words."""
    assert done.returncode == code, done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(lines), done.stderr
    for line, words in zip(said, lines, strict=True):
        assert line.startswith("headgate: ")
        assert words in line


def test_a_port_in_use(taken: int) -> None:
    done = headgate("run", "--server=5000", f"--listen={taken}", "--admin=off")
    fails(done, OS_ERROR, f"cannot listen on 127.0.0.1:{taken}: it is in use")


def test_the_admin_port_in_use(taken: int) -> None:
    done = headgate("run", "--server=5000", "--listen=127.0.0.1:0", f"--admin={taken}")
    fails(done, OS_ERROR, f"cannot listen on 127.0.0.1:{taken}: it is in use")


def test_the_port_of_another_headgate(make: Make, backend: Start) -> None:
    first = make(settings([backend().address])).start()
    done = headgate("run", "--server=5000", f"--listen={first.port}", "--admin=off")
    fails(done, OS_ERROR, "in use, by another program or another Headgate")
    assert first.get().text == "a"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("203.0.113.1:8000", "203.0.113.1 is not an address of this machine"),
        ("no-such-host.invalid:8000", 'the host name "no-such-host.invalid" is not known'),
        ("unix:/proc/headgate.sock", "cannot listen on unix:/proc/headgate.sock: "),
    ],
)
def test_an_address_that_cannot_be_listened_on(address: str, words: str) -> None:
    fails(headgate("run", "--server=5000", f"--listen={address}", "--admin=off"), OS_ERROR, words)


def test_a_socket_path_that_is_a_file_of_something_else(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    done = headgate("run", "--server=5000", f"--listen=unix:{precious}", "--admin=off")
    fails(done, OS_ERROR, "not a socket")
    assert precious.read_text() == "keep me"


def test_typos_in_the_file_are_all_shown_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "headgate.toml").write_text(
        'wokers = 4\n[upstreams.web]\nservers = ["127.0.0.1"]\n[[routes]]\nupstream = "wep"\nlimits = ["per_ipp"]\n'
    )
    lines = (
        'headgate.toml:1: wokers: "wokers" is not a setting',
        'headgate.toml:3: upstreams.web.servers[0]: "127.0.0.1" is not an address',
        'headgate.toml:5: routes[0].upstream: "wep" is not an upstream (known: web)',
        'headgate.toml:6: routes[0].limits[0]: "per_ipp" is not a limit (known: none)',
    )
    fails(headgate("check", "headgate.toml", cwd=tmp_path), CONFIG, *lines)
    fails(headgate("run", "headgate.toml", cwd=tmp_path), CONFIG, *lines)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"upstreams = [[[", "bad.toml:1"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "no such file"),
    ],
    ids=["no TOML", "no text", "no file"],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "bad.toml").write_bytes(content)
    fails(headgate("check", "bad.toml", cwd=tmp_path), CONFIG, words)
    fails(headgate("run", "bad.toml", cwd=tmp_path), CONFIG, words)


def test_a_good_file_is_said_to_be_good(tmp_path: Path) -> None:
    config = settings(["127.0.0.1:5000"], limit="5/s")
    (tmp_path / "good.toml").write_text("".join(f"{key} = {toml(value)}\n" for key, value in config.items()))
    done = headgate("check", "good.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "good.toml: ok (1 upstream, 1 server, 1 route, 1 limit)\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run"], USAGE, "nothing to balance"),
        (["run", "--serve=5000"], USAGE, "No such option"),
        (["run", "x.toml", "--server=5000"], USAGE, "--server cannot be combined with a configuration file"),
        (["run", "--server=5000", "--limit=100/fortnight"], CONFIG, "is not a rate"),
        (["run", "--server=5000", "--workers=many"], CONFIG, "is not a number of workers"),
        (["run", "--server=nonsense"], CONFIG, "is not an address"),
        (["run", "--server=5000", "--store=http://localhost"], CONFIG, "not a Redis URL"),
        (["run", "--server=5000", "--listen=0", "--admin=0.0.0.0:0"], CONFIG, "a token is needed"),
        (["balance"], USAGE, "No such command"),
    ],
)
def test_flags_that_make_no_sense(arguments: list[str], code: int, words: str) -> None:
    fails(headgate(*arguments), code, words)


def test_a_state_file_that_cannot_be_written() -> None:
    done = headgate("run", "--server=5000", *HERE, "--state=/proc/headgate.json")
    fails(done, IO_ERROR, "the state file /proc/headgate.json cannot be ")


def test_a_state_file_that_another_headgate_has(make: Make, backend: Start) -> None:
    first = make(settings([backend().address])).start()
    state = first.directory / "headgate.state.json"
    done = headgate("run", "--server=5000", *HERE, f"--state={state}")
    fails(done, IO_ERROR, "in use by another Headgate")


def test_a_state_file_that_is_damaged_is_not_silently_dropped(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text('{"format": 1, "upstr')
    fails(headgate("run", "--server=5000", *HERE, f"--state={state}"), IO_ERROR, "mend it, or move it away")
    assert state.read_text() == '{"format": 1, "upstr'


def test_a_redis_with_another_password() -> None:
    with RedisServer(password="right", tcp=True) as redis:
        store = f"--store=redis://:wrongly@127.0.0.1:{redis.port}/0"
        done = headgate("run", "--server=5000", *HERE, store)
        fails(done, CONFIG, "password")
        assert "wrongly" not in done.stderr
        fails(headgate("run", "--server=5000", *HERE, f"--store=redis://127.0.0.1:{redis.port}/0"), CONFIG, "password")


def test_a_store_that_is_no_redis(make: Make, backend: Start) -> None:
    port = make(settings([backend().address])).start().port
    fails(headgate("run", "--server=5000", *HERE, f"--store=redis://127.0.0.1:{port}/0"), CONFIG, "is not a Redis")


def test_a_redis_that_is_not_there_is_a_warning_and_limits_hold_on_this_machine(make: Make, backend: Start) -> None:
    store = {"url": f"redis://127.0.0.1:{free_port()}/0"}
    running = make(settings([backend().address], limit="2/minute", store=store)).start()
    assert "is down" in running.log
    wait_for(lambda: running.metric("headgate_store_down") == 1, "the worker to know")
    assert [running.get().status for _ in range(3)] == [200, 200, 429]


def test_commands_without_a_headgate() -> None:
    admin = f"--admin=127.0.0.1:{free_port()}"
    for command in (["status"], ["reload"], ["server", "list"], ["server", "drain", "web", "127.0.0.1:1"]):
        fails(headgate(*command, admin), UNAVAILABLE, "is headgate running?")


def test_names_that_are_not_there(make: Make, backend: Start) -> None:
    server = backend().address
    running = make(settings([server])).start()
    fails(running.cli("server", "drain", "web", "127.0.0.1:1"), UNAVAILABLE, f"(known: {server})")
    fails(running.cli("server", "drain", "wob", server), UNAVAILABLE, '"wob" (known: web)')
    fails(running.cli("server", "add", "web", server), UNAVAILABLE, "already")


def test_a_change_that_cannot_be_kept_is_not_made(make: Make, backend: Start, tmp_path: Path) -> None:
    server = backend().address
    running = make(settings([server], state_file=str(tmp_path / "gone" / "state.json")))
    (tmp_path / "gone").mkdir()
    running.start()
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    fails(running.cli("server", "drain", server), UNAVAILABLE, "cannot be written")
    assert running.server(server)["mode"] == "ready"
    assert running.get().status == 200
