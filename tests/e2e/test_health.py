"""Servers fall and rise by their probes, and operators take them out and bring them back."""

from collections.abc import Callable
from typing import cast

import pytest

from tests.e2e.kit.backend import Backend, Behaviour, answers, is_silent, says_its_name, takes
from tests.e2e.kit.client import Raw
from tests.e2e.kit.headgate import Headgate, Settings, settings
from tests.e2e.kit.waiting import wait_for
from tests.ports import free_port

Make = Callable[..., Headgate]
Start = Callable[..., Backend]


def checked(**more: object) -> Settings:
    return {"health_check": {"path": "/health", "interval": "100ms", "timeout": "200ms", "rise": 2, "fall": 3, **more}}


@pytest.mark.parametrize(
    ("trouble", "detail"),
    [
        pytest.param(answers(500), "status 500, expected 200-399", id="a status out of range"),
        pytest.param(is_silent, "timed out", id="no answer"),
        pytest.param(takes(1.0), "timed out", id="too slow"),
    ],
)
def test_a_server_falls_by_its_probes_and_rises_again(
    make: Make, backend: Start, trouble: Behaviour, detail: str
) -> None:
    a, b = backend("a"), backend("b")
    headgate = make(settings([a.address, b.address], workers=2, upstream=checked())).start()
    headgate.await_server(a.address, probe="up")
    a.health = trouble
    headgate.await_server(a.address, probe="down", available=False)
    assert detail in str(headgate.server(a.address)["detail"])
    assert f"server {a.address} of web is down: " in headgate.log
    assert "(3 in a row)" in headgate.log
    wait_for(lambda: headgate.names(6) == ["b"] * 6, "the workers to leave it alone")
    assert headgate.names(6) == ["b"] * 6
    a.health = says_its_name
    headgate.await_server(a.address, probe="up", available=True)
    assert "(2 in a row)" in headgate.log
    wait_for(lambda: set(headgate.names(6)) == {"a", "b"}, "the workers to take it again")


def test_a_server_that_refuses_is_found_down(make: Make, backend: Start) -> None:
    dead = f"127.0.0.1:{free_port()}"
    headgate = make(settings([dead, backend("b").address], upstream=checked())).start()
    headgate.await_server(dead, probe="down", detail="connection refused")
    assert headgate.metric("headgate_server_probe_up", server=dead) == 0
    assert headgate.metric("headgate_server_available", server=dead) == 0


def test_the_status_that_passes_can_be_chosen(make: Make, backend: Start) -> None:
    server = backend()
    server.health = answers(503)
    headgate = make(settings([server.address], upstream=checked(status=[200, "503-504"]))).start()
    headgate.await_server(server.address, probe="up")


def test_probes_are_as_many_whatever_the_number_of_workers(make: Make, backend: Start) -> None:
    server = backend()
    headgate = make(settings([server.address], workers=4, upstream=checked(interval="60s"))).start()
    headgate.await_server(server.address, probe="up")
    assert server.probes == 1


def test_without_any_server_503_comes_at_once_and_says_when_to_retry(make: Make, backend: Start) -> None:
    server = backend()
    server.health = answers(500)
    headgate = make(settings([server.address], upstream=checked())).start(ready=False)
    headgate.await_server(server.address, probe="down")
    wait_for(lambda: headgate.get().status == 503, "a refusal")
    answer = headgate.get()
    assert int(answer.fields["retry-after"]) >= 1
    headgate.await_flagged("UH", 2)
    ready = headgate.api("GET", "/readyz")
    assert ready.status == 503
    assert "no server of upstream web is available" in ready.text
    assert headgate.api("GET", "/healthz").status == 200


def test_an_upstream_without_servers_gets_its_first_at_run_time(make: Make, backend: Start) -> None:
    headgate = make(settings([])).start(ready=False)
    wait_for(lambda: headgate.get().status == 503, "a refusal")
    assert headgate.cli("server", "add", backend().address).returncode == 0
    assert headgate.get().text == "a"


def test_a_server_in_maintenance_gets_neither_requests_nor_probes(make: Make, backend: Start) -> None:
    a, b = backend("a"), backend("b")
    headgate = make(settings([a.address, b.address], upstream=checked(interval="50ms"))).start()
    headgate.await_server(a.address, probe="up")
    assert headgate.cli("server", "maint", a.address).returncode == 0
    probes, others = a.probes, b.probes
    wait_for(lambda: b.probes > others + 5, "more probes of the other server")
    assert a.probes <= probes + 1  # one was on its way
    assert headgate.names(4) == ["b"] * 4
    assert headgate.cli("server", "ready", a.address).returncode == 0
    headgate.await_server(a.address, mode="ready", probe="up")
    assert set(headgate.names(4)) == {"a", "b"}


def test_a_drained_server_finishes_what_it_has(make: Make, backend: Start) -> None:
    a, b = backend("a", takes(0.7)), backend("b")
    headgate = make(settings([a.address])).start()
    with Raw(headgate.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_for(lambda: a.requests, "the request at the server")
        assert headgate.cli("server", "add", b.address).returncode == 0
        assert headgate.cli("server", "remove", a.address).returncode == 0
        assert headgate.server(a.address)["removing"] is True
        assert headgate.names(4) == ["b"] * 4
        client.until(b"\r\n\r\na")
    wait_for(lambda: not headgate.server(a.address), "the removed server to be gone")


def test_a_changed_weight_counts_from_the_next_request(make: Make, backend: Start) -> None:
    a, b = backend("a"), backend("b")
    headgate = make(settings([a.address, b.address], workers=2)).start()
    assert headgate.cli("server", "weight", a.address, "3").returncode == 0
    assert sorted(headgate.names(8)) == ["a"] * 6 + ["b"] * 2


def test_commands_show_what_there_is(make: Make, backend: Start) -> None:
    a, b = backend("a"), backend("b")
    headgate = make(settings([a.address, b.address], upstream=checked())).start()
    headgate.await_server(a.address, probe="up")
    listed = headgate.cli("server", "list")
    assert listed.returncode == 0
    assert a.address in listed.stdout
    assert b.address in listed.stdout
    status = headgate.cli("status")
    assert status.returncode == 0
    assert "web" in status.stdout
    assert cast("list[object]", headgate.status()["upstreams"])
    assert '"snapshot"' in headgate.cli("status", "--json").stdout
