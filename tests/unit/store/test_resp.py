import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.store.resp import ErrorReply, NotRedis, Reader, Reply, command

REPLIES: list[tuple[bytes, Reply]] = [
    (b"+OK\r\n", b"OK"),
    (b"+\r\n", b""),
    (b"-OOM command not allowed\r\n", ErrorReply("OOM command not allowed")),
    (b":-12\r\n", -12),
    (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n$1\r\nx\r\n*1\r\n+y\r\n", [1, b"x", [b"y"]]),
    (b"+1 99 60000000\r\n", b"1 99 60000000"),
]


@pytest.mark.parametrize(("data", "reply"), REPLIES)
def test_a_reply_is_read(data: bytes, reply: Reply) -> None:
    assert Reader().feed(data) == [reply]


@given(order=st.lists(st.sampled_from(REPLIES), max_size=12), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_replies(order: list[tuple[bytes, Reply]], cuts: list[int]) -> None:
    data = b"".join(part for part, _ in order)
    reader = Reader()
    replies = []
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(places):
        replies += reader.feed(data[begin:end])
    assert replies == [reply for _, reply in order]


def test_one_byte_at_a_time() -> None:
    reader = Reader()
    data = b"".join(part for part, _ in REPLIES)
    assert [reply for byte in data for reply in reader.feed(bytes([byte]))] == [reply for _, reply in REPLIES]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02",
        b":x\r\n",
        b":\r\n",
        b":99999999999999999999\r\n",
        b":\xc2\xb2\r\n",
        b"$1\r\nxyz",
        b"$9999999999\r\n",
        b"*99999\r\n",
        b"*1\r\n" * 10,
        b"+" + b"x" * 70000,
        b"-" + b"x" * 70000,
    ],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(NotRedis):
        Reader().feed(data)


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_replies_or_refused(data: bytes) -> None:
    with contextlib.suppress(NotRedis):
        Reader().feed(data)


def test_a_line_that_never_ends_is_not_kept_for_ever() -> None:
    reader = Reader()
    for _ in range(64):
        assert reader.feed(b"+" + b"x" * 1000) == []
    with pytest.raises(NotRedis):
        reader.feed(b"x" * 5000)


def test_a_reply_that_never_ends_is_not_kept_for_ever() -> None:
    reader = Reader()
    piece = b"$65536\r\n%b\r\n" % (b"x" * 65536)
    assert reader.feed(b"*4096\r\n" + piece) == []
    for _ in range(15):
        assert reader.feed(piece) == []
    with pytest.raises(NotRedis):
        reader.feed(piece * 2)


def test_a_command_is_an_array_of_strings() -> None:
    assert command("SET", b"k\r\n", 12) == b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$2\r\n12\r\n"


def test_an_error_has_a_code() -> None:
    error = ErrorReply("NOSCRIPT No matching script")
    assert error.code == "NOSCRIPT"
    assert error == ErrorReply("NOSCRIPT No matching script")
    assert error != ErrorReply("OOM")
    assert len({error, ErrorReply("NOSCRIPT No matching script")}) == 1
    assert repr(error) == "ErrorReply('NOSCRIPT No matching script')"
