import subprocess
import sys
from pathlib import Path

import pytest

import headgate
from headgate.control.child import command


def test_the_current_folder_takes_nothing_of_pythons_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token.py").write_text("1 / 0")
    (tmp_path / "json.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    asked = '{"folders": [], "functions": {}}'
    done = subprocess.run([*command("headgate.worker.modules")], input=asked, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_where_headgate_itself_is_the_current_folder_is_looked_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert headgate.__file__ is not None
    monkeypatch.chdir(Path(headgate.__file__).parents[1])
    assert command("headgate.worker") == (sys.executable, "-m", "headgate.worker")
