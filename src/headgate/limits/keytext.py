r"""Keys as people read and write them: `192.0.2.7`, or `192.0.2.7, =/path` where a limit counts by several things.

`shown` gives a printable text for any key, another for each, and `read` gives that key back. Parts stand in their order
with commas between them. What would be taken for something else is escaped: `\,` and `\\`, and `\xNN` for a byte that
is not printable, or is a blank at an end of its part.

`written` reads what a person knows of a key, which is less: a value without its mark, in full where the key has a hash;
an address in any form. It needs the limit that is meant. The admin API and the command line use it.

Texts are UTF-8 wherever people write them. HTTP has its fields as Latin-1, and so have functions of users who look at
them: `counted` makes the same key of both.
"""

import re
from ipaddress import ip_network

from headgate.limits.keys import PREFIXES, Seal, compose, is_secret, network_of, prefixes, said, split

_TOKEN = re.compile(r"\\.?|[^\\,]+|,", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([\\,]?))")
_HASH = re.compile(rb"[#~][0-9a-f]{32}")


def counted(text: str) -> bytes:
    """What a program's text counts as: `café` in UTF-8, also where its bytes were read as Latin-1 (`cafÃ©`).

    What reads as UTF-8 in Latin-1 is taken for that; a program to which the two are not the same says bytes. Raises
    ValueError for half a character.
    """
    if text.isascii():
        return text.encode()
    try:
        read_as_latin = text.encode("latin-1")
        read_as_latin.decode()
    except UnicodeError:
        return text.encode("utf-8", "surrogateescape")
    return read_as_latin


def shown(key: bytes) -> str:
    """The text of a key."""
    return ", ".join(_escaped(part) for part in split(key))


def read(text: str) -> bytes:
    """The key whose text it is. Raises ValueError for what is the text of none."""
    return compose([_unescaped(part) for part in _parts(text)])


def written(text: str, kinds: str, seal: Seal | None = None, *, private: bool = False) -> bytes:
    """The key that a person means. kinds: what the limit counts by, as its configuration has it; private: its own.

    seal: what hides them, where that is known. `abc` is `=abc`; a value that begins with `=`, `@`, `#` or `~` needs its
    mark. Raises ValueError for what is no key of such a limit.
    """
    names = kinds.split(",")
    parts = _parts(text) if len(names) > 1 else [text.strip(" ")]
    if len(parts) != len(names):
        raise ValueError(f"{len(parts)} part{'s' * (len(parts) > 1)} (expected {len(names)}: {', '.join(names)})")
    found = [_written(_unescaped(part), name) for part, name in zip(parts, names, strict=True)]
    hides = [
        private or (is_secret(name) and not part.startswith(b"@")) for part, name in zip(found, names, strict=True)
    ]
    return compose([_hidden(part, seal) if hide else part for part, hide in zip(found, hides, strict=True)])


def _hidden(part: bytes, seal: Seal | None) -> bytes:
    if part.startswith(b"~"):
        return part
    if seal is None:
        raise ValueError("a key that is hashed (expected ~ and 32 hexadecimal digits)")
    return seal(part)


def _written(part: bytes, kind: str) -> bytes:
    if part.startswith((b"#", b"~")):
        if not _HASH.fullmatch(part):
            raise ValueError(f"{_quoted(part)} is no hash (expected {part[:1].decode()} and 32 hexadecimal digits)")
        return part
    if (lengths := prefixes(kind)) is not None:
        return _address(part, lengths)
    if kind == "constant" and part.removeprefix(b"=") != b"*":
        raise ValueError(f"{_quoted(part)} is not the key of constant (expected *: all requests have the same)")
    if part.startswith(b"@"):
        return said(b"", _address(part[1:], PREFIXES))
    value = part.removeprefix(b"=")
    if not value:
        raise ValueError(f"nothing for {kind} (expected what the request says, or @ and its client's address)")
    return said(value, b"")


def _address(part: bytes, lengths: tuple[int, int]) -> bytes:
    """The key of an address, or of a network that counts as one."""
    text = part.decode("utf-8", "surrogateescape")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{_quoted(part)} is not an address") from None
    key = network_of(str(network.network_address), lengths)
    if "/" in text and ip_network(key.decode()) != network:
        networks = f", or a network like {key.decode()}" if b"/" in key else ""
        raise ValueError(f"{_quoted(part)} does not count as one (expected an address{networks})")
    return key


def _quoted(part: bytes) -> str:
    return f'"{_escaped(part)}"'


def _escaped(part: bytes) -> str:
    text = part.decode("utf-8", "surrogateescape")
    inner = text.strip(" ")
    lead = len(text) - len(text.lstrip(" ")) if inner else 0
    tail = len(text) - len(inner) - lead
    return r"\x20" * lead + "".join([_character(character) for character in inner]) + r"\x20" * tail


def _character(character: str) -> str:
    if character in "\\,":
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _parts(text: str) -> list[str]:
    """What stands between the commas that are not escaped, without the blanks around it."""
    parts = [""]
    for token in _TOKEN.findall(text):
        if token == ",":
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip(" ") for part in parts]


def _unescaped(text: str) -> bytes:
    try:
        part = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(f"{text!a} has half a character in it") from None
    return _ESCAPE.sub(_byte, part)


def _byte(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return bytes.fromhex(escape[1].decode())
    if not escape[2]:
        raise ValueError(r"a backslash that escapes nothing (expected \\, or \, or \xNN)")
    return escape[2]
