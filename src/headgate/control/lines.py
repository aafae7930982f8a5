"""On which line of a TOML document each key and array element stands, so that a message can say where to look.

`tomllib` tells only the values. This walks a text that `tomllib` has already accepted, so it checks nothing and knows
just enough of the grammar (TOML 1.0) to find its way: headers, keys, strings, arrays and inline tables. `source.py`
calls it, once, when there is something to report.
"""

import re
import tomllib
from bisect import bisect_right
from itertools import accumulate

Path = tuple[str | int, ...]

_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+')
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{1,2})?' r"|'''.*?'''(?:'{1,2})?" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)
_BARE = re.compile(r"[^,\]}#\n]*")  # a date may have a space in it


def locate(text: str) -> dict[Path, int]:
    """The line, from 1, of every key path of a valid document, such as ("routes", 0, "limits", 1). O(length)."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._ends = list(accumulate(len(line) + 1 for line in text.split("\n")))
        self._counts: dict[Path, int] = {}  # arrays of tables and how many elements they have so far

    def document(self) -> None:
        prefix: Path = ()
        self._skip(_GAP)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                prefix = self._header()
            else:
                self._pair(prefix)
            self._skip(_GAP)

    def _header(self) -> Path:
        start, width = self._at, 2 if self._text.startswith("[[", self._at) else 1
        self._at += width
        *parents, last = self._key()
        self._at += width
        path: Path = ()
        for part in parents:
            path = self._newest((*path, part))
            self._mark(path, start)
        path = (*path, last)
        if width == 2:
            self._mark(path, start)
            self._counts[path] = self._counts.get(path, 0) + 1
            path = self._newest(path)
        self._mark(path, start)
        return path

    def _newest(self, path: Path) -> Path:
        return (*path, self._counts[path] - 1) if path in self._counts else path

    def _pair(self, prefix: Path) -> None:
        start, path = self._at, prefix
        for part in self._key():
            path = (*path, part)
            self._mark(path, start)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            part = self._skip(_KEY)
            parts.append(tomllib.loads(f"k = {part}")["k"] if part[:1] in ("'", '"') else part)
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first in "[{":
            self._at += 1
            self._members(path, array=first == "[")
        else:
            self._skip(_STRING if first in "'\"" else _BARE)

    def _members(self, path: Path, *, array: bool) -> None:
        index = 0
        self._skip(_GAP)
        while self._text[self._at] not in "]}":
            if self._text[self._at] == ",":
                self._at += 1
            elif array:
                self._mark((*path, index), self._at)
                self._value((*path, index))
                index += 1
            else:
                self._pair(path)
            self._skip(_GAP)
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return match[0]

    def _mark(self, path: Path, at: int) -> None:
        self.lines.setdefault(path, bisect_right(self._ends, at) + 1)
