from dataclasses import replace

import pytest

from headgate.control import tuning as tunings
from headgate.control.fleet import Fleet, Member
from headgate.control.overlay import Overlay, add, remove, set_mode, set_weight
from headgate.errors import Unknown, UserError
from headgate.model.address import Address
from headgate.model.config import Config, Limit, Rate, Server, Tier
from headgate.model.server import Mode, Probe, ServerState
from headgate.model.snapshot import LimitState, Overrides, Snapshot
from headgate.wire.cells import LIMITS, SERVERS
from tests.unit.control.configs import CHECK, A, B, C, config, upstream

WEB = upstream("web", A, B)


def servers(snapshot: Snapshot | None, name: str = "web") -> dict[Address, ServerState]:
    assert snapshot is not None
    (found,) = [group for group in snapshot.upstreams if group.name == name]
    return {server.address: server for server in found.servers}


def changed(fleet: Fleet, overlay: Overlay, *, leave_at: float = 100.0) -> Snapshot | None:
    fleet.apply(fleet.config, overlay, leave_at)
    return fleet.publish()


def reloaded(fleet: Fleet, new: Config, *, leave_at: float = 100.0) -> Snapshot | None:
    fleet.apply(new, fleet.overlay, leave_at)
    return fleet.publish()


def idle(slot: int) -> bool:
    return True


def busy(slot: int) -> bool:
    return False


def test_the_first_snapshot_has_the_configurations_servers() -> None:
    fleet = Fleet(config(replace(WEB, servers=(Server(A, 3), Server(B, 0)))), {})
    assert fleet.snapshot.version == 1
    assert [(s.address, s.weight, s.mode, s.probe) for s in servers(fleet.snapshot).values()] == [
        (A, 3, Mode.READY, Probe.UNKNOWN),
        (B, 0, Mode.READY, Probe.UNKNOWN),
    ]


def test_a_server_has_as_many_requests_as_it_says_or_else_its_upstream() -> None:
    web = replace(WEB, servers=(Server(A, max_requests=7), Server(B)), max_requests=5, queue=9)
    fleet = Fleet(config(web), {})
    changed(fleet, add({}, web, str(C), None))
    assert {address: state.max_requests for address, state in servers(fleet.snapshot).items()} == {A: 7, B: 5, C: 5}
    assert fleet.snapshot.upstreams[0].queue == 9
    reloaded(fleet, config(replace(web, max_requests=6)))
    assert servers(fleet.snapshot)[C].max_requests == 6


def test_everything_else_is_the_configurations() -> None:
    base = config(WEB, limits=("per_ip",))
    snapshot = Fleet(base, {}).snapshot
    assert snapshot.listeners == base.listeners
    assert snapshot.routes == base.routes
    assert snapshot.heads == base.heads
    assert snapshot.store == base.store
    assert snapshot.upstreams[0].ejection == WEB.ejection
    assert snapshot.upstreams[0].timeouts == WEB.timeouts
    assert [state.limit for state in snapshot.limits] == list(base.limits)


def test_the_same_can_be_published_again() -> None:
    fleet = Fleet(config(WEB), {})
    first = fleet.snapshot
    assert fleet.publish(again=True) == replace(first, version=2)
    assert fleet.snapshot == replace(first, version=2)


def test_the_overlay_lies_over_the_configuration() -> None:
    overlay = add(remove({}, WEB, str(A)), WEB, str(C), 7)
    overlay = set_weight(set_mode(overlay, "web", str(B), Mode.MAINT), "web", str(B), 2)
    found = servers(Fleet(config(WEB), overlay).snapshot)
    assert list(found) == [B, C]
    assert (found[B].mode, found[B].weight) == (Mode.MAINT, 2)
    assert (found[C].mode, found[C].weight) == (Mode.READY, 7)


def test_versions_only_grow_and_only_with_a_change() -> None:
    fleet = Fleet(config(WEB), {})
    assert fleet.publish() is None
    assert changed(fleet, {}) is None
    second = changed(fleet, set_weight({}, "web", str(A), 5))
    assert second is not None
    assert second.version == 2
    assert fleet.snapshot is second
    third = changed(fleet, {})
    assert third is not None
    assert third.version == 3


