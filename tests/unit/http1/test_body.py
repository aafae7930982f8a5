import pytest

from headgate.errors import BadRequest, BadResponse
from headgate.http1.body import MAX_TRAILER, Chunked
from tests.unit.http1.body_vectors import BAD, GOOD, UNFINISHED

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
    ways = [_pieces(data, size) for size in (len(data), 1, 2, 3, 7)]
    if len(data) < 1000:
        ways += [[data[:at], data[at:]] for at in range(len(data))]
    for pieces in ways:
        body = Chunked(True, error)
        with pytest.raises(error):
            list(map(body.feed, pieces))
        assert not body.done


@pytest.mark.parametrize(("name", "data"), UNFINISHED, ids=[case[0] for case in UNFINISHED])
def test_a_body_that_may_still_become_one_is_waited_for(name: str, data: bytes) -> None:
    for size in (len(data) + 1, 1):
        body = Chunked(True, BadRequest)
        list(map(body.feed, _pieces(data, size)))
        assert not body.done


@pytest.mark.parametrize(("name", "data", "passed", "content", "rest"), SHORT, ids=[case[0] for case in SHORT])
def test_a_body_that_stops_early_is_not_done(
    name: str, data: bytes, passed: bytes, content: bytes, rest: bytes
) -> None:
    body = Chunked(True, BadRequest)
    assert passed.startswith(body.feed(data[: len(data) - len(rest) - 1]))
    assert not body.done


def test_the_bodies_have_names_of_their_own() -> None:
    names = [case[0] for case in (*GOOD, *BAD, *UNFINISHED)]
    assert len(set(names)) == len(names) >= 100


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
