"""From a request's host and target to its route: the longest path prefix of whole segments; a host beats no host.

The path is matched in normal form (percent-decoded, dot segments resolved, slashes merged), so that `/x/..%2fadmin`
cannot slip past the route of `/admin`; what is forwarded stays as the client wrote it.
"""

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

R = TypeVar("R")

_UNUSUAL = re.compile(rb"%|\\|//|/\.")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")


class Router(Generic[R]):
    """Routes by host and path. Looking one up costs one dictionary look-up for each segment of the path."""

    def __init__(self, routes: Iterable[tuple[str, str, R]]) -> None:
        """routes: host (lower case, "" for any), path prefix, and what stands for the route."""
        self._hosts: dict[bytes, dict[bytes, R]] = {}
        for host, path, route in routes:
            self._hosts.setdefault(host.encode(), {})[path.rstrip("/").encode()] = route
        any_host = self._hosts.get(b"", {})
        # The usual small installation has one route for everything.
        self._only: R | None = any_host.get(b"") if len(self._hosts) == len(any_host) == 1 else None

    def match(self, host: bytes, target: bytes) -> R | None:
        """The route for a request, or None. host: the Host field's value; target: in origin-form or `*`."""
        if self._only is not None:
            return self._only
        path = normal_path(target)
        table = self._hosts.get(host_name(host))
        route = None if table is None else _longest(table, path)
        if route is None and (table := self._hosts.get(b"")) is not None:
            route = _longest(table, path)
        return route


def _longest(table: dict[bytes, R], path: bytes) -> R | None:
    while True:
        route = table.get(path)
        if route is not None or not path:
            return route
        path = path[: path.rfind(b"/")]


def host_name(host: bytes) -> bytes:
    """The name in a Host field: lower case, without port and without the root's dot."""
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].rstrip(b".").lower()


def normal_path(target: bytes) -> bytes:
    """The path of a target in the form that routes are compared in, without a slash at its end (RFC 3986 section 6)."""
    path = target.partition(b"?")[0]
    if not _UNUSUAL.search(path):
        return path.rstrip(b"/") if path != b"*" else b""
    decoded = _ENCODED.sub(lambda m: bytes([int(m[1], 16)]), path).replace(b"\\", b"/")
    kept: list[bytes] = []
    for segment in decoded.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    return b"".join(b"/" + segment for segment in kept)
