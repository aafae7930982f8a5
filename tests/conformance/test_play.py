"""The player sees what a bad proxy does: here each is a script of what it writes after each read."""

import asyncio
from collections.abc import Sequence

from tests.conformance.backend import ANSWER, Backend
from tests.conformance.cases import Case
from tests.conformance.play import play
from tests.conformance.played import Played

GET = Case("g", "n", "s", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None, (200,))
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def played(script: Sequence[bytes | None], silence: float = 10.0) -> Played:
    """What came of a request to a proxy that writes these, one after each read, and closes. None: it waits instead."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in script:
                await reader.read(65536)
                if answer is None:
                    await reader.read()
                    break
                writer.write(answer)
        finally:  # also when the end of the test cancels it
            writer.close()

    async def playing() -> Played:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await play(GET, port, Backend(), silence=silence)
        finally:
            server.close()

    return asyncio.run(playing())


def test_a_proxy_that_answers_both_requests_is_in_step() -> None:
    found = played([ANSWER, ANSWER])
    assert [answer.content for answer in found.answers] == [b"ok"]
    assert (found.end, found.in_step) == ("closed", True)


def test_a_proxy_that_closes_after_the_first_answer_is_in_step() -> None:
    assert played([ANSWER]).in_step


def test_a_proxy_whose_next_answer_is_another_is_out_of_step() -> None:
    assert not played([ANSWER, EVIL]).in_step
    assert not played([ANSWER + EVIL, b""]).in_step


def test_a_proxy_that_takes_the_next_request_for_a_body_is_out_of_step() -> None:
    found = played([ANSWER, None], silence=0.1)
    assert (found.end, found.in_step) == ("waits", False)


def test_a_proxy_that_says_nothing_waits() -> None:
    found = played([None], silence=0.1)
    assert (found.answers, found.end) == ((), "waits")


def test_an_answer_that_breaks_off_is_not_whole() -> None:
    (answer,) = played([ANSWER[:-1]]).answers
    assert not answer.is_whole


def test_an_answer_that_ends_with_the_connection_is_whole() -> None:
    (answer,) = played([b"HTTP/1.1 200 OK\r\n\r\nall of it"]).answers
    assert (answer.content, answer.is_whole) == (b"all of it", True)


def test_bytes_without_a_head_are_no_answer() -> None:
    found = played([b"<html>"])
    assert (found.answers, found.loose) == ((), b"<html>")


def test_interim_answers_are_left_out() -> None:
    assert len(played([b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, ANSWER]).answers) == 1
