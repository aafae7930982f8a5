import logging
from collections.abc import Iterator

import pytest

from headgate.worker.__main__ import log_events


@pytest.fixture
def restored() -> Iterator[None]:
    """The root logger as it was, after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("restored")
def test_what_redis_says_does_not_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log_events()
    logging.getLogger("headgate.store").warning("limit store is down: %s", "ERR \x1b[2J")
    assert capsys.readouterr().err.endswith("WARNING headgate.store: limit store is down: ERR \\x1b[2J\n")
