"""The access log: one line for each request, gathered in batches and written by a thread of its own.

Writing once a second in one lump would show in the slowest requests, and a disk that hangs must not stop the loop: so
small batches go to a thread, and when it falls too far behind lines are dropped and counted, never waited for.
"""

import json
import logging
import os
import re
import sys
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from queue import Full, Queue

from headgate.model.config import LOG_MODE, AccessLog

logger = logging.getLogger("headgate.worker")

_BATCH = 512  # lines
_DELAY = 0.05  # seconds that a line waits for company
_BEHIND = 256  # batches that may wait for the disk


class LogWriter:
    """Writes lines to a file (appending) or to standard output."""

    def __init__(self, config: AccessLog, loop: AbstractEventLoop, on_drop: Callable[[int], None]) -> None:
        """on_drop: called from any thread with how many lines could not be written. Raises OSError."""
        self._path = config.path
        self._loop = loop
        self._on_drop = on_drop
        self._lines: list[bytes] = []
        self._fd = _open(config.path)
        self._queue: Queue[list[bytes] | None] = Queue(_BEHIND)
        self._reopen = False
        self._failing = False
        self._stuck = False  # whether the old file is still written because the new one cannot be opened
        self._thread = threading.Thread(target=self._work, name="access-log", daemon=True)
        self._thread.start()

    def add(self, line: bytes) -> None:
        """Takes a line, without the newline at its end."""
        lines = self._lines
        lines.append(line)
        if len(lines) == 1:
            self._loop.call_later(_DELAY, self.flush)
        elif len(lines) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Hands what was gathered to the thread."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._queue.put_nowait(lines)
        except Full:
            self._on_drop(len(lines))

    def reopen(self) -> None:
        """Opens the file anew with the next batch, because it was rotated."""
        self._reopen = True

    def close(self, timeout: float = 1.0) -> None:
        """Writes what is left and ends the thread; a disk that hangs is waited for no longer than so many seconds."""
        self.flush()
        try:
            self._queue.put(None, timeout=timeout)
        except Full:
            return
        self._thread.join(timeout)

    def _work(self) -> None:
        while (lines := self._queue.get()) is not None:
            self._take(lines)
        if self._path != "-":
            os.close(self._fd)

    def _take(self, lines: list[bytes]) -> None:
        if self._reopen:
            self._renew()
        count = len(lines)
        lines.append(b"")  # for the last one's newline
        data = b"\n".join(lines)
        if self._failing and self._path != "-" and _is_torn(self._path):
            data = b"\n" + data
        rest, error = _write(self._fd, data)
        if error:
            self._on_drop(min(count, bytes(rest).count(b"\n")))
            if not self._failing:
                self._failing = True
                logger.error("access log %s cannot be written: %s; lines are lost", self._path, error.strerror)
            return
        if self._failing:
            self._failing = False
            logger.info("access log %s is written again", self._path)

    def _renew(self) -> None:
        """Opens the file anew; while that fails the old one, wherever it is now, is better than none."""
        self._reopen = False
        if self._path == "-":
            return
        try:
            fd, self._fd = self._fd, _open(self._path)
        except OSError as error:
            self._reopen = True
            if not self._stuck:
                self._stuck = True
                logger.error("access log %s cannot be opened anew: %s", self._path, error.strerror)
            return
        self._stuck = False
        os.close(fd)


def _open(path: str) -> int:
    if path == "-":
        return sys.stdout.fileno()
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, LOG_MODE)


def _write(fd: int, data: bytes) -> tuple[memoryview, OSError | None]:
    """Writes all of it; lines of several workers do not mix as long as the system takes a batch in one piece.

    Returns what was not written, and why.
    """
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        return view, error
    return view, None


def _is_torn(path: str) -> bool:
    """Whether a file ends within a line: a disk that was full took a part of it, maybe another worker's."""
    try:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # empty, or no file that can be read
        return False


# time client method host target status bytes seconds "upstream server" flag id
Fields = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]

_IN_JSON = re.compile(rb"[!#-\[\]-~]*+")  # visible, and nothing that JSON escapes
_UNSEEN = re.compile(rb"[^!-~]")


def visible(text: bytes) -> bytes:
    """The text with an escape for each byte that could break a line, or a column, of the log.

    All fields are visible ASCII by themselves but for an id that a trusted proxy gave.
    """
    return _UNSEEN.sub(lambda found: b"\\x%02x" % found[0][0], text)


text_line: Callable[[Fields], bytes] = b" ".join  # called for every request, so without a function around it


def json_line(fields: Fields) -> bytes:
    """The same as one JSON object."""
    when, client, method, host, target, status, sent, seconds, server, flag, request_id = fields
    if not _IN_JSON.fullmatch(target) or not _IN_JSON.fullmatch(request_id):
        target, request_id = (json.dumps(value.decode("latin-1"))[1:-1].encode() for value in (target, request_id))
    upstream, _, address = server.partition(b" ")
    return (
        b'{"time":"%b","client":"%b","method":"%b","host":"%b","target":"%b","status":%b,"bytes":%b,"seconds":%b,'
        b'"upstream":"%b","server":"%b","flag":"%b","id":"%b"}'
        % (when, client, method, host, target, status, sent, seconds, upstream, address, flag, request_id)
    )
