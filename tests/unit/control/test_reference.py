import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "reference.py"))


def test_the_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_changed_table_is_made_anew(reference: dict[str, Any]) -> None:
    changed = PAGE.replace("| `drain` | duration |", "| `drain` | seconds |")
    assert changed != PAGE
    assert reference["fill"](changed) == PAGE


def test_a_section_without_a_table_is_found(reference: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="reference: tables"):
        reference["fill"](PAGE.replace("<!-- table: heads -->", ""))
