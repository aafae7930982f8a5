"""Functions of Python that a configuration names: what is wrong with one is told at its place."""

import os
import sys
import threading
from pathlib import Path

import pytest

from headgate.control import child, functions
from headgate.control.report import Place, Report
from headgate.model.config import Limit, OnError, Python, Rate
from tests.unit.control.loading import WEB, problems, read

ROUTE = '[[routes]]\nupstream = "web"\nlimits = ["a"]\n'
TIERS = (
    "def user(request): ...\ndef cost(request): ...\nasync def tier(request): ...\ndef used(request, response): ...\n"
)


def limited(text: str) -> str:
    """A configuration with a limit that has these settings."""
    return f'{WEB}{ROUTE}[limits.a]\nrate = "1/s"\n{text}\n'


def test_functions_are_found_beside_the_file_and_in_the_folders_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "hg_tiers.py").write_text(TIERS)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "hg_list.py").write_text("def free(request): ...")
    found = read(
        tmp_path,
        'python_path = ["more"]\n'
        + limited(
            'key = "python:hg_tiers:user"\nlimit = "python:hg_tiers:tier"\ncost = "python:hg_tiers:cost"\n'
            'exempt = "python:hg_list:free"\nsettle = "python:hg_tiers:used"'
        ),
    )
    assert found.python_path == (str(tmp_path), str(tmp_path / "more"))
    assert [name for name, _ in found.modules] == ["hg_list", "hg_tiers"]
    assert all(len(version) == 16 for _, version in found.modules)
    (limit,) = found.limits
    assert limit.functions == {
        "exempt": "hg_list:free",
        "key": "hg_tiers:user",
        "limit": "hg_tiers:tier",
        "cost": "hg_tiers:cost",
        "settle": "hg_tiers:used",
    }
    assert (limit.cost, limit.exempt) == (1, ())


def test_a_changed_module_is_another_configuration(tmp_path: Path) -> None:
    text = limited('cost = "python:hg_tiers:cost"')
    (tmp_path / "hg_tiers.py").write_text(TIERS)
    first = read(tmp_path, text)
    assert read(tmp_path, text) == first
    (tmp_path / "hg_tiers.py").write_text(TIERS + "# more\n")
    assert read(tmp_path, text) != first


def test_how_functions_are_called_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "hg_tiers.py").write_text(TIERS)
    text = (
        'cost = "python:hg_tiers:cost"\npython = { timeout = "1s", cache = "10s", cache_by = "header:X-User", '
        'on_error = { key = "path", limit = "5/s", cost = 7, exempt = true } }'
    )
    (limit,) = read(tmp_path, limited(text)).limits
    assert limit.python == Python(1.0, 10.0, "header:x-user", OnError("path", Rate(5, 1.0), 7, True))
    assert limit.cost == 7


