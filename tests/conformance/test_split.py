"""Every case once more, through a whole worker between fake ends: nothing depends on how the bytes come."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import pytest

from tests.conformance.cases import Case, request_cases, response_cases
from tests.conformance.exchanges import request_exchanges, response_exchanges
from tests.conformance.transcript import Message, read_response
from tests.exchange.kit import Client, World

_LARGEST = 2000  # bytes of a case that is worth being fed one by one
_OWN_ID = re.compile(rb"X-Request-ID: \w+")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.end()


def _groups(cases: Iterator[Case]) -> dict[str, list[Case]]:
    small = (case for case in cases if len(case.sends) + len(case.answer or b"") <= _LARGEST)
    return {group: list(members) for group, members in groupby(small, lambda case: case.group)}


REQUESTS = {**_groups(request_cases()), **_groups(request_exchanges())}
RESPONSES = {**_groups(response_cases()), **_groups(response_exchanges())}


@pytest.mark.parametrize("cases", REQUESTS.values(), ids=REQUESTS)
def test_a_request_means_the_same_however_it_comes(cases: Sequence[Case], world: World) -> None:
    for case in cases:
        whole, apart = (_requested(world, pieces) for pieces in ([case.sends], _bytes(case.sends)))
        assert apart[0] == whole[0], case.name
        if not case.is_refused:
            assert apart[1] == whole[1] != b"", case.name
        elif not case.name.startswith("chunk-") and case.group != "Whole exchanges":
            assert apart[1] == whole[1] == b"", case.name


def _requested(world: World, pieces: Sequence[bytes]) -> tuple[bytes, bytes]:
    """What the client and the server see, the latter without the request's id."""
    client = world.client()
    client.sends(*pieces)
    seen = b"".join(server.new() for server in world.peers)
    answered = bytes(client.transport.out)
    _away(world, client)
    return answered, _OWN_ID.sub(b"", seen)


@pytest.mark.parametrize("cases", RESPONSES.values(), ids=RESPONSES)
def test_a_response_means_the_same_however_it_comes(cases: Sequence[Case], world: World) -> None:
    for case in cases:
        assert case.answer is not None
        whole, apart = (_answered(world, case, pieces) for pieces in ([case.answer], _bytes(case.answer)))
        if not case.is_refused:
            assert apart == whole, case.name
            assert whole.is_whole, case.name
        else:
            for message in (whole, apart):
                assert message.status == 502 or (case.may_cut and not message.is_whole), case.name


def _answered(world: World, case: Case, pieces: Sequence[bytes]) -> Message:
    """The final answer that the client gets; its framing is that of the whole."""
    client = world.client()
    client.sends(case.sends)
    server = world.accepted()
    server.sends(*pieces)
    if not server.end:
        server.closes()
    rest = bytes(client.transport.out)
    while (read := read_response(rest, case.method)) is not None:
        message, rest = read
        if message.status >= 200:
            break
    else:
        raise AssertionError(f"{case.name}: no answer in {client.transport.out!r}")
    is_ended = message.framing == "until close" and client.end == "closed"
    _away(world, client)
    return Message(message.line, message.fields, message.framing, message.content, message.is_whole or is_ended)


def _bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def _away(world: World, client: Client) -> None:
    """The client goes, and every connection to a server with it."""
    if client.end in ("", "eof"):
        client.resets()
    for server in world.peers:
        if server.end not in ("closed", "reset"):
            server.closes()
    world.accepts.clear()
    world.peers.clear()
