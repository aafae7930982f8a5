"""A new snapshot under load: what is in flight keeps what it began with, what is new is served by the new."""

from dataclasses import replace

from headgate.model.address import Address
from headgate.model.config import Ejection, Route
from headgate.model.server import Mode, Probe, ServerState
from headgate.model.snapshot import Snapshot
from headgate.wire.cells import ServerCell, WorkerCell
from headgate.wire.messages import Adopted
from tests.exchange.kit import Make, World, forwarded, get, ok


def with_servers(world: World, *servers: ServerState) -> Snapshot:
    """The world's snapshot with these servers."""
    web = replace(world.snapshot.upstreams[0], servers=servers)
    return replace(world.snapshot, version=world.snapshot.version + 1, upstreams=(web,))


def test_adopting_is_told(world: World) -> None:
    world.adopt(replace(world.snapshot, version=7))
    assert world.told[-1] == Adopted(7)
    assert world.worker_cell(WorkerCell.VERSION) == 7


def test_a_server_that_was_added_gets_its_turn(world: World) -> None:
    world.adopt(with_servers(world, *World.states(2)))
    for _ in range(2):
        world.client().sends(get())
    assert sorted(world.tried) == ["s1:80", "s2:80"]
    world.slots.add(1)


def test_a_server_that_stays_keeps_its_connections_and_its_failures(make: Make) -> None:
    world = make(1, ejection=Ejection(failures=3, base=10))
    server = world.warm()
    world.adopt(with_servers(world, *World.states(3)))
    live = world.worker.plan.servers[0]
    assert live.idle == [server.connection]
    assert server.end == ""


def test_an_exchange_in_flight_on_a_removed_server_ends_well_and_then_its_connection(make: Make) -> None:
    world = make(2)
    client = world.client()
    client.sends(get())
    busy = world.accepted()
    assert busy.name == "s1:80"
    busy.sends(ok(b"12")[:-1])
    world.adopt(with_servers(world, world.snapshot.upstreams[0].servers[1]))
    assert busy.end == ""
    assert world.in_flight() == 1
    busy.sends(b"2")
    client.sees(ok(b"12"))
    assert busy.end == "reset"
    assert world.in_flight() == 0
    client.sends(get())
    assert world.tried == ["s1:80", "s2:80"]


def test_the_idle_connections_of_a_removed_server_are_closed(make: Make) -> None:
    world = make(2)
    idle = world.warm()
    world.adopt(with_servers(world, world.snapshot.upstreams[0].servers[1]))
    assert idle.end == "reset"


def test_a_drained_server_ends_what_it_has_and_gets_nothing_new(make: Make) -> None:
    world = make(1)
    idle = world.warm()
    busy = world.client()
    busy.sends(get())
    world.adopt(with_servers(world, replace(World.states(1)[0], mode=Mode.DRAIN)))
    idle.sends(ok(b"1"))
    busy.sees(ok(b"1"))
    assert idle.end == "reset"
    busy.sends(get())
    busy.sees_answer(503)


def test_an_exchange_that_waits_for_its_connection_keeps_its_plan(make: Make) -> None:
    world = make(1)
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    world.adopt(replace(world.snapshot, version=2, routes=(Route("web", path="/other"),)))
    server = world.attempts[0].succeed()
    server.sees(forwarded(get()))
    server.sends(ok(b"1"))
    client.sees(ok(b"1"))
    client.sends(get())
    client.sees_answer(404)


def test_a_request_whose_only_server_was_removed_while_it_was_tried_is_502(make: Make) -> None:
    world = make(1)
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    world.adopt(with_servers(world))
    world.attempts[0].refuse()
    client.sees_answer(502)
    client.sends(get())
    client.sees_answer(503)


def test_a_server_that_a_failed_request_would_go_to_next_may_be_gone_by_then(make: Make) -> None:
    world = make(3)
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    s1, _, s3 = world.snapshot.upstreams[0].servers
    world.adopt(with_servers(world, s1, s3))
    world.attempts[0].refuse()
    assert world.tried == ["s1:80", "s3:80"]
    world.attempts[1].succeed().sends(ok())
    client.sees(ok())


def test_a_server_that_the_prober_sees_up_again_is_readmitted_at_once(make: Make) -> None:
    world = make(2, ejection=Ejection(failures=1, base=1000))
    s1, s2 = world.snapshot.upstreams[0].servers
    world.refusing = {"s1:80"}
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok())
    world.refusing = set()
    assert world.server_cell(ServerCell.EJECTED_UNTIL) > 0
    world.adopt(with_servers(world, replace(s1, probe=Probe.DOWN), s2))
    world.adopt(with_servers(world, replace(s1, probe=Probe.UP), s2))
    assert world.server_cell(ServerCell.EJECTED_UNTIL) == 0
    for _ in range(2):
        world.client().sends(get())
    assert world.tried.count("s1:80") == 2


def test_an_ejection_holds_over_a_snapshot_and_ends_in_its_time(make: Make) -> None:
    world = make(2, ejection=Ejection(failures=1, base=10))
    world.refusing = {"s1:80"}
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok(b"", b"Connection: close"))
    world.adopt(with_servers(world, *world.snapshot.upstreams[0].servers))
    world.refusing = set()
    for _ in range(4):
        world.client().sends(get())
    assert world.tried.count("s1:80") == 1
    world.advance(10.5)
    for _ in range(2):
        world.client().sends(get())
    assert world.tried.count("s1:80") == 2


def test_an_ejection_under_an_old_plan_counts_in_the_new(make: Make) -> None:
    world = make(2, ejection=Ejection(failures=1, base=10))
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    world.adopt(with_servers(world, *world.snapshot.upstreams[0].servers))
    world.attempts[0].refuse()
    world.attempts[1].succeed().sends(ok(b"", b"Connection: close"))
    for _ in range(4):
        world.client().sends(get())
    assert world.tried.count("s1:80") == 1


def test_a_slot_that_came_to_another_address_is_another_server(make: Make) -> None:
    world = make(1)
    idle = world.warm()
    world.adopt(with_servers(world, ServerState(Address("other", 80), 0)))
    assert idle.end == "reset"
    world.client().sends(get())
    assert world.tried[-1] == "other:80"


def test_weights_share_the_requests(make: Make) -> None:
    world = make(2)
    s1, s2 = world.snapshot.upstreams[0].servers
    world.adopt(with_servers(world, replace(s1, weight=3), s2))
    for _ in range(40):
        world.client().sends(get())
    assert world.tried.count("s1:80") == 30
