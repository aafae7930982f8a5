"""Requests: what we accept, others read alike; what we forward, everybody reads alike; and no split changes it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st

from headgate.errors import BadRequest
from headgate.http1.body import Chunked
from headgate.http1.request import CHUNKED, CLAIMS, HOP_BY_HOP, RequestHead, _read_general, read_request
from headgate.model.config import Heads
from tests.fuzz.heads import chunked_bodies, requests, tame_requests
from tests.fuzz.oracles import NEXT, Message, h11_request, httptools_messages
from tests.unit.http1.reading import Request, decided_alike, host_apart, request_outcome, request_value, split_fields
from tests.unit.http1.request_hops import HOPS
from tests.unit.http1.request_vectors import BODIES, GRAMMAR, LINE, get

HEADS = Heads()
# Methods that httptools knows; it refuses others, which RFC 9110 section 9.1 lets a server do and a proxy not.
KNOWN = {b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE"}


def _accepted(data: bytes, trusted: bool = False) -> RequestHead | None:
    try:
        return read_request(data, HEADS, trusted)
    except BadRequest:
        return None


def _body_of(head: RequestHead, data: bytes, framed: bool) -> tuple[bytes, bytes] | None:
    """The body, in its framing or bare, and what follows; None when it does not end or is malformed."""
    if head.length != CHUNKED:
        return (data[: head.length], data[head.length :]) if len(data) >= head.length else None
    body = Chunked(framed, BadRequest)
    passed = body.feed(data)
    return (passed, body.rest) if body.done else None


@given(requests)
@example(get(b"Connection: close", b"X: v", b"Connection: keep-alive"))
@example(b"\n" + get())
def test_no_split_changes_what_becomes_of_a_head(data: bytes) -> None:
    assert decided_alike(data, request_outcome)


@given(requests, st.booleans())
def test_both_paths_say_the_same(data: bytes, trusted: bool) -> None:
    def general() -> Request | int | None:
        try:
            head = _read_general(data, HEADS, trusted)
        except BadRequest as error:
            return error.status
        return None if head is None else request_value(head)

    head = _accepted(data, trusted)
    if head is not None:
        slow = general()
        assert isinstance(slow, Request)
        assert host_apart(request_value(head)) == host_apart(slow)


@given(requests, st.booleans())
def test_what_is_forwarded_is_clean_and_reads_as_the_same(data: bytes, trusted: bool) -> None:
    head = _accepted(data, trusted)
    if head is None or not head.host:  # of HTTP/1.0, where a request may have no authority
        return
    names = {name for name, _ in split_fields(head.lines)[1]}
    assert not names & (HOP_BY_HOP | CLAIMS)
    assert not any(b"_" in name or name.startswith(b"x-forwarded-") for name in names)
    again = request_outcome(head.lines + b"\r\n", HEADS)
    assert again == replace(request_value(head), close=False, minor=1, claims=())
    once_more = read_request(head.lines + b"\r\n", HEADS, True)
    assert once_more is not None
    assert once_more.lines == head.lines


def _same(theirs: Message | None, head: RequestHead, fields: bool) -> bool:
    """Whether an oracle's head says what ours says."""
    assert theirs is not None
    if fields:
        assert theirs.fields == split_fields(head.lines)[1]
    hosts = [value for name, value in theirs.fields if name == b"host"]
    return theirs.start == (head.method, head.target) and (hosts == [head.host] or (not head.host and not any(hosts)))


# What an oracle refuses although it is right, and what is therefore left out of the comparison with the bytes as they
# came. What we forward is in the plain form that both accept, so nothing is left out there.
def _h11_takes(data: bytes, head: RequestHead) -> bool:
    return not data.startswith(b"\r\n")  # h11 takes no empty line before a request (RFC 9112 section 2.2)


def _httptools_takes(data: bytes, head: RequestHead) -> bool:
    lines = data[: head.end].lower()
    padded = b"transfer-encoding:" in lines and b"transfer-encoding: chunked\r\n" not in lines
    # It stops at Upgrade, takes no white space but one space before a coding, and looks into what other
    # specifications say of a Connection field.
    return head.method in KNOWN and not padded and b"upgrade" not in lines


@given(tame_requests | requests, chunked_bodies(odd=False), st.binary(min_size=3, max_size=3))
def test_what_we_accept_h11_and_httptools_read_alike(data: bytes, chunked: bytes, plain: bytes) -> None:
    head = _accepted(data)
    if head is None:
        return
    body = chunked if head.length == CHUNKED else (plain * 7)[: head.length]
    data = data[: head.end] + body
    read = _body_of(head, body, framed=False)
    if read is None:  # a length of more bytes than these
        return
    assert read[1] == b""
    rewritten = not data.split(b" ")[1].startswith((b"/", b"*"))  # absolute-form becomes origin-form
    theirs = h11_request(data + NEXT) if _h11_takes(data, head) else None
    if theirs is not None and not rewritten:
        assert _same(theirs, head, fields=False)
        assert (theirs.body, theirs.rest) == (read[0], NEXT)
    elif not rewritten:
        assert not _h11_takes(data, head)
    if _httptools_takes(data, head) and not rewritten:
        messages = httptools_messages(data if head.close else data + NEXT)
        assert messages is not None
        assert _same(messages[0], head, fields=False)
        assert messages[0].body == read[0]
        assert [message.start for message in messages[1:]] == ([] if head.close else [(b"GET", b"/next")])


