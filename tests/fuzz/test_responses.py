"""Responses: what we accept, others read alike; what we forward, everybody reads alike; and no split changes it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st

from headgate.errors import BadResponse
from headgate.http1.body import Chunked
from headgate.http1.request import CHUNKED, HOP_BY_HOP
from headgate.http1.response import UNTIL_CLOSE, ResponseHead, _read_general, read_response
from tests.fuzz.heads import chunked_bodies, responses, tame_responses
from tests.fuzz.oracles import h11_response, httptools_messages
from tests.unit.http1.reading import Refused, Response, decided_alike, response_outcome, response_value, split_fields
from tests.unit.http1.response_vectors import VECTORS, ok

methods = st.sampled_from([b"GET", b"GET", b"HEAD"])


def _accepted(data: bytes, method: bytes = b"GET", minor: int = 1) -> ResponseHead | None:
    try:
        return read_response(data, method, minor)
    except BadResponse:
        return None


@given(responses, methods, st.integers(0, 1))
@example(ok(b"Connection: close", b"X: v", b"Connection: keep-alive"), b"GET", 1)
def test_no_split_changes_what_becomes_of_a_head(data: bytes, method: bytes, minor: int) -> None:
    def outcome(data: bytes) -> Response | Refused | None:
        return response_outcome(data, method, minor)

    assert decided_alike(data, outcome)


@given(responses, methods)
def test_both_paths_say_the_same(data: bytes, method: bytes) -> None:
    head = _accepted(data, method)
    if head is not None:
        slow = _read_general(data, method, 1)
        assert slow is not None
        assert response_value(head) == response_value(slow)


@given(responses, methods, st.integers(0, 1))
def test_what_is_forwarded_is_clean_and_reads_as_the_same(data: bytes, method: bytes, minor: int) -> None:
    head = _accepted(data, method, minor)
    if head is None:
        return
    fields = split_fields(head.lines)[1]
    assert not {name for name, _ in fields} & HOP_BY_HOP
    again = _accepted(head.lines + b"\r\n", method)
    assert again is not None
    length = UNTIL_CLOSE if minor == 0 and head.length == CHUNKED else head.length
    assert (response_value(again)) == replace((response_value(head)), close=False, length=length)


def _read(head: ResponseHead, body: bytes, framed: bool) -> bytes:
    if head.length == CHUNKED:
        chunks = Chunked(framed, BadResponse)
        passed = chunks.feed(body)
        assert chunks.done
        return passed
    return body


_CODING = (b"transfer-encoding",)


def _compare(data: bytes, head: ResponseHead, content: bytes, *, fields: bool, httptools: bool) -> None:
    """Both oracles must read the head and the body as we do; a response until close stays open."""
    complete = head.length != UNTIL_CLOSE
    theirs = h11_response(data)
    assert theirs is not None
    assert theirs.start == (b"%d" % head.status,)
    assert (theirs.body, theirs.complete) == (content, complete)
    ours = split_fields(head.lines)[1]
    if fields:  # h11 makes a coding lower case
        assert theirs.fields == tuple((name, value.lower() if name in _CODING else value) for name, value in ours)
    if httptools:
        messages = httptools_messages(data, response=True)
        assert messages is not None
        assert len(messages) == 1
        assert messages[0].start == theirs.start
        assert messages[0].body == content
        assert messages[0].complete == complete
        if fields:
            assert messages[0].fields == ours


def _body(head: ResponseHead, chunked: bytes, plain: bytes) -> bytes:
    return chunked if head.length == CHUNKED else plain if head.length == UNTIL_CLOSE else (plain * 7)[: head.length]


@given(tame_responses | responses, chunked_bodies(odd=False), st.binary(min_size=3, max_size=3))
def test_what_we_accept_h11_and_httptools_read_alike(data: bytes, chunked: bytes, plain: bytes) -> None:
    head = _accepted(data)
    if head is None or head.length > 20:
        return
    body = _body(head, chunked, plain)
    lines = data[: head.end].lower()
    padded = b"transfer-encoding:" in lines and b"transfer-encoding: chunked\r\n" not in lines
    # httptools takes no white space but one space before a coding, and reads more into Upgrade than there is.
    compared = not padded and b"upgrade" not in lines
    _compare(data[: head.end] + body, head, _read(head, body, framed=False), fields=False, httptools=compared)


@given(tame_responses | responses, chunked_bodies(), st.binary(min_size=3, max_size=3))
def test_what_we_forward_h11_and_httptools_read_alike(data: bytes, chunked: bytes, plain: bytes) -> None:
    head = _accepted(data)
    if head is None or head.length > 20:
        return
    body = _body(head, chunked, plain)
    forwarded = head.lines + b"\r\n" + _read(head, body, framed=True)
    # White space before a coding is passed on as it came: httptools refuses it, and no client reads it otherwise.
    lines = head.lines.lower()
    padded = b"transfer-encoding:" in lines and b"transfer-encoding: chunked\r\n" not in lines
    _compare(forwarded, head, _read(head, body, framed=False), fields=True, httptools=not padded)


# What we refuse and another accepts, by the name of the vector. A newer h11 or httptools may accept less.
BOTH_ACCEPT = {
    "length-huge",
    "coding-of-1.0",
    "600",
    "version-2.0",
    "fields-beyond",
    "fields-beyond-in-the-general-path",
}
ONLY_H11_ACCEPTS = {
    *("length-twice-equal", "length-list", "chunked-with-length", "length-after-chunked", "head-ambiguous"),
    *("version-1.2", "obs-fold", "lf-only-field", "lf-only-end", "lf-only-status-line"),
}
ONLY_HTTPTOOLS_ACCEPTS = {
    *("chunked-twice", "gzip-chunked", "identity", "000", "099", "reason-control", "leading-empty-line", "leading-lf"),
}
REFUSED = {name: (data, method) for name, data, _, outcome, method, _ in VECTORS if isinstance(outcome, int)}


def test_where_we_are_stricter_is_listed() -> None:
    h11_accepts = {name for name, (data, method) in REFUSED.items() if h11_response(data, method)}
    httptools_accepts = {name for name, (data, _) in REFUSED.items() if httptools_messages(data, response=True)}
    assert h11_accepts <= BOTH_ACCEPT | ONLY_H11_ACCEPTS
    assert httptools_accepts <= BOTH_ACCEPT | ONLY_HTTPTOOLS_ACCEPTS
    assert set(REFUSED) >= BOTH_ACCEPT | ONLY_H11_ACCEPTS | ONLY_HTTPTOOLS_ACCEPTS


REACHED: dict[str, Callable[[ResponseHead], bool]] = {
    "a body of a length": lambda head: head.length > 0,
    "a chunked body": lambda head: head.length == CHUNKED,
    "a body until close": lambda head: head.length == UNTIL_CLOSE,
    "no body": lambda head: head.status == 204,
    "an interim response": lambda head: head.status == 103,
    "HTTP/1.0": lambda head: head.close and head.lines.count(b"\r\n") > 2,
    "nothing to change": lambda head: head.end == len(head.lines) + 2,
}


@pytest.mark.parametrize("predicate", REACHED.values(), ids=REACHED)
def test_the_examples_reach_accepted_heads_with(predicate: Callable[[ResponseHead], bool]) -> None:
    def reaches(data: bytes) -> bool:
        head = _accepted(data)
        return head is not None and predicate(head)

    assert find(responses, reaches, settings=settings(max_examples=5000, phases=[Phase.generate]))
