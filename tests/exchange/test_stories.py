"""Any pipeline of valid requests, split anywhere, against servers that answer in any framing, split anywhere.

The servers must see exactly the requests, the client exactly the responses in their order. h11 reads what the client
gets, so that what is right is not judged by the code under test.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exchange.kit import Client, ServerPeer, World, chunked, forwarded, get

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@dataclass(frozen=True)
class Turn:
    """A request, as sent and as the server must see it, and the response to it."""

    method: str
    request: bytes
    closes: bool  # the client asks for a close
    old: bool  # the client speaks HTTP/1.0
    status: int
    response: bytes
    ends: bool  # the server closes after it
    body: bytes
    hints: int

    def seen(self, number: int) -> bytes:
        """The request as the server must see it."""
        request = self.request.replace(b"Connection: close\r\n", b"", 1).replace(b" HTTP/1.0\r\n", b" HTTP/1.1\r\n", 1)
        return forwarded(request, number)


# Sizes matter, not bytes; what could be taken for framing is among them.
bodies = st.lists(st.sampled_from([1, 2, 3, 7, 16, 40, 90, 200]), max_size=4).map(
    lambda sizes: [(b"0\r\n\r\nHTTP/1.1 200 OK\r\n" * 10)[:size] for size in sizes]
)


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    """Any exchange that goes well."""
    method = draw(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"]))
    closes, old = draw(st.sampled_from([(False, False)] * 12 + [(True, False), (False, True)]))
    fields = [b"Connection: close"] if closes else []
    framing = draw(st.sampled_from(["none", "sized"] if old else ["none", "sized", "chunked"]))
    pieces = draw(bodies)
    path = b"/" + draw(st.text("abc/?&=%20", max_size=20)).encode()
    if framing == "none":
        request = get(path, *fields, method=method)
    elif framing == "sized":
        content = b"".join(pieces)
        request = get(path, b"Content-Length: %d" % len(content), *fields, method=method) + content
    else:
        request = get(path, b"Transfer-Encoding: chunked", *fields, method=method) + chunked(*pieces)
    if old:
        request = request.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    status = draw(st.sampled_from([200, 200, 204, 304, 404, 500]))
    response, ends, body = draw(responses(status, bodiless=method == b"HEAD" or status in (204, 304)))
    hints = 0 if old else draw(st.sampled_from([0, 0, 0, 1, 2]))
    return Turn(method.decode(), request, closes, old, status, HINTS * hints + response, ends, body, hints)


@st.composite
def responses(draw: st.DrawFn, status: int, bodiless: bool) -> tuple[bytes, bool, bytes]:
    """A response, whether the server closes after it, and the content that the client must get."""
    framing = draw(st.sampled_from(["sized", "chunked", "until close"]))
    ends = draw(st.booleans()) or (framing == "until close" and not bodiless)
    pieces = draw(bodies)
    content = b"".join(pieces)
    fields = [b"Connection: close"] if ends else []
    if framing == "sized":
        fields.append(b"Content-Length: %d" % len(content))
    elif framing == "chunked":
        fields.append(b"Transfer-Encoding: chunked")
    if status == 204:
        fields = fields[: int(ends)]
    head = b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"".join(b"%b\r\n" % field for field in fields))
    if bodiless:
        return head, ends, b""
    return head + (chunked(*pieces) if framing == "chunked" else content), ends, content


def split(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The data in pieces; the cuts go round and round."""
    at = 0
    for size in cycle(cuts):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


class Servers:
    """All servers: each connection checks the request that it gets and answers in pieces."""

    def __init__(self, world: World, story: list[Turn], cuts: list[int]) -> None:
        self._world = world
        self._left = deque(enumerate(story, 1))
        self._cuts = cuts
        self._seen = b""
        self._pieces: deque[bytes] = deque()
        self._ends = False
        self._peer: ServerPeer | None = None

    def step(self) -> bool:
        """Sends the next piece, if there is a request to answer. Returns whether anything happened."""
        if self._pieces:
            assert self._peer is not None
            self._peer.sends(self._pieces.popleft())
            if not self._pieces and self._ends:
                self._peer.closes()
            return True
        for peer in self._world.peers:
            new = peer.new()
            if new:
                assert not self._seen or peer is self._peer
                self._peer = peer
                self._seen += new
        if not self._seen:
            return False
        number, turn = self._left[0]
        assert turn.seen(number).startswith(self._seen)
        if self._seen != turn.seen(number):
            return False
        self._left.popleft()
        self._seen = b""
        self._pieces = deque(split(turn.response, self._cuts))
        self._ends = turn.ends
        return True


def read_as_client(story: list[Turn], data: bytes, ended: bool) -> list[tuple[int, bytes, int]]:
    """Status, content and number of interim responses of each response, as h11 reads them."""
    found: list[tuple[int, bytes, int]] = []
    for turn in story:
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=turn.method, target="/", headers=[("Host", "a")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(data)
        if ended:
            reader.receive_data(b"")
        content, hints, status = b"", 0, 0
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            assert event not in (h11.NEED_DATA, h11.PAUSED), f"response {len(found) + 1} is not complete"
            if isinstance(event, h11.InformationalResponse):
                hints += 1
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                content += bytes(event.data)
        data = bytes(reader.trailing_data[0])
        found.append((status, content, hints))
    assert data == b""
    return found


def play(world: World, client: Client, story: list[Turn], cuts: list[int], order: list[int]) -> None:
    """Lets the client and the servers act in this order, over and over, until nothing happens any more."""
    servers = Servers(world, story, cuts[::-1])
    pieces = deque(split(b"".join(turn.request for turn in story), cuts))
    client.transport.stalled = True
    idle = 0
    for who in chain(order, cycle([0, 1, 2])):
        before = (len(pieces), client.transport.get_write_buffer_size())
        happened = False
        if who == 0 and pieces and not client.end:
            client.sends(pieces.popleft())
        elif who == 1:
            happened = servers.step()
        elif who == 2:
            client.takes(97)
        happened |= before != (len(pieces), client.transport.get_write_buffer_size())
        idle = 0 if happened else idle + 1
        if idle > len(order) + 3:
            return


cut_lists = st.lists(st.sampled_from([1, 2, 3, 5, 7, 11, 19, 40, 80, 150, 1000]), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    story=st.lists(turns(), min_size=2, max_size=7),
    cuts=cut_lists,
    order=st.lists(st.integers(0, 2), max_size=40),
)
def test_any_story_is_told_right(story: list[Turn], cuts: list[int], order: list[int]) -> None:
    last = next((n for n, turn in enumerate(story) if turn.closes or turn.old), None)
    told = story if last is None else story[: last + 1]
    world = World(2)
    client = world.client()
    try:
        play(world, client, story, cuts, order)
        assert read_as_client(told, client.new(), bool(client.end)) == [(t.status, t.body, t.hints) for t in told]
        assert bool(client.end) == (last is not None)
        assert world.in_flight() == 0
    finally:
        world.end()
