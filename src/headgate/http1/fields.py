"""Field lines on the general path, one by one: what requests and responses have in common."""

import re
from collections.abc import Callable

from headgate.errors import ExchangeError
from headgate.http1.grammar import FIELD_LINE

Fields = list[tuple[bytes, bytes]]


def read_fields(
    data: bytes,
    at: int,
    *,
    max_size: int,
    max_fields: int,
    malformed: type[ExchangeError],
    too_large: type[ExchangeError],
) -> tuple[Fields, int] | None:
    """The fields from `at` on, names as they came and values trimmed, and where the body begins; None when incomplete.

    max_size: of the whole head. malformed, too_large: what to raise; the first offence in the order of the bytes
    decides (RFC 9112 section 5).
    """
    fields: Fields = []
    while True:
        stop = data.find(b"\n", at)
        if (len(data) if stop < 0 else stop) >= max_size or len(fields) > max_fields:
            raise too_large("head too large")
        if stop < 0:
            return None
        if data[stop - 1] != 13:
            raise malformed("line feed without carriage return")
        if stop - 1 == at:
            return fields, stop + 1
        field = FIELD_LINE.fullmatch(data, at, stop - 1)
        if field is None:
            raise malformed("malformed header field")
        fields.append((field[1], field[2].rstrip(b" \t")))
        at = stop + 1


def by_name(fields: Fields) -> dict[bytes, list[bytes]]:
    """The values of each field, by its name in lower case."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value)
    return found


def reader_of(name: str, *, twins: bool = False) -> Callable[[bytes], list[bytes]]:
    """What reads the values of all fields of a name, in any case, from the lines of a head.

    twins: whether an underscore in a name is as good as a hyphen, as it is to servers with WSGI or CGI.
    """
    named = re.escape(name.encode("latin-1"))
    if twins:
        named = re.sub(rb"_|\\-", b"[-_]", named)
    # White space at the end is cut off afterwards: a pattern that leaves it out looks at each run of blanks in a value
    # from each of its bytes, half a second for 30 KB of them.
    pattern = re.compile(rb"\n" + named + rb":[ \t]*+([^\r]*+)", re.IGNORECASE)
    return lambda lines: [value.rstrip(b" \t") for value in pattern.findall(lines)]


def connection_options(values: list[bytes] | None) -> frozenset[bytes]:
    """The options of all Connection fields, in lower case (RFC 9110 section 7.6.1)."""
    if values is None:
        return frozenset()
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b",")) - {b""}
