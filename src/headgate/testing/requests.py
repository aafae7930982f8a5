"""Requests and responses for tests of functions that a limit asks (docs/limits.md, "In Python").

    from headgate.testing.requests import request, response

    def test_uploads_cost_ten():
        assert cost(request("POST /upload")) == 10

They are read by Headgate's own parsers, so a function sees just what it will see in the data path.
"""

from collections.abc import Iterable, Mapping

from headgate.ext import Request, Response
from headgate.http1.request import read_request
from headgate.http1.response import read_response
from headgate.model.config import Heads

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


def request(
    line: str = "GET /",
    headers: Headers = (),
    *,
    host: str = "example.org",
    client: str = "192.0.2.1",
    route: str = "/",
) -> Request:
    """A request. line: its method and target. Raises BadRequest (headgate.errors) where Headgate would refuse it."""
    text = f"{line} HTTP/1.1\r\nHost: {host}\r\n{_lines(headers)}\r\n"
    head = read_request(text.encode("latin-1"), Heads())
    assert head is not None, "a head ends with its first empty line"
    return Request(head, client, route)


def response(status: int = 200, headers: Headers = (), *, sent: int = 0, flag: str = "-") -> Response:
    """A server's response. sent: bytes that the client was sent. Raises BadResponse for one that is none."""
    text = f"HTTP/1.1 {status} \r\n{_lines(headers)}\r\n"
    head = read_response(text.encode("latin-1"), b"GET")
    assert head is not None, "a head ends with its first empty line"
    return Response(status, sent, flag, head)


def _lines(headers: Headers) -> str:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return "".join(f"{name}: {value}\r\n" for name, value in pairs)
