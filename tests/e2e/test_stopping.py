"""A stop finishes what is in flight, and a stop in a hurry does not wait."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.descriptors import leave_none
from tests.e2e.kit.backend import Backend, Gate, is_silent, takes
from tests.e2e.kit.client import Broken, Raw, Response
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.load import Load
from tests.e2e.kit.waiting import wait_for
from tests.ports import free_port, free_ports

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
SLOW = REQUEST.replace(b"/", b"/slow", 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_end_well_and_new_connections_are_refused(
    make: Make, backend: Start, number: signal.Signals
) -> None:
    server = backend("a", takes(1.0))
    headgate = make(settings([server.address], workers=2)).start()
    responses: list[Response] = []
    threads = [threading.Thread(target=lambda: responses.append(headgate.get())) for _ in range(10)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(server.requests) == 10, "ten requests at the server")
    headgate.signal(number)
    headgate.await_log("stopping")
    wait_for(lambda: is_refused(headgate), "new connections to be refused")
    assert responses == []
    for thread in threads:
        thread.join()
    assert [response.status for response in responses] == [200] * 10
    assert headgate.wait() == 0
    assert headgate.processes() == []


def is_refused(headgate: Headgate) -> bool:
    try:
        Raw(headgate.address).socket.close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_client_that_keeps_its_connection_is_told_that_it_closes(make: Make, backend: Start) -> None:
    server = backend("a", takes(0.5))
    headgate = make(settings([server.address])).start()
    with Raw(headgate.address) as client:
        client.send(REQUEST)
        wait_for(lambda: server.requests, "the request at the server")
        headgate.signal(signal.SIGTERM)
        headgate.await_log("stopping")
        assert b"\r\nConnection: close\r\n" in client.until(b"\r\n\r\n")
        assert client.rest() == b"a"
    assert headgate.wait() == 0


def test_idle_connections_do_not_hold_up_a_stop(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], drain="60s")).start()
    with Raw(headgate.address) as idle, Raw(headgate.address) as fresh:
        idle.send(REQUEST)
        idle.until(b"\r\n\r\na")
        assert headgate.stop() == 0
        assert idle.rest() == b""
        assert fresh.rest() == b""


def test_a_second_signal_stops_at_once(make: Make, backend: Start) -> None:
    server = backend("a", is_silent)
    headgate = make(settings([server.address], drain="60s")).start()
    with Raw(headgate.address) as client:
        client.send(REQUEST)
        wait_for(lambda: server.requests, "the request at the server")
        headgate.signal(signal.SIGTERM)
        headgate.await_log("stopping")
        headgate.signal(signal.SIGTERM)
        assert headgate.wait() == 0
    assert headgate.processes() == []


def test_a_stop_waits_no_longer_than_its_drain_time(make: Make, backend: Start) -> None:
    server = backend("a", is_silent)
    headgate = make(settings([server.address], drain="500ms")).start()
    with Raw(headgate.address) as client:
        client.send(REQUEST)
        wait_for(lambda: server.requests, "the request at the server")
        assert headgate.stop() == 0
        with pytest.raises((Broken, ConnectionResetError)):
            client.until(b"\r\n\r\n")
    assert "cut" in headgate.log


def test_a_stop_under_load_breaks_off_no_response(make: Make, backend: Start) -> None:
    servers = [backend(name).address for name in "abc"]
    headgate = make(settings(servers, workers=2)).start()
    with Load(headgate.address) as load:
        load.more(300)
        assert headgate.stop() == 0
        over = len(load.results)
        load.more(8)
    assert {result.status for result in load.results} == {200, 0}
    # A client that sends just when its idle connection closes learns it by the close, and by nothing worse.
    broken = [result for result in load.results[:over] if result.status == 0 and "Connect call" not in result.error]
    assert len({result.connection for result in broken}) == len(broken)
    assert not any("1" <= result.error.partition(" bytes read")[0][-1] <= "9" for result in broken), broken


def test_ready_says_no_while_it_drains_and_healthy_still_yes(make: Make, backend: Start) -> None:
    server = backend("a", takes(1.0))
    headgate = make(settings([server.address])).start()
    with Raw(headgate.address) as client:
        client.send(REQUEST)
        wait_for(lambda: server.requests, "the request at the server")
        headgate.signal(signal.SIGTERM)
        headgate.await_log("stopping")
        ready = headgate.api("GET", "/readyz")
        assert ready.status == 503
        assert "draining" in ready.text
        assert headgate.api("GET", "/healthz").status == 200
        client.until(b"\r\n\r\na")


def test_a_listener_that_is_taken_away_just_before_a_stop_is_given_up_once(make: Make, backend: Start) -> None:
    server, gate = backend(), Gate()
    server.behaviour = gate
    listeners = [{"address": f"127.0.0.1:{port}"} for port in free_ports(2)]
    config = settings([server.address], listeners=listeners)
    headgate = make(config).start()
    with Raw(headgate.address) as client, Raw(headgate.addresses[1]) as other:
        client.send(SLOW)
        other.send(SLOW)
        wait_for(lambda: len(server.requests) == 2, "the requests at the server")
        pid = headgate.worker_pid()
        os.kill(pid, signal.SIGSTOP)
        headgate.configure({**config, "listeners": listeners[:1]})
        headgate.signal(signal.SIGHUP)
        wait_for(lambda: headgate.status()["snapshot"] == 2, "the reload")
        headgate.signal(signal.SIGTERM)
        wait_for(lambda: "draining" in headgate.api("GET", "/readyz").text, "the stop")
        os.kill(pid, signal.SIGCONT)  # and has both messages at once
        wait_for(lambda: is_refused(headgate), "new connections to be refused")
        gate.is_open = True
        assert client.rest()[9:12] == other.rest()[9:12] == b"200"
    assert headgate.wait() == 0
    assert "ERROR" not in headgate.log


def test_who_waits_to_be_accepted_is_served_although_there_are_no_descriptors(make: Make, backend: Start) -> None:
    server, gate = backend(), Gate()
    server.behaviour = gate
    headgate = make(settings([server.address], connections={"max": 2})).start()
    with ExitStack() as stack:
        clients = [stack.enter_context(Raw(headgate.address)) for _ in range(10)]
        for client in clients[:2]:
            client.send(SLOW)
        wait_for(lambda: len(server.requests) == 2, "two requests at the server")
        for client in clients[2:]:
            client.send(REQUEST)
        leave_none(headgate.worker_pid())
        headgate.signal(signal.SIGTERM)
        headgate.await_log("stopping")
        gate.is_open = True
        assert [client.rest()[9:12] for client in clients] == [b"200"] * 10
    assert headgate.wait() == 0


@pytest.mark.parametrize("path", ["/api/v1/reload", "/api/v1/upgrade"])
def test_what_would_take_connections_again_is_refused_while_it_drains(make: Make, backend: Start, path: str) -> None:
    server, gate = backend(), Gate()
    server.behaviour = gate
    listener = {"address": f"127.0.0.1:{free_port()}"}
    headgate = make(settings([server.address], listeners=[listener])).start()
    with Raw(headgate.address) as client:
        client.send(SLOW)
        wait_for(lambda: server.requests, "the request at the server")
        headgate.signal(signal.SIGTERM)
        wait_for(lambda: is_refused(headgate), "new connections to be refused")
        refused = headgate.api("POST", path)
        assert (refused.status, refused.json()["detail"]) == (409, "Headgate stops")
        assert is_refused(headgate)
        gate.is_open = True
        client.until(b"\r\n\r\na")
    assert headgate.wait() == 0
    assert headgate.processes() == []


def test_what_changed_at_run_time_is_there_after_a_restart(make: Make, backend: Start) -> None:
    a, b, c = (backend(name) for name in "abc")
    headgate = make(settings([a.address, b.address])).start()
    for command in (["add", "web", c.address], ["maint", "web", a.address], ["weight", "web", b.address, "2"]):
        done = headgate.cli("server", *command)
        assert done.returncode == 0, done.stderr
    assert headgate.stop() == 0
    headgate.start()
    assert headgate.server(a.address)["mode"] == "maint"
    assert headgate.server(b.address)["weight"] == 2
    assert headgate.server(c.address)["source"] == "runtime"
    assert sorted(headgate.names(6)) == ["b"] * 4 + ["c"] * 2


def test_what_changed_at_run_time_survives_a_kill(make: Make, backend: Start) -> None:
    a, b = (backend(name) for name in "ab")
    headgate = make(settings([a.address])).start()
    assert headgate.cli("server", "add", b.address).returncode == 0
    headgate.close()
    headgate.start()
    assert set(headgate.names(4)) == {"a", "b"}
