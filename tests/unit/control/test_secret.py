from pathlib import Path

import pytest

from headgate.control import secret
from headgate.control.report import Place, Report, Said
from headgate.control.values import SECRET
from headgate.errors import ConfigError

GOOD = "at least sixteen characters"


def said(report: Report) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        report.check()
    return caught.value.problems


def test_a_secret_comes_from_its_file_without_the_blanks_around_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(f" {GOOD}\n")
    given: dict[str, object] = {"secret_file": "file", "url": "x"}
    secret.from_file(Place(Report()), given, "secret", SECRET, tmp_path)
    assert given == {"secret": GOOD, "url": "x"}


def test_without_a_file_everything_stays_as_it_is(tmp_path: Path) -> None:
    given: dict[str, object] = {"secret": GOOD}
    secret.from_file(Place(Report()), given, "secret", SECRET, tmp_path)
    assert given == {"secret": GOOD}


@pytest.mark.parametrize(
    ("given", "content", "problem"),
    [
        ({"secret": GOOD}, GOOD.encode(), "there is a secret too (expected one of the two)"),
        ({}, b"\xff" * 20, "not UTF-8"),
        ({}, b"hunter2", "a secret is at least 16 printable characters"),
        ({}, None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_has_none_is_named_and_its_content_is_not_shown(
    tmp_path: Path, given: dict[str, object], content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    report = Report()
    with pytest.raises(Said):
        secret.from_file(Place(report) / "store", {**given, "secret_file": "file"}, "secret", SECRET, tmp_path)
    (line,) = said(report)
    assert line.startswith("store.secret_file: ")
    assert line.endswith(problem)
    assert "hunter2" not in line


def test_a_bad_secret_of_the_environment_is_reported_and_is_none() -> None:
    report = Report()
    assert secret.from_environment(Place(report), "VARIABLE", GOOD, SECRET) == GOOD
    assert secret.from_environment(Place(report), "VARIABLE", "hunter2", SECRET) == ""
    assert said(report) == ["VARIABLE: a secret is at least 16 printable characters"]
