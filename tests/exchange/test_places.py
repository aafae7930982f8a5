"""Limits on what is in flight: a request holds its place until its very end, whatever that is."""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from headgate.limits.decision import Decision, Holding
from headgate.model.config import Ban, Limit, Rate, Route
from headgate.wire.cells import LimitCell
from headgate.wire.messages import Tops
from tests.exchange.kit import Client, Make, ServerPeer, SlowStore, World, chunked, get, ok, post
from tests.exchange.test_limits import states
from tests.exchange.test_upgrade import AGREED, ASKS, SEEN

FLYING = Limit("flying", Rate(1, 0.0), algorithm="concurrency")


def held(world: World) -> int:
    """Places that are held, as the store and the metrics have it; they agree."""
    (state, *_) = world.snapshot.limits
    remaining = world.worker._local.hit([(state, b"192.0.2.1", 0)])[0].remaining
    assert state.limit.rate.limit - remaining == world.limit_cell(LimitCell.IN_FLIGHT)
    return world.limit_cell(LimitCell.IN_FLIGHT)


def begun(world: World, request: bytes | None = None) -> tuple[Client, ServerPeer]:
    """A request that is at its server."""
    client = world.client()
    client.sends(request or get())
    server = world.accepted()
    server.new()
    return client, server


def test_a_request_holds_its_place_until_its_response_is_complete(make: Make) -> None:
    world = make(limits=states(FLYING))
    client, server = begun(world)
    other = world.client()
    other.sends(get())
    assert other.new()[9:12] == b"429"
    server.sends(ok(b"ab")[:-1])
    other.sends(get())
    assert other.new()[9:12] == b"429"
    assert held(world) == 1
    server.sends(b"b")
    client.sees(ok(b"ab"))
    assert held(world) == 0
    other.sends(get())
    server.sends(ok())
    other.sees(ok())
    assert held(world) == 0


def test_a_refusal_says_how_many_at_once_and_that_it_may_be_better_soon(make: Make) -> None:
    world = make(limits=states(FLYING))
    begun(world)
    client = world.client()
    client.sends(get())
    head, _, body = client.new().partition(b"\r\n\r\n")
    assert b"\r\nRetry-After: 1\r\n" in head
    assert b'\r\nRateLimit-Policy: "flying";q=1;qu="concurrent-requests"\r\nRateLimit: "flying";r=0' in head
    assert not head.partition(b'RateLimit: "flying";r=0')[2].startswith(b";t")
    problem = json.loads(body)
    assert problem["violated-policies"] == ["flying"]
    assert problem["detail"] == "The limit is 1 in flight; try again in 1 s."


def test_what_is_left_is_told_with_every_response_where_that_is_wanted(make: Make) -> None:
    limits = states(
        replace(FLYING, rate=Rate(3, 0.0), headers="always"), Limit("wide", Rate(9, 60.0), headers="always")
    )
    world = make(limits=limits)
    client, server = begun(world)
    server.sends(ok())
    told = client.new()
    assert b'RateLimit-Policy: "flying";q=3;qu="concurrent-requests", "wide";q=9;w=60\r\n' in told
    assert b'RateLimit: "flying";r=2, "wide";r=8;t=60\r\n' in told


def test_the_old_fields_say_no_time_which_nobody_knows(make: Make) -> None:
    world = make(limits=states(replace(FLYING, legacy_headers=True)))
    begun(world)
    client = world.client()
    client.sends(get())
    told = client.new()
    assert b"X-RateLimit-Limit: 1\r\nX-RateLimit-Remaining: 0\r\n" in told
    assert b"X-RateLimit-Reset" not in told
    assert b"Retry-After: 1\r\n" in told


def test_the_old_fields_say_how_long_a_ban_lasts(make: Make) -> None:
    world = make(limits=states(replace(FLYING, legacy_headers=True, ban=Ban(1, 10.0, 600.0))))
    begun(world)
    for _ in range(2):
        client = world.client()
        client.sends(get())
        told = client.new()
    assert b"X-RateLimit-Reset: 600\r\n" in told


def resets(client: Client, server: ServerPeer) -> None:
    client.resets()


def closes(client: Client, server: ServerPeer) -> None:
    client.closes()


def server_resets(client: Client, server: ServerPeer) -> None:
    server.resets()


def is_malformed(client: Client, server: ServerPeer) -> None:
    server.sends(b"HTTP/9\r\n\r\n")


def breaks_off(client: Client, server: ServerPeer) -> None:
    server.sends(ok(b"ab")[:-1])
    server.resets()


ENDS = pytest.mark.parametrize("ends", [resets, closes, server_resets, is_malformed, breaks_off])


