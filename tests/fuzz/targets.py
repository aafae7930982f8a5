"""What a coverage-guided fuzzer feeds: one function for each target, from bytes to nothing or an AssertionError.

`guided.py` hands them to atheris, which looks for bytes that take new ways through the code; `test_targets.py` plays a
few scripts through each, so that they stay right without it. The properties of heads and bodies are those of the tests
beside this file, applied to bytes that no grammar drew.
"""

import gc
import itertools
import json
from collections.abc import Callable

import h11

from headgate.model.config import Timeouts
from tests.exchange.kit import Client, ServerPeer, World
from tests.fuzz import test_bodies, test_requests, test_responses
from tests.simulation.draws import ScriptedDraws
from tests.simulation.simulation import Simulation
from tests.unit.http1.request_vectors import BODIES, GRAMMAR, LINE
from tests.unit.http1.response_vectors import VECTORS

_runs = itertools.count()
_BODY = b"1\r\na\r\n0\r\n\r\n"


def _inner(test: Callable[..., None]) -> Callable[..., None]:
    """The function under a test of hypothesis."""
    return test.hypothesis.inner_test  # type: ignore[attr-defined, no-any-return]


def request(data: bytes) -> None:
    """A request's head: no split changes it, both paths agree, what is forwarded is clean and read alike by others."""
    _inner(test_requests.test_no_split_changes_what_becomes_of_a_head)(data)
    for trusted in (False, True):
        _inner(test_requests.test_both_paths_say_the_same)(data, trusted)
        _inner(test_requests.test_what_is_forwarded_is_clean_and_reads_as_the_same)(data, trusted)
    _inner(test_requests.test_what_we_forward_h11_and_httptools_read_alike)(data, _BODY, b"abc")


def response(data: bytes) -> None:
    """A response's head, held to the same."""
    method, minor = (b"HEAD", b"GET")[data[:1] != b"\0"], int(data[:1] != b"\1")
    _inner(test_responses.test_no_split_changes_what_becomes_of_a_head)(data, method, minor)
    _inner(test_responses.test_both_paths_say_the_same)(data, method)
    if data[9:12] != b"101":  # what it upgrades to is for the exchange to say, and nobody asked the oracles to
        _inner(test_responses.test_what_is_forwarded_is_clean_and_reads_as_the_same)(data, method, minor)
        _inner(test_responses.test_what_we_forward_h11_and_httptools_read_alike)(data, _BODY, b"abc")


def body(data: bytes) -> None:
    """A chunked body: no split changes it, and what is passed on everybody reads alike."""
    for framed in (False, True):
        _inner(test_bodies.test_no_split_changes_what_becomes_of_a_body)(data, [len(data) // 2, len(data) // 3], framed)
    _inner(test_bodies.test_what_is_passed_on_everybody_reads_alike)(data)


def simulation(data: bytes) -> None:
    """A run of the simulation whose choices are these bytes."""
    _collect()
    Simulation(ScriptedDraws(data)).run()


STEP = b"\xfe"  # between the steps of a script
_SHORT = Timeouts(2, 2, 2, 2, 2, 2, 2, tunnel=2, server_idle=2)  # so that a script is over soon


def exchange(data: bytes) -> None:
    """A script of one client and its servers: steps that begin with a letter, with STEP between them.

    c: the client sends what follows; s: the server that was connected to last does. h, r: the client closes its half,
    or resets. e, x: the same of the server. k: the next connection is refused. t: time passes.
    """
    _collect()
    world = World(2, timeouts=_SHORT)
    lines = world.logs("json").lines
    client = world.client()
    try:
        for step in data.split(STEP)[:40]:
            _play(world, client, step[:1], step[1:])
        for _ in range(100):
            if world.worker._clients:
                world.advance(5)
        assert not world.worker._clients, "a connection stays for ever"
        assert not world.flagged("IE")
        for peer in world.peers:
            _read_as_server(bytes(peer.transport.out))
        _read_as_client(bytes(client.transport.out), [json.loads(line) for line in lines], client.transport.saw_end)
    finally:
        world.worker._local.close()
        world.end()


def _play(world: World, client: Client, who: bytes, data: bytes) -> None:
    server: ServerPeer | None = world.peers[-1] if world.peers and not world.peers[-1].end else None
    world.refusing = {"s1:80"} if who == b"k" else set()
    if who == b"c":
        if not client.has_closed:
            client.sends(data)
    elif who == b"h":
        client.closes()
    elif who == b"r":
        client.resets()
    elif who == b"t":
        world.advance(1.0 + len(data))
    elif server is not None and who in (b"s", b"e", b"x") and not (who == b"s" and server.has_closed):
        {b"s": lambda: server.sends(data), b"e": server.closes, b"x": server.resets}[who]()


def _read_as_server(data: bytes) -> None:
    """Every request is well formed; the last may be incomplete."""
    while data:
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
        reader.receive_data(data)
        event = reader.next_event()
        while isinstance(event, h11.Request | h11.Data):
            if isinstance(event, h11.Request) and b"upgrade" in dict(event.headers):
                return  # it may have become a tunnel
            event = reader.next_event()
        if not isinstance(event, h11.EndOfMessage):
            return
        data = bytes(reader.trailing_data[0])


def _read_as_client(data: bytes, lines: list[dict[str, object]], saw_end: bool) -> None:
    """As many responses came as the access log has, each well formed; the last may break off.

    saw_end: whether the client was told that nothing more comes.
    """
    for line in lines:
        if not line["status"]:
            return  # cancelled; what came before can be interim responses only, as for any other
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=100_000)
        method = str(line["method"]) if line["method"] != "-" else "GET"
        upgrade = [("Connection", "upgrade"), ("Upgrade", "x")] if line["status"] == 101 else []
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "a"), *upgrade]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(data)
        if saw_end:
            reader.receive_data(b"")
        try:
            event = reader.next_event()
            while isinstance(event, h11.InformationalResponse | h11.Response | h11.Data):
                if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                    return
                if isinstance(event, h11.Response):
                    assert event.status_code == line["status"]
                event = reader.next_event()
        except h11.RemoteProtocolError as error:
            if line["flag"] == "-" or not any(words in str(error) for words in _BROKEN_OFF):
                raise
            return
        if not isinstance(event, h11.EndOfMessage):
            assert line["flag"] != "-", "a response that is logged as whole is not"
            return
        data = bytes(reader.trailing_data[0])
    assert not data, f"{data[:60]!r} that nobody asked for"


