import subprocess
import sys
from importlib import import_module

import click
import pytest

from headgate import __version__
from headgate.cli import main
from headgate.errors import ConfigError, ListenFailed
from tests.tree import SOURCE
from tests.unit.cli.conftest import Headgate


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes `headgate check` fail in a way of the test's choice."""

    def failing(self: object, ctx: object, name: str) -> click.Command:
        @click.command
        def command() -> None:
            raise error

        return command

    monkeypatch.setattr(main.LazyGroup, "get_command", failing)


@pytest.mark.parametrize("group", [[], ["server"], ["limit"], ["tier"]], ids=" ".join)
def test_no_commands_line_of_help_is_cut(headgate: Headgate, group: list[str]) -> None:
    code, out, _ = headgate(*group, "--help")
    commands = out[out.index("Commands:") + 1 :]
    assert code == 0
    assert commands
    assert [line for line in commands if line.endswith("...")] == []


def test_help_imports_nothing_but_click_and_the_standard_library() -> None:
    script = (
        f"import sys; sys.path.insert(0, {SOURCE!r}); from headgate.cli.main import call; code = call(['--help']);"
        "known = set(sys.stdlib_module_names) | {'click', 'headgate', '__main__', 'sitecustomize'};"
        "slow = {'asyncio', 'http', 'json', 'email', 'ssl', 'tomllib'};"
        "loaded = {name.partition('.')[0] for name in sys.modules if not name.startswith('_')};"
        "print(sorted(loaded - known | loaded & slow), sorted(n for n in sys.modules if 'headgate.' in n), code)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    modules = ["headgate.cli", "headgate.cli.main", "headgate.cli.tables", "headgate.errors"]
    assert done.stdout.splitlines()[-1] == f"[] {modules} 0"
    assert "demo" in done.stdout


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_is_there_and_has_help(headgate: Headgate, name: str) -> None:
    code, out, err = headgate(name, "--help")
    assert (code, err) == (0, [])
    assert out[0].startswith(f"Usage: headgate {name}")
    module, _, attribute = main.COMMANDS[name][0].partition(":")
    assert getattr(import_module(module), attribute).name == name


def test_the_version_is_told(headgate: Headgate) -> None:
    assert headgate("--version") == (0, [f"headgate {__version__}"], [])


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "headgate", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"headgate {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nonsense"], "headgate: No such command 'nonsense'. (see headgate --help)"),
        (["check"], "headgate: Missing argument 'FILE...'. (see headgate check --help)"),
        (["run", "--lisen", "80"], "(see headgate run --help)"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(headgate: Headgate, arguments: list[str], line: str) -> None:
    code, out, err = headgate(*arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert line in err[0]


def test_without_a_command_the_help_is_shown(headgate: Headgate) -> None:
    code, out, err = headgate()
    assert code == 2
    assert any("demo" in line for line in out + err)


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (ConfigError(["a: b", "c: d"]), 78, ["headgate: a: b", "headgate: c: d"]),
        (ListenFailed("in use\x1b[2J"), 71, ["headgate: in use?[2J"]),
        (click.ClickException("so"), 1, ["headgate: so"]),
        (KeyboardInterrupt(), 130, [""]),
    ],
    ids=["several", "control", "click", "interrupt"],
)
def test_a_failure_is_told_without_a_traceback(
    headgate: Headgate, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, lines: list[str]
) -> None:
    fail_with(monkeypatch, error)
    assert headgate("check") == (code, [], lines)


def test_a_bug_keeps_its_traceback(headgate: Headgate, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        headgate("check")


def test_a_reader_that_goes_away_is_no_failure_worth_a_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "headgate", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
