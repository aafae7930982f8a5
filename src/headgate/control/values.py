"""The kinds of values that a configuration has: what each is called, and how one is read from TOML.

A `Kind` reads one value: it returns what the model wants, raises ValueError with what is wrong and what was expected,
or raises `Said` when it reported the problems itself (tables and lists do, for what is in them). The same kinds give
the reference its "Value" column, so the reference cannot promise what the loader does not do.

Here is how tables and lists are read, and numbers, words, times and texts. `network_values.py`, `http_values.py` and
`limit_values.py` have those that only mean something there.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from headgate.control.report import Place, Said, quoted, unknown
from headgate.model import rate
from headgate.model.config import Rate

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """A kind of value. `form` is what the reference calls it."""

    form: str
    read: Callable[[Place, object], T_co]


Kinds = Mapping[str, Kind[object]]


# -- reading tables and lists


def table(place: Place, value: object, kinds: Kinds, noun: str, required: Collection[str] = ()) -> dict[str, object]:
    """What a table says, each value read by its kind; a key that it leaves out is left out.

    noun: what a key of it is called in messages. Reports every problem, then raises Said when there was one.
    """
    said = place.report.count
    values: dict[str, object] = {}
    for key, entry in entries(place, value).items():
        kind = kinds.get(key)
        if kind is None:
            (place / key).say(unknown(key, noun, kinds))
            continue
        with (place / key).reporting():
            values[key] = kind.read(place / key, entry)
    for key in required:
        if key not in entries(place, value):
            place.say(f'"{key}" is missing (expected {kinds[key].form.replace("`", "")})')
    if place.report.count > said:
        raise Said
    return values


def entries(place: Place, value: object) -> dict[str, object]:
    """The value as the table that it should be. Raises ValueError when it is none."""
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {kind_of(value)}")
    return value


def many(kind: Kind[T], form: str, same: Callable[[T], str] | None = None) -> Kind[tuple[T, ...]]:
    """A list of values of one kind. A bad element is reported at its place, and the others are read all the same.

    same: what two elements must not have in common.
    """

    def read(place: Place, value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise ValueError(f"expected a list, found {kind_of(value)}")
        said = place.report.count
        found: list[T] = []
        seen: dict[str, int] = {}
        for index, entry in enumerate(value):
            with (place / index).reporting():
                found.append(kind.read(place / index, entry))
                if same and seen.setdefault(same(found[-1]), index) != index:
                    (place / index).say(f"{same(found[-1])} is there twice (also [{seen[same(found[-1])]}])")
        if place.report.count > said:
            raise Said
        return tuple(found)

    return Kind(form, read)


def kind_of(value: object) -> str:
    """What TOML calls a value, without the value: it may be a secret."""
    names = {
        bool: "true or false",
        str: "a string",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), "a date or time")


def string(value: object, what: str = "a string") -> str:
    """The value as the string that it should be. Raises ValueError when it is none."""
    if not isinstance(value, str):
        raise ValueError(f"expected {what}, found {kind_of(value)}")
    return value


def parsed(form: str, what: str, parse: Callable[[str], T]) -> Kind[T]:
    """A kind that is written as a string. what: the noun for messages; parse: raises ValueError when it is none."""
    return Kind(form, lambda place, value: parse(string(value, what)))


# -- numbers, words, texts


def number(low: int, high: int) -> Kind[int]:
    """A whole number in a range, both ends included."""

    def read(place: Place, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected a whole number from {low} to {high}, found {kind_of(value)}")
        if not low <= value <= high:
            raise ValueError(f"{value} is out of range (expected {low} to {high})")
        return value

    return Kind(f"{low} to {high}", read)


def _flag(place: Place, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {kind_of(value)}")
    return value


FLAG = Kind("`true` or `false`", _flag)


def choice(noun: str, *known: str) -> Kind[str]:
    """One of the known words."""

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(unknown(text, noun, known))
        return text

    return parsed(" or ".join(f'`"{word}"`' for word in known), noun, parse)


def named(noun: str, known: Collection[str] | None) -> Kind[str]:
    """The name of something defined elsewhere; any name when what is defined is not known."""
    if known is None:
        return parsed("name", "a name", str)
    return Kind("name", choice(noun, *known).read)


def duration(*, zero: bool = False) -> Kind[float]:
    """A time in seconds, from a millisecond to a year; `zero` allows 0 too."""
    least = "0" if zero else "1ms"

    def read(place: Place, value: object) -> float:
        seconds = seconds_of(value)
        if not (0.001 <= seconds <= rate.YEAR or (zero and seconds == 0)):
            raise ValueError(f"{_shown(value)} is out of range (expected {least} to 365d)")
        return seconds

    return Kind("duration", read)


def _patience(place: Place, value: object) -> float:
    if value in ("cancel", "finish"):
        return 0.0 if value == "cancel" else float("inf")
    if isinstance(value, str) and rate.duration(value) is None:
        raise ValueError(f'{quoted(value)} is not known (expected "cancel", "finish" or a duration)')
    return duration().read(place, value)


ON_CLIENT_GONE = Kind('`"cancel"`, `"finish"` or duration', _patience)


def seconds_of(value: object) -> float:
    """The seconds of "500ms", "10s", "1m", "2h", "1d", or of a number, which counts seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = string(value, "a duration")
    seconds = rate.duration(text)
    if seconds is None:
        raise ValueError(f'{quoted(text)} is not a duration (expected "500ms", "10s", "1m", "2h" or seconds)')
    return seconds


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else str(value)


def _rate(text: str) -> Rate:
    try:
        return rate.rate(text)
    except ValueError as error:
        raise ValueError(f"{quoted(text)} {error}") from None


RATE = parsed("rate", "a rate", _rate)


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("expected a text of at least one printable character")
    return text


TEXT = parsed("text", "a text", _text)


def _optional_text(text: str) -> str:
    return _text(text) if text else ""


OPTIONAL_TEXT = parsed("text", "a text", _optional_text)


def token(text: str) -> str:
    """The admin API's token, which travels in a header field. Raises ValueError, without the token."""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token is at least one printable ASCII character, without blanks")
    return text


TOKEN = parsed("text", "a text", token)


def _secret(text: str) -> str:
    # IPv4 addresses are few: with a secret that can be guessed, so can be what was hashed with it.
    if len(text) < 16 or not text.isprintable():
        raise ValueError("a secret is at least 16 printable characters")
    return text


SECRET = parsed("text", "a text", _secret)


def name(text: str, noun: str) -> str:
    """The name of an upstream or a limit, which also stands in metrics, in Redis and in the paths of the admin API."""
    if not _NAME.fullmatch(text):
        raise ValueError(f'{quoted(text)} is not a name for {noun} (letters, digits, "_", "-", "."; at most 64)')
    return text
