"""The answers that Headgate gives itself, as bytes: errors and refusals."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from math import ceil

from headgate.errors import BadRequest, ExchangeError, Exhausted, Limited, NoServer, Overloaded, StoreUnavailable
from headgate.limits.decision import Decision
from headgate.model.config import Limit
from headgate.model.snapshot import LimitState

# What is said of limits is made once for each. The limits are held, so that their id() stays their own: hashing one
# costs more than all else of an answer.
_REMEMBERED = 1024
_POLICIES: dict[int, tuple[LimitState, bytes]] = {}
_PROBLEMS: dict[tuple[int, ...], tuple[list[LimitState], bytes, bytes]] = {}

_RETRY_SOON = 1  # seconds; said where nobody can know when it will be better

_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_BODIES = {
    status.value: b"%d %b\n" % (status.value, status.phrase.encode()) for status in HTTPStatus if status.value >= 400
}


def answer(
    error: ExchangeError, *, date: bytes, connection: bytes, decisions: Sequence[Decision], head_only: bool
) -> bytes:
    """The whole response for an error.

    connection: the Connection field line, or nothing. decisions: what limits said, where the client is to be told.
    head_only: whether the request was HEAD, whose response has no body.
    """
    kind, body, extra = b"text/plain; charset=utf-8", _BODIES[error.status], b""
    if isinstance(error, Limited) and decisions:
        seconds = _seconds(longest_refusal(decisions))
        kind, body = b"application/problem+json", _problem(decisions, seconds)
        extra = b"Retry-After: %d\r\n" % seconds
    elif isinstance(error, BadRequest):
        body = b"%b: %b\n" % (body[:-1], str(error).encode())
    elif isinstance(error, NoServer | StoreUnavailable | Exhausted | Overloaded):
        extra = b"Retry-After: %d\r\n" % _RETRY_SOON
    if decisions:
        extra += limit_fields(decisions)
    return b"%bDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
        *(_LINES[error.status], date, kind, len(body), extra, connection),
        b"" if head_only else body,
    )


def longest_refusal(decisions: Sequence[Decision]) -> Decision:
    """Of decisions of which some refuse, the one that does for the longest time."""
    return max(decisions, key=lambda decision: (not decision.allowed, decision.reset_after))


def limit_fields(decisions: Sequence[Decision]) -> bytes:
    """The fields that tell a client what is left (draft-ietf-httpapi-ratelimit-headers-10), each with its CRLF.

    A limit whose `headers` do not want it is left out, and so is what the store could not say.
    """
    told = [decision for decision in decisions if _is_told(decision)]
    if not told:
        return b""
    policies = b", ".join([_policy(one.limit) for one in told])
    states = b", ".join([b'"%b";r=%d;t=%d' % (_name(one.limit.limit), one.remaining, _seconds(one)) for one in told])
    fields = b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (policies, states)
    if legacy := [one for one in told if one.limit.limit.legacy_headers]:
        # Made for one limit: of several the one that is nearest to its end.
        one = min(legacy, key=lambda decision: (decision.remaining, -decision.reset_after))
        fields += b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n" % (
            *(one.limit.limit.rate.limit, one.remaining, _seconds(one)),
        )
    return fields


def _is_told(decision: Decision) -> bool:
    headers = decision.limit.limit.headers
    return not decision.unavailable and (headers == "always" or (headers == "refused" and not decision.allowed))


def _policy(state: LimitState) -> bytes:
    known = _POLICIES.get(id(state))
    if known is None:
        if len(_POLICIES) >= _REMEMBERED:
            _POLICIES.clear()
        limit = state.limit
        text = b'"%b";q=%d;w=%d' % (_name(limit), limit.rate.limit, max(1, ceil(limit.rate.period)))
        known = _POLICIES[id(state)] = state, text
    return known[1]


def _name(limit: Limit) -> bytes:
    return limit.name.encode()  # letters, digits and a few signs: nothing that a string of RFC 9651 would escape


def _seconds(decision: Decision) -> int:
    return max(1, ceil(decision.reset_after / 1_000_000))


def _problem(decisions: Sequence[Decision], seconds: int) -> bytes:
    """RFC 9457, with the problem type that draft-ietf-httpapi-ratelimit-headers registers."""
    states = [decision.limit for decision in decisions if not decision.allowed]
    names = tuple(map(id, states))
    known = _PROBLEMS.get(names)
    if known is None:
        if len(_PROBLEMS) >= _REMEMBERED:
            _PROBLEMS.clear()
        known = _PROBLEMS[names] = states, *_around_seconds([state.limit for state in states])
    return b"%b%d%b" % (known[1], seconds, known[2])


def _around_seconds(limits: Sequence[Limit]) -> tuple[bytes, bytes]:
    """The problem of these limits, before and after the seconds."""
    rates = " and ".join(str(limit.rate) for limit in limits)
    begin, _, end = (
        json.dumps(
            {
                "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "title": "Too Many Requests",
                "status": 429,
                "detail": f"The limit is {rates}; try again in \0 s.",
                "violated-policies": [limit.name for limit in limits],
            }
        )
        .encode()
        .partition(b"\\u0000")
    )
    return begin, end + b"\n"
