"""The kinds of values that are compared with messages, or sent in them: hosts, paths, protocols, statuses, failures.

What two readers of HTTP could take for two things is refused, as it is in a request.
"""

import re

from headgate.control.network_values import host
from headgate.control.report import Place, quoted, unknown
from headgate.control.values import Kind, parsed, string
from headgate.http1.upgrade import is_http
from headgate.model.address import Address
from headgate.routing.router import normal_path

_TARGET = re.compile(r"/[!-~]*")
_PROTOCOL = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = re.compile(r"(\d{3})(?:\s*-\s*(\d{3}))?", re.ASCII)


def _match_host(text: str) -> str:
    if text == "":
        return ""
    if "*" in text:
        raise ValueError(f"{quoted(text)} is not a host name: wildcards are not known, leave the host out to match all")
    if text.startswith("[") and text.endswith("]"):
        return f"[{host(text[1:-1])}]"
    if ":" in text:
        raise ValueError(f"{quoted(text)} is not a host name (expected no port; an IPv6 address in brackets)")
    return host(text.removesuffix("."))


MATCH_HOST = parsed("host name", "a host name", _match_host)


def _match_path(text: str) -> str:
    if not text.startswith("/") or not text.isprintable() or any(c in text for c in " ?#"):
        raise ValueError(f'{quoted(text)} is not a path (expected one that begins with "/", without blanks, "?", "#")')
    if normal_path(text.encode()) is None:
        raise ValueError(f'{quoted(text)} means one path or another, because ".." follows an empty segment')
    return text


MATCH_PATH = parsed("path", "a path", _match_path)


def _upgrade(text: str) -> str:
    if text != "*" and not _PROTOCOL.fullmatch(text):
        raise ValueError(f'{quoted(text)} is not a protocol (expected one like "websocket", or "*")')
    if text != "*" and is_http(text.encode()):
        raise ValueError(f"{quoted(text)} is HTTP itself: it would pass requests that nobody here looks at")
    return text.lower()


UPGRADE = parsed("protocol", "a protocol", _upgrade)


def _target(text: str) -> str:
    if not _TARGET.fullmatch(text) or "#" in text:
        raise ValueError(f'{quoted(text)} is not a path (expected one that begins with "/", without blanks or "#")')
    return text


TARGET = parsed("path", "a path", _target)


def _host_field(text: str) -> str:
    if text:
        bare = text if re.search(r":\d+$", text) else f"{text}:80"
        found = Address.parse(bare)
        if found.path:
            raise ValueError(f"{quoted(text)} is not a host name")
        host(found.host)
    return text


HOST_FIELD = parsed("host name", "a host name", _host_field)


def _statuses(place: Place, value: object) -> tuple[tuple[int, int], ...]:
    found = value if isinstance(value, list) else [value]
    if not found:
        raise ValueError("expected at least one status")
    return tuple(_status_range(entry) for entry in found)


def _condition(place: Place, value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 400 <= value <= 599:
            raise ValueError(f"{value} is no status of a failure (expected 400 to 599)")
        return value
    text = string(value, "a failure or a status")
    if text not in CONDITIONS:
        raise ValueError(unknown(text, "a failure", CONDITIONS))
    return text


CONDITIONS = ("reset", "timeout", "malformed")
CONDITION: Kind[str | int] = Kind("failure or status", _condition)


def _status_range(value: object) -> tuple[int, int]:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else string(value, "a status")
    match = _STATUS.fullmatch(text.strip())
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 100 <= low <= high <= 599:
        raise ValueError(f'{quoted(text)} is not a status (expected 200, "200-399" or a list of such, 100 to 599)')
    return low, high


STATUSES = Kind("status, range or list of such", _statuses)
