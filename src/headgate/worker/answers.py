"""The answers that Headgate gives itself, as bytes: errors and refusals."""

from collections.abc import Sequence
from http import HTTPStatus
from math import ceil
from typing import NamedTuple

from headgate.errors import (
    BadRequest,
    ExchangeError,
    Exhausted,
    Limited,
    NoServer,
    Overloaded,
    StoreUnavailable,
    Unpassable,
)
from headgate.limits.decision import Beyond, Decision
from headgate.limits.memo import PerLimit
from headgate.model.snapshot import LimitState

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
_RETRY_SOON = 1  # seconds; said where nobody can know when it will be better

_QUOTA = (
    b'{"type": "https://iana.org/assignments/http-problem-types#quota-exceeded", "title": "Too Many Requests", '
    b'"status": 429, "detail": "The limit is %b'
)
_PROBLEM = _QUOTA + b'; try again in %d s.", "violated-policies": [%b]}\n'
_UNPASSABLE = _QUOTA + b', and this request counts for more than ever pass at once.", "violated-policies": [%b]}\n'
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
    if isinstance(error, Unpassable):  # Retry-After would promise what cannot come true
        kind, body = b"application/problem+json", _unpassable(decisions)
    elif isinstance(error, Limited) and decisions:
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


def refusal(decisions: Sequence[Decision], *, date: bytes, connection: bytes, head_only: bool) -> bytes:
    """The whole response for a request that limits refuse: what `answer` makes of `Limited`.

    That of one limit, the usual case, is put together of ready pieces. Who attacks is refused more often than he is
    served, and with each refusal the same 400 bytes are written but for two numbers.
    """
    one = decisions[0]
    pieces = _PIECES.of(one.limit)
    if len(decisions) > 1 or pieces is None:
        return answer(Limited(), date=date, connection=connection, decisions=decisions, head_only=head_only)
    seconds = b"%d" % (-(-one.reset_after // 1_000_000) or 1)
    start, size, wait, left, middle, end, body, rest = pieces
    length = b"%d" % (size + len(seconds))
    told = (left, b"%d" % one.remaining, middle, seconds, end) if left else ()
    text = () if head_only else (body, seconds, rest)
    return b"".join((start, date, _KIND, length, wait, seconds, b"\r\n", *told, connection, b"\r\n", *text))


class _Pieces(NamedTuple):
    """The answer of one limit's refusal, less its numbers; the five from `start` to `end` are of its head.

    size: of the body without the number in it.
    """

    start: bytes
    size: int
    wait: bytes
    left: bytes
    middle: bytes
    end: bytes
    body: bytes
    rest: bytes


_KIND = b"\r\nContent-Type: application/problem+json\r\nContent-Length: "


def _pieces(state: LimitState) -> _Pieces | None:
    if state.limit.legacy_headers or not state.limit.rate.period:
        return None
    words = _WORDS.of(state)
    left = b"RateLimit-Policy: %b\r\nRateLimit: %b;r=" % (words.policy, words.name)
    body, _, rest = (_PROBLEM % (words.rate, 0, words.name)).partition(b" in 0 s")
    is_told = state.limit.headers != "off"
    return _Pieces(
        _LINES[Limited.status] + b"Date: ",
        len(body + rest) + len(b" in  s"),
        b"\r\nRetry-After: ",
        left if is_told else b"",
        b";t=",
        b"\r\n",
        body + b" in ",
        b" s" + rest,
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
    words = [_WORDS.of(one.limit) for one in told]
    policies = b", ".join([each.policy for each in words])
    states = b", ".join([_state(each.name, one) for each, one in zip(words, told, strict=True)])
    fields = b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (policies, states)
    if legacy := [one for one in told if one.limit.limit.legacy_headers]:
        # Made for one limit: of several the one that is nearest to its end.
        one = min(legacy, key=lambda decision: (decision.remaining, -decision.reset_after))
        fields += b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\n" % (
            one.limit.limit.rate.limit,
            one.remaining,
        )
        if not _is_timeless(one):
            fields += b"X-RateLimit-Reset: %d\r\n" % _seconds(one)
    return fields


def _is_timeless(decision: Decision) -> bool:
    """Whether no time can be told: nobody knows when one of what is in flight ends, and what is beyond never passes."""
    return not decision.reset_after and (not decision.limit.limit.rate.period or isinstance(decision, Beyond))


def _state(name: bytes, decision: Decision) -> bytes:
    if _is_timeless(decision):
        return b"%b;r=%d" % (name, decision.remaining)
    return b"%b;r=%d;t=%d" % (name, decision.remaining, _seconds(decision))


def _is_told(decision: Decision) -> bool:
    headers = decision.limit.limit.headers
    return not decision.unavailable and (headers == "always" or (headers == "refused" and not decision.allowed))


class _Words(NamedTuple):
    """What answers say of a limit: its name in quotes, its item of RateLimit-Policy, its rate."""

    name: bytes
    policy: bytes
    rate: bytes


def _words(state: LimitState) -> _Words:
    limit = state.limit
    # Names are letters, digits and a few signs: nothing that a string of RFC 9651 or of JSON would escape.
    name = b'"%b"' % limit.name.encode()
    rate = limit.rate
    policy = b'%b;q=%d;qu="concurrent-requests"' % (name, rate.limit)
    if rate.period:
        policy = b"%b;q=%d;w=%d" % (name, rate.limit, max(1, ceil(rate.period)))
    return _Words(name, policy, str(rate).encode())


_WORDS = PerLimit(_words)
_PIECES = PerLimit(_pieces)


def _seconds(decision: Decision) -> int:
    return max(1, ceil(decision.reset_after / 1_000_000))


def _problem(decisions: Sequence[Decision], seconds: int) -> bytes:
    """RFC 9457, with the problem type that draft-ietf-httpapi-ratelimit-headers registers."""
    words = [_WORDS.of(decision.limit) for decision in decisions if not decision.allowed]
    return _PROBLEM % (b" and ".join([one.rate for one in words]), seconds, b", ".join([one.name for one in words]))


def _unpassable(decisions: Sequence[Decision]) -> bytes:
    beyond = [_WORDS.of(decision.limit).rate for decision in decisions if isinstance(decision, Beyond)]
    names = [_WORDS.of(decision.limit).name for decision in decisions if not decision.allowed]
    return _UNPASSABLE % (b" and ".join(beyond), b", ".join(names))
