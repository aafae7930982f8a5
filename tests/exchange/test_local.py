"""Answers that Headgate gives itself, at once or when the store has decided: no server sees anything of the request."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from headgate.model.config import Heads, Limit, Rate, Route
from headgate.model.server import Mode, Probe
from headgate.model.snapshot import LimitState
from headgate.wire.cells import LimitCell, ServerCell
from tests.exchange.kit import LIMIT, Make, SlowStore, World, forwarded, get, ok, post


def test_no_route_is_404(make: Make) -> None:
    world = make()
    world.adopt(replace(world.snapshot, version=2, routes=(Route("web", path="/api"),)))
    client = world.client()
    client.sends(get(b"/other"), get(b"/apix"), get(b"/api/x"))
    assert client.new().count(b"HTTP/1.1 404 Not Found\r\n") == 2
    world.accepted().sees(forwarded(get(b"/api/x"), 3))
    assert world.flagged("NR") == 2


def test_no_server_is_503_at_once_with_retry_after(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.sends(get())
    assert b"\r\nRetry-After: 1\r\n" in client.sees_answer(503)
    assert client.end == ""
    assert world.flagged("UH") == 1


def test_a_want_of_descriptors_is_503_and_counts_against_no_server(make: Make) -> None:
    world = make(2)
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    world.attempts[0].starve()
    assert b"\r\nRetry-After: 1\r\n" in client.sees_answer(503)
    assert client.end == ""
    assert world.flagged("OM") == 1
    assert world.server_cell(ServerCell.CONNECT_FAILURES) == 0


@pytest.mark.parametrize(
    "state", [{"mode": Mode.DRAIN}, {"mode": Mode.MAINT}, {"probe": Probe.DOWN}, {"weight": 0}], ids=str
)
def test_a_server_that_takes_no_requests_gets_none(make: Make, state: dict[str, object]) -> None:
    world = make(2)
    web = world.snapshot.upstreams[0]
    servers = (replace(web.servers[0], **state), web.servers[1])  # type: ignore[arg-type]
    world.adopt(replace(world.snapshot, version=2, upstreams=(replace(web, servers=servers),)))
    for _ in range(3):
        world.client().sends(get())
    assert world.tried == ["s2:80"] * 3


def test_beyond_a_limit_it_is_429_and_the_connection_stays(make: Make) -> None:
    world = make(limits=[LIMIT])
    client = world.client()
    for _ in range(2):
        client.sends(get())
        world.peers[0].sends(ok())
        client.sees(ok())
    client.sends(get())
    head, _, body = client.new().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nContent-Type: application/problem+json\r\n" in head + b"\r\n"
    retry = re.search(rb"\r\nRetry-After: (\d+)(\r\n|$)", head)
    assert retry is not None
    assert 1 <= int(retry[1]) <= 60
    problem = json.loads(body)
    assert problem["status"] == 429
    assert problem["violated-policies"] == ["per_ip"]
    assert client.end == ""
    assert world.flagged("RL") == 1
    assert world.limit_cell(LimitCell.ALLOWED) == 2
    assert world.limit_cell(LimitCell.REFUSED) == 1
    assert len(world.peers) == 1


def test_each_address_has_its_own_count_and_connections_of_one_share_theirs(make: Make) -> None:
    world = make(limits=[LIMIT])
    statuses = []
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.2"):
        client = world.client((address, 1))
        client.sends(get())
        for peer in world.peers:
            if peer.connection.exchange is not None:
                peer.sends(ok())
        statuses.append(client.new()[9:12])
    assert statuses == [b"200", b"200", b"200", b"429", b"200", b"429"]


def test_behind_a_trusted_proxy_the_client_it_names_is_counted(make: Make) -> None:
    world = make(limits=[LIMIT], trusted=["192.0.2.1"])
    proxy = world.client()
    statuses = []
    for address in (b"203.0.113.1", b"203.0.113.1", b"203.0.113.2", b"203.0.113.1"):
        proxy.sends(get(b"/", b"X-Forwarded-For: " + address))
        for peer in world.peers:
            if peer.connection.exchange is not None:
                peer.sends(ok())
        statuses.append(proxy.new()[9:12])
    assert statuses == [b"200", b"200", b"200", b"429"]


def test_a_refused_request_with_a_body_is_answered_without_waiting_for_the_body(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.sends(post(b"x" * 100)[:-50])
    client.sees_answer(503)
    assert client.end == "eof"
    client.sends(b"x" * 50 + get(b"/smuggled"))
    client.sees_nothing()
    client.closes()
    assert client.end == "closed"


def test_a_refused_request_whose_body_is_here_keeps_the_connection(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.sends(post(b"body") + get())
    assert client.new().count(b"HTTP/1.1 503 ") == 2
    assert client.end == ""


def test_an_answer_to_head_has_a_length_and_no_body(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.sends(get(method=b"HEAD"))
    client.sees_answer(503, body=False)


def test_an_answer_keeps_a_client_of_http_1_0_that_asks_for_it(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.sends(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"\r\nConnection: keep-alive" in client.sees_answer(503)
    client.sends(b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\nConnection: close" in client.sees_answer(503)
    assert client.end == "closed"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (post(b"", b"Transfer-Encoding: chunked"), 400),
        (get(b"/" + b"x" * 9000), 414),
        (get(b"/", *[b"x: y"] * 101), 431),
        (get(b"/", b"x: " + b"y" * 40_000), 431),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400),
    ],
)
def test_a_head_that_cannot_be_served_reaches_no_server_and_closes(world: World, request_: bytes, status: int) -> None:
    client = world.client()
    client.sends(request_ + get(b"/smuggled"))
    head = client.sees_answer(status)
    assert b"\r\nConnection: close" in head
    assert client.end == "eof"
    assert not world.attempts
    assert world.flagged("BR") == 1


def test_the_limits_of_a_head_are_those_of_the_snapshot(make: Make) -> None:
    world = make(heads=Heads(max_size=300, max_fields=3, max_target=100))
    for request_, status in ((get(b"/" + b"x" * 200), 414), (get(b"/", *[b"x: y"] * 4), 431)):
        client = world.client()
        client.sends(request_)
        client.sees_answer(status)


# The store takes its time.


@pytest.fixture
def slow(make: Make) -> tuple[World, SlowStore]:
    """A world whose store decides later."""
    world = make(2, limits=[LIMIT])
    world.worker.store = store = SlowStore(world.loop)
    return world, store


def test_a_request_goes_on_when_the_store_allows_it(slow: tuple[World, SlowStore]) -> None:
    world, store = slow
    client = world.client()
    client.sends(post(b"body")[:-2])
    assert not world.attempts
    assert not client.transport.reading
    world.advance(200)  # the store keeps its own deadline
    store.decide(True)
    server = world.accepted()
    client.sends(b"dy")
    server.sees(forwarded(post(b"body")))
    server.sends(ok())
    client.sees(ok())


def test_a_request_that_the_store_refuses_is_429(slow: tuple[World, SlowStore]) -> None:
    world, store = slow
    client = world.client()
    client.sends(get())
    store.decide(False, reset_after=2_500_000)
    assert b"\r\nRetry-After: 3\r\n" in client.sees_answer(429)
    world.advance(74)
    assert client.end == ""


def test_a_limit_that_nobody_can_decide_is_503_where_it_says_deny(slow: tuple[World, SlowStore]) -> None:
    world, store = slow
    client = world.client()
    client.sends(get())
    store.decide(False, unavailable=True)
    assert b"\r\nRetry-After: 1\r\n" in client.sees_answer(503)
    assert world.flagged("RLSE") == 1


@pytest.mark.parametrize("allowed", [True, False])
def test_a_client_that_went_away_meanwhile_costs_nothing_more(slow: tuple[World, SlowStore], allowed: bool) -> None:
    world, store = slow
    client = world.client()
    client.sends(get())
    client.resets()
    assert world.flagged("DC") == 1
    store.decide(allowed)
    assert not world.attempts
    assert world.flagged("DC") == 1


def test_a_client_closed_for_idleness_meanwhile_is_not(slow: tuple[World, SlowStore]) -> None:
    world, store = slow
    client = world.client()
    client.sends(get())
    world.advance(1000)
    assert client.end == ""
    store.decide(True)
    world.accepted().sends(ok())
    client.sees(ok())


def decisions(world: World, limits: Sequence[LimitState], allowed: Sequence[int]) -> bytes:
    """The answer when the limits decide so: 0 allows, else refuses for so many microseconds."""

    class Decided(SlowStore):
        def decide_each(self) -> None:
            from headgate.limits.decision import Decision

            _, resume = self.asked.popleft()
            resume([Decision(not wait, limit, 0, wait) for limit, wait in zip(limits, allowed, strict=True)])

    world.worker.store = store = Decided(world.loop)
    client = world.client()
    client.sends(get())
    store.decide_each()
    return client.sees_answer(429)


def test_of_several_limits_the_one_that_refuses_for_the_longest_time_answers(make: Make) -> None:
    limits = [LimitState(Limit(f"l{n}", Rate(1, 60.0)), n) for n in range(3)]
    world = make(limits=limits)
    assert b"\r\nRetry-After: 7\r\n" in decisions(world, limits, [2_000_000, 7_000_000, 0])
    cells = [world.cells.limit(0, n)[LimitCell.REFUSED] for n in range(3)]
    assert cells == [1, 1, 0]