_BROKEN_OFF = ("peer unexpectedly closed", "without sending complete")  # what h11 says of it


def _collect() -> None:
    """Frees the worlds that were: they are full of cycles."""
    if next(_runs) % 50 == 0:
        gc.collect()


def _scripts() -> list[bytes]:
    requests = [data for _, data, *_ in (*BODIES, *GRAMMAR, *LINE)]
    answers = [data for _, data, *_ in VECTORS]
    ask, post = b"cGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"cPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"
    fine, late = b"sHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"sHTTP/1.1 200 OK\r\n\r\nhi"
    long = b"sHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
    upgrade = b"cGET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    agree = b"sHTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi"
    stories = [
        (ask, fine, ask, fine),
        (ask + ask[1:], fine, fine),
        (post, fine, b"cc", ask),
        (post, b"cc", fine, ask, b"e", ask, fine),
        (ask, late, b"e"),
        (ask, long, b"s0\r\n\r\n", ask, long, b"x"),
        (b"k", ask, b"x", fine),
        (upgrade, agree, b"cab", b"h", b"scd", b"e"),
        (upgrade, fine, b"ttttt", b"r"),
        (ask, b"sHTTP/1.1 103 X\r\n\r\n", b"t" * 40, ask),
        (ask, fine[:30], b"s" + fine[30:], ask, fine[:40], b"s" + fine[40:], ask, fine + fine[1:], ask, fine),
        (b"cGET / HTTP/1.0\r\n\r\n", b"sHTTP/1.1 100 X\r\n\r\n", late, b"x"),
        (upgrade[:-2] + b"\r\nearly", agree, b"e", b"ccd", b"h"),
        (ask, agree, ask, fine),
    ]
    return [
        *(STEP.join(story) for story in stories),
        *(b"c" + data + STEP + fine for data in requests),
        *(ask + STEP + b"s" + data for data in answers),
    ]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "response": response,
    "body": body,
    "exchange": exchange,
    "simulation": simulation,
}


def corpus(target: str) -> list[bytes]:
    """What a fuzzer begins with."""
    if target == "request":
        return [data for _, data, *_ in (*BODIES, *GRAMMAR, *LINE)]
    if target == "response":
        return [data for _, data, *_ in VECTORS]
    if target == "exchange":
        return _scripts()
    if target == "simulation":
        return [bytes([number]) * 300 for number in range(0, 256, 16)]
    return [_BODY, b"0\r\nX: y\r\n\r\n", b'a;x="y"\r\n0123456789\r\n000\r\n\r\n', b"1\r\na\r\n"]
