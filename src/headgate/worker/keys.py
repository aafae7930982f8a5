"""What a request is counted by, read from the request itself. `limits/keys.py` says what the bytes look like.

A part that the request lacks is the client's address instead: a client must not get around a limit by leaving
something out. A path and a host count in the form that routes compare, so no spelling of them counts apart.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from headgate.http1.request import RequestHead
from headgate.limits.keys import compose, said
from headgate.routing.router import host_name, normal_path

Read = Callable[[RequestHead], bytes]


class Key:
    """The key of a limit: one part, or several that count together."""

    def __init__(self, text: str, route: bytes) -> None:
        """text: as the configuration has it. route: what names the route."""
        self._parts = [_part(name, route) for name in text.split(",")]
        self.is_address = text == "client_ip"

    def read(self, head: RequestHead, client: bytes) -> bytes:
        """The key of a request. client: the key of its client's address."""
        if self.is_address:
            return client
        return compose([said(part(head), client) if part is not None else client for part in self._parts])


def _part(text: str, route: bytes) -> Read | None:
    """What reads the part; None for the client's address."""
    kind, _, name = text.partition(":")
    if kind == "client_ip":
        return None
    if kind == "header":
        return _header(name)
    if kind == "cookie":
        return _cookie(name)
    if kind == "query":
        return _query(name)
    return {
        "path": lambda head: normal_path(head.target) or head.target.partition(b"?")[0],
        "host": lambda head: host_name(head.host),
        "method": lambda head: head.method,
        "route": lambda head: route,
        "constant": lambda head: b"*",
    }[kind]


def _header(name: str) -> Read:
    pattern = re.compile(rb"\n" + re.escape(name.encode()) + rb":[ \t]*([^\r]*?)[ \t]*\r", re.IGNORECASE)
    return lambda head: b", ".join(pattern.findall(head.lines))


def _cookie(name: str) -> Read:
    fields = _header("cookie")
    pattern = re.compile(rb"(?:^|[;,])[ \t]*" + re.escape(name.encode()) + rb"=([^;,]*)")

    def read(head: RequestHead) -> bytes:
        found = pattern.search(fields(head))
        return found[1].strip() if found else b""

    return read


def _query(name: str) -> Read:
    wanted = name.encode()

    def read(head: RequestHead) -> bytes:
        for pair in head.target.partition(b"?")[2].split(b"&"):
            key, _, value = pair.replace(b"+", b" ").partition(b"=")
            if unquote_to_bytes(key) == wanted:
                return unquote_to_bytes(value)
        return b""

    return read
