"""A snapshot made ready to serve by: groups, routes, and what is carried over from the plan before."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from headgate.model.address import Address
from headgate.model.config import Ejection, Limit, Listener, Rate, Route, Tier, Timeouts
from headgate.model.server import Mode, ServerState
from headgate.model.snapshot import LimitState, Overrides, Snapshot, UpstreamState
from headgate.store.shared import SharedStore
from headgate.wire.cells import Cells, ServerCell
from headgate.worker.plan import Plan, Shared
from headgate.worker.server import Server

SPARE = SharedStore(SharedStore.create(room=8))
EJECTION = Ejection(failures=1, base=10)


def upstream(name: str, *servers: ServerState) -> UpstreamState:
    """An upstream whose servers are ejected at their first failure."""
    return UpstreamState(name, servers, "round_robin", EJECTION, Timeouts())


def state(slot: int, **changes: object) -> ServerState:
    """A server that is ready."""
    return replace(ServerState(Address(f"s{slot}", 80), slot), **changes)  # type: ignore[arg-type]


@pytest.fixture
def cells() -> Iterator[Cells]:
    """The cells of one worker."""
    fd = Cells.create(1)
    yield Cells(fd, 1)
    os.close(fd)


def plan(cells: Cells, *upstreams: UpstreamState, before: Plan | None = None, **more: object) -> Plan:
    """The plan for a snapshot, at time 0."""
    snapshot = Snapshot(1, upstreams=upstreams, **({"listeners": (), "routes": ()} | more))  # type: ignore[arg-type]
    return Plan(snapshot, before, Shared(cells, 0, SPARE.spare_lock, lambda seconds, callback: None), 0.0)


def chosen(plan: Plan, times: int, now: float = 0.0, tried: tuple[Server, ...] = ()) -> list[str]:
    """Which servers of `web` a number of requests get."""
    servers = [plan.groups["web"].choose(now, tried) for _ in range(times)]
    return [server.name if server else "-" for server in servers]


def test_servers_take_turns_by_their_weights(cells: Cells) -> None:
    made = plan(cells, upstream("web", state(0, weight=2), state(1)))
    names = chosen(made, 30)
    assert names.count("s0:80") == 20
    assert names.count("s1:80") == 10


def test_the_turn_goes_on_from_plan_to_plan(cells: Cells) -> None:
    web = upstream("web", state(0), state(1))
    first = plan(cells, web)
    assert chosen(first, 1) + chosen(plan(cells, web, before=first), 1) == ["s0:80", "s1:80"]


def test_an_ejected_server_is_left_out_until_its_time_is_over(cells: Cells) -> None:
    made = plan(cells, upstream("web", state(0), state(1)))
    made.servers[0].failed(ServerCell.RESETS, 0.0, "reset")
    group = made.groups["web"]
    assert group.next_change == 10
    assert set(chosen(made, 4, 9.9)) == {"s1:80"}
    group.sweep(9.9)
    assert set(chosen(made, 4, 9.9)) == {"s1:80"}
    group.sweep(10.0)
    assert set(chosen(made, 4, 10.0)) == {"s0:80", "s1:80"}
    assert group.next_change == 0


def test_one_outside_the_policys_choice_is_better_than_none(cells: Cells) -> None:
    made = plan(cells, upstream("web", state(0), state(1)))
    made.servers[0].failed(ServerCell.RESETS, 0.0, "reset")
    assert chosen(made, 1, 1.0, (made.servers[1],)) == ["s0:80"]
    assert chosen(made, 1, 1.0, (made.servers[0], made.servers[1])) == ["-"]


def test_a_group_without_servers_chooses_none(cells: Cells) -> None:
    assert chosen(plan(cells, upstream("web")), 2) == ["-", "-"]
    assert chosen(plan(cells, upstream("web", state(0, mode=Mode.MAINT))), 2) == ["-", "-"]


def test_servers_are_carried_over_by_their_slot(cells: Cells) -> None:
    first = plan(cells, upstream("web", state(0), state(1)))
    second = plan(cells, upstream("web", state(1, weight=3), state(2)), before=first)
    assert second.servers[1] is first.servers[1]
    assert second.servers[1].state.weight == 3
    assert set(second.servers) == {1, 2}


@pytest.mark.parametrize(
    "other",
    [upstream("web", state(0, address=Address("other", 80))), upstream("api", state(0))],
    ids=["address", "upstream"],
)
def test_a_slot_that_is_somebody_elses_now_is_another_server(cells: Cells, other: UpstreamState) -> None:
    first = plan(cells, upstream("web", state(0)))
    assert plan(cells, other, before=first).servers[0] is not first.servers[0]


def test_a_route_has_its_group_its_limits_in_order_and_its_timeouts(cells: Cells) -> None:
    limits = tuple(LimitState(Limit(name, Rate(1, 1.0)), slot) for slot, name in enumerate("abc"))
    made = plan(
        cells,
        upstream("web", state(0)),
        routes=(Route("web", path="/", limits=("c", "a"), timeouts=Timeouts(connect=9)),),
        limits=limits,
    )
    route = made.router.match(b"any", b"/")
    assert route is not None
    assert route.group is made.groups["web"]
    assert [limit.state.limit.name for limit in route.limits] == ["c", "a"]
    assert route.timeouts.connect == 9


FRONT, BACK, PLAIN = (Listener(Address(name, 80)) for name in ("front", "back", "plain"))


def limited(cells: Cells, *listeners: Listener, of_upstream: tuple[str, ...] = ()) -> Plan:
    """The plan with a route under limit `a`, and the limits of its upstream and of these listeners."""
    return plan(
        cells,
        replace(upstream("web", state(0)), limits=of_upstream),
        listeners=listeners,
        routes=(Route("web", limits=("a",)),),
        limits=tuple(LimitState(Limit(name, Rate(1, 1.0)), slot) for slot, name in enumerate("abc")),
    )


def names(made: Plan, listener: Listener) -> list[str]:
    """The limits of a request that came by the listener."""
    route = made.router_of(listener).match(b"any", b"/")
    assert route is not None
    return [limit.state.limit.name for limit in route.limits]


def test_a_request_has_the_limits_of_its_listener_its_route_and_its_upstream_each_once(cells: Cells) -> None:
    made = limited(cells, replace(FRONT, limits=("c", "b")), of_upstream=("b", "a"))
    assert names(made, FRONT) == ["c", "b", "a"]


def test_only_a_listener_with_limits_has_a_router_of_its_own(cells: Cells) -> None:
    made = limited(cells, replace(FRONT, limits=("b",)), replace(BACK, limits=("b",)), PLAIN)
    assert set(made.routers) == {FRONT.address, BACK.address}
    assert made.router_of(FRONT) is made.router_of(BACK)  # the same limits, the same router
    assert made.router_of(PLAIN) is made.router
    assert (names(made, BACK), names(made, PLAIN)) == (["b", "a"], ["a"])


def test_without_limits_of_listeners_there_is_one_router(cells: Cells) -> None:
    made = limited(cells, FRONT, BACK)
    assert made.routers == {}
    assert names(made, FRONT) == ["a"]


def test_the_present_plan_says_what_limits_a_listener_has_whatever_a_connection_remembers(cells: Cells) -> None:
    assert names(limited(cells, replace(FRONT, limits=("b",))), replace(FRONT, limits=("c",))) == ["b", "a"]
    assert names(limited(cells, PLAIN), replace(FRONT, limits=("c",))) == ["a"]  # it is no listener any more


def test_a_limit_with_another_rate_is_one_object_for_all_routes_and_keys_that_have_it(cells: Cells) -> None:
    made = plan(
        cells,
        upstream("web", state(0)),
        routes=(Route("web", path="/a", limits=("l", "other")), Route("web", path="/b", limits=("l",))),
        limits=(LimitState(Limit("l", Rate(1, 1.0), algorithm="gcra"), 3), LimitState(Limit("other", Rate(1, 1.0)), 4)),
        overrides={"l": Overrides((Tier(Rate(9, 60.0), 5), Tier(None)), {b"x": 0, b"y": 0, b"z": 1})},
    )
    one, other = (made.router.match(b"any", path) for path in (b"/a", b"/b"))
    assert one is not None
    assert other is not None
    overrides = one.limits[0].overrides
    assert overrides[b"x"] is overrides[b"y"] is other.limits[0].overrides[b"x"]
    assert overrides[b"x"] == LimitState(Limit("l", Rate(9, 60.0), algorithm="gcra", burst=5), 3)
    assert overrides[b"z"] is None
    assert one.limits[1].overrides == {}


def test_limits_that_stay_as_they_are_stay_the_same_objects(cells: Cells) -> None:
    def made(before: Plan | None, *rates: int) -> Plan:
        limits = tuple(LimitState(Limit(f"l{slot}", Rate(rate, 1.0)), slot) for slot, rate in enumerate(rates))
        return plan(cells, upstream("web", state(0)), before=before, limits=limits)

    first = made(None, 1, 2)
    second = made(first, 1, 3)
    assert second.limits["l0"].state is first.limits["l0"].state
    assert second.limits["l1"].state.limit.rate == Rate(3, 1.0)
