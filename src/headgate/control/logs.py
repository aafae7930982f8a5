"""The one place where the process's event log is set up.

Events are state changes, one line each, on standard error: `2026-01-01T00:00:00Z INFO headgate.health: server ...`.
The access log is another stream and belongs to the workers.
"""

import logging
from typing import TextIO

from headgate.wire.events import EventFormatter


def set_up(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Sends the events of this process to the stream, standard error when None. Calling it again replaces the first."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # A reader of standard error that went away must not fill it with tracebacks about itself.
    logging.raiseExceptions = False
    for noisy in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
