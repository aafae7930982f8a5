"""Chunked bodies (RFC 9112 section 7.1): checked byte for byte and passed on in the framing they came in.

Chunk extensions and trailer fields are checked and left out: no recipient needs to understand them, and parsers that
disagree about them are a way to smuggle. An empty chunk line, spaces after a size or a bare line feed are refused.
"""

from headgate.errors import BadRequest, BadResponse
from headgate.http1.grammar import CHUNK_LINE, CHUNK_LINE_BEGUN, FIELD_LINES

MAX_LINE = 4096  # bytes of a chunk's size line with its extension and its CRLF
MAX_TRAILER = 16384  # bytes of all trailer fields and the empty line after them


class Chunked:
    """One chunked body as it streams through.

    framed: whether what is passed on keeps its framing (or is the bare content, for an HTTP/1.0 client).
    error: what to raise for bytes that are no chunked body.
    """

    __slots__ = ("_error", "_framed", "_in_trailer", "_left", "_partial", "done", "rest")

    def __init__(self, framed: bool, error: type[BadRequest] | type[BadResponse]) -> None:
        self._framed = framed
        self._error = error
        self._left = 0  # bytes of the chunk that are still to come, its CRLF included
        self._partial = b""  # the beginning of a line that is not complete
        self._in_trailer = False
        self.done = False
        self.rest = b""  # what came after the end of the body

    def feed(self, data: bytes) -> bytes:
        """What to pass on of the body for these bytes. After the last, `done` is true and `rest` is what follows."""
        if self._partial:
            data, self._partial = self._partial + data, b""
        if self._in_trailer:
            return self._trailer(data, 0)
        passed: list[bytes] = []
        at = self._chunk_data(data, 0, passed) if self._left else 0
        while at < len(data) and not self._left:
            line = CHUNK_LINE.match(data, at)
            if line is None:
                self._keep_partial(data, at)
                break
            if line.end() - at > MAX_LINE:
                raise self._error("chunk size line too long")
            size = int(line[1], 16)
            if self._framed:
                passed.append(line[1] + b"\r\n")
            if size == 0:
                self._in_trailer = True
                passed.append(self._trailer(data, line.end()))
                break
            self._left = size + 2
            at = self._chunk_data(data, line.end(), passed)
        return b"".join(passed)

    def _chunk_data(self, data: bytes, at: int, passed: list[bytes]) -> int:
        """Passes on the chunk's bytes from `at`; returns where they end."""
        stop = min(at + self._left, len(data))
        content = max(at, min(stop, at + self._left - 2))  # where its CRLF begins, as far as it is here
        if data[content:stop] != b"\r\n"[2 - self._left + content - at :][: stop - content]:
            raise self._error("chunk data does not end where its size says")
        passed.append(data[at : stop if self._framed else content])
        self._left -= stop - at
        return stop

    def _keep_partial(self, data: bytes, at: int) -> None:
        line = data[at:]
        # What can never be a size is refused now and not when its line ends.
        if len(line) >= MAX_LINE or not CHUNK_LINE_BEGUN.fullmatch(line):
            raise self._error("malformed chunk size")
        self._partial = line

    def _trailer(self, data: bytes, at: int) -> bytes:
        fields = FIELD_LINES.match(data, at)
        assert fields is not None  # it matches nothing at the least
        end = fields.end()
        if data.startswith(b"\r\n", end):
            if end + 2 - at > MAX_TRAILER:
                raise self._error("trailer too large")
            self.done = True
            self.rest = data[end + 2 :]
            return b"\r\n" if self._framed else b""
        if b"\n" in data[end:]:
            raise self._error("malformed trailer field")
        if len(data) - at >= MAX_TRAILER:
            raise self._error("trailer too large")
        self._partial = data[at:]
        return b""
