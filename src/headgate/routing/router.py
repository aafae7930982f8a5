"""From a request's host and target to its route: the longest path prefix of whole segments; a host beats no host.

The path is matched in normal form (percent-decoded, dot segments resolved, slashes merged), so that `/x/..%2fadmin`
cannot slip past the route of `/admin`; what is forwarded stays as the client wrote it. A path in which `..` follows an
empty segment has two normal forms, by RFC 3986 and with slashes merged: `/admin//../x` is `/admin/x` or `/x`. No route
takes it where that matters, which is where there are several.
"""

import re
from collections.abc import Iterable
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

R = TypeVar("R")

_UNUSUAL = re.compile(rb"%|\\|//|/\.")


class Router(Generic[R]):
    """Routes by host and path. A match costs at most one dictionary look-up for each segment of the longest route."""

    def __init__(self, routes: Iterable[tuple[str, str, R]]) -> None:
        """routes: host ("" for any), path prefix, and what stands for the route."""
        self._hosts: dict[bytes, dict[bytes, R]] = {}
        self._longest = 0
        for host, path, route in routes:
            prefix = normal_path(path.encode())
            if prefix is None:
                raise ValueError(f"{path} has two normal forms")
            self._hosts.setdefault(host_name(host.encode()), {})[prefix] = route
            self._longest = max(self._longest, len(prefix))
        any_host = self._hosts.get(b"", {})
        # The usual small installation has one route for everything.
        self._only: R | None = any_host.get(b"") if len(self._hosts) == len(any_host) == 1 else None

    def match(self, host: bytes, target: bytes) -> R | None:
        """The route for a request, or None. host: the Host field's value; target: in origin-form or `*`."""
        if self._only is not None:
            return self._only
        path = normal_path(target)
        if path is None:
            return None
        if len(path) > self._longest:
            # To the segments that a route can have: a look-up hashes the path, and thousands of segments would cost
            # their square.
            path = path[: path.rfind(b"/", 0, self._longest + 1)]
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


def normal_path(target: bytes) -> bytes | None:
    """The path of a target in the form that routes are compared in, without a slash at its end (RFC 3986 section 6).

    None where it has two: where `..` takes away an empty segment, or another, as one likes.
    """
    path = target.partition(b"?")[0]
    if not _UNUSUAL.search(path):
        return path.rstrip(b"/") if path != b"*" else b""
    merged, is_only = _resolved(path)
    return merged if is_only else None


def counted_path(target: bytes) -> bytes:
    """The path of a target in the form that it counts as: the normal one, `/` for the root.

    Of two the one with slashes merged, as servers that resolve a path at all mostly have it: a path has any number of
    spellings whose other form is its own (`/a//../x`, `/b//../x`).
    """
    normal = normal_path(target)
    if normal is None:
        normal, _ = _resolved(target.partition(b"?")[0])
    return normal or b"/"


def _resolved(path: bytes) -> tuple[bytes, bool]:
    """A path without dots, with its slashes merged first; whether it is the same where an empty segment is one, too."""
    decoded = unquote_to_bytes(path).replace(b"\\", b"/")
    kept: list[bytes] = []  # slashes are merged first
    exact: list[bytes] = []  # by RFC 3986 section 5.2.4, where an empty segment is one
    for segment in decoded.split(b"/")[1:]:
        if segment == b"..":
            del kept[-1:]
            del exact[-1:]
        elif segment != b".":
            exact.append(segment)
            if segment:
                kept.append(segment)
    is_only = len(exact) == len(kept) or [segment for segment in exact if segment] == kept
    return b"".join(b"/" + segment for segment in kept), is_only
