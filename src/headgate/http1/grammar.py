"""The grammar of RFC 9110 and RFC 9112 as patterns that carry the rules' names.

Every set is repeated possessively and alternatives begin with different bytes, so that matching is linear in the
length of the head whatever a client sends. Groups are never repeated possessively: Python before 3.11.5 goes on from
where such a group failed and not from where it began (python/cpython#106052), and Debian 12 has 3.11.2.
"""

import re
from collections.abc import Iterable

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # RFC 9110 section 5.6.2
FIELD_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"  # RFC 9110 section 5.5, less the white space rules; no control but tab
TARGET = rb"[!\"$-~]++"  # visible ASCII; no "#": a fragment is never sent, and parsers that meet one disagree
_PLAIN = rb"[!#$%&'*+\-.^`|~0-9A-Za-z]*+"  # the rest of a name without underscores
HOST = rb"(?:[\-._0-9A-Za-z]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5})?"  # RFC 9110 section 7.2, real names only

REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") (" + TARGET + rb") HTTP/([0-9])\.([0-9])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: " + FIELD_VALUE + rb")?")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[\t ]*+(" + FIELD_VALUE + rb")")
FIELD_LINES = re.compile(rb"(?:" + TOKEN + rb":" + FIELD_VALUE + rb"\r\n)*")
HOST_VALUE = re.compile(HOST)
LENGTH_VALUE = re.compile(rb"[0-9]{1,18}")
ABSOLUTE_FORM = re.compile(rb"https?://(" + HOST + rb")(/[^?]*+)?(\?.*+)?", re.IGNORECASE)  # RFC 9112 section 3.2.2
# RFC 9112 section 7.1, and what may still become such a line; a size of 15 digits is more than any body.
_QUOTED = rb"\"(?:[\t !#-\[\]-~\x80-\xff]++|\\[\t -~\x80-\xff])*\""
_EXTENSION = rb"[\t ]*+;[\t ]*+" + TOKEN + rb"(?:[\t ]*+=[\t ]*+(?:" + TOKEN + rb"|" + _QUOTED + rb"))?"
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:" + _EXTENSION + rb")*\r\n")
CHUNK_LINE_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,15}(?:[\t ]++|(?:[\t ]*+;" + FIELD_VALUE + rb")?\r?)")


def any_case(name: bytes) -> bytes:
    """A pattern for the name in any case. Sets, not a flag: the engine then looks at the first byte before it tries."""
    return b"".join(b"[%c%c]" % (c - 32, c) if b"a" <= bytes([c]) <= b"z" else re.escape(bytes([c])) for c in name)


def as_written(name: bytes) -> bytes:
    """A pattern for the name as nearly everybody writes it: in lower case, or with words that begin with a capital.

    Letter by letter in any case costs the engine four times as much; who writes otherwise takes a general path.
    """
    return b"-".join(any_case(word[:1]) + re.escape(word[1:]) for word in name.split(b"-"))


def any_of(names: Iterable[bytes]) -> bytes:
    """A pattern for any of the names, none the beginning of another, in any case; `*` at an end stands for any rest.

    A tree by letters, so that a name is looked at once however many there are.
    """
    rests: dict[bytes, list[bytes]] = {}
    for name in sorted(names):
        rests.setdefault(name[:1], []).append(name[1:])
    if b"" in rests:
        return b""
    branches = [_PLAIN if first == b"*" else any_case(first) + any_of(rest) for first, rest in rests.items()]
    return branches[0] if len(branches) == 1 else b"(?:%b)" % b"|".join(branches)


def ordinary_field(special: Iterable[bytes], usual: bytes, seldom: bytes, most: int) -> bytes:
    """A pattern for up to `most` field lines of a fast path, each ordinary or one of the special alternatives.

    special: names as for `any_of` that no ordinary field has. An ordinary name has no underscore either. A field's
    first letter says what it can be; where special names begin with it, a look ahead tells them apart. So no line is
    tried as a whole more than once, which keeps the whole linear.
    usual: the alternatives that nearly every head has, tried early; seldom: the others, tried where no other line fits.
    For the engine an alternative that does not fit costs as much as ten bytes that do.
    """
    letters = sorted({name[:1] for name in special})
    others = b"".join(
        re.escape(bytes([c])) for c in range(33, 127) if _is_plain(c) and bytes([c]).lower() not in letters
    )
    rest = _PLAIN + b":" + FIELD_VALUE + rb"\r\n"
    lines = [b"[%b]%b" % (others, rest), usual]
    for letter in letters:
        tails = any_of(name[1:] for name in special if name.startswith(letter))
        lines.append(b"%b(?!%b:)%b" % (any_case(letter), tails, rest))
    return b"(?:%b|%b){0,%d}" % (b"|".join(lines), seldom, most)


def _is_plain(c: int) -> bool:
    return chr(c).isalnum() or c in b"!#$%&'*+-.^`|~"