@ENDS
def test_however_it_ends_the_place_is_given_back(make: Make, ends: Callable[[Client, ServerPeer], None]) -> None:
    world = make(limits=states(FLYING))
    client, server = begun(world, post(b"x"))
    assert held(world) == 1
    ends(client, server)
    assert held(world) == 0


TEN = replace(FLYING, rate=Rate(10, 0.0))


def on_the_short_way(world: World) -> tuple[Client, ServerPeer]:
    """A request at its server that the store was not asked about: the second of its connection."""
    client, server = begun(world)
    server.sends(ok())
    client.sees(ok())
    hit = world.worker.store.hit
    world.worker.store.hit = None  # type: ignore[method-assign,assignment]
    client.sends(post(b"x"))
    world.worker.store.hit = hit  # type: ignore[method-assign]
    server.new()
    return client, server


@ENDS
def test_however_it_ends_a_place_of_the_short_way_is_given_back(
    make: Make, ends: Callable[[Client, ServerPeer], None]
) -> None:
    world = make(limits=states(TEN))
    client, server = on_the_short_way(world)
    assert held(world) == 1
    ends(client, server)
    assert held(world) == 0
    assert world.limit_cell(LimitCell.ALLOWED) == 2


def watched(world: World, client: Client) -> list[int]:
    """How many places are held at each write to the client from now on."""
    write, seen = client.protocol.write, list[int]()

    def watch(piece: bytes) -> None:
        seen.append(held(world))
        write(piece)

    client.protocol.write = watch  # type: ignore[assignment]
    return seen


ALL, LARGE = ok(b"ab"), ok(b"a" * 20000)
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ab")


@pytest.mark.parametrize(
    ("pieces", "places"),
    [
        ([ALL], [0]),
        ([LARGE], [0, 0]),
        ([ALL[:-2], ALL[-2:-1], ALL[-1:]], [1, 1, 0]),
        ([ALL[:-1], ALL[-1:] + b"c"], [1, 0]),
        ([IN_CHUNKS], [0]),
        ([IN_CHUNKS[:-7], IN_CHUNKS[-7:-2], IN_CHUNKS[-2:]], [1, 1, 0]),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", ALL], [1, 0]),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"ab", b""], [1, 1, 0]),
        ([b"HTTP/9\r\n\r\n"], [0]),
    ],
    ids=["whole", "large", "in pieces", "too much", "chunks", "chunks in pieces", "interim", "by close", "malformed"],
)
@pytest.mark.parametrize("short", [False, True], ids=["asked", "short way"])
def test_its_place_is_free_before_the_client_has_the_whole_response(
    make: Make, pieces: list[bytes], places: list[int], *, short: bool
) -> None:
    world = make(limits=states(TEN))
    client, server = on_the_short_way(world) if short else begun(world, post(b"x"))
    seen = watched(world, client)
    for piece in pieces:
        server.sends(piece) if piece else server.closes()
    assert seen == places
    assert held(world) == 0


def test_a_place_is_free_although_the_client_has_not_taken_the_response(make: Make) -> None:
    world = make(limits=states(FLYING))
    client, server = begun(world)
    client.transport.stalled = True
    server.sends(ok(b"ab"))
    client.sees_nothing()
    assert held(world) == 0
    other = world.client()
    other.sends(get())
    server.sends(ok())
    other.sees(ok())
    client.takes()
    client.sees(ok(b"ab"))


def test_a_response_before_the_request_is_whole_frees_the_place_with_its_last_byte(make: Make) -> None:
    world = make(limits=states(FLYING))
    client, server = begun(world, post(b"xy")[:-1])
    seen = watched(world, client)
    server.sends(ok())
    assert seen == [0]
    assert server.end == "reset"
    assert client.end == "eof"
    assert held(world) == 0


def test_the_short_way_is_left_where_the_store_is_asked(make: Make) -> None:
    for limits in ([TEN, replace(TEN, name="other")], [replace(TEN, headers="always")], [replace(TEN, cost=2)]):
        world = make(limits=states(*limits))
        client, server = begun(world)
        server.sends(ok())
        client.new()
        client.sends(get())
        assert client.protocol.exchange is not None
        assert client.protocol.exchange.leave is not client.protocol.leave
        assert client.protocol.leave is None
        server.sends(ok())
        assert world.limit_cell(LimitCell.IN_FLIGHT) == 0


def test_a_request_that_takes_too_long_gives_its_place_back(make: Make) -> None:
    world = make(limits=states(FLYING))
    client, _ = begun(world, post(b"x"))
    world.advance(31)
    assert client.new()[9:12] == b"504"
    assert held(world) == 0


def test_a_request_without_a_server_gives_its_place_back(make: Make) -> None:
    world = make(limits=states(FLYING), servers=1)
    world.refusing.add("s1:80")
    client = world.client()
    client.sends(get())
    assert client.new()[9:12] == b"502"
    assert held(world) == 0


