"""A line of the event log, the same from the supervisor and from every worker.

Others' words may be in it: a configuration file's, a server's, what Redis says, the id that a trusted proxy gave. None
of them starts a new line or reaches a terminal as a command.
"""

import logging
import time


class EventFormatter(logging.Formatter):
    """Writes `2026-01-01T00:00:00Z INFO headgate.health: server ...`, with an escape for whatever is not printable."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, without a traceback that may follow it."""
        line = super().formatMessage(record)
        return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
