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
            if self._in_trailer and b"\n" not in data and len(self._partial) + len(data) < MAX_TRAILER:
                self._partial += data
                return b""
            data, self._partial = self._partial + data, b""
        cuts: list[tuple[int, int]] = []
        if self._in_trailer:
            self._trailer(data, 0, cuts)
        else:
            self._chunks(data, self._chunk_data(data, 0, cuts) if self._left else 0, cuts)
        return _without(data, cuts)

    def _chunks(self, data: bytes, at: int, cuts: list[tuple[int, int]]) -> None:
        """Checks the data from the size line at `at`. cuts: where what is not passed on begins and ends."""
        while at < len(data):
            line = CHUNK_LINE.match(data, at)
            if line is None:
                self._keep_partial(data, at)
                cuts.append((at, len(data)))
                return
            start = line.end()
            if start - at > MAX_LINE:
                raise self._error("chunk size line too long")
            if not self._framed:
                cuts.append((at, start))
            elif data.find(b";", at, start) >= 0:
                cuts.append((line.end(1), start - 2))
            size = int(line[1], 16)
            if size == 0:
                self._in_trailer = True
                self._trailer(data, start, cuts)
                return
            if self._framed and data.startswith(b"\r\n", start + size):  # the whole chunk is here and stays as it is
                at = start + size + 2
                continue
            self._left = size + 2
            at = self._chunk_data(data, start, cuts)

    def _chunk_data(self, data: bytes, at: int, cuts: list[tuple[int, int]]) -> int:
        """Checks what is here of the chunk's bytes from `at`; returns where they end."""
        stop = min(at + self._left, len(data))
        content = max(at, min(stop, at + self._left - 2))  # where its CRLF begins, as far as it is here
        if data[content:stop] != b"\r\n"[2 - self._left + content - at :][: stop - content]:
            raise self._error("chunk data does not end where its size says")
        if not self._framed:
            cuts.append((content, stop))
        self._left -= stop - at
        return stop

    def _keep_partial(self, data: bytes, at: int) -> None:
        line = data[at:]
        # What can never be a size is refused now and not when its line ends.
        if len(line) >= MAX_LINE or not CHUNK_LINE_BEGUN.fullmatch(line):
            raise self._error("malformed chunk size")
        self._partial = line

    def _trailer(self, data: bytes, at: int, cuts: list[tuple[int, int]]) -> None:
        fields = FIELD_LINES.match(data, at)
        assert fields is not None  # it matches nothing at the least
        end = fields.end()
        if data.startswith(b"\r\n", end):
            if end + 2 - at > MAX_TRAILER:
                raise self._error("trailer too large")
            self.done = True
            self.rest = data[end + 2 :]
            cuts += [(at, end), (end + 2 if self._framed else end, len(data))]
            return
        if data.find(b"\n", end) >= 0:
            raise self._error("malformed trailer field")
        if len(data) - at >= MAX_TRAILER:
            raise self._error("trailer too large")
        self._partial = data[at:]
        cuts.append((at, len(data)))


def _without(data: bytes, cuts: list[tuple[int, int]]) -> bytes:
    """The data without what lies in the cuts: the data itself when there are none."""
    if not cuts:
        return data
    pieces: list[bytes] = []
    at = 0
    for start, stop in cuts:
        pieces.append(data[at:start])
        at = stop
    pieces.append(data[at:])
    return b"".join(pieces)