def test_a_configuration_without_functions_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "command", lambda module: ("/nowhere",))
    assert read(tmp_path, limited("")).python_path == ()


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ('key = "python:hg_none:x"', 'key: module "hg_none" cannot be imported: ModuleNotFoundError: No module named'),
        ('cost = "python:hg_tiers:x"', 'cost: module "hg_tiers" (hg_tiers.py) has no "x"'),
        (
            'limit = "python:hg_tiers:used"',
            'limit: "used" of module "hg_tiers" (hg_tiers.py) cannot be called with (req',
        ),
        (
            'settle = "python:hg_tiers:cost"',
            'settle: "cost" of module "hg_tiers" (hg_tiers.py) cannot be called with (r',
        ),
        (
            'exempt = "python:hg_tiers:__name__"',
            'exempt: "__name__" of module "hg_tiers" (hg_tiers.py) is not callable',
        ),
        ('limit = "5/s"', 'limit: "5/s" names no function (expected "python:module:name")'),
        ('cost = "python:x"', 'cost: "python:x" names no function'),
        ('key = "python:a:b, path"', 'key: "python:a:b, path" names no function'),
        ('exempt = "10.0.0.0/8"', "exempt: expected a list, found a string"),
        ('cost = "5"', "cost: expected a whole number from 1 to 1000000000, found a string"),
        ('python = { timeout = "1s" }', "python: only where a function of Python is named"),
        ('cost = "python:hg_tiers:cost"\npython = { cache = "1s" }', 'python: "cache" and "cache_by" stand together'),
        (
            'cost = "python:hg_tiers:cost"\npython = { cache_by = "path" }',
            'python: "cache" and "cache_by" stand togeth',
        ),
        (
            'cost = "python:hg_tiers:cost"\npython = { on_error = { key = "python:hg_tiers:user" } }',
            'python.on_error.key: "python:hg_tiers:user" is nothing to count by',
        ),
        (
            'algorithm = "gcra"\nburst = 1000\nlimit = "python:hg_tiers:tier"\npython = { on_error.limit = "1/365d" }',
            "python.on_error.limit: too slow for the burst",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_place(tmp_path: Path, setting: str, problem: str) -> None:
    (tmp_path / "hg_tiers.py").write_text(TIERS)
    (said,) = problems(tmp_path, limited(setting))
    assert f"limits.a.{problem}" in said


def test_a_module_that_is_broken_is_told_once_with_all_that_name_it(tmp_path: Path) -> None:
    (tmp_path / "hg_bad.py").write_text("1 / 0")
    (tmp_path / "hg_tiers.py").write_text(TIERS)
    text = limited('key = "python:hg_bad:key"\ncost = "python:hg_bad:cost"\nlimit = "python:hg_tiers:none"')
    bad, other = problems(tmp_path, f'{text}[limits.b]\nrate = "1/s"\nkey = "python:hg_bad:key"\n')
    assert bad.endswith(
        'limits.a.key: module "hg_bad" cannot be imported: ZeroDivisionError: division by zero (hg_bad.py, line 1) '
        "(the same for limits.a.cost, limits.b.key)"
    )
    assert 'limits.a.limit: module "hg_tiers"' in other


def place() -> tuple[Report, Place]:
    report = Report()
    return report, Place(report)


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import time; time.sleep(60)", "limits: the modules of its functions cannot be imported within 0.2 s"),
        ("import os; os.abort()", "limits: the modules of its functions cannot be imported: exit status -6"),
        ("raise KeyError('x')", "limits: the modules of its functions cannot be imported: KeyError: 'x'"),
        ("print('no JSON')", "limits: the modules of its functions cannot be imported: exit status 0"),
        ("print('[5]')", "limits: the modules of its functions cannot be imported: exit status 0"),
        (r"import os; os.write(2, b'a \xff')", "limits: the modules of its functions cannot be imported: a \ufffd"),
    ],
)
def test_modules_that_hang_or_crash_are_told_of(program: str, problem: str) -> None:
    report, at = place()
    patience = 0.2 if "sleep" in program else 60.0
    limits = {"a": Limit("a", Rate(1, 1.0), cost_of="python:hg_tiers:cost")}
    assert functions.check(at, limits, [], command=(sys.executable, "-c", program), patience=patience) == ()
    with pytest.raises(Exception) as caught:
        report.check()
    assert caught.value.problems == [problem]  # type: ignore[attr-defined]


def test_a_check_that_cannot_be_started_is_told_of() -> None:
    report, at = place()
    limits = {"a": Limit("a", Rate(1, 1.0), cost_of="python:hg_tiers:cost")}
    assert functions.check(at, limits, [], command=("/nowhere/python",)) == ()
    with pytest.raises(Exception) as caught:
        report.check()
    problem = "limits: the modules of its functions cannot be tried: No such file or directory"
    assert caught.value.problems == [problem]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        r"import os; os.write(1, b'\xff\n'); os.write(2, b'\xff\n')",
        "import atexit; atexit.register(print, 5)",
        "import threading; threading.Thread(target=threading.Event().wait).start()",
    ],
    ids=["odd bytes", "prints at its end", "a thread that goes on"],
)
def test_what_a_module_prints_or_leaves_running_is_no_problem(tmp_path: Path, text: str) -> None:
    (tmp_path / "hg_tiers.py").write_text(f"{text}\n{TIERS}")
    assert [name for name, _ in read(tmp_path, limited('cost = "python:hg_tiers:cost"')).modules] == ["hg_tiers"]


def test_as_many_long_names_as_there_may_be_are_tried(tmp_path: Path) -> None:
    (tmp_path / "hg_tiers.py").write_text(TIERS)
    limits = {str(i): Limit(str(i), Rate(1, 1.0), cost_of=f"python:hg_tiers:{'c' * 1000}{i}") for i in range(256)}
    report, at = place()
    assert len(functions.check(at, limits, [str(tmp_path)])) == 1
    assert report.count == 256  # each lacks another function


def test_a_stop_ends_what_is_being_tried(tmp_path: Path) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    program = f"import time; open({str(fifo)!r}, 'w').close(); time.sleep(600)"
    limits = {"a": Limit("a", Rate(1, 1.0), cost_of="python:hg_tiers:cost")}
    report, at = place()
    command = (sys.executable, "-c", program)
    thread = threading.Thread(target=lambda: functions.check(at, limits, [], command=command, patience=500.0))
    thread.start()
    fifo.read_bytes()  # waits for the process to be there
    functions.end()
    thread.join()
    assert report.count == 1
