"""The grammar of RFC 9110 and RFC 9112 as patterns that carry the rules' names.

Every repetition is possessive and alternatives begin with different bytes, so that matching is linear in the length of
the head whatever a client sends. No group captures inside a possessive repetition: early releases of Python 3.11 got
those wrong.
"""

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # RFC 9110 section 5.6.2
FIELD_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"  # RFC 9110 section 5.5, less the white space rules; no control but tab
TARGET = rb"[!\"$-~]++"  # visible ASCII; no "#": a fragment is never sent, and parsers that meet one disagree
HOST = rb"(?:[\-._0-9A-Za-z]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5})?+"  # RFC 9110 section 7.2, real names only

REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") (" + TARGET + rb") HTTP/([0-9])\.([0-9])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: " + FIELD_VALUE + rb")?")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[\t ]*+(" + FIELD_VALUE + rb")")
FIELD_LINES = re.compile(rb"(?:" + TOKEN + rb":" + FIELD_VALUE + rb"\r\n)*+")
HOST_VALUE = re.compile(HOST)
LENGTH_VALUE = re.compile(rb"[0-9]{1,18}")
ABSOLUTE_FORM = re.compile(rb"https?://(" + HOST + rb")(/[^?]*+)?+(\?.*+)?+", re.IGNORECASE)  # RFC 9112 section 3.2.2
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})([\t ]*+;" + FIELD_VALUE + rb")?+\r\n")  # RFC 9112 section 7.1


def any_case(name: bytes) -> bytes:
    """A pattern for the name in any case. Sets, not a flag: the engine then looks at the first byte before it tries."""
    return b"".join(b"[%c%c]" % (c - 32, c) if b"a" <= bytes([c]) <= b"z" else re.escape(bytes([c])) for c in name)


def ordinary_field(special: tuple[bytes, ...], alternatives: bytes) -> bytes:
    """A pattern for one field line of a fast path: ordinary, or one of the alternatives.

    special: names, in lower case, that no ordinary field has; a trailing `*` stands for any rest. An ordinary name has
    no underscore either. The three parts begin with different letters or are told apart by a look ahead, which keeps
    the whole linear.
    """
    letters = {name[:1] for name in special}
    others = b"".join(
        re.escape(bytes([c])) for c in range(33, 127) if _is_plain(c) and bytes([c]).lower() not in letters
    )
    shared = b"".join(letter.upper() + letter for letter in sorted(letters))
    names = b"|".join(any_case(name.rstrip(b"*")) + (b"" if name.endswith(b"*") else b":") for name in special)
    rest = rb"[!#$%&'*+\-.^`|~0-9A-Za-z]*+:" + FIELD_VALUE + rb"\r\n"
    return b"(?:[%b]%b|%b|(?!%b)[%b]%b)*" % (others, rest, alternatives, names, shared, rest)


def _is_plain(c: int) -> bool:
    return chr(c).isalnum() or c in b"!#$%&'*+-.^`|~"
