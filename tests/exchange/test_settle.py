"""What a request really cost: charged or given back when it is over, whatever its end was."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from headgate.limits.decision import Decision
from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState
from headgate.store.base import undecided
from tests.exchange.kit import ServerPeer, SlowStore, World, get, ok

Make = Callable[..., World]

TOKENS = Limit("tokens", Rate(100, 60.0), cost=10, settle="response_header:x-tokens-used", headers="always")
FREE = Limit("free", Rate(2, 60.0), settle="free:5xx")


def states(*limits: Limit) -> list[LimitState]:
    return [LimitState(limit, slot) for slot, limit in enumerate(limits)]


def left(answer: bytes) -> int:
    """What the answer says is left of the limit."""
    return int(answer.split(b";r=")[1].split(b";")[0])


def asked(world: World, response: bytes = ok()) -> bytes:
    """What a new client gets for one request, if it reaches a server for this response."""
    client = world.client()
    client.sends(get(b"/", b"Connection: close"))
    if world.in_flight():
        serving(world).sends(response)
    return client.new()


def serving(world: World) -> ServerPeer:
    """The server that has a request."""
    return next(peer for peer in world.peers if peer.connection.exchange is not None)


@pytest.mark.parametrize(("used", "rest"), [(b"3", 87), (b"70", 20), (b"10", 80), (b"0", 90), (b"many", 80)])
def test_a_request_costs_what_its_server_says(make: Make, used: bytes, rest: int) -> None:
    world = make(limits=states(TOKENS))
    assert left(asked(world, ok(b"", b"X-Tokens-Used: " + used))) == 90
    assert left(asked(world)) == rest


def test_a_request_that_cost_more_than_is_left_is_refused_the_next_time(make: Make) -> None:
    world = make(limits=states(TOKENS))
    asked(world, ok(b"", b"X-Tokens-Used: 5000"))
    assert asked(world).startswith(b"HTTP/1.1 429 ")


def test_what_is_given_back_is_there_for_the_request_that_was_sent_ahead(make: Make) -> None:
    world = make(limits=states(Limit("one", Rate(1, 60.0), settle="free:404")))
    client = world.client()
    client.sends(get() + get())
    world.accepted().sends(ok().replace(b"200", b"404"))
    assert world.in_flight() == 1


def test_a_failure_of_the_server_costs_nothing(make: Make) -> None:
    world = make(limits=states(FREE))
    for _ in range(3):
        assert asked(world, ok().replace(b"200", b"503"))[9:12] == b"503"
    for _ in range(3):
        client = world.client()
        client.sends(get())
        while world.in_flight():
            serving(world).resets()
        client.sees_answer(502)
    assert [asked(world)[9:12] for _ in range(3)] == [b"200", b"200", b"429"]


@pytest.mark.parametrize("settle", ["free:5xx", "response_bytes", "response_header:x-tokens-used"])
def test_a_client_that_goes_away_has_paid(make: Make, settle: str) -> None:
    world = make(limits=states(replace(FREE, settle=settle)))
    for _ in range(2):
        client = world.client()
        client.sends(get())
        world.accepted()
        client.resets()
    assert asked(world)[9:12] == b"429"


def test_bytes_are_counted_as_they_were_sent(make: Make) -> None:
    world = make(limits=states(Limit("bytes", Rate(1000, 60.0), settle="response_bytes")))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    store.decide(True)
    server = world.accepted()
    came = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 40
    server.sends(came)
    assert store.charged == []
    server.resets()
    assert store.charged == [("bytes", b"192.0.2.1", len(came) - 1)]


def test_only_what_was_taken_and_only_limits_that_settle_are_charged(make: Make) -> None:
    plain, exempt = Limit("plain", Rate(5, 60.0)), Limit("x", Rate(1, 60.0), settle="free:5xx", exempt=("192.0.2.1",))
    world = make(limits=states(plain, exempt, TOKENS, FREE))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    store.decide(False)
    client.sees_answer(429)
    assert store.charged == []
    client.sends(get())
    store.decide(True)
    world.accepted().sends(ok(b"", b"X-Tokens-Used: 4").replace(b"200", b"500"))
    assert store.charged == [("tokens", b"192.0.2.1", -6), ("free", b"192.0.2.1", -1)]


def test_what_passed_uncounted_is_neither_charged_nor_given_back(make: Make) -> None:
    world = make(limits=states(replace(TOKENS, on_store_error="allow"), FREE))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    (tokens, _, _), (free, _, _) = store.asked[0][0]
    store.asked.popleft()[1]([undecided(tokens), Decision(True, free, 1, 60_000_000)])
    world.loop.run()
    world.accepted().sends(ok(b"", b"X-Tokens-Used: 4").replace(b"200", b"500"))
    assert store.charged == [("free", b"192.0.2.1", -1)]


def test_the_cost_of_a_request_that_was_retried_is_that_of_its_last_response(make: Make) -> None:
    world = make(2, limits=states(TOKENS))
    client = world.client()
    client.sends(get())
    world.accepted().resets()
    world.accepted().sends(ok(b"", b"X-Tokens-Used: 15"))
    assert left(client.new()) == 90
    assert left(asked(world)) == 75
