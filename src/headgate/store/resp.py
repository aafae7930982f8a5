"""RESP2, the protocol of Redis: commands to bytes, bytes to replies. No I/O.

The bytes may be split anywhere. Sizes are bounded, because what answers at a mistyped address may be anything.
Called by the link to Redis for every batch of replies; the usual reply, one short line, takes the shortest way.
"""

from typing import TypeAlias

_CRLF = b"\r\n"
_MAX_LINE = 64 * 1024
_MAX_BULK = 1024 * 1024
_MAX_ITEMS = 4096
_MAX_REPLY = _MAX_BULK + _MAX_LINE  # all that waits for the end of a reply, an array of arrays too
_MAX_DEPTH = 8


class ErrorReply:
    """A refusal by Redis, as a value: `code` is the first word (`OOM`, `NOSCRIPT`), `text` the whole line."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def code(self) -> str:
        """The word that names the kind of error."""
        return self.text.partition(" ")[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErrorReply) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"ErrorReply({self.text!r})"


Reply: TypeAlias = bytes | int | ErrorReply | list["Reply"] | None


class NotRedis(ValueError):
    """The bytes are not RESP2."""


class _Incomplete(Exception):
    """More bytes are needed."""


def command(*parts: bytes | str | int) -> bytes:
    """A command as it goes on the wire: an array of bulk strings."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        text = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        out.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(out)


class Reader:
    """Turns the bytes of a connection into replies."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete with these bytes. Raises NotRedis; the reader is of no use afterwards."""
        if self._rest:
            data = self._rest + data
        if data.startswith(b"+") and data.endswith(_CRLF):
            lines = data[1:-2].split(b"\r\n+")
            if len(lines) == data.count(_CRLF):  # each line is a reply: decisions and nothing else, as nearly always
                self._rest = b""
                return [*lines]
        replies: list[Reply] = []
        position = 0
        try:
            while position < len(data):
                reply, position = _reply(data, position, 0)
                replies.append(reply)
        except _Incomplete:
            pass
        self._rest = data[position:]
        if len(self._rest) > _MAX_LINE and self._rest[:1] == b"+":
            raise NotRedis("a line without an end")
        if len(self._rest) > _MAX_REPLY:
            raise NotRedis("a reply without an end")
        return replies


def _line(data: bytes, position: int) -> tuple[bytes, int]:
    end = data.find(_CRLF, position)
    if end < 0:
        if len(data) - position > _MAX_LINE:
            raise NotRedis("a line without an end")
        raise _Incomplete
    return data[position:end], end + 2


def _number(text: bytes, most: int) -> int:
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 19 or int(text) > most:
        raise NotRedis("not a number that was expected")
    return int(text)


def _reply(data: bytes, position: int, depth: int) -> tuple[Reply, int]:
    kind = data[position : position + 1]
    if not kind:
        raise _Incomplete
    if kind not in b"+-:$*" or depth > _MAX_DEPTH:
        raise NotRedis("not a reply")
    line, position = _line(data, position + 1)
    if kind == b"+":
        return line, position
    if kind == b"-":
        return ErrorReply(line.decode("utf-8", "replace")), position
    if kind == b":":
        return _number(line, 2**63 - 1), position
    if kind == b"$":
        return _bulk(data, position, _number(line, _MAX_BULK))
    length = _number(line, _MAX_ITEMS)
    if length < 0:
        return None, position
    items: list[Reply] = []
    for _ in range(length):
        item, position = _reply(data, position, depth + 1)
        items.append(item)
    return items, position


def _bulk(data: bytes, position: int, length: int) -> tuple[Reply, int]:
    if length < 0:
        return None, position
    end = position + length
    if len(data) < end + 2:
        raise _Incomplete
    if data[end : end + 2] != _CRLF:
        raise NotRedis("a string without its end")
    return data[position:end], end + 2
