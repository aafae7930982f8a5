"""A server as a worker knows it: idle connections, failures in a row, ejection."""

from dataclasses import replace

import pytest

from headgate.model.address import Address
from headgate.model.config import Ejection
from headgate.model.server import Mode, Probe, ServerState
from headgate.wire.cells import SERVER_CELLS, ServerCell
from headgate.worker.server import Server
from headgate.worker.upstream import ServerConnection
from tests.exchange.fakes import FakeTransport, ManualLoop

STATE = ServerState(Address("s1", 80), 0)


@pytest.fixture
def server() -> Server:
    """A server that is left alone for 10 s after 3 failures."""
    server = Server("web", STATE, memoryview(bytearray(SERVER_CELLS * 8)).cast("Q"))
    server.update(STATE, Ejection(3, 10), lambda now: None)
    return server


def idle(server: Server, deadline: float, since: float = 0.0) -> FakeTransport:
    """Adds an idle connection."""
    connection = ServerConnection(server)
    transport = FakeTransport(ManualLoop(), connection)  # type: ignore[abstract]
    connection.deadline = deadline
    connection.since = since
    server.idle.append(connection)
    return transport


def test_the_connection_used_last_is_taken_first(server: Server) -> None:
    first, last = idle(server, 5), idle(server, 6)
    for transport in (last, first):
        taken = server.take(0)
        assert taken is not None
        assert taken.transport is transport
    assert server.take(0) is None


def test_connections_that_are_lost_are_closed_on_the_way(server: Server) -> None:
    good, lost = idle(server, 9, 5), idle(server, 9, 5)
    server.idle[-1].is_lost = True
    taken = server.take(5)
    assert taken is not None
    assert taken.transport is good
    assert lost.end == "reset"
    assert not server.idle


def test_one_that_its_server_may_close_any_moment_is_not_taken(server: Server) -> None:
    idle(server, 9)
    assert server.take(1.6) is None
    server.keeps(5)
    assert server.take(1.6) is not None


def test_the_sweep_leaves_the_oldest_one_to_show_how_long_it_is_kept(server: Server) -> None:
    transports = [idle(server, 60, since) for since in (0, 1, 2)]
    server.sweep(3)
    assert [transport.end for transport in transports] == ["", "reset", ""]
    server.sweep(4.5)
    assert [transport.end for transport in transports] == ["", "reset", ""]  # by now it has shown enough for the last
    assert server.reusable_for == 3.5
    server.closed_idle(server.idle[0])
    assert len(server.idle) == 1
    assert server.reusable_for == 3.5


def test_a_close_that_is_seen_teaches(server: Server) -> None:
    idle(server, 60)
    server.sweep(1.75)
    server.closed_idle(server.idle[0])
    assert server.reusable_for == 0.75


def test_the_sweep_closes_those_whose_time_is_over_and_counts_the_rest(server: Server) -> None:
    transports = [idle(server, deadline) for deadline in (1, 2, 3)]
    server.sweep(2)
    assert [transport.end for transport in transports] == ["reset", "reset", ""]
    assert server.cells[ServerCell.IDLE] == 1


def test_failures_in_a_row_eject(server: Server) -> None:
    told: list[float] = []
    server.update(STATE, Ejection(3, 10), told.append)
    kept = idle(server, 200)
    for now in (100.0, 101.0):
        server.failed(ServerCell.RESETS, now, "reset")
    assert server.ejected_until == 0
    assert kept.end == ""
    server.failed(ServerCell.RESETS, 102.0, "reset")
    assert server.ejected_until == 112
    assert server.cells[ServerCell.EJECTED_UNTIL] == 112_000
    assert server.cells[ServerCell.RESETS] == 3
    assert told == [102.0]
    assert kept.end == "reset"


def test_a_failure_is_logged_and_those_soon_after_are_only_counted(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for now in (1.0, 2.0, 10.9, 11.0, 12.0):
        server.failed(ServerCell.RESETS, now, f"reset at {now:g}")
        server.failures = 0
    assert caplog.messages == ["server s1:80 of web failed: reset at 1", "server s1:80 of web failed: reset at 11"]


def test_an_ejection_is_logged_with_its_reason(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        server.failed(ServerCell.RESETS, 1.0, "connection reset")
    assert caplog.messages == ["server s1:80 of web ejected for 10 s: 3 failures in a row, the last: connection reset"]


def test_without_ejection_failures_are_only_counted(server: Server) -> None:
    server.update(STATE, Ejection(failures=0), lambda now: None)
    for _ in range(9):
        server.failed(ServerCell.TIMEOUTS, 1.0, "silent")
    assert server.ejected_until == 0
    assert server.cells[ServerCell.TIMEOUTS] == 9


def test_only_a_probe_that_was_down_and_is_up_ends_an_ejection(server: Server) -> None:
    for _ in range(3):
        server.failed(ServerCell.RESETS, 1.0, "reset")
    for probe, ejected in ((Probe.UNKNOWN, True), (Probe.UP, True), (Probe.DOWN, True), (Probe.UP, False)):
        server.update(replace(STATE, probe=probe), Ejection(3, 10), lambda now: None)
        assert bool(server.ejected_until) is ejected


@pytest.mark.parametrize(
    ("state", "admitted"),
    [
        (STATE, True),
        (replace(STATE, probe=Probe.UP), True),
        (replace(STATE, probe=Probe.DOWN), False),
        (replace(STATE, mode=Mode.DRAIN), False),
        (replace(STATE, mode=Mode.MAINT, probe=Probe.UP), False),
        (replace(STATE, weight=0), False),
    ],
)
def test_a_server_is_admitted_when_all_axes_say_so(server: Server, state: ServerState, admitted: bool) -> None:
    kept = idle(server, 200)
    server.update(state, Ejection(), lambda now: None)
    assert server.admitted is admitted
    assert kept.end == ("" if admitted else "reset")


def test_a_server_that_retires_closes_what_is_idle(server: Server) -> None:
    kept = idle(server, 200)
    server.retire()
    assert kept.end == "reset"
    assert not server.admitted
