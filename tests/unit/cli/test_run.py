from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.control import supervisor
from headgate.control.config import Flags, from_flags
from headgate.errors import ConfigError
from headgate.model.config import Config
from tests.unit.cli.conftest import Headgate

Load = Callable[[], Config]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Load]:
    """What the supervisor was started with; it ends at once with code 7."""
    loads: list[Load] = []

    def run(load: Load) -> int:
        loads.append(load)
        return 7

    monkeypatch.setattr(supervisor, "run", run)
    return loads


def test_flags_start_the_supervisor_and_its_exit_code_is_the_commands(headgate: Headgate, started: list[Load]) -> None:
    flags = ["--server", "5000", "--server", "5001", "--listen", "8001", "--limit", "100/minute", "--workers", "2"]
    flags += ["--store", "redis://a", "--admin", "off", "--health-check", "/h", "--access-log", "json"]
    flags += ["--state", "/s.json", "--trusted-proxy", "::1"]
    assert headgate("run", *flags) == (7, [], [])
    given = Flags(
        listen=("8001",),
        server=("5000", "5001"),
        limit="100/minute",
        workers="2",
        store="redis://a",
        admin="off",
        health_check="/h",
        access_log="json",
        state="/s.json",
        trusted_proxy=("::1",),
    )
    assert started[0]() == from_flags(given)


@pytest.mark.parametrize("how", [["{}"], ["--config", "{}"]])
def test_a_file_is_read_anew_at_each_reload_under_the_same_overrides(
    headgate: Headgate, started: list[Load], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    file = tmp_path / "headgate.toml"
    file.write_text("workers = 3\n[upstreams.a]\n")
    monkeypatch.chdir(tmp_path)
    assert headgate("run", *(part.format("headgate.toml") for part in how), "--admin", "9001")[0] == 7
    monkeypatch.chdir("/")
    load = started[0]
    assert (load().upstreams[0].name, load().workers, str(load().admin.listen)) == ("a", 3, "127.0.0.1:9001")
    file.write_text("workers = 3\n[upstreams.b]\n")
    assert (load().upstreams[0].name, str(load().admin.listen)) == ("b", "127.0.0.1:9001")
    file.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to balance: give --server ADDRESS or a configuration FILE"),
        (["a.toml", "--config", "b.toml"], "give the file once"),
        (
            ["a.toml", "--server", "1", "--limit", "1/s", "--listen", "1", "--health-check", "/"],
            "--listen, --server, --limit, --health-check cannot be combined with a configuration file: set it in a.to",
        ),
        (["--server", "1", "--limit", "1/s", "--limit", "9/m"], "--limit can be given once"),
        (["a.toml", "--trusted-proxy", "::1"], "--trusted-proxy cannot be combined"),
    ],
)
def test_a_call_that_means_nothing_is_refused(
    headgate: Headgate, started: list[Load], arguments: list[str], message: str
) -> None:
    code, out, err = headgate("run", *arguments)
    assert (code, out, len(err), started) == (2, [], 1, [])
    assert message in err[0]


def test_bad_flags_are_all_told_before_anything_starts(headgate: Headgate, started: list[Load]) -> None:
    code, _, err = headgate("run", "--server", "x", "--limit", "y")
    assert (code, started) == (78, [])
    assert [line.split(": ")[:2] for line in err] == [["headgate", "--server"], ["headgate", "--limit"]]
