import pytest

from tests.conformance.transcript import read_request, read_response

# bytes, framing, content, whether that is all, what follows
REQUESTS = {
    "no body": (b"GET / HTTP/1.1\r\n\r\nnext", "no body", b"", True, b"next"),
    "length": (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabnext", "length 2", b"ab", True, b"next"),
    "length to come": (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na", "length 2", b"a", False, b""),
    "length unreadable": (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\na", "length x", b"", True, b"a"),
    "chunks": (
        b"POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\n\r\n2;x\r\nab\r\n0\r\nX: v\r\n\r\nnext",
        "chunked",
        b"ab",
        True,
        b"next",
    ),
    "chunks to come": (b"P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "chunked", b"ab", False, b""),
    "a chunk cut": (b"P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "chunked", b"ab", False, b""),
    "a size unreadable": (b"P / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\nz\r\n", "x", b"", True, b""),
    "both": (
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nnext",
        "length 9 and chunked",
        b"",
        True,
        b"next",
    ),
}


@pytest.mark.parametrize(("raw", "framing", "content", "whole", "rest"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_read_as_a_lenient_server_reads_it(
    raw: bytes, framing: str, content: bytes, whole: bool, rest: bytes
) -> None:
    read = read_request(raw)
    assert read is not None
    message, follows = read
    assert (message.framing, message.content, message.is_whole, follows) == (framing, content, whole, rest)


def test_a_head_that_is_not_complete_is_no_message() -> None:
    assert read_request(b"GET / HTTP/1.1\r\nHost: a\r\n") is None
    assert read_response(b"HTTP/1.1 200 OK\n\n", b"GET") is None


def test_what_is_odd_in_a_line_stays_to_be_seen() -> None:
    read = read_request(b"GET / HTTP/1.1\r\nX: a\rb\nY: c\r\nno colon\r\n\r\n")
    assert read is not None
    assert read[0].fields == ((b"x", b"a\rb\nY: c"), (b"no colon", b""))


def test_a_response_without_a_mark_ends_with_its_connection() -> None:
    read = read_response(b"HTTP/1.1 200 OK\r\n\r\nabc", b"GET")
    assert read is not None
    assert (read[0].framing, read[0].content, read[0].is_whole) == ("until close", b"abc", False)


@pytest.mark.parametrize(
    ("status", "method"), [(b"204", b"GET"), (b"304", b"GET"), (b"103", b"GET"), (b"200", b"HEAD")]
)
def test_a_response_that_has_no_body_has_none_whatever_it_says(status: bytes, method: bytes) -> None:
    read = read_response(b"HTTP/1.1 %b -\r\nContent-Length: 5\r\n\r\nnext" % status, method)
    assert read is not None
    assert (read[0].content, read[0].is_whole, read[1]) == (b"", True, b"next")


def test_the_status_of_what_is_no_response_is_0() -> None:
    read = read_response(b"ICY 200 OK\r\n\r\n", b"GET")
    assert read is not None
    assert read[0].status == 0
