import io
import logging
import re
from collections.abc import Iterator

import pytest

from headgate.control import logs


@pytest.fixture
def restored() -> Iterator[None]:
    """The root logger as it was, after the test."""
    root = logging.getLogger()
    handlers, level, tell = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = tell


@pytest.mark.usefixtures("restored")
class TestSetUp:
    """The event log of a process."""

    def test_a_line_has_its_time_in_utc_its_level_and_its_origin(self) -> None:
        stream = io.StringIO()
        logs.set_up(stream)
        logging.getLogger("headgate.health").info("server %s is up", "a:1")
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO headgate.health: server a:1 is up\n", stream.getvalue()
        )

    def test_what_is_below_the_level_is_not_written(self) -> None:
        stream = io.StringIO()
        logs.set_up(stream)
        logging.getLogger("headgate").debug("quiet")
        logging.getLogger("uvicorn.error").info("quiet")
        assert stream.getvalue() == ""

    def test_control_characters_are_escaped(self) -> None:
        stream = io.StringIO()
        logs.set_up(stream)
        logging.getLogger("headgate").warning("a\x1b[31mb\r\nc\x00")
        assert stream.getvalue().endswith("headgate: a\\x1b[31mb\\x0d\\x0ac\\x00\n")

    def test_a_second_set_up_replaces_the_first(self) -> None:
        first, second = io.StringIO(), io.StringIO()
        logs.set_up(first)
        logs.set_up(second)
        logging.getLogger("headgate").info("once")
        assert first.getvalue() == ""
        assert second.getvalue().count("once") == 1

    def test_a_reader_that_went_away_is_no_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Broken(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        logs.set_up(Broken())
        logging.getLogger("headgate").info("nobody reads")
        assert capsys.readouterr().err == ""
