"""What a client is told of limits, and limits that are only tried."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import jwt
import pytest

from headgate.limits.decision import Decision
from headgate.limits.keys import Seal
from headgate.model.config import Ban, Jwt, JwtKey, Limit, Rate, Tier
from headgate.model.snapshot import LimitState, Overrides
from headgate.store.base import Check, Resume
from headgate.wire.cells import LimitCell
from headgate.wire.messages import KeyBanned, Top, Tops
from tests.exchange.kit import TIMEOUTS, ServerPeer, SlowStore, World, get, ok

Make = Callable[..., World]

TWO = Rate(2, 60.0)


def states(*limits: Limit) -> list[LimitState]:
    return [LimitState(limit, slot) for slot, limit in enumerate(limits)]


def asked(world: World) -> bytes:
    """What a new client gets for one request, which its server answers at once if it reaches one."""
    before = len(world.accepts)
    client = world.client()
    client.sends(get())
    if len(world.accepts) > before:
        world.accepted().sends(ok(b"1", b"Connection: close"))
    return client.new()


def test_a_refusal_says_the_policy_what_is_left_and_when_there_is_more(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", TWO)))
    world.worker._local._clock = lambda: int(world.loop.time() * 1e6)
    for _ in range(2):
        assert b"RateLimit" not in asked(world)
    world.advance(17.5)
    head, _, body = asked(world).partition(b"\r\n\r\n")
    assert b"\r\nRetry-After: 43\r\n" in head
    assert b'\r\nRateLimit-Policy: "per_ip";q=2;w=60\r\nRateLimit: "per_ip";r=0;t=43' in head
    assert b"X-RateLimit" not in head
    assert json.loads(body)["violated-policies"] == ["per_ip"]


def test_a_limit_may_tell_with_every_response_and_in_the_old_form_too(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", TWO, headers="always", legacy_headers=True)))
    told = asked(world)
    assert told.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n")
    assert told.endswith(
        b'RateLimit-Policy: "per_ip";q=2;w=60\r\nRateLimit: "per_ip";r=1;t=60\r\n'
        b"X-RateLimit-Limit: 2\r\nX-RateLimit-Remaining: 1\r\nX-RateLimit-Reset: 60\r\n\r\n1"
    )
    assert b'RateLimit: "per_ip";r=0;t=60\r\n' in asked(world)
    refused = asked(world)
    assert refused.startswith(b"HTTP/1.1 429 ")
    assert b'RateLimit: "per_ip";r=0;t=60\r\nX-RateLimit-Limit: 2\r\nX-RateLimit-Remaining: 0\r\n' in refused


def test_several_limits_are_told_together_as_each_wants_it(make: Make) -> None:
    wide, hidden = Limit("wide", Rate(9, 3600.0), headers="always"), Limit("hidden", TWO, headers="off")
    world = make(limits=states(wide, Limit("narrow", TWO, headers="always"), hidden))
    told = asked(world)
    assert b'RateLimit-Policy: "wide";q=9;w=3600, "narrow";q=2;w=60\r\n' in told
    assert b'RateLimit: "wide";r=8;t=3600, "narrow";r=1;t=60\r\n' in told


def test_all_that_refuse_are_named_and_the_longest_decides_when_to_come_back(make: Make) -> None:
    world = make(
        limits=states(Limit("hour", Rate(1, 3600.0)), Limit("wide", Rate(9, 60.0)), Limit("minute", Rate(1, 60.0)))
    )
    asked(world)
    head, _, body = asked(world).partition(b"\r\n\r\n")
    assert b"\r\nRetry-After: 3600\r\n" in head
    assert b'RateLimit: "hour";r=0;t=3600, "minute";r=0;t=60' in head
    problem = json.loads(body)
    assert problem["violated-policies"] == ["hour", "minute"]
    assert problem["detail"] == "The limit is 1/hour and 1/minute; try again in 3600 s."


def test_a_limit_whose_headers_are_off_refuses_without_them(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(1, 60.0), headers="off")))
    asked(world)
    refused = asked(world)
    assert refused.startswith(b"HTTP/1.1 429 ")
    assert b"RateLimit" not in refused
    assert b"Retry-After: 60" in refused


def test_a_limit_that_is_only_tried_counts_and_refuses_nobody(make: Make) -> None:
    trial = Limit("trial", Rate(1, 60.0), dry_run=True, headers="always")
    world = make(limits=states(Limit("per_ip", Rate(3, 60.0)), trial))
    answers = [asked(world) for _ in range(4)]
    assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"200", b"429"]
    assert not any(b'"trial"' in answer for answer in answers)
    row = world.cells.limit(0, 1)
    assert [row[LimitCell.ALLOWED], row[LimitCell.REFUSED], row[LimitCell.DRY_REFUSED]] == [1, 0, 2]
    world.advance(2.5)
    tops = [top for message in world.told if isinstance(message, Tops) for top in message.tops]
    assert {top.limit: top.total for top in tops} == {"per_ip": 1, "trial": 2}, "whom it would refuse is told"


def test_nobody_waits_for_a_limit_that_is_only_tried(make: Make) -> None:
    world = make(limits=states(Limit("trial", Rate(1, 60.0), dry_run=True)))
    world.worker.store = store = SlowStore(world.loop)
    assert asked(world).endswith(b"\r\n\r\n1")
    store.decide(False)
    assert world.limit_cell(LimitCell.DRY_REFUSED) == 1
    world.advance(2.5)
    assert [message for message in world.told if isinstance(message, Tops)]


def test_a_limit_counts_by_what_it_is_told_to(make: Make) -> None:
    world = make(limits=states(Limit("per_key", Rate(1, 60.0), key="header:x-api-key")))
    client = world.client()
    statuses = []
    for field in (b"X-API-Key: a", b"X-API-Key: b", b"X-API-Key: a", b"X-Other: a", b"X-Other: a"):
        client.sends(get(b"/", field))
        if world.accepts:
            server = world.accepted()
        if world.in_flight():
            server.sends(ok())
        statuses.append(client.new()[9:12])
    assert statuses == [b"200", b"200", b"429", b"200", b"429"]


def test_a_limit_counts_by_a_claim_of_a_verified_token(make: Make) -> None:
    key = JwtKey(jwt.algorithms.HMACAlgorithm.to_jwk(b"x" * 32), ("HS256",))
    limits = states(Limit("per_user", Rate(1, 60.0), key="jwt:sub"))
    world = make(limits=limits, jwt=Jwt(("HS256",), (key,)))
    statuses = []
    tokens = [("me", b"x", 1), ("me", b"x", 2), ("you", b"x", 1), ("one", b"y", 1), ("two", b"y", 1)]
    for subject, byte, number in tokens:
        token = jwt.encode({"sub": subject, "jti": str(number)}, byte * 32, "HS256").encode()
        client = world.client()
        client.sends(get(b"/", b"Authorization: Bearer " + token, b"Connection: close"))
        if world.accepts:
            world.accepted().sends(ok(b"", b"Connection: close"))
        statuses.append(client.new()[9:12])
    assert statuses == [b"200", b"429", b"200", b"200", b"429"], "by user; with invented tokens, by address"


def test_clients_of_a_network_have_one_count(make: Make) -> None:
    world = make(limits=states(Limit("per_net", Rate(1, 60.0), key="client_ip/24")), trusted=["10.0.0.1"])
    proxy = world.client(("10.0.0.1", 4000))
    statuses = []
    for client in (b"192.0.2.1", b"192.0.2.200", b"198.51.100.1"):
        proxy.sends(get(b"/", b"X-Forwarded-For: " + client))
        if world.accepts:
            server = world.accepted()
        if world.in_flight():
            server.sends(ok())
        statuses.append(proxy.new()[9:12])
    assert statuses == [b"200", b"429", b"200"]


def test_a_client_that_a_limit_is_not_for_comes_under_the_others(make: Make) -> None:
    exempt = Limit("narrow", Rate(1, 60.0), exempt=("192.0.2.0/24", "2001:db8::/32"))
    world = make(limits=states(exempt, Limit("wide", Rate(2, 60.0))))
    assert [asked(world)[9:12] for _ in range(3)] == [b"200", b"200", b"429"]
    alone = make(limits=states(exempt))
    assert [asked(alone)[9:12] for _ in range(3)] == [b"200", b"200", b"200"]
    other = alone.client(("198.51.100.1", 4000))
    other.sends(get() + get())
    alone.accepted().sends(ok())
    assert [part[:3] for part in other.new().split(b"HTTP/1.1 ")[1:]] == [b"200", b"429"]


def on_the_loops_clock(world: World) -> None:
    world.worker._local._clock = lambda: int(world.loop.time() * 1e6)


def test_a_request_costs_what_the_limit_says(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(5, 60.0), cost=2, headers="always")))
    answers = [asked(world) for _ in range(3)]
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"429"]
    assert b'"per_ip";r=3;' in answers[0]
    assert b'"per_ip";r=1;' in answers[1]


def test_a_delayed_request_is_forwarded_when_its_time_has_come(make: Make) -> None:
    world = make(limits=states(Limit("slow", Rate(1, 2.0), algorithm="gcra", delay=2.0)))
    on_the_loops_clock(world)
    asked(world)
    assert world.limit_cell(LimitCell.NEAR) == 1
    held, refused = world.client(), world.client()
    held.sends(get())
    refused.sends(get())
    assert refused.new()[9:12] == b"429"
    before = len(world.accepts)
    world.advance(1.9)
    assert len(world.accepts) == before
    world.advance(0.2)
    world.accepted().sends(ok())
    held.sees(ok())
    assert world.limit_cell(LimitCell.DELAYED) == 1


def test_a_client_that_goes_while_its_request_is_held_back_leaves_nothing(make: Make) -> None:
    world = make(limits=states(Limit("slow", Rate(1, 2.0), algorithm="gcra", delay=2.0)))
    on_the_loops_clock(world)
    asked(world)
    before = len(world.accepts)
    held = world.client()
    held.sends(get())
    held.resets()
    world.advance(5)
    assert len(world.accepts) == before
    assert not world.in_flight()


def test_a_request_is_held_back_for_no_longer_than_it_has_in_all(make: Make) -> None:
    timeouts = replace(TIMEOUTS, total=1.0)
    world = make(limits=states(Limit("slow", Rate(1, 10.0), algorithm="gcra", delay=10.0)), timeouts=timeouts)
    on_the_loops_clock(world)
    asked(world)
    held = world.client()
    held.sends(get())
    world.advance(2)
    assert held.new()[9:12] == b"504"


def test_a_client_that_goes_on_although_it_is_refused_is_banned(make: Make) -> None:
    ban = Ban(refusals=3, within=10.0, period=600.0)
    world = make(limits=states(Limit("per_ip", Rate(1, 1.0), ban=ban)))
    on_the_loops_clock(world)
    assert asked(world)[9:12] == b"200"
    assert [asked(world)[9:12] for _ in range(2)] == [b"429", b"429"]
    world.advance(1.5)
    assert asked(world)[9:12] == b"200", "two refusals are borne"
    assert asked(world)[9:12] == b"429"
    world.advance(1.5)
    refused = asked(world)
    assert refused[9:12] == b"429"
    assert b"Retry-After: 599" in refused
    assert world.limit_cell(LimitCell.BANNED) == 1
    bans = [message for message in world.told if isinstance(message, KeyBanned)]
    assert bans == [KeyBanned("per_ip", b"192.0.2.1", 600.0, 3)], "the supervisor is told once"
    world.advance(599)
    assert asked(world)[9:12] == b"200"


def test_refusals_before_a_ban_and_during_it_do_not_lead_to_the_next(make: Make) -> None:
    ban = Ban(refusals=3, within=3600.0, period=10.0)
    world = make(limits=states(Limit("per_ip", Rate(1, 1.0), ban=ban)))
    on_the_loops_clock(world)
    for number in (1, 2):
        assert [asked(world)[9:12] for _ in range(8)] == [b"200"] + [b"429"] * 7
        world.advance(9)
        assert asked(world)[9:12] == b"429", "the ban lasts"
        world.advance(1)
        for _ in range(2):
            assert asked(world)[9:12] == b"200", "the ban is over, and refusals are borne as before"
            assert asked(world)[9:12] == b"429"
            world.advance(1)
        assert asked(world)[9:12] == b"200"
        assert b"Retry-After: 10" in [asked(world), asked(world)][1], "the third bans again"
        bans = [message for message in world.told if isinstance(message, KeyBanned)]
        assert bans == [KeyBanned("per_ip", b"192.0.2.1", 10.0, 3)] * 2 * number, "each ban is told"
        world.advance(10)


def test_whom_a_limit_refuses_is_told_the_supervisor(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(1, 600.0))))
    assert [asked(world)[9:12] for _ in range(4)] == [b"200", b"429", b"429", b"429"]
    world.advance(2.5)
    tops = [message for message in world.told if isinstance(message, Tops)]
    assert tops == [Tops((Top("per_ip", 3, 0, ((b"192.0.2.1", 3, 0),)),))]


def test_the_log_names_who_is_banned_as_people_write_it(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ban = Ban(refusals=1, within=10.0, period=600.0)
    world = make(limits=states(Limit("per_path", Rate(1, 60.0), key="client_ip,path", ban=ban)))
    for _ in range(3):
        asked(world)
    assert "limit per_path: 192.0.2.1, =/ is banned for 600 s after 1 refusal\n" in caplog.text


def test_a_private_limit_tells_nobody_whom_it_bans(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    ban = Ban(refusals=1, within=10.0, period=600.0)
    world = make(limits=states(Limit("per_ip", Rate(1, 60.0), private=True, ban=ban)))
    asks: list[bytes] = []
    hit = world.worker._local.hit

    def watched(checks: Sequence[Check], resume: Resume | None = None) -> Sequence[Decision]:
        asks.extend(key for _, key, _ in checks)
        return hit(checks, resume)

    monkeypatch.setattr(world.worker._local, "hit", watched)
    assert [asked(world)[9:12] for _ in range(3)] == [b"200", b"429", b"429"]
    assert world.limit_cell(LimitCell.BANNED) == 1
    (key,) = set(asks)
    assert key == Seal(world.worker._local.secret)(b"192.0.2.1")
    assert f"limit per_ip: {key.decode()} is banned" in caplog.text
    assert "192.0.2.1" not in caplog.text


def test_refusals_long_ago_do_not_ban(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(1, 1.0), ban=Ban(refusals=2, within=10.0, period=600.0))))
    on_the_loops_clock(world)
    for _ in range(4):
        assert asked(world)[9:12] == b"200"
        assert asked(world)[9:12] == b"429"
        world.advance(11)


def test_a_ban_is_decided_by_a_store_elsewhere_too(make: Make) -> None:
    ban = Ban(refusals=3, within=10.0, period=600.0)
    world = make(limits=states(Limit("per_ip", Rate(1, 1.0), ban=ban)))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    store.decide(False, reset_after=1)
    assert client.new()[9:12] == b"429"
    ((check,), _) = store.asked[0]
    assert (check[0].limit.name, check[0].limit.rate, check[1]) == ("per_ip!refusals", Rate(3, 10.0), b"192.0.2.1")
    store.decide(True)
    assert store.banned == [("per_ip", b"192.0.2.1", 600.0), ("per_ip!refusals", b"192.0.2.1", 600.0)]
    client.sends(get())
    store.decide(False, unavailable=True)
    assert client.new()[9:12] == b"503"
    assert not store.asked


def test_it_is_counted_when_a_limit_is_nearly_used_up(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(10, 60.0))))
    near = []
    for _ in range(11):
        asked(world)
        near.append(world.limit_cell(LimitCell.NEAR))
    assert near == [0] * 7 + [1, 2, 3, 3]


def test_a_part_of_a_limit_that_stands_in_for_it_bans_by_the_limit(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(4, 60.0), ban=Ban(refusals=1, within=10.0, period=600.0))))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    ((limit, _, _),), resume = store.asked.popleft()
    resume([Decision(False, LimitState(replace(limit.limit, rate=Rate(2, 60.0)), limit.slot), 0, 1)])
    ((refusals, _, _),), resume = store.asked.popleft()
    assert refusals.limit.rate == Rate(1, 10.0)
    resume([Decision(True, refusals, 0, 1)])
    assert store.banned == [("per_ip", b"192.0.2.1", 600.0), ("per_ip!refusals", b"192.0.2.1", 600.0)]


def test_a_client_far_from_its_limit_takes_a_short_way_and_is_counted_all_the_same(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(10, 60.0))))
    hits = spied(world)
    client = world.client()
    client.sends(get())
    server = world.accepted()
    for _ in range(10):
        server.sends(ok())
        client.sees(ok())
        client.sends(get())
    client.sees_answer(429)
    client.sends(get())
    client.sees_answer(429)
    assert len(hits) == 12 - 6, "the first of the connection, and from 2 that are left on"
    assert [world.limit_cell(cell) for cell in (LimitCell.ALLOWED, LimitCell.NEAR, LimitCell.REFUSED)] == [10, 3, 2]
    assert asked(world).startswith(b"HTTP/1.1 429 "), "it is one count for all connections of the client"


def test_what_went_a_short_way_is_in_the_cells_after_a_sweep_and_before_a_snapshot_is_adopted(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(100, 60.0))))
    allowed, client = world.cells.limit(0, 0), world.client()
    client.sends(get())
    server = world.accepted()
    for number in range(10):
        server.sends(ok())
        client.sends(get())
        if number == 4:
            assert allowed[LimitCell.ALLOWED] == 1
            world.advance(0.3)
            assert allowed[LimitCell.ALLOWED] == 6
    world.adopt(world.snapshot)
    assert allowed[LimitCell.ALLOWED] == 11
    server.sends(ok())


def test_several_limits_are_one_short_way(make: Make) -> None:
    world = make(
        limits=states(Limit("one", Rate(10, 60.0)), Limit("other", Rate(100, 60.0), "constant", algorithm="gcra"))
    )
    hits = spied(world)
    client = world.client()
    client.sends(get())
    server = world.accepted()
    for _ in range(10):
        server.sends(ok())
        client.sees(ok())
        client.sends(get())
    client.sees_answer(429)
    assert len(hits) == 11 - 6
    counted = [world.limit_cell(LimitCell.ALLOWED, slot) for slot in (0, 1)]
    assert counted == [10, 11], "that which would have allowed the last one too is counted as it was"


def test_a_limit_that_is_told_of_or_counts_otherwise_takes_no_short_way(make: Make) -> None:
    one = Limit("one", Rate(100, 60.0))
    for limits in ([replace(one, headers="always")], [replace(one, cost=2)], [replace(one, key="path")]):
        world = make(limits=states(*limits))
        hits = spied(world)
        client = world.client()
        client.sends(get())
        server = world.accepted()
        for _ in range(3):
            server.sends(ok())
            client.sends(get())
        server.sends(ok())
        assert len(hits) == 4


def spied(world: World) -> list[object]:
    """The requests that the store is asked for from now on."""
    hits: list[object] = []
    hit = world.worker.store.hit

    def told(checks: Sequence[Check], resume: Resume) -> Sequence[Decision] | None:
        hits.append(checks)
        return hit(checks, resume)

    world.worker.store.hit = told  # type: ignore[method-assign]
    return hits


def status(world: World) -> int:
    return int(asked(world)[9:12])


PLACES = {"of_listener": ("wide",), "of_upstream": ("wide",)}


@pytest.mark.parametrize("place", PLACES)
def test_a_limit_of_a_listener_or_an_upstream_is_one_decision_with_the_routes(make: Make, place: str) -> None:
    narrow, wide = Limit("narrow", Rate(2, 60.0), headers="always"), Limit("wide", Rate(3, 3600.0), headers="always")
    world = make(limits=states(narrow, wide), **{place: PLACES[place]})
    on_the_loops_clock(world)
    answers = [asked(world) for _ in range(3)]
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"429"]
    assert b'"wide";r=1;t=3600' in answers[1]
    assert b'"narrow";r=0;t=60' in answers[2]
    world.advance(60)
    assert b'"wide";r=0;' in asked(world), "what another limit refused was not taken"
    refused = asked(world)
    assert refused[9:12] == b"429"
    assert b'"violated-policies": ["wide"]' in refused


def test_a_limit_that_is_named_everywhere_counts_once(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", TWO)), of_listener=("per_ip",), of_upstream=("per_ip",))
    world.adopt(replace(world.snapshot, routes=(replace(world.snapshot.routes[0], limits=("per_ip",)),)))
    assert [status(world) for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("place", PLACES)
def test_a_limit_of_a_listener_or_an_upstream_can_do_what_one_of_a_route_can(make: Make, place: str) -> None:
    trial = make(limits=states(Limit("wide", Rate(1, 60.0), dry_run=True)), **{place: PLACES[place]})
    assert [status(trial) for _ in range(2)] == [200, 200]
    assert trial.limit_cell(LimitCell.DRY_REFUSED) == 1
    slow = make(limits=states(Limit("wide", Rate(1, 2.0), algorithm="gcra", delay=2.0)), **{place: PLACES[place]})
    on_the_loops_clock(slow)
    asked(slow)
    held = slow.client()
    held.sends(get())
    held.sees_nothing()
    slow.advance(2.1)
    slow.accepted().sends(ok())
    held.sees(ok())
    ban = Limit("wide", Rate(1, 1.0), ban=Ban(refusals=1, within=10.0, period=600.0))
    strict = make(limits=states(ban), **{place: PLACES[place]})
    on_the_loops_clock(strict)
    assert [status(strict) for _ in range(2)] == [200, 429]
    strict.advance(5)
    assert status(strict) == 429


def test_a_reload_gives_open_connections_the_limits_that_their_listener_has_now(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(1, 60.0)), Limit("other", Rate(2, 60.0))), of_listener=("per_ip",))
    free = replace(world.snapshot.routes[0], limits=())
    world.adopt(replace(world.snapshot, routes=(free,)))
    client, statuses = world.client(), []

    def ask(times: int) -> None:
        for _ in range(times):
            client.sends(get())
            if world.accepts:
                server.append(world.accepted())
            if world.in_flight():
                server[0].sends(ok())
            statuses.append(int(client.new()[9:12]))

    server: list[ServerPeer] = []
    ask(2)
    world.adopt(replace(world.snapshot, listeners=(replace(world.listener, limits=("other",)),)))
    ask(3)
    world.adopt(replace(world.snapshot, listeners=(replace(world.listener, limits=()),)))
    ask(2)
    assert statuses == [200, 429, 200, 200, 429, 200, 200]


HOUR = Limit("per_key", TWO, key="header:x-api-key", headers="always")
OF_KEYS = {
    "per_key": Overrides(
        (Tier(Rate(4, 3600.0)), Tier(Rate(1, 60.0)), Tier(None)), {b"=gold": 0, b"=iron": 1, b"=free": 2}
    )
}


def asked_by(world: World, name: bytes, times: int) -> list[bytes]:
    """What so many requests of the key get, on one connection."""
    client, answers = world.client(), []
    for _ in range(times):
        client.sends(get(b"/", b"X-API-Key: " + name))
        for server in world.peers:
            if server.connection.exchange is not None:
                server.sends(ok())
        answers.append(client.new())
    return answers


def codes(answers: list[bytes]) -> str:
    return " ".join(answer[9:12].decode() for answer in answers)


def test_a_key_may_have_another_rate_than_its_limit_or_none(make: Make) -> None:
    world = make(limits=states(HOUR), overrides=OF_KEYS)
    gold, iron, free, plain = (asked_by(world, name, 5) for name in (b"gold", b"iron", b"free", b"plain"))
    assert codes(gold) == "200 200 200 200 429"
    assert codes(iron) == "200 429 429 429 429"
    assert codes(free) == "200 200 200 200 200"
    assert codes(plain) == "200 200 429 429 429"
    # Whom the limit is for is told of what counts for him.
    assert b'RateLimit-Policy: "per_key";q=4;w=3600\r\nRateLimit: "per_key";r=3;t=3600\r\n' in gold[0]
    assert b'RateLimit-Policy: "per_key";q=1;w=60\r\n' in iron[0]
    assert b"The limit is 4/hour; try again in 3600 s" in gold[4]
    assert b"RateLimit" not in free[0]
    # What it decides is counted as one limit's.
    assert (world.limit_cell(LimitCell.ALLOWED), world.limit_cell(LimitCell.REFUSED)) == (4 + 1 + 2, 1 + 4 + 3)


def test_a_client_address_may_have_another_rate_on_a_connection_that_stays(make: Make) -> None:
    per_ip = Limit("per_ip", Rate(1, 60.0))
    overrides = {"per_ip": Overrides((Tier(Rate(3, 60.0)),), {b"192.0.2.1": 0})}
    world = make(limits=states(per_ip), overrides=overrides)
    assert codes(asked_by(world, b"", 4)) == "200 200 200 429"
    # Another tier is another count; without one the limit's own goes on.
    world.adopt(replace(world.snapshot, overrides={"per_ip": Overrides((Tier(Rate(2, 60.0)),), {b"192.0.2.1": 0})}))
    assert codes(asked_by(world, b"", 3)) == "200 200 429"
    world.adopt(replace(world.snapshot, overrides={}))
    assert codes(asked_by(world, b"", 2)) == "200 429"
    world.adopt(replace(world.snapshot, overrides={"per_ip": Overrides((Tier(None),), {b"192.0.2.1": 0})}))
    assert codes(asked_by(world, b"", 3)) == "200 200 200"


def test_an_open_connection_has_what_its_key_has_now(make: Make) -> None:
    world = make(limits=states(Limit("per_ip", Rate(1, 60.0))))
    client, got = world.client(), []

    def ask(times: int) -> None:
        for _ in range(times):
            client.sends(get())
            for server in world.peers:
                if server.connection.exchange is not None:
                    server.sends(ok())
            got.append(client.new())

    ask(3)
    world.adopt(replace(world.snapshot, overrides={"per_ip": Overrides((Tier(Rate(3, 60.0)),), {b"192.0.2.1": 0})}))
    ask(4)
    world.adopt(replace(world.snapshot, overrides={"per_ip": Overrides((Tier(None),), {b"192.0.2.1": 0})}))
    ask(3)
    assert codes(got) == "200 429 429 200 200 200 429 200 200 200"


def test_what_is_only_tried_is_tried_with_the_rate_of_the_key(make: Make) -> None:
    world = make(limits=states(replace(HOUR, dry_run=True)), overrides=OF_KEYS)
    for name in (b"gold", b"iron", b"free", b"plain"):
        assert codes(asked_by(world, name, 5)) == "200 200 200 200 200"
    assert world.limit_cell(LimitCell.DRY_REFUSED) == 1 + 4 + 3


def test_a_key_with_a_rate_of_its_own_has_the_delay_and_the_ban_of_its_limit(make: Make) -> None:
    limit = Limit("slow", Rate(100, 1.0), key="header:x-api-key", algorithm="gcra", delay=2.0)
    world = make(limits=states(limit), overrides={"slow": Overrides((Tier(Rate(1, 2.0), 1),), {b"=iron": 0})})
    on_the_loops_clock(world)
    assert codes(asked_by(world, b"iron", 1)) == "200"
    held = world.client()
    held.sends(get(b"/", b"X-API-Key: iron"))
    held.sees_nothing()
    world.advance(2.1)
    for server in world.peers:
        if server.connection.exchange is not None:
            server.sends(ok())
    held.sees(ok())
    ban = Ban(refusals=1, within=10.0, period=600.0)
    world = make(limits=states(replace(HOUR, ban=ban)), overrides=OF_KEYS)
    on_the_loops_clock(world)
    assert codes(asked_by(world, b"iron", 2)) == "200 429"
    world.advance(90)
    (banned,) = asked_by(world, b"iron", 1)
    assert b"Retry-After: 510" in banned


def test_limits_with_and_without_overrides_are_one_decision(make: Make) -> None:
    world = make(limits=states(HOUR, Limit("per_ip", Rate(5, 60.0))), overrides=OF_KEYS)
    assert codes(asked_by(world, b"gold", 5)) == "200 200 200 200 429"
    assert codes(asked_by(world, b"free", 2)) == "200 429", "what the key was refused was not taken of the address"
    exempt = make(limits=states(replace(HOUR, exempt=("192.0.2.0/24",))), overrides=OF_KEYS)
    assert codes(asked_by(exempt, b"iron", 3)) == "200 200 200"