def test_the_same_server_in_two_upstreams_has_two_slots() -> None:
    fleet = Fleet(config(upstream("a", A), upstream("b", A)), {})
    assert servers(fleet.snapshot, "a")[A].slot != servers(fleet.snapshot, "b")[A].slot


def test_a_server_keeps_its_slot_over_every_change() -> None:
    fleet = Fleet(config(WEB), {})
    slot = servers(fleet.snapshot)[B].slot
    snapshot = reloaded(fleet, config(upstream("api", C), upstream("web", C, B)))
    assert servers(snapshot)[B].slot == slot


class TestLeaving:
    """A server that is not wanted any more drains, then leaves; its slot rests, then is free."""

    def test_it_drains_first(self) -> None:
        fleet = Fleet(config(WEB), {})
        snapshot = changed(fleet, remove({}, WEB, str(A)))
        assert servers(snapshot)[A].mode is Mode.DRAIN
        assert not fleet.is_tidy
        assert not fleet.has("web", A)
        with pytest.raises(Unknown, match=r'no server 10.0.0.1:1 in upstream "web" \(known: 10.0.0.1:2\)'):
            fleet.member("web", A)

    def test_it_leaves_when_nothing_is_in_flight_in_any_worker(self) -> None:
        fleet = Fleet(config(WEB), {})
        slot = servers(fleet.snapshot)[A].slot
        changed(fleet, remove({}, WEB, str(A)))
        assert fleet.tidy(0.0, 2, busy) == ([], False)
        assert fleet.tidy(0.0, 2, idle) == ([], True)
        assert list(servers(fleet.publish())) == [B]
        assert not fleet.is_tidy
        assert fleet.tidy(0.0, 2, idle) == ([], False)
        assert fleet.tidy(0.0, 3, idle) == ([slot], False)
        assert fleet.is_tidy

    def test_a_worker_that_has_not_heard_of_it_holds_it_back(self) -> None:
        fleet = Fleet(config(WEB), {})
        changed(fleet, remove({}, WEB, str(A)))
        assert fleet.tidy(0.0, 1, idle) == ([], False)

    def test_it_leaves_at_last_though_something_is_in_flight_and_its_slot_rests(self) -> None:
        fleet = Fleet(config(WEB), {})
        slot = servers(fleet.snapshot)[A].slot
        changed(fleet, remove({}, WEB, str(A)), leave_at=30.0)
        assert fleet.tidy(29.9, 2, busy) == ([], False)
        assert fleet.tidy(30.0, 2, busy) == ([], True)
        fleet.publish()
        assert fleet.tidy(99.0, 9, busy) == ([], False)
        assert slot in fleet.slots_in_use()
        assert fleet.tidy(99.0, 9, idle) == ([slot], False)

    def test_one_that_drains_already_need_not_be_announced(self) -> None:
        fleet = Fleet(config(WEB), {})
        drained = changed(fleet, set_mode({}, "web", str(B), Mode.DRAIN))
        assert drained is not None
        assert changed(fleet, remove(fleet.overlay, WEB, str(B))) is None
        assert fleet.tidy(0.0, drained.version - 1, idle) == ([], False)
        assert fleet.tidy(0.0, drained.version, idle) == ([], True)

    def test_one_that_is_wanted_again_stays_with_its_slot(self) -> None:
        fleet = Fleet(config(WEB), {})
        slot = servers(fleet.snapshot)[A].slot
        changed(fleet, remove({}, WEB, str(A)))
        found = servers(changed(fleet, {}))[A]
        assert (found.slot, found.mode) == (slot, Mode.READY)
        assert fleet.tidy(999.0, 9, idle) == ([], False)
        assert fleet.is_tidy

    def test_a_second_removal_does_not_put_it_off(self) -> None:
        fleet = Fleet(config(WEB), {})
        overlay = remove({}, WEB, str(A))
        changed(fleet, overlay, leave_at=30.0)
        changed(fleet, set_weight(overlay, "web", str(B), 2), leave_at=60.0)
        assert fleet.tidy(30.0, 9, busy) == ([], True)

    def test_a_server_that_the_file_drops_drains_too(self) -> None:
        fleet = Fleet(config(WEB), {})
        assert servers(reloaded(fleet, config(upstream("web", B))))[A].mode is Mode.DRAIN

    def test_the_servers_of_an_upstream_that_goes_are_gone_at_once(self) -> None:
        fleet = Fleet(config(upstream("web", A), upstream("api", B)), {})
        slot = servers(fleet.snapshot, "api")[B].slot
        snapshot = reloaded(fleet, config(upstream("web", A)))
        assert snapshot is not None
        assert [group.name for group in snapshot.upstreams] == ["web"]
        assert fleet.tidy(0.0, 1, idle) == ([], False)
        assert fleet.tidy(0.0, 2, busy) == ([], False)
        assert fleet.tidy(0.0, 2, idle) == ([slot], False)

    def test_a_server_that_leaves_is_not_probed(self) -> None:
        fleet = Fleet(config(WEB), {})
        changed(fleet, remove({}, WEB, str(A)))
        assert set(fleet.checks()) == {("web", B)}
        assert fleet.observe(("web", A), False, "late") is None