@given(tame_requests | requests, chunked_bodies(), st.binary(min_size=3, max_size=3))
def test_what_we_forward_h11_and_httptools_read_alike(data: bytes, chunked: bytes, plain: bytes) -> None:
    head = _accepted(data)
    if head is None or head.length > 20:
        return
    sent = chunked if head.length == CHUNKED else (plain * 7)[: head.length]
    framed, content = _body_of(head, sent, framed=True), _body_of(head, sent, framed=False)
    assert framed is not None
    assert content is not None
    forwarded = head.lines + b"\r\n" + framed[0] + NEXT
    theirs = h11_request(forwarded)
    assert _same(theirs, head, fields=True)
    assert theirs is not None
    assert (theirs.body, theirs.rest) == (content[0], NEXT)
    if head.method in KNOWN:
        messages = httptools_messages(forwarded)
        assert messages is not None
        assert _same(messages[0], head, fields=True)
        assert messages[0].body == content[0]
        assert [message.start for message in messages[1:]] == [(b"GET", b"/next")]


# What we refuse and another accepts, by the name of the vector. A newer h11 or httptools may accept less.
HOST_FORMS = {
    f"host-{form}" for form in ("list", "space", "slash", "userinfo", "percent", "port-no-number", "two-ports")
}
HOST_FORMS |= {"host-empty", "host-bare-ipv6", "host-ipv6-open"}
ABSOLUTE_FORMS = {
    "absolute-userinfo",
    "absolute-no-host",
    "absolute-other-scheme",
    "target-asterisk-get",
    "target-fragment",
}
NOT_SERVED = {"version-2.0", "version-0.9", "connect", "connect-with-a-path", "trace"}
BOTH_ACCEPT = HOST_FORMS | ABSOLUTE_FORMS | NOT_SERVED | {"length-19-digits", "chunked-in-1.0"}
ONLY_H11_ACCEPTS = {
    *("length-twice-equal", "length-list-equal", "chunked-with-length", "length-after-chunked", "coding-folded"),
    *("obs-fold-space", "obs-fold-tab", "value-escape", "value-delete", "lf-injects-a-field", "lf-only-field"),
    *("lf-only-end", "lf-only-all", "lf-only-request-line", "version-2-preface", "version-1.2", "version-3.0"),
    *("target-relative", "target-authority-form", "absolute-backslash"),
}
ONLY_HTTPTOOLS_ACCEPTS = {
    *("gzip-chunked", "coding-comma", "leading-two-empty-lines", "leading-lf", "leading-crlf-lf", "leading-cr"),
    *("double-space", "no-version", "host-missing", "host-twice", "host-twice-equal", "absolute-needs-host-too"),
}
REFUSED = {name: data for name, data, _, outcome in (*BODIES, *GRAMMAR, *LINE, *HOPS) if isinstance(outcome, int)}


def test_where_we_are_stricter_is_listed() -> None:
    assert {name for name, data in REFUSED.items() if h11_request(data)} <= BOTH_ACCEPT | ONLY_H11_ACCEPTS
    assert {name for name, data in REFUSED.items() if httptools_messages(data)} <= BOTH_ACCEPT | ONLY_HTTPTOOLS_ACCEPTS
    assert set(REFUSED) >= BOTH_ACCEPT | ONLY_H11_ACCEPTS | ONLY_HTTPTOOLS_ACCEPTS


REACHED: dict[str, Callable[[RequestHead, bytes], bool]] = {
    "a body of a length": lambda head, data: head.length > 0,
    "a chunked body": lambda head, data: head.length == CHUNKED,
    "an absolute target": lambda head, data: data[: head.end].count(b"://") > 0 and head.target[:1] == b"/",
    "HTTP/1.0 that stays open": lambda head, data: head.minor == 0 and not head.close,
    "a claim": lambda head, data: head.claims is not None,
    "a name that is dropped": lambda head, data: b"_" in data[: head.end] and b"_" not in head.lines,
    "options of Connection": lambda head, data: b"te , x" in data or b"x, te" in data or b"content-length\r" in data,
    "an empty line before": lambda head, data: data.startswith(b"\r\n"),
}


@pytest.mark.parametrize("predicate", REACHED.values(), ids=REACHED)
def test_the_examples_reach_accepted_heads_with(predicate: Callable[[RequestHead, bytes], bool]) -> None:
    def reaches(data: bytes) -> bool:
        head = _accepted(data, trusted=True)
        return head is not None and predicate(head, data)

    assert find(requests, reaches, settings=settings(max_examples=5000, phases=[Phase.generate]))
