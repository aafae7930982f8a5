"""What an extension imports: a request and a response, as functions of users see them. This module is stable.

A function of Python that a limit names (docs/limits.md, "In Python") is called with a `Request`, or with a `Request`
and a `Response` when the request is over. Both are views: making one costs nothing that is not asked for, nothing can
be changed through them, and what they return is the caller's own. Texts of a head are Latin-1, as HTTP has it, so no
byte is lost; a path is UTF-8.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from headgate.http1.fields import reader_of
from headgate.http1.request import RequestHead
from headgate.http1.response import ResponseHead
from headgate.routing.router import counted_path, host_name

__all__ = ["Request", "Response"]

_FIELD = re.compile(r"\n([^:\r]++):[ \t]*+([^\r]*+)")


class Request:
    """A request before it is forwarded.

    Its fields are those that the server will see: without those of the connection (Connection, Upgrade, ...) and
    without what only a trusted proxy may say (X-Forwarded-*, Forwarded, X-Real-IP, X-Request-ID); `client` tells what
    came of it.
    """

    __slots__ = ("_client", "_head", "_route")

    def __init__(self, head: RequestHead, client: str, route: str) -> None:
        """client: the address that the request is for. Tests make one with `headgate.testing.requests.request`."""
        self._head = head
        self._client = client
        self._route = route

    @property
    def method(self) -> str:
        """The method, as in `GET`."""
        return self._head.method.decode("latin-1")

    @property
    def target(self) -> str:
        """The path and the query as the client wrote them."""
        return self._head.target.decode("latin-1")

    @property
    def path(self) -> str:
        """The path in the form that routes are compared in: decoded, dots resolved, no slash at its end but for `/`."""
        return counted_path(self._head.target).decode("utf-8", "surrogateescape")

    @property
    def query(self) -> str:
        """What follows the first `?` of the target, not decoded; "" where there is none."""
        return self.target.partition("?")[2]

    @property
    def host(self) -> str:
        """The name in the Host field: lower case, without a port."""
        return host_name(self._head.host).decode("latin-1")

    @property
    def client(self) -> str:
        """The client's address; behind trusted proxies that of the client they name."""
        return self._client

    @property
    def route(self) -> str:
        """The host and path that the route matches, as in `/api` or `example.org/`."""
        return self._route

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The names, as the client wrote them, and values of all fields, in their order."""
        return _fields(self._head.lines)

    def header(self, name: str) -> str | None:
        """The value of a field, of several of the name all with commas between them; None where there is none."""
        return _field(self._head.lines, name)

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies by name, not decoded; of several of one name the first."""
        cookies: dict[str, str] = {}
        for field in _reader_of("cookie")(self._head.lines):
            for pair in field.decode("latin-1").split(";"):
                name, equals, value = pair.strip().partition("=")
                if equals:
                    cookies.setdefault(name, value)
        return cookies

    def __repr__(self) -> str:
        return f"<Request: {self.method} {self.target} of {self.client}>"


class Response:
    """What became of a request.

    status: what the client saw, 0 where it saw nothing. sent: bytes that were sent to it, the head included.
    flag: why Headgate itself ended the request, as in the access log ("DC": the client was gone); "-" for a server's
    whole response. Fields are those of the server's response, none where Headgate answered.
    """

    __slots__ = ("_lines", "flag", "sent", "status")

    def __init__(self, status: int, sent: int, flag: str = "-", head: ResponseHead | None = None) -> None:
        """head: the server's. Tests make one with `headgate.testing.requests.response`."""
        self.status = status
        self.sent = sent
        self.flag = flag
        self._lines = b"" if head is None else head.lines

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The names and values of all fields, in their order."""
        return _fields(self._lines)

    def header(self, name: str) -> str | None:
        """The value of a field, of several of the name all with commas between them; None where there is none."""
        return _field(self._lines, name)

    def __repr__(self) -> str:
        return f"<Response: {self.status}, {self.sent} bytes, {self.flag}>"


def _fields(lines: bytes) -> tuple[tuple[str, str], ...]:
    return tuple([(name, value.rstrip(" \t")) for name, value in _FIELD.findall(lines.decode("latin-1"))])


def _field(lines: bytes, name: str) -> str | None:
    values = _reader_of(name)(lines)
    return b", ".join(values).decode("latin-1") if values else None


_reader_of = lru_cache(256)(reader_of)