class TestProbing:
    """What the prober saw, and when it is forgotten."""

    def test_a_changed_verdict_makes_a_new_snapshot(self) -> None:
        fleet = Fleet(config(WEB), {})
        member = fleet.observe(("web", A), False, "connection refused")
        assert isinstance(member, Member)
        assert (member.detail, member.health.verdict) == ("connection refused", Probe.DOWN)
        assert servers(fleet.publish())[A].probe is Probe.DOWN
        assert fleet.observe(("web", A), False, "timed out") is None
        assert member.detail == "timed out"
        assert fleet.publish() is None

    def test_the_checks_rise_and_fall_apply(self) -> None:
        fleet = Fleet(config(upstream("web", A, check=replace(CHECK, rise=1, fall=2))), {})
        results = [fleet.observe(("web", A), passed, "") is not None for passed in (True, False, False, True)]
        assert results == [True, False, True, True]

    def test_only_servers_with_a_check_and_not_in_maintenance_are_probed(self) -> None:
        fleet = Fleet(config(WEB, upstream("plain", C, check=None)), set_mode({}, "web", str(A), Mode.MAINT))
        assert fleet.checks() == {("web", B): CHECK}
        assert fleet.observe(("plain", C), False, "") is None
        assert fleet.observe(("none", C), False, "") is None

    def test_a_draining_server_is_probed(self) -> None:
        fleet = Fleet(config(WEB), set_mode({}, "web", str(A), Mode.DRAIN))
        assert ("web", A) in fleet.checks()

    def test_a_reload_that_changes_the_check_keeps_the_verdict(self) -> None:
        fleet = Fleet(config(WEB), {})
        fleet.observe(("web", A), False, "connection refused")
        fleet.publish()
        slower = replace(CHECK, interval=9.0, path="/other")
        assert reloaded(fleet, config(upstream("web", A, B, check=slower))) is None
        assert servers(fleet.snapshot)[A].probe is Probe.DOWN
        assert fleet.checks()["web", A] == slower

    @pytest.mark.parametrize("how", ["maintenance", "no check"])
    def test_what_is_probed_no_more_is_unknown(self, how: str) -> None:
        fleet = Fleet(config(WEB), {})
        fleet.observe(("web", A), False, "connection refused")
        fleet.publish()
        if how == "maintenance":
            snapshot = changed(fleet, set_mode({}, "web", str(A), Mode.MAINT))
        else:
            snapshot = reloaded(fleet, config(upstream("web", A, B, check=None)))
        assert servers(snapshot)[A].probe is Probe.UNKNOWN
        assert fleet.member("web", A).detail == ""


class TestNames:
    """What is asked for and is not there is told with what is."""

    def test_an_upstream(self) -> None:
        fleet = Fleet(config(upstream("web", A), upstream("api", B)), {})
        assert fleet.upstream("api").name == "api"
        with pytest.raises(Unknown, match=r'there is no upstream "wep" \(known: web, api\)'):
            fleet.upstream("wep")
        with pytest.raises(Unknown, match="no upstream"):
            fleet.member("wep", A)

    def test_a_server(self) -> None:
        fleet = Fleet(config(WEB, upstream("void")), {})
        assert fleet.member("web", B).address == B
        with pytest.raises(Unknown, match=r"\(known: 10.0.0.1:1, 10.0.0.1:2\)"):
            fleet.member("web", C)
        with pytest.raises(Unknown, match=r"\(known: none\)"):
            fleet.member("void", C)


