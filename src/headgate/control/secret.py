"""Secrets of the configuration: written in it, in a file of their own, or in the environment.

A secret never stands in a message, also not where it is badly written.
"""

from pathlib import Path

from headgate.control.report import Place, Said
from headgate.control.values import Kind


def from_file(place: Place, given: dict[str, object], key: str, kind: Kind[str], folder: Path) -> None:
    """Puts the secret that the file of `KEY_file` has where `KEY` would have it. Reports what is wrong, raises Said.

    given: what the table at the place says. folder: where a relative path starts.
    """
    file = given.pop(f"{key}_file", None)
    if not isinstance(file, str):
        return
    at = place / f"{key}_file"
    if key in given:
        at.say(f"there is a {key} too (expected one of the two)")
        raise Said
    with at.reporting():
        given[key] = kind.read(at, _text(folder / file))
        return
    raise Said


def from_environment(place: Place, variable: str, value: str, kind: Kind[str]) -> str:
    """The secret that an environment variable has; "" where that is a bad one, which is reported."""
    try:
        return kind.read(place, value)
    except ValueError as error:
        place.say(f"{variable}: {error}")
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