def test_a_request_that_is_sent_again_holds_one_place(make: Make) -> None:
    world = make(limits=states(FLYING), servers=2)
    client, server = begun(world)
    server.resets()
    assert held(world) == 1
    world.accepted().sends(ok())
    client.sees(ok())
    assert held(world) == 0


def test_a_tunnel_holds_its_place_until_it_is_closed(make: Make) -> None:
    world = make(limits=states(FLYING))
    client, server = begun(world, get(b"/", *ASKS))
    server.sends(AGREED)
    client.sees(SEEN)
    client.sends(b"hello")
    assert held(world) == 1
    client.closes()
    assert held(world) == 1
    server.closes()
    assert held(world) == 0


def test_a_request_that_is_finished_without_its_client_holds_its_place(make: Make) -> None:
    world = make(limits=states(FLYING))
    (route,) = world.snapshot.routes
    world.adopt(replace(world.snapshot, version=2, routes=(replace(route, on_client_gone=60.0),)))
    client, server = begun(world)
    client.resets()
    assert held(world) == 1
    server.sends(ok())
    assert held(world) == 0


def test_a_delayed_request_holds_its_place_while_it_waits(make: Make) -> None:
    slow = Limit("slow", Rate(1, 2.0), algorithm="gcra", delay=2.0)
    world = make(limits=states(replace(FLYING, rate=Rate(2, 0.0)), slow), servers=1)
    world.worker._local._clock = lambda: int(world.loop.time() * 1e6)
    _, server = begun(world)
    server.sends(ok())
    waiting = world.client()
    waiting.sends(get())
    assert held(world) == 1
    world.advance(2.1)
    world.accepted().sends(ok())
    waiting.sees(ok())
    assert held(world) == 0
    waiting.sends(get())
    assert held(world) == 1
    waiting.resets()
    assert held(world) == 0


def test_what_another_limit_refuses_holds_no_place(make: Make) -> None:
    world = make(limits=states(FLYING, Limit("narrow", Rate(1, 60.0))))
    client, server = begun(world)
    server.sends(ok())
    client.new()
    client.sends(get())
    assert client.new()[9:12] == b"429"
    assert held(world) == 0


def test_a_limit_that_is_only_tried_holds_places_and_refuses_nobody(make: Make) -> None:
    world = make(limits=states(replace(FLYING, dry_run=True)))
    pairs = [begun(world) for _ in range(3)]
    assert held(world) == 1
    row = world.cells.limit(0, 0)
    assert [row[LimitCell.ALLOWED], row[LimitCell.DRY_REFUSED]] == [1, 2]
    world.advance(2.5)
    tops = [top for message in world.told if isinstance(message, Tops) for top in message.tops]
    assert {top.limit: top.total for top in tops} == {"flying": 2}, "whom it would refuse is told"
    for client, server in pairs:
        server.sends(ok())
        client.sees(ok())
    assert held(world) == 0


def test_both_kinds_of_limits_on_what_is_in_flight_hold_places(make: Make) -> None:
    world = make(limits=states(FLYING, replace(FLYING, name="trial", dry_run=True)))
    client, server = begun(world)
    assert world.cells.limit(0, 1)[LimitCell.IN_FLIGHT] == 1
    server.sends(ok())
    client.sees(ok())
    assert world.cells.limit(0, 1)[LimitCell.IN_FLIGHT] == 0


def test_a_request_may_hold_several_places(make: Make) -> None:
    world = make(limits=states(replace(FLYING, rate=Rate(3, 0.0), cost=2)))
    _, server = begun(world)
    assert held(world) == 2
    other = world.client()
    other.sends(get())
    assert other.new()[9:12] == b"429"
    server.sends(ok())
    assert held(world) == 0


def test_who_goes_on_although_it_has_no_place_is_banned(make: Make) -> None:
    world = make(limits=states(replace(FLYING, ban=Ban(refusals=2, within=10.0, period=600.0))))
    world.worker._local._clock = lambda: int(world.loop.time() * 1e6)
    client, server = begun(world)
    other = world.client()
    for _ in range(2):
        other.sends(get())
        assert b"Retry-After: 1\r\n" in other.new()
    server.sends(ok())
    client.sees(ok())
    other.sends(get())
    refused = other.new()
    assert b"\r\nRetry-After: 600\r\n" in refused
    assert b'RateLimit: "flying";r=0;t=600\r\n' in refused
    assert world.limit_cell(LimitCell.BANNED) == 1


# A store elsewhere.


def decide(store: SlowStore, *, holds: bool = True) -> None:
    """The store gives the place, or says that it cannot count and the request may pass."""
    checks, resume = store.asked.popleft()
    kind = Holding if holds else Decision
    resume([kind(True, limit, 0, 0) for limit, _, _ in checks])


