"""Chunked bodies: no split changes what is passed on, and what is passed on others read alike."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from headgate.errors import BadRequest
from headgate.http1.body import Chunked
from tests.fuzz.heads import chunked_bodies, mutated
from tests.fuzz.oracles import NEXT, h11_request, httptools_messages

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
cuts = st.lists(st.integers(0, 200), max_size=6)


def _feed(pieces: list[bytes], framed: bool) -> tuple[bytes, bytes, bool] | None:
    """What is passed on, what follows, and whether the body ended; None when it is refused."""
    body = Chunked(framed, BadRequest)
    passed = b""
    left = list(pieces)
    try:
        while left and not body.done:
            passed += body.feed(left.pop(0))
    except BadRequest:
        return None
    return passed, body.rest + b"".join(left), body.done


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


@given(chunked_bodies() | mutated(chunked_bodies()), cuts, st.booleans())
@example(b"1\r\na\r\n0\r\n\r\n", [5, 6], True)
def test_no_split_changes_what_becomes_of_a_body(data: bytes, places: list[int], framed: bool) -> None:
    whole = _feed([data], framed)
    assert _feed(_cut(data, places), framed) == whole
    assert _feed([data[at : at + 1] for at in range(len(data))], framed) == whole


@given(chunked_bodies(), st.booleans())
def test_a_sound_body_passes(data: bytes, framed: bool) -> None:
    passed = _feed([data + NEXT], framed)
    assert passed is not None
    assert passed[1:] == (NEXT, True)


def _everybody_reads(form: bytes, content: bytes) -> None:
    theirs = h11_request(HEAD + form + NEXT)
    assert theirs is not None
    assert (theirs.body, theirs.rest, theirs.complete) == (content, NEXT, True)
    messages = httptools_messages(HEAD + form + NEXT)
    assert messages is not None
    assert messages[0].body == content
    assert [message.start for message in messages[1:]] == [(b"GET", b"/next")]


@given(chunked_bodies() | mutated(chunked_bodies()))
def test_what_is_passed_on_everybody_reads_alike(data: bytes) -> None:
    framed, content = _feed([data], framed=True), _feed([data], framed=False)
    assert (framed is None) == (content is None)
    if framed is None or content is None or not framed[2]:
        return
    _everybody_reads(framed[0], content[0])
    if not {*b";:"} & {*data}:  # as it came, but for extensions and trailers, in which others are laxer or stricter
        _everybody_reads(data[: len(data) - len(framed[1])], content[0])
    assert _feed([framed[0]], framed=True) == (framed[0], b"", True)
