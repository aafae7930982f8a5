import logging
import re

import pytest

from headgate.wire.events import EventFormatter


def line(message: str) -> str:
    return EventFormatter().format(logging.LogRecord("headgate.x", logging.INFO, "", 0, "%s", (message,), None))


def test_a_line_has_its_time_in_utc_its_level_and_its_origin() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO headgate\.x: server a:1 is up", line("server a:1 is up"))


@pytest.mark.parametrize(
    ("words", "written"),
    [("a\r\nb", r"a\x0d\x0ab"), ("\x1b[31m", r"\x1b[31m"), ("\x9b2J", r"\x9b2J"), ("\u2028", r"\x2028")],
)
def test_what_others_said_neither_starts_a_line_nor_commands_a_terminal(words: str, written: str) -> None:
    assert line(words).endswith(f": {written}")
