"""Collects what is wrong with a configuration, so that everything is said at once and each thing with its place.

A `Place` is a spot in the configuration: readers of values get one, say what is wrong there and go on with the next
value. Nothing here knows what a configuration means. The rule: a value that may hold a secret is never quoted.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from headgate.control.lines import Path
from headgate.errors import ConfigError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_QUOTE = 80


class Said(Exception):
    """There is no value, and why was reported where it was found."""


class Report:
    """The problems of one configuration."""

    def __init__(
        self, name: str = "", lines: Callable[[], Mapping[Path, int]] = dict, labels: Mapping[Path, str] | None = None
    ) -> None:
        """name: of the file, "" when there is none. lines: where each path stands in it; called at most once, at the
        end. labels: the flags that gave values, by path; what is under such a path is named by its flag.
        """
        self._name = name
        self._lines = lines
        self._labels = labels or {}
        self._problems: list[tuple[Path, str]] = []

    @property
    def count(self) -> int:
        """How many problems were said so far."""
        return len(self._problems)

    def add(self, path: Path, message: str) -> None:
        """Notes a problem at a path. Messages of other layers quote what the file says as it is."""
        self._problems.append((path, printable(message)))

    def check(self) -> None:
        """Raises ConfigError with every problem, in the order of the file's lines; returns when there is none."""
        if not self._problems:
            return
        lines = self._lines()
        placed = [(_line_of(path, lines), path, message) for path, message in self._problems]
        placed.sort(key=lambda problem: problem[0])
        raise ConfigError(list(dict.fromkeys(self._render(*problem) for problem in placed)))

    def _render(self, line: int, path: Path, message: str) -> str:
        for length in range(len(path), 0, -1):
            if label := self._labels.get(path[:length]):
                return f"{label}: {message}"
        file = f"{self._name}:{line}: " if self._name and line else f"{self._name}: " if self._name else ""
        return f"{file}{path_text(path)}: {message}" if path else f"{file}{message}"


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a configuration that something can be said about."""

    report: Report
    path: Path = ()

    def __truediv__(self, key: str | int) -> "Place":
        return Place(self.report, (*self.path, key))

    def __str__(self) -> str:
        return path_text(self.path)

    def say(self, message: str) -> None:
        """Notes a problem here."""
        self.report.add(self.path, message)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turns a ValueError of the block into a problem here; what was Said already is let go."""
        try:
            yield
        except ValueError as error:
            self.say(str(error))
        except Said:
            pass


def path_text(path: Path) -> str:
    """A path as a user would write it: `routes[0].match.path`, `upstreams."a b".servers[1]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (key if _BARE_KEY.fullmatch(key) else quoted(key))
    return text


def quoted(value: str) -> str:
    """The value in double quotes, cut when long, with nothing in it that could disturb a terminal or a log."""
    shown = value if len(value) <= _LONGEST_QUOTE else f"{value[:_LONGEST_QUOTE]}..."
    return f'"{printable(shown)}"'


def printable(text: str) -> str:
    """The text with an escape in place of each character that could disturb a terminal or a log."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def unknown(word: str, noun: str, known: Iterable[str]) -> str:
    """What to say of a word that is not one of the known ones."""
    names = list(known)
    text = f"{quoted(word)} is not {noun} (known: {', '.join(names) or 'none'})"
    close = difflib.get_close_matches(word.lower(), names, n=1) if len(names) > 1 else []
    return f"{text}; did you mean {quoted(close[0])}?" if close else text


def _line_of(path: Path, lines: Mapping[Path, int]) -> int:
    """The line of the path or of the nearest thing around it; 0 when there is none."""
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 0)