class TestRoom:
    """There are so many slots and no more."""

    def test_too_many_servers_change_nothing(self) -> None:
        fleet = Fleet(config(WEB), {})
        many = config(upstream("web", *(Address("h", port) for port in range(1, SERVERS + 2))))
        with pytest.raises(UserError, match=f"room for {SERVERS} servers"):
            fleet.apply(many, {}, 0.0)
        assert fleet.config == config(WEB)
        assert fleet.publish() is None

    def test_too_many_limits_are_refused(self) -> None:
        with pytest.raises(UserError, match=f"room for {LIMITS} limits"):
            Fleet(config(WEB, limits=tuple(f"limit{k}" for k in range(LIMITS + 1))), {})


class TestLimits:
    """Limits have slots as servers have."""

    def test_a_limit_keeps_its_slot_by_name(self) -> None:
        fleet = Fleet(config(WEB, limits=("a", "b")), {})
        slots = {state.limit.name: state.slot for state in fleet.snapshot.limits}
        new = replace(config(WEB), limits=(Limit("c", Rate(1, 1.0)), Limit("b", Rate(99, 1.0))))
        snapshot = reloaded(fleet, new)
        assert snapshot is not None
        after = {state.limit.name: state.slot for state in snapshot.limits}
        assert after["b"] == slots["b"]
        assert after["c"] not in slots.values()

    def test_the_slot_of_a_limit_that_goes_rests_until_no_worker_knows_it(self) -> None:
        fleet = Fleet(config(WEB, limits=("a",)), {})
        reloaded(fleet, config(WEB))
        assert not fleet.is_tidy
        assert fleet.tidy_limits(1) == []
        assert fleet.tidy_limits(2) == [0]
        assert fleet.is_tidy


def test_a_bigger_fleet_is_published_in_the_configurations_order() -> None:
    many = [Address("h", port) for port in range(1, 301)]
    fleet = Fleet(config(upstream("web", *many)), add({}, WEB, str(C), None))
    assert list(servers(fleet.snapshot)) == [*many, C]


def test_the_overrides_of_limits_are_told_beside_them_and_change_the_snapshot_alone() -> None:
    limit = Limit("per_ip", Rate(10, 60.0), overrides={"192.0.2.7": "gold"})
    base = replace(config(WEB), limits=(limit,), tiers={"gold": Tier(Rate(99, 60.0))})
    fleet = Fleet(base, {})
    assert fleet.snapshot.limits == (LimitState(replace(limit, overrides={}), 0),)
    assert fleet.snapshot.overrides == {"per_ip": Overrides((Tier(Rate(99, 60.0)),), {b"192.0.2.7": 0})}
    fleet.tune(tunings.define(base, fleet.tuning, "gold", Tier(None)))
    found = fleet.publish()
    assert found is not None
    assert found.overrides["per_ip"].tiers == (Tier(None),)
    assert (found.version, found.limits) == (2, (LimitState(replace(limit, overrides={}), 0),))
    assert fleet.publish() is None


def test_a_reload_leaves_what_was_tuned_and_forgets_what_it_says_itself() -> None:
    base = replace(config(WEB, limits=("per_ip",)), tiers={"gold": Tier(Rate(99, 60.0))})
    tuning = tunings.override(base, tunings.UNTUNED, "per_ip", "192.0.2.7", "gold")
    fleet = Fleet(base, {}, tuning)
    before = fleet.snapshot.overrides
    assert before == {"per_ip": Overrides((Tier(Rate(99, 60.0)),), {b"192.0.2.7": 0})}
    fleet.apply(replace(base, drain=1.0), {}, 0.0)
    assert (fleet.tuning, fleet.publish()) == (tuning, None)
    fleet.apply(replace(base, limits=(replace(base.limits[0], overrides={"192.0.2.7": "gold"}),)), {}, 0.0)
    assert (fleet.tuning, fleet.publish()) == (tunings.UNTUNED, None)
    fleet.apply(config(WEB), {}, 0.0)
    assert fleet.publish() is not None
    assert fleet.snapshot.overrides == {}
