"""The one place where the process's event log is set up.

Events are state changes, one line each, on standard error: `2026-01-01T00:00:00Z INFO headgate.health: server ...`.
The access log is another stream and belongs to the workers.
"""

import logging
import time
from typing import TextIO


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A file's or a server's words may be in it: none of them starts a new line or reaches a terminal as a command.
        line = super().formatMessage(record)
        return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)


def set_up(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Sends the events of this process to the stream, standard error when None. Calling it again replaces the first."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # A reader of standard error that went away must not fill it with tracebacks about itself.
    logging.raiseExceptions = False
    for noisy in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
