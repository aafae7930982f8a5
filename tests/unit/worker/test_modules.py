"""Modules of users: found where the configuration says, imported anew when they changed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.worker.modules import Modules, check, function, version


@pytest.fixture(autouse=True)
def left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What was importable before, and nothing else, is afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    made = Modules()
    made.look_in([str(tmp_path)])
    return made


def test_a_module_is_found_in_the_folders_and_imported_once(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "hg_tiers.py").write_text("TIER = 1")
    first = modules.load("hg_tiers", "a")
    assert first.TIER == 1
    assert modules.load("hg_tiers", "a") is first


def test_another_version_is_imported_anew_however_soon_it_was_written(modules: Modules, tmp_path: Path) -> None:
    file = tmp_path / "hg_tiers.py"
    seen = []
    for number in (1, 2, 3):
        file.write_text(f"TIER = {number}")
        os.utime(file, (1, 1))  # of the same size, in the same second
        seen.append(modules.load("hg_tiers", str(number)))
    assert [module.TIER for module in seen] == [1, 2, 3]
    assert sys.modules["hg_tiers"] is seen[-1]


def test_a_file_that_had_changed_is_imported_anew_when_it_is_as_it_was_wanted(modules: Modules, tmp_path: Path) -> None:
    file = tmp_path / "hg_tiers.py"
    file.write_text("TIER = 1")
    wanted = version(modules.load("hg_tiers", ""))
    file.write_text("TIER = 2")
    changed = modules.load("hg_tiers", wanted)
    assert changed.TIER == 2
    file.write_text("TIER = 3")
    assert modules.load("hg_tiers", wanted) is changed, "nobody asked for that"
    file.write_text("TIER = 1")
    mended = modules.load("hg_tiers", wanted)
    assert mended.TIER == 1
    file.write_text("TIER = 4")
    assert modules.load("hg_tiers", wanted) is mended


def test_a_version_that_cannot_be_imported_leaves_the_one_before(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "hg_tiers.py").write_text("TIER = 1")
    first = modules.load("hg_tiers", "a")
    (tmp_path / "hg_tiers.py").write_text("TIER = 1 / 0")
    with pytest.raises(ZeroDivisionError):
        modules.load("hg_tiers", "b")
    assert sys.modules["hg_tiers"] is first
    assert modules.load("hg_tiers", "a") is first
    with pytest.raises(ModuleNotFoundError, match="hg_nowhere"):
        modules.load("hg_nowhere", "a")


def test_modules_of_packages_and_of_python_itself(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "hg_package").mkdir()
    (tmp_path / "hg_package" / "__init__.py").write_text("")
    (tmp_path / "hg_package" / "tiers.py").write_text("from hg_package.names import TIER")
    (tmp_path / "hg_package" / "names.py").write_text("TIER = 'gold'")
    assert modules.load("hg_package.tiers", "a").TIER == "gold"
    assert modules.load("json", "a") is json
    assert modules.load("json", "b") is json
    assert modules.load("_bisect", "a").__name__ == "_bisect"


def test_a_module_that_another_one_imported_is_not_imported_anew(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "hg_names.py").write_text("TIER = 'gold'")
    (tmp_path / "hg_tiers.py").write_text("import hg_names")
    assert modules.load("hg_tiers", "a").hg_names is modules.load("hg_names", "a")


def test_what_is_installed_comes_before_the_folders(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("1 / 0")
    (tmp_path / "colorsys.py").write_text("1 / 0")
    assert modules.load("colorsys", "a").rgb_to_hsv


def test_the_folders_are_left_with_the_next_ones(modules: Modules, tmp_path: Path) -> None:
    assert sys.path[-1] == str(tmp_path)
    modules.look_in(["/nowhere", "/else"])
    assert sys.path[-2:] == ["/nowhere", "/else"]
    assert str(tmp_path) not in sys.path


def test_the_current_folder_is_not_looked_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    Modules().look_in(["/nowhere"])
    assert str(tmp_path) not in sys.path


def test_a_version_is_that_of_the_files_bytes(modules: Modules, tmp_path: Path) -> None:
    file = tmp_path / "hg_tiers.py"
    file.write_text("TIER = 1")
    module = modules.load("hg_tiers", "a")
    before = version(module)
    assert len(before) == 16
    os.utime(file, (1, 1))
    assert version(module) == before
    file.write_text("TIER = 2")
    assert version(module) != before
    file.unlink()
    assert version(module) == ""
    assert version(sys) == ""


def test_a_function_must_be_there_and_take_what_it_gets(modules: Modules, tmp_path: Path) -> None:
    file = tmp_path / "hg_tiers.py"
    file.write_text(
        "def one(request): ...\ndef two(request, response): ...\nasync def late(request, more=1): ...\n"
        "class Called:\n    def __call__(self, *views): ...\nobject = Called()\nNUMBER = 1\nfrom math import hypot\n"
        "def yields(request): yield\nasync def late_yields(request): yield\n"
    )
    module = modules.load("hg_tiers", "a")
    for name, parameters in (("one", 1), ("two", 2), ("late", 1), ("late", 2), ("object", 2), ("hypot", 2)):
        assert function(module, name, parameters) is getattr(module, name)
    for name, parameters, problem in (
        ("missing", 1, f'module "hg_tiers" ({file}) has no "missing"'),
        ("NUMBER", 1, f'"NUMBER" of module "hg_tiers" ({file}) is not callable'),
        ("yields", 1, f'"yields" of module "hg_tiers" ({file}) has a yield'),
        ("late_yields", 1, f'"late_yields" of module "hg_tiers" ({file}) has a yield'),
        ("one", 2, "cannot be called with (request, response): too many positional arguments"),
        ("two", 1, "cannot be called with (request): missing a required argument: 'response'"),
    ):
        with pytest.raises(ValueError) as caught:
            function(module, name, parameters)
        assert problem in str(caught.value)
    assert function(sys, "exit", 1) is sys.exit


def test_all_that_is_wrong_is_told_for_each_function(tmp_path: Path) -> None:
    (tmp_path / "hg_good.py").write_text("def cost(request): ...")
    (tmp_path / "hg_bad.py").write_text("import hg_nowhere")
    (tmp_path / "hg_exits.py").write_text("raise SystemExit(3)")
    (tmp_path / "hg_wrong.py").write_text("def broken(:")
    (tmp_path / "hg_silent.py").write_text("def fails():\n    raise ValueError\n\nfails()")
    found = check(
        [str(tmp_path), "/nowhere"],
        {
            "hg_good:cost": 1,
            "hg_good:x": 1,
            "hg_bad:x": 1,
            "hg_exits:x": 1,
            "hg_wrong:x": 1,
            "hg_silent:x": 1,
            "hg_none:x": 1,
        },
    )
    assert list(found["versions"]) == ["hg_good"]
    assert found["problems"] == {
        "hg_good:x": f'module "hg_good" ({tmp_path / "hg_good.py"}) has no "x"',
        "hg_bad:x": "module \"hg_bad\" cannot be imported: ModuleNotFoundError: No module named 'hg_nowhere' "
        "(hg_bad.py, line 1)",
        "hg_exits:x": 'module "hg_exits" cannot be imported: SystemExit: 3 (hg_exits.py, line 1)',
        "hg_wrong:x": 'module "hg_wrong" cannot be imported: SyntaxError: invalid syntax (hg_wrong.py, line 1)',
        "hg_silent:x": 'module "hg_silent" cannot be imported: ValueError (hg_silent.py, line 2)',
        "hg_none:x": f"module \"hg_none\" cannot be imported: ModuleNotFoundError: No module named 'hg_none' "
        f"(looked in {tmp_path}, /nowhere)",
    }


def test_the_check_is_a_process_of_its_own_whose_last_line_tells(tmp_path: Path) -> None:
    (tmp_path / "hg_loud.py").write_text("print('hello')\ndef cost(request): ...")
    (tmp_path / "json.py").write_text("1 / 0")
    asked = json.dumps({"folders": [str(tmp_path)], "functions": {"hg_loud:cost": 1}})
    done = subprocess.run(
        [sys.executable, "-m", "headgate.worker.modules"], input=asked, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1])["problems"] == {}
    assert "hello" not in done.stdout
    assert "hello" in done.stderr
