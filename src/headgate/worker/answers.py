"""The answers that Headgate gives itself, as bytes: errors and refusals."""

import json
from http import HTTPStatus
from math import ceil

from headgate.errors import BadRequest, ExchangeError, Exhausted, Limited, NoServer, Overloaded, StoreUnavailable
from headgate.limits.decision import Decision

_RETRY_SOON = 1  # seconds; said where nobody can know when it will be better

_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_BODIES = {
    status.value: b"%d %b\n" % (status.value, status.phrase.encode()) for status in HTTPStatus if status.value >= 400
}


def answer(
    error: ExchangeError, *, date: bytes, connection: bytes, decision: Decision | None, head_only: bool
) -> bytes:
    """The whole response for an error.

    connection: the Connection field line, or nothing. decision: of the limit that refuses, for `Limited`.
    head_only: whether the request was HEAD, whose response has no body.
    """
    kind, body, extra = b"text/plain; charset=utf-8", _BODIES[error.status], b""
    if isinstance(error, Limited) and decision is not None:
        kind, body = b"application/problem+json", _problem(decision)
        extra = b"Retry-After: %d\r\n" % _seconds(decision)
    elif isinstance(error, BadRequest):
        body = b"%b: %b\n" % (body[:-1], str(error).encode())
    elif isinstance(error, NoServer | StoreUnavailable | Exhausted | Overloaded):
        extra = b"Retry-After: %d\r\n" % _RETRY_SOON
    return b"%bDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
        *(_LINES[error.status], date, kind, len(body), extra, connection),
        b"" if head_only else body,
    )


def _seconds(decision: Decision) -> int:
    return max(1, ceil(decision.reset_after / 1_000_000))


def _problem(decision: Decision) -> bytes:
    """RFC 9457, with the problem type that draft-ietf-httpapi-ratelimit-headers registers."""
    limit = decision.limit.limit
    return (
        json.dumps(
            {
                "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "title": "Too Many Requests",
                "status": 429,
                "detail": f"The limit is {limit.rate}; try again in {_seconds(decision)} s.",
                "violated-policies": [limit.name],
            }
        ).encode()
        + b"\n"
    )
