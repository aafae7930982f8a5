"""Nothing that another server could have answered fails, whatever is killed, changed or stopped under load."""

import os
import re
import signal
from collections.abc import Callable
from typing import cast

import pytest

from tests.e2e.kit.backend import Backend, BackendProcess, is_silent
from tests.e2e.kit.client import Raw
from tests.e2e.kit.headgate import Headgate, Settings, settings
from tests.e2e.kit.load import Load
from tests.e2e.kit.waiting import wait_for
from tests.ports import free_port
from tests.redis_server import RedisServer

Make = Callable[..., Headgate]
Start = Callable[..., Backend]
StartProcess = Callable[[str], BackendProcess]

CHECKED: Settings = {"health_check": {"path": "/health", "interval": "200ms", "timeout": "1s", "rise": 2, "fall": 2}}


def test_a_killed_server_costs_no_request_and_comes_back(make: Make, backend_process: StartProcess) -> None:
    servers = [backend_process(name) for name in "abc"]
    victim = servers[0]
    headgate = make(settings([server.address for server in servers], workers=2, upstream=CHECKED)).start()
    with Load(headgate.address) as load:
        load.more(500)
        victim.kill()
        headgate.await_server(victim.address, probe="down", available=False)
        without = len(load.results)
        load.more(500)
        assert load.counts(without)["a"] == 0
        victim.start()
        headgate.await_server(victim.address, probe="up", available=True)
        again = len(load.results)
        load.more(500)
        assert load.counts(again)["a"] > 100
    assert load.failures == []


def test_a_killed_server_without_checks_is_ejected_and_tried_again(make: Make, backend_process: StartProcess) -> None:
    servers = [backend_process(name) for name in "abc"]
    victim = servers[0]
    upstream = {"ejection": {"failures": 2, "base": "300ms"}}
    headgate = make(settings([server.address for server in servers], upstream=upstream)).start()
    with Load(headgate.address) as load:
        load.more(300)
        victim.kill()
        headgate.await_log(f"server {victim.address} of web ejected", times=2)
        victim.start()
        back = len(load.results)
        wait_for(lambda: load.counts(back)["a"] > 50, "requests for the server that is back")
    assert load.failures == []


def test_a_crowd_of_failures_at_once_is_one_ejection(make: Make, backend: Start) -> None:
    a, b = backend("a", is_silent), backend("b")
    headgate = make(settings([a.address, b.address])).start()
    with Load(headgate.address, connections=30) as load:
        wait_for(lambda: len(a.requests) == 30, "every client to wait for the silent server")
        before = len(load.results)
        a.stop()
        wait_for(lambda: len(load.results) > before + 100, "responses of the other server")
    assert load.failures == []
    assert headgate.metric("headgate_server_resets_total") >= 30
    assert headgate.metric("headgate_server_ejections_total") == 1
    assert headgate.log.count("ejected for") == 1


def test_servers_come_and_go_by_command(make: Make, backend: Start) -> None:
    a, b, c, d = (backend(name) for name in "abcd")
    headgate = make(settings([server.address for server in (a, b, c)], workers=2)).start()

    def counts_after(*command: str) -> dict[str, int]:
        done = headgate.cli("server", *command)
        assert done.returncode == 0, done.stderr
        before = len(load.results) + 20  # some were on their way
        load.more(400)
        return load.counts(before)

    with Load(headgate.address) as load:
        load.more(300)
        assert counts_after("add", "web", d.address)["d"] > 50
        counts = counts_after("drain", "web", a.address)
        assert counts["a"] == 0
        assert counts["b"] > 50
        assert counts_after("remove", "web", b.address)["b"] == 0
        wait_for(lambda: not headgate.server(b.address), "the removed server to be gone")
        assert counts_after("ready", "web", a.address)["a"] > 50
    assert load.failures == []


def test_a_killed_worker_costs_only_its_own_connections(make: Make, backend: Start) -> None:
    servers = [backend(name).address for name in "abc"]
    headgate = make(settings(servers, workers=2)).start()
    with Load(headgate.address, connections=16) as load:
        load.more(500)
        victim = max(headgate.workers(), key=lambda worker: cast("int", worker["connections"]))
        wait_for(lambda: sum(cast("int", worker["connections"]) for worker in headgate.workers()) == 16, "16 clients")
        held = cast("int", headgate.workers()[cast("int", victim["index"])]["connections"])
        headgate.kill_worker(cast("int", victim["index"]))
        load.more(500)
    assert len(load.failures) <= held < 16
    assert len({failure.connection for failure in load.failures}) == len(load.failures)
    assert {failure.status for failure in load.failures} <= {0}
    assert headgate.metric("headgate_worker_restarts_total") == 1
    assert "killed by SIGKILL" in headgate.log


def test_connections_that_wait_for_a_killed_worker_are_served_by_the_next(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address])).start()
    pid = headgate.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    waiting = [Raw(headgate.address) for _ in range(20)]
    try:
        for client in waiting:
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        os.kill(pid, signal.SIGKILL)
        assert all(client.rest().startswith(b"HTTP/1.1 200 ") for client in waiting)
    finally:
        for client in waiting:
            client.socket.close()