def test_a_place_that_is_given_to_a_request_that_is_over_is_given_back_at_once(make: Make) -> None:
    world = make(limits=states(FLYING))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    client.resets()
    assert not store.released
    decide(store)
    assert [(limit.limit.name, key, cost) for limit, key, cost in store.released] == [("flying", b"192.0.2.1", 1)]
    assert world.limit_cell(LimitCell.IN_FLIGHT) == 0


def test_what_was_tried_is_given_back_too_when_the_store_was_slower_than_the_server(make: Make) -> None:
    world = make(limits=states(replace(FLYING, dry_run=True)))
    world.worker.store = store = SlowStore(world.loop)
    client, server = begun(world)
    server.sends(ok())
    client.sees(ok())
    decide(store)
    assert len(store.released) == 1
    assert world.limit_cell(LimitCell.ALLOWED) == 1


def test_what_the_store_could_not_count_is_not_given_back(make: Make) -> None:
    world = make(limits=states(FLYING))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    decide(store, holds=False)
    world.loop.run()
    world.accepted().sends(ok())
    client.sees(ok())
    assert not store.released


def test_a_place_is_given_back_to_the_store_that_gave_it(make: Make) -> None:
    world = make(limits=states(FLYING))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    decide(store)
    world.loop.run()
    world.worker.store = world.worker._local
    world.accepted().sends(ok())
    client.sees(ok())
    assert len(store.released) == 1


def test_the_slot_of_a_limit_that_is_gone_may_be_anothers_when_its_last_request_ends(make: Make) -> None:
    world = make(limits=states(FLYING))
    client, server = begun(world)
    world.cells.clear_limit(0)
    server.sends(ok())
    client.sees(ok())
    assert world.limit_cell(LimitCell.IN_FLIGHT) == 0


def test_a_key_for_which_there_is_no_room_is_told_as_a_store_error(make: Make) -> None:
    world = make(limits=states(FLYING))
    world.worker._local.on_uncounted(world.snapshot.limits[0])
    assert world.limit_cell(LimitCell.STORE_ERRORS) == 1


@pytest.mark.parametrize("seed", range(20))
def test_whoever_a_connection_serves_and_whatever_comes_between_each_place_is_given_back_once(
    make: Make, seed: int
) -> None:
    """A proxy's connections serve several clients on several routes, and there are reloads while they do."""
    random = Random(seed)
    world = make(limits=states(TEN, Limit("rate", Rate(1000, 60.0))), trusted=["10.0.0.1"])
    routes = (
        Route("web", path="/flying", limits=("flying",)),
        Route("web", path="/rate", limits=("rate",)),
        Route("web", path="/both", limits=("flying", "rate")),
        Route("web"),
    )
    world.adopt(replace(world.snapshot, version=2, routes=routes))
    (flying, _) = world.snapshot.limits
    clients = b"192.0.2.1", b"192.0.2.2"
    asked: dict[Client, tuple[bytes, bytes]] = {}
    idle: list[Client] = []
    busy: list[tuple[Client, ServerPeer, bytes]] = []
    warm: list[ServerPeer] = []
    for _ in range(300):
        what = random.random()
        if what < 0.5 and len(busy) < 4:
            client = idle.pop() if idle and random.random() < 0.9 else world.client(("10.0.0.1", 4000))
            asks = random.choice([b"/flying", b"/flying", b"/rate", b"/both", b"/"]), random.choice(clients)
            path, who = asked[client] = asked.get(client, asks) if random.random() < 0.8 else asks  # mostly as before
            client.sends(post(b"x", b"X-Forwarded-For: " + who, path=path))
            server = world.accepted() if world.accepts else next(one for one in reversed(warm) if one.new())
            warm.append(server)
            server.new()
            busy.append((client, server, who if path in (b"/flying", b"/both") else b""))
        elif what < 0.98 and busy:
            client, server, _ = busy.pop(random.randrange(len(busy)))
            if (ends := random.random()) < 0.9:
                server.sends(ok())
                client.new()
                idle.append(client)
            else:
                (resets if ends < 0.95 else breaks_off)(client, server)
                warm = [one for one in warm if one is not server]
        else:
            world.adopt(replace(world.snapshot, version=world.snapshot.version + 1))
        for who in clients:
            remaining = world.worker._local.hit([(flying, who, 0)])[0].remaining
            assert 10 - remaining == sum(one == who for _, _, one in busy)
        assert world.limit_cell(LimitCell.IN_FLIGHT) == sum(bool(one) for _, _, one in busy)
    for client, server, _ in busy:
        server.sends(ok())
        client.new()
