import re
from types import ModuleType

import pytest

from headgate.http1 import grammar, request, response
from headgate.http1.grammar import ABSOLUTE_FORM, FIELD_LINES, HOST_VALUE, any_case, any_of, as_written, ordinary_field

NAMES = (b"te", b"trailer", b"transfer-encoding", b"x-forwarded-*", b"x-real-ip")


def test_any_case_matches_every_case_and_nothing_else() -> None:
    pattern = re.compile(any_case(b"x-1a"))
    assert all(pattern.fullmatch(name) for name in (b"x-1a", b"X-1A", b"x-1A"))
    assert not any(pattern.fullmatch(name) for name in (b"x_1a", b"x-1b", b"\x18-1a", b"x-1"))


def test_a_name_is_known_as_most_write_it() -> None:
    pattern = re.compile(as_written(b"content-length"))
    assert all(pattern.fullmatch(n) for n in (b"content-length", b"Content-Length", b"Content-length"))
    assert not any(pattern.fullmatch(n) for n in (b"CONTENT-LENGTH", b"content_length", b"contentxlength"))


def test_any_of_matches_each_name_and_nothing_else() -> None:
    pattern = re.compile(any_of(NAMES) + b":")
    assert all(pattern.fullmatch(name) for name in (b"TE:", b"trailer:", b"Transfer-Encoding:", b"X-REAL-IP:"))
    assert all(pattern.fullmatch(name) for name in (b"x-forwarded-:", b"X-Forwarded-For:"))
    others = (
        b"t:",
        b"tee:",
        b"trailers:",
        b"x-forwarded:",
        b"x-forwarded-a b:",
        b"x-forwarded-a_b:",
        b"x-real-ip",
        b"",
    )
    assert not any(pattern.fullmatch(name) for name in others)


def test_any_of_one_name_is_that_name() -> None:
    assert re.compile(any_of([b"host"])).fullmatch(b"hOsT")


def test_an_ordinary_field_has_no_special_name() -> None:
    pattern = re.compile(ordinary_field((b"te", b"x-forwarded-*"), b"TE: ok\\r\\n", b"TE: so\\r\\n", 9))
    for line in (
        b"A: b\r\n",
        b"Tee: b\r\n",
        b"t:\r\n",
        b"X-Forwarded: b\r\n",
        b"x:\r\n",
        b"TE: ok\r\n",
        b"TE: so\r\n",
        b"",
    ):
        assert pattern.fullmatch(line * 3), line
    for line in (
        b"te: b\r\n",
        b"X-Forwarded-For: b\r\n",
        b"a_b: c\r\n",
        b"_: c\r\n",
        b": c\r\n",
        b"A b\r\n",
        b"A: b\n",
    ):
        assert not pattern.fullmatch(line), line


@pytest.mark.parametrize(
    "target", [b"http://a", b"HTTPS://a:80", b"http://[::1]/x?y", b"http://a?x/y", b"http://a/?/?"]
)
def test_an_absolute_target_names_its_host(target: bytes) -> None:
    match = ABSOLUTE_FORM.fullmatch(target)
    assert match is not None
    assert HOST_VALUE.fullmatch(match[1])
    assert target.split(b"://")[1] == match[1] + (match[2] or b"") + (match[3] or b"")


@pytest.mark.parametrize("target", [b"http://", b"http:///x", b"http://a@b/", b"http:a", b"ws://a/", b"http://a\\b"])
def test_what_has_no_plain_host_is_no_absolute_target(target: bytes) -> None:
    assert ABSOLUTE_FORM.fullmatch(target) is None


@pytest.mark.parametrize("module", [grammar, request, response], ids=lambda module: module.__name__)
def test_no_group_is_repeated_possessively(module: ModuleType) -> None:
    patterns = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
    assert patterns
    for pattern in patterns:  # Python 3.11.2 does not step back when one fails half-way
        assert not re.search(rb"\)(?:[*+?]|\{[0-9,]+\})\+", pattern.pattern), pattern.pattern


def test_a_line_that_fails_half_way_is_no_part_of_the_lines_before_it() -> None:
    for flaw in (b"Xv\r\n", b"X: v\0\r\n", b"X: v\r", b"X", b"\r\n"):
        match = FIELD_LINES.match(b"A: b\r\n" * 2 + flaw)
        assert match is not None
        assert match.end() == 12
