"""Reading what went over a connection, as leniently as can be: what a receiver was sent is to be told, not judged.

Lines end at CRLF alone, so that anything else that came in a line is still to be seen in it. Pure.
"""

from dataclasses import dataclass

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. fields: names in lower case, values bare; framing: how its body is marked, in words.

    is_whole: whether all of the body came.
    """

    line: bytes
    fields: Fields
    framing: str
    content: bytes
    is_whole: bool

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """The values of a field."""
        return tuple(value for each, value in self.fields if each == name)

    @property
    def status(self) -> int:
        """Of a response; 0 where its first line has none."""
        code = self.line[9:12]
        return int(code) if self.line.startswith(b"HTTP/1.") and code.isdigit() else 0


def read_request(raw: bytes) -> tuple[Message, bytes] | None:
    """The request at the start of the bytes and what follows it, or None before its head is complete."""
    return _read(raw, "no body", is_bodiless=False)


def read_response(raw: bytes, method: bytes) -> tuple[Message, bytes] | None:
    """The same for a response to the method. One without length or coding is never whole: the connection ends it."""
    code = raw[9:12]
    bodiless = method == b"HEAD" or code.startswith(b"1") or code in (b"204", b"304")
    return _read(raw, "no length" if bodiless else "until close", is_bodiless=bodiless)


def _read(raw: bytes, unmarked: str, *, is_bodiless: bool) -> tuple[Message, bytes] | None:
    head, found, rest = raw.partition(b"\r\n\r\n")
    if not found:
        return None
    line, *lines = head.split(b"\r\n")
    fields = tuple(_field(each) for each in lines)
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    framing = " and ".join([*(f"length {_text(each)}" for each in lengths), *map(_text, codings)]) or unmarked
    content, rest, is_whole = b"", rest, True
    if is_bodiless:
        pass
    elif codings:
        content, rest, is_whole = _chunks(rest)
    elif lengths:
        size = int(lengths[0]) if lengths[0].isdigit() else 0
        content, rest, is_whole = rest[:size], rest[size:], len(rest) >= size
    elif unmarked == "until close":
        content, rest, is_whole = rest, b"", False
    return Message(line, fields, framing, content, is_whole), rest


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


def _chunks(raw: bytes) -> tuple[bytes, bytes, bool]:
    """The content of a chunked body, what follows it, and whether it came to its end (or to where it can't be read)."""
    content = b""
    while True:
        line, found, rest = raw.partition(b"\r\n")
        if not found:
            return content, b"", False
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            return content, b"", True
        if size <= 0:
            break
        content += rest[:size]
        if len(rest) < size + 2:
            return content, b"", False
        raw = rest[size + 2 :]
    if rest.startswith(b"\r\n"):
        return content, rest[2:], True
    _, found, rest = rest.partition(b"\r\n\r\n")
    return content, rest, bool(found)


def _text(value: bytes) -> str:
    return value.decode("latin-1")
