"""Another process takes over from a running one: nothing is lost, and nothing changes when it does not come up."""

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from tests.e2e.kit.backend import Backend, is_silent, takes
from tests.e2e.kit.client import Raw, Response, fetch
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.load import Load
from tests.e2e.kit.waiting import PATIENCE, wait_for

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def fixed(servers: Sequence[object], **more: object) -> dict[str, object]:
    """Settings whose state is kept, as in a service."""
    return settings(servers, state_file="state.json", **more)


def upgrade(headgate: Headgate) -> int:
    """Has another process take over and waits for the end of the old one; the new one's pid."""
    response = headgate.api("POST", "/api/v1/upgrade")
    assert response.status == 200, response.text
    pid = cast("int", response.json()["pid"])
    assert headgate.wait() == 0
    assert headgate.status()["pid"] == pid != headgate.pid
    return pid


def test_no_request_fails_while_another_process_takes_over(make: Make, backend: Start) -> None:
    headgate = make(fixed([backend("a").address, backend("b").address], workers=2)).start()
    with (
        Load(headgate.address, 6) as busy,
        Load(headgate.address, 16, pause=0.5) as calm,
        Load(headgate.address, 4, request=REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as fresh,
    ):
        for _ in range(2):
            for load in (busy, calm, fresh):
                load.more(20)
            response = headgate.api("POST", "/api/v1/upgrade")
            assert response.status == 200, response.text
            for load in (busy, calm, fresh):
                load.more(20)
        assert headgate.wait() == 0
        wait_for(lambda: len(headgate.processes()) == 3, "the end of the process in the middle")
        for load in (busy, calm, fresh):
            load.more(20)
    assert busy.failures == calm.failures == fresh.failures == []


def test_what_was_changed_and_counted_is_kept(make: Make, backend: Start) -> None:
    first, second, third = backend("a"), backend("b"), backend("c")
    headgate = make(fixed([first.address, second.address], limit="3/hour")).start()
    headgate.api("POST", "/api/v1/upstreams/web/servers", {"address": third.address})
    headgate.api("PATCH", f"/api/v1/upstreams/web/servers/{first.address}", {"mode": "maint"})
    assert [headgate.get().status for _ in range(2)] == [200, 200]
    upgrade(headgate)
    assert headgate.server(third.address)["mode"] == "ready"
    assert headgate.server(first.address)["mode"] == "maint"
    assert [headgate.get().status for _ in range(2)] == [200, 429]
    headgate.api("DELETE", f"/api/v1/upstreams/web/servers/{third.address}")
    assert third.address not in (headgate.directory / "state.json").read_text()


def test_a_server_that_was_down_stays_so(make: Make, backend: Start) -> None:
    good, bad = backend("a"), backend("b")
    bad.close()
    check = {"path": "/", "interval": "1h", "fall": 1, "rise": 2}
    headgate = make(fixed([good.address, bad.address], upstream={"health_check": check})).start()
    headgate.await_server(bad.address, probe="down")
    upgrade(headgate)
    assert headgate.server(bad.address)["probe"] == "down"


def test_who_asks_the_api_after_an_upgrade_asks_the_new_process(make: Make, backend: Start) -> None:
    headgate = make(fixed([backend("a").address])).start()
    for _ in range(2):
        pid = headgate.api("POST", "/api/v1/upgrade").json()["pid"]
        assert {headgate.status()["pid"] for _ in range(20)} == {pid}
        assert headgate.api("POST", "/api/v1/reload").status == 200


def test_what_is_in_flight_ends_in_the_old_process(make: Make, backend: Start) -> None:
    server = backend("a", takes(1.0))
    headgate = make(fixed([server.address])).start()
    responses: list[Response] = []
    thread = threading.Thread(target=lambda: responses.append(headgate.get()))
    thread.start()
    wait_for(lambda: server.requests, "the request at the server")
    upgrade(headgate)
    thread.join()
    assert [response.status for response in responses] == [200]


def test_a_signal_does_the_same(make: Make, backend: Start) -> None:
    headgate = make(fixed([backend("a").address])).start()
    headgate.signal(signal.SIGUSR2)
    assert headgate.wait() == 0
    assert headgate.get().status == 200
    assert headgate.status()["pid"] != headgate.pid


def test_an_old_process_that_takes_its_time_can_be_stopped(make: Make, backend: Start) -> None:
    server = backend("a", is_silent)
    headgate = make(fixed([server.address], drain="60s")).start()
    with Raw(headgate.address) as client:
        client.send(REQUEST)
        wait_for(lambda: server.requests, "the request at the server")
        assert headgate.api("POST", "/api/v1/upgrade").status == 200
        headgate.await_log("stopping")
        headgate.signal(signal.SIGTERM)
        assert headgate.wait() == 0
    assert fetch(headgate.admin, "/healthz").status == 200


def test_a_stop_while_another_process_comes_up_is_a_stop(make: Make, backend: Start) -> None:
    headgate = make(fixed([backend("a").address], workers=2)).start()
    headgate.signal(signal.SIGUSR2)
    headgate.await_log("upgrading")
    assert headgate.stop() == 0
    wait_for(lambda: headgate.processes() == [], f"the end of all: {headgate.log}")


def test_systemd_is_told_who_serves_now(make: Make, backend: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        headgate = make(fixed([backend("a").address]), env={"NOTIFY_SOCKET": str(tmp_path / "notify")}).start()
        assert systemd.recv(1000) == b"READY=1"
        pid = upgrade(headgate)
        assert systemd.recv(1000) == b"READY=1"  # of the new one, which a systemd that waits for the old one ignores
        assert systemd.recv(1000) == b"MAINPID=%d" % pid


@pytest.mark.parametrize("broken", ["nonsense = 1\n", "not toml"])
def test_a_process_that_does_not_come_up_changes_nothing(make: Make, backend: Start, broken: str) -> None:
    server = backend("a")
    headgate = make(fixed([server.address])).start()
    whole = headgate.file.read_text()
    headgate.file.write_text(broken)
    response = headgate.api("POST", "/api/v1/upgrade")
    assert response.status == 500
    assert "headgate.toml" in response.text
    assert len(headgate.processes()) == 2
    headgate.file.write_text(whole)
    assert headgate.get().status == 200
    path = f"/api/v1/upstreams/web/servers/{server.address}"
    assert headgate.api("PATCH", path, {"weight": 3}).status == 200
    upgrade(headgate)
    assert headgate.server(server.address)["weight"] == 3


def test_files_of_sockets_stay_when_a_process_does_not_come_up(make: Make, backend: Start, tmp_path: Path) -> None:
    servers, listener = [backend("a").address], f"unix:{tmp_path / 'web'}"
    admin = {"listen": f"unix:{tmp_path / 'admin'}"}
    headgate = make(fixed(servers, listeners=[{"address": listener}], admin=admin)).start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        headgate.configure(fixed(servers, listeners=[{"address": listener}, {"address": taken}], admin=admin))
        response = headgate.api("POST", "/api/v1/upgrade")
    assert response.status == 500
    assert "it is in use" in response.text
    assert headgate.get().text == "a"
    assert headgate.api("GET", "/healthz").status == 200
    headgate.configure(fixed(servers, listeners=[{"address": listener}], admin=admin))
    upgrade(headgate)
    assert headgate.get().text == "a"
    os.kill(cast("int", headgate.status()["pid"]), signal.SIGTERM)
    wait_for(lambda: headgate.processes() == [], "the end of the successor")
    assert list(tmp_path.glob("[wa]*")) == []  # they were its own by then


def test_more_workers_and_other_listeners_are_taken_up(make: Make, backend: Start, tmp_path: Path) -> None:
    servers = [backend("a").address]
    kept, gone = tmp_path / "kept.sock", tmp_path / "gone.sock"
    unix = [{"address": f"unix:{path}"} for path in (kept, gone)]
    headgate = make(fixed(servers, listeners=[{"address": "127.0.0.1:0"}, *unix])).start()
    inode = os.stat(kept).st_ino
    headgate.configure(fixed(servers, listeners=[{"address": "127.0.0.1:0"}, unix[0]], workers=3))
    upgrade(headgate)
    assert len(headgate.workers()) == 3
    assert headgate.names(9) == ["a"] * 9
    assert fetch(str(kept), "/").text == "a"
    assert os.stat(kept).st_ino == inode
    assert not gone.exists()
    headgate.configure(fixed(servers, listeners=[{"address": "127.0.0.1:0"}, unix[0]], workers=2))
    assert headgate.api("POST", "/api/v1/upgrade").status == 200
    wait_for(lambda: len(headgate.processes()) == 3, "the old processes to end")
    assert headgate.names(9) == ["a"] * 9
    assert stat.S_ISSOCK(os.stat(kept).st_mode)


def test_nothing_can_be_changed_in_between(make: Make, backend: Start) -> None:
    server = backend("a")
    headgate = make(fixed([server.address])).start()
    answers: list[Response] = []
    thread = threading.Thread(target=lambda: answers.append(headgate.api("POST", "/api/v1/upgrade")))
    thread.start()
    headgate.await_log("upgrading")
    path = f"/api/v1/upstreams/web/servers/{server.address}"
    refused = headgate.api("PATCH", path, {"weight": 3})
    again = headgate.api("POST", "/api/v1/upgrade")
    thread.join()
    assert answers[0].status == 200
    assert {refused.status, again.status} == {409}
    assert headgate.wait() == 0
    assert headgate.server(server.address)["weight"] == 1