def test_workers_serve_on_when_the_supervisor_is_killed(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], workers=2)).start()
    with Load(headgate.address) as load:
        load.more(200)
        headgate.signal(signal.SIGKILL)
        headgate.wait()
        load.more(500)
    assert load.failures == []
    assert headgate.names(10) == ["a"] * 10  # new connections are taken too
    orphans = headgate.processes()
    assert len(orphans) == 2
    for orphan in orphans:
        os.kill(orphan, signal.SIGTERM)
    wait_for(lambda: not headgate.processes(), "the orphans to end when they are told to")


@pytest.mark.parametrize("trouble", ["stopped", "killed", "paused"])
def test_redis_in_trouble_fails_no_request(make: Make, backend: Start, redis_server: RedisServer, trouble: str) -> None:
    store = {"url": redis_server.url}
    servers = [backend(name).address for name in "abc"]
    headgate = make(settings(servers, workers=2, limit="1000000/minute", store=store)).start()
    with Load(headgate.address) as load:
        load.more(300)
        {"stopped": redis_server.stop, "killed": redis_server.kill, "paused": redis_server.pause}[trouble]()
        wait_for(lambda: headgate.metric("headgate_store_down") == 2, "both workers to know")
        load.more(300)
        (redis_server.resume if trouble == "paused" else redis_server.start)()
        wait_for(lambda: headgate.metric("headgate_store_down") == 0, "both workers to be back")
        load.more(300)
    assert load.failures == []
    # One line of each worker, whatever all the attempts to reconnect meet.
    assert len(re.findall(r"limit store \S+ is down: ", headgate.log)) == 2
    assert headgate.log.count("is back") >= 2


def test_headgates_that_lose_their_redis_let_their_shares_of_a_limit_pass(
    make: Make, backend: Start, redis_server: RedisServer
) -> None:
    config = settings([backend().address], workers=1, limit="8/hour", store={"url": redis_server.url})
    headgates = [make(config).start() for _ in range(2)]
    for headgate in headgates:
        wait_for(lambda one=headgate: one.metric("headgate_store_headgates") == 2, "it to know the other")  # type: ignore[misc]
        assert "in Redis by 2 Headgates" in headgate.cli("status").stdout
    redis_server.kill()
    passed = [[headgate.get().status for _ in range(8)].count(200) for headgate in headgates]
    assert passed == [4, 4]


def test_a_reload_under_load_costs_nothing(make: Make, backend: Start) -> None:
    a, b, c = (backend(name) for name in "abc")
    headgate = make(settings([a.address, b.address], workers=2)).start()
    with Load(headgate.address) as load:
        load.more(300)
        headgate.configure(settings([b.address, c.address], workers=2))
        headgate.signal(signal.SIGHUP)
        headgate.await_log("the configuration was read again: snapshot")
        after = len(load.results)
        load.more(400)
        assert load.counts(after).keys() == {"b", "c"}
    assert load.failures == []


@pytest.mark.parametrize("by", ["signal", "command"])
def test_a_reload_of_a_broken_file_changes_nothing_and_shows_every_error(make: Make, backend: Start, by: str) -> None:
    headgate = make(settings([backend().address], limit="1000000/minute")).start()
    snapshot = headgate.status()["snapshot"]
    headgate.file.write_text('workers = 0\nlimitz = 1\n[upstreams.web]\npolicy = "roundrobin"\n')
    with Load(headgate.address) as load:
        load.more(100)
        if by == "signal":
            headgate.signal(signal.SIGHUP)
            headgate.await_log("not reloaded", times=3)
            shown = headgate.log
        else:
            done = headgate.cli("reload")
            assert done.returncode == 69
            shown = done.stderr
        load.more(100)
    for mistake in ("headgate.toml:1: workers", "headgate.toml:2: limitz", "headgate.toml:4: upstreams.web.policy"):
        assert mistake in shown
    assert load.failures == []
    assert headgate.status()["snapshot"] == snapshot


def test_a_listener_comes_and_goes_by_reload_without_a_lost_request(make: Make, backend: Start) -> None:
    config = settings([backend().address], workers=2)
    headgate = make(config).start()
    extra = str(headgate.directory / "extra.sock")
    with Load(headgate.address) as load:
        load.more(100)
        headgate.configure(
            {**config, "listeners": [*cast("list[object]", config["listeners"]), {"address": f"unix:{extra}"}]}
        )
        assert headgate.cli("reload").returncode == 0
        with Load(extra, connections=4) as also:
            also.more(100)
        assert also.failures == []
        headgate.configure(config)
        assert headgate.cli("reload").returncode == 0
        load.more(100)
    assert load.failures == []
    with pytest.raises(OSError, match=r"No such file|refused"):
        Raw(extra)


def test_connections_that_wait_at_a_listener_that_goes_are_served(make: Make, backend: Start) -> None:
    config = settings([backend().address])
    headgate = make(config).start()
    extra = ("127.0.0.1", free_port())
    more = [*cast("list[object]", config["listeners"]), {"address": f"127.0.0.1:{extra[1]}"}]
    headgate.configure({**config, "listeners": more})
    assert headgate.cli("reload").returncode == 0
    pid = headgate.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    waiting = [Raw(extra) for _ in range(20)]
    try:
        for client in waiting:
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        headgate.configure(config)
        headgate.signal(signal.SIGHUP)
        headgate.await_log("the configuration was read again", times=2)
        os.kill(pid, signal.SIGCONT)
        assert all(client.rest().startswith(b"HTTP/1.1 200 ") for client in waiting)
    finally:
        for client in waiting:
            client.socket.close()
    with pytest.raises(ConnectionRefusedError):
        Raw(extra)
