import pytest

from headgate.errors import BadRequest, BadResponse
from headgate.http1.body import MAX_LINE, MAX_TRAILER, Chunked

# name, bytes, what is passed on, its content, what follows
GOOD = [
    ("empty", b"0\r\n\r\n", b"0\r\n\r\n", b"", b""),
    ("one-chunk", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
    ("two-chunks", b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc", b""),
    (
        "data-like-framing",
        b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
        b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
        b"0\r\n\r\n\r\n",
        b"",
    ),
    (
        "hex-both-cases",
        b"aA\r\n%b\r\n0\r\n\r\n" % (b"x" * 170),
        b"aA\r\n%b\r\n0\r\n\r\n" % (b"x" * 170),
        b"x" * 170,
        b"",
    ),
    ("leading-zeros", b"0001\r\na\r\n000\r\n\r\n", b"0001\r\na\r\n000\r\n\r\n", b"a", b""),
    ("fifteen-digits", b"000000000000001\r\na\r\n0\r\n\r\n", b"000000000000001\r\na\r\n0\r\n\r\n", b"a", b""),
    ("extension", b"1;x\r\na\r\n0;y=z\r\n\r\n", b"1\r\na\r\n0\r\n\r\n", b"a", b""),
    ("extension-quoted", b'1 \t; x = "y;\\"z\xff"\r\na\r\n0\r\n\r\n', b"1\r\na\r\n0\r\n\r\n", b"a", b""),
    ("extensions", b'1;x=y;z ; a=""\r\na\r\n0\r\n\r\n', b"1\r\na\r\n0\r\n\r\n", b"a", b""),
    ("trailer", b"0\r\nX: v\r\nY:\r\n\r\n", b"0\r\n\r\n", b"", b""),
    ("trailer-of-framing", b"0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n", b"0\r\n\r\n", b"", b""),
    ("next-request", b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n", b"1\r\na\r\n0\r\n\r\n", b"a", b"GET / HTTP/1.1\r\n"),
    ("next-after-trailer", b"0\r\nX: v\r\n\r\n\r\n", b"0\r\n\r\n", b"", b"\r\n"),
    ("longest-line", b"1;%b\r\na\r\n0\r\n\r\n" % (b"x" * (MAX_LINE - 4)), b"1\r\na\r\n0\r\n\r\n", b"a", b""),
]
BAD = [
    ("no-size", b"\r\nhello\r\n0\r\n\r\n"),
    ("no-size-but-extension", b";x\r\n\r\n"),
    ("no-number", b"xyz\r\n"),
    ("negative", b"-1\r\na\r\n0\r\n\r\n"),
    ("plus", b"+1\r\na\r\n0\r\n\r\n"),
    ("hex-prefix", b"0x1\r\na\r\n0\r\n\r\n"),
    ("underscore", b"1_0\r\n"),
    ("sixteen-digits", b"0000000000000001\r\na\r\n0\r\n\r\n"),
    ("beyond-64-bits", b"10000000000000001\r\na\r\n"),
    ("space-before", b" 1\r\na\r\n0\r\n\r\n"),
    ("space-after", b"1 \r\na\r\n0\r\n\r\n"),
    ("tab-after", b"1\t\r\na\r\n0\r\n\r\n"),
    ("space-within", b"1 1\r\n"),
    ("size-lf-only", b"1\na\r\n0\r\n\r\n"),
    ("size-cr-only", b"1\ra\r\n0\r\n\r\n"),
    ("size-cr-cr-lf", b"1\r\r\na\r\n0\r\n\r\n"),
    ("extension-lf-only", b"1;x\na\r\n0\r\n\r\n"),
    ("extension-cr", b"1;x\ry\r\na\r\n0\r\n\r\n"),
    ("extension-empty", b"1;\r\na\r\n0\r\n\r\n"),
    ("extension-empty-one-of-two", b"1;x;\r\na\r\n0\r\n\r\n"),
    ("extension-no-name", b"1;=x\r\na\r\n0\r\n\r\n"),
    ("extension-no-value", b"1;x=\r\na\r\n0\r\n\r\n"),
    ("extension-quote-open", b'1;x="y\r\na\r\n0\r\n\r\n'),
    ("extension-quote-escaped", b'1;x="y\\"\r\na\r\n0\r\n\r\n'),
    ("extension-space-after", b"1;x \r\na\r\n0\r\n\r\n"),
    ("extension-two-words", b"1;x y\r\na\r\n0\r\n\r\n"),
    ("extension-nul", b"1;\0\r\na\r\n0\r\n\r\n"),
    ("data-too-long", b"1\r\nab\r\n0\r\n\r\n"),
    ("data-too-short", b"3\r\na\r\n0\r\n\r\n"),
    ("data-lf-only", b"1\r\na\n0\r\n\r\n"),
    ("data-cr-only", b"1\r\na\r0\r\n\r\n"),
    ("data-no-end", b"1\r\na0\r\n\r\n"),
    ("last-lf-only", b"0\n\r\n"),
    ("end-lf-only", b"0\r\n\n"),
    ("end-cr-other", b"0\r\n\rx\n"),
    ("trailer-no-colon", b"0\r\nXv\r\n\r\n"),
    ("trailer-space-before-colon", b"0\r\nX : v\r\n\r\n"),
    ("trailer-fold", b"0\r\nX: v\r\n w\r\n\r\n"),
    ("trailer-lf-only", b"0\r\nX: v\n\r\n"),
    ("trailer-nul", b"0\r\nX: \0\r\n\r\n"),
    ("line-too-long", b"1;%b\r\na\r\n0\r\n\r\n" % (b"x" * (MAX_LINE - 3))),
    ("line-endless", b"1;" + b"x" * MAX_LINE),
]
SHORT = [case for case in GOOD if len(case[1]) < 1000]


def _read(pieces: list[bytes], framed: bool = True) -> tuple[bytes, bytes]:
    """What is passed on of the pieces, and what follows the body, which must end in them."""
    body = Chunked(framed, BadRequest)
    passed = b""
    left = list(pieces)
    while not body.done:
        passed += body.feed(left.pop(0))
    return passed, body.rest + b"".join(left)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(("name", "data", "passed", "content", "rest"), GOOD, ids=[case[0] for case in GOOD])
def test_a_body_is_passed_on_without_extensions_and_trailers(
    name: str, data: bytes, passed: bytes, content: bytes, rest: bytes
) -> None:
    assert _read([data]) == (passed, rest)
    assert _read([data], framed=False) == (content, rest)


@pytest.mark.parametrize("framed", [True, False], ids=["framed", "content"])
@pytest.mark.parametrize(("name", "data", "passed", "content", "rest"), SHORT, ids=[case[0] for case in SHORT])
def test_a_body_is_the_same_however_it_was_split(
    name: str, data: bytes, passed: bytes, content: bytes, rest: bytes, framed: bool
) -> None:
    expected = (passed if framed else content, rest)
    assert _read(_pieces(data, 1), framed) == expected
    for first in range(len(data) + 1):
        assert _read([data[:first], data[first:]], framed) == expected
        second = first + (len(data) - first) // 2
        assert _read([data[:first], data[first:second], data[second:]], framed) == expected


@pytest.mark.parametrize("error", [BadRequest, BadResponse])
@pytest.mark.parametrize(("name", "data"), BAD, ids=[case[0] for case in BAD])
def test_a_malformed_body_is_refused_however_it_was_split(
    name: str, data: bytes, error: type[BadRequest] | type[BadResponse]
) -> None:
    for size in (len(data), 1, 2, 3, 7):
        body = Chunked(True, error)
        with pytest.raises(error):
            list(map(body.feed, _pieces(data, size)))
        assert not body.done


@pytest.mark.parametrize(("name", "data", "passed", "content", "rest"), SHORT, ids=[case[0] for case in SHORT])
def test_a_body_that_stops_early_is_not_done(
    name: str, data: bytes, passed: bytes, content: bytes, rest: bytes
) -> None:
    body = Chunked(True, BadRequest)
    assert passed.startswith(body.feed(data[: len(data) - len(rest) - 1]))
    assert not body.done


def test_a_flaw_is_seen_before_its_line_ends() -> None:
    for flawed in (b"g", b" ", b"1x", b"1 x", b"-", b"\r", b"\n", b"1\rx", b"1" * 16, b";"):
        with pytest.raises(BadRequest):
            Chunked(True, BadRequest).feed(flawed)


def test_what_may_become_a_size_line_is_waited_for() -> None:
    for begun in (b"", b"1", b"1 ", b"1 \t", b"1;", b"1; x", b"1\r", b"1 ;x \r"):
        assert Chunked(True, BadRequest).feed(begun) == b""


def test_a_huge_chunk_passes_in_pieces() -> None:
    body = Chunked(True, BadRequest)
    assert body.feed(b"fffffffffffffff\r\nabc") == b"fffffffffffffff\r\nabc"
    assert body.feed(b"x" * 1000) == b"x" * 1000
    assert not body.done


@pytest.mark.parametrize("size", [1 << 20, 1000], ids=["whole", "split"])
def test_trailers_are_limited_at_the_byte(size: int) -> None:
    def fed(trailer: bytes) -> bool:
        body = Chunked(True, BadRequest)
        for piece in _pieces(b"0\r\n" + trailer, size):
            body.feed(piece)
        return body.done

    full = b"X: " + b"v" * (MAX_TRAILER - 7) + b"\r\n\r\n"
    assert len(full) == MAX_TRAILER
    assert fed(full)
    with pytest.raises(BadRequest):
        fed(b"Y" + full)
    with pytest.raises(BadRequest):
        fed(b"Y" + full[:-1])
    assert not fed(full[:-1])
