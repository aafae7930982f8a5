"""A request's body on its way: what belongs to it, what to later requests, and whether it can be sent again."""

import pytest

from headgate.errors import BadRequest
from headgate.http1.request import CHUNKED
from headgate.worker.upload import Upload

BODY = b"3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize("split", range(11))
def test_a_sized_body_ends_where_its_length_says(split: int) -> None:
    upload, data = Upload(6), b"abcdefGET "
    first, second = upload.take(data[:split]), upload.take(data[split:])
    assert bytes(first[0]) + bytes(second[0]) == b"abcdef"
    assert bytes(first[1]) + bytes(second[1]) == b"GET "
    assert upload.is_complete


@pytest.mark.parametrize("split", range(len(BODY)))
def test_a_chunked_body_ends_with_its_last_chunk(split: int) -> None:
    upload = Upload(CHUNKED)
    first, early = upload.take(BODY[:split])
    assert not upload.is_complete
    second, rest = upload.take(BODY[split:] + b"GET ")
    assert (bytes(first) + bytes(second), early, rest) == (BODY, b"", b"GET ")
    assert upload.is_complete


def test_what_is_no_chunk_is_refused() -> None:
    with pytest.raises(BadRequest):
        Upload(CHUNKED).take(b"xyz\r\n")


def test_nothing_is_sent_yet_at_first() -> None:
    upload = Upload(3)
    assert (upload.backlog, upload.is_whole, upload.is_complete) == (b"", True, False)


def test_a_body_that_is_here_in_one_piece_is_kept_without_a_copy() -> None:
    upload, piece = Upload(6), memoryview(b"abcdef")
    upload.keep(piece)
    assert upload.backlog is piece


def test_the_pieces_of_a_backlog_are_one() -> None:
    upload = Upload(6)
    for piece in (memoryview(b"abc"), b"de", b"f"):
        upload.keep(piece)
    assert upload.backlog == b"abcdef"
