"""What can be seen of a running Headgate: metrics that add up, an access log that is whole, an API that is guarded."""

import json
import signal
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.kit.backend import Backend, answers
from tests.e2e.kit.client import Raw, burst, fetch
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.load import GET, Load
from tests.e2e.kit.waiting import wait_for

Make = Callable[..., Headgate]
Start = Callable[..., Backend]


def test_metrics_are_valid_and_equal_what_was_sent(make: Make, backend: Start) -> None:
    a, b = backend("a"), backend("b", answers(404, b"no"))
    headgate = make(settings([a.address, b.address], workers=2, limit="60/minute")).start()
    assert len(headgate.names(40)) == 40
    burst([headgate.address], 40, GET)
    with Raw(headgate.address) as client:
        client.send(b"nonsense\r\n\r\n")
        client.rest()
    metric = headgate.metric
    assert metric("headgate_requests_received_total") == 81
    assert metric("headgate_requests_total", status_class="2xx", server=a.address) == len(a.requests)
    assert metric("headgate_requests_total", status_class="4xx", server=b.address) == len(b.requests)
    assert metric("headgate_requests_total") == len(a.requests) + len(b.requests) == 60
    assert metric("headgate_request_duration_seconds_count") == 60
    assert metric("headgate_request_duration_seconds_bucket", le="+Inf") == 60
    assert 0 < metric("headgate_request_duration_seconds_sum") < 60
    assert metric("headgate_local_answers_total", flag="RL") == 20
    assert metric("headgate_local_answers_total", flag="BR") == 1
    assert metric("headgate_limit_decisions_total", decision="allowed") == 60
    assert metric("headgate_limit_decisions_total", decision="refused") == 20
    assert metric("headgate_connections_accepted_total") == 81
    wait_for(lambda: metric("headgate_connections") == 0, "no connection")
    assert metric("headgate_in_flight") == 0


def test_every_metric_has_help_and_a_type_and_stands_once(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], limit="60/minute")).start()
    headgate.get()
    families = list(text_string_to_metric_families(headgate.api("GET", "/metrics").text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation and family.type != "unknown" for family in families)
    assert all(name.startswith("headgate_") for name in names)


def test_counters_never_fall_when_a_worker_dies(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address])).start()

    def await_counted(count: int) -> None:  # which is a moment after the client has its response
        wait_for(lambda: headgate.metric("headgate_requests_total") == count, f"{count} requests to be counted")

    assert len(headgate.names(20)) == 20
    await_counted(20)
    headgate.kill_worker()
    assert headgate.metric("headgate_requests_total") == 20
    assert len(headgate.names(5)) == 5
    await_counted(25)


def test_health_is_lost_with_a_worker_and_comes_back(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address])).start()
    assert headgate.api("GET", "/healthz").json() == {"status": "ok"}
    headgate.kill_worker()
    assert headgate.api("GET", "/healthz").status == 200


@pytest.mark.parametrize("kind", ["text", "json"])
def test_the_access_log_has_a_line_for_each_request(make: Make, backend: Start, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "access.log"
    log = {"format": kind, "path": str(path)}
    server = backend()
    headgate = make(settings([server.address], workers=2, limit="30/minute", access_log=log)).start()
    for k in range(20):
        headgate.get(f'/a"\\{k}')
    burst([headgate.address], 20, GET)
    with Raw(headgate.address) as client:
        client.send(b"nonsense\r\n\r\n")
        client.rest()
    assert headgate.stop() == 0
    lines = path.read_text().splitlines()
    assert len(lines) == 41
    if kind == "json":
        entries = [json.loads(line) for line in lines]
        assert {entry["target"] for entry in entries} >= {f'/a"\\{k}' for k in range(20)}
        assert sorted(entry["status"] for entry in entries) == [200] * 30 + [400] + [429] * 10
        assert {entry["flag"] for entry in entries} == {"-", "RL", "BR"}
        assert {entry["server"] for entry in entries if entry["status"] == 200} == {server.address}
        assert {entry["id"] for entry in entries} >= {request.fields["x-request-id"] for request in server.requests}
    else:
        assert sum(f" web {server.address} - " in line for line in lines) == 30
        assert sum(" RL " in line for line in lines) == 10


def test_the_access_log_goes_to_standard_output_by_a_flag(make: Make, backend: Start) -> None:
    flags = ["--listen=127.0.0.1:0", "--admin=off", "--access-log=json", f"--server={backend().address}"]
    headgate = make(flags=flags).start()
    assert headgate.names(3) == ["a"] * 3
    assert headgate.stop() == 0
    assert [json.loads(line)["status"] for line in headgate.output.read_text().splitlines()] == [200] * 3


def test_a_rotated_access_log_is_opened_anew_and_no_line_is_lost(make: Make, backend: Start, tmp_path: Path) -> None:
    path, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    headgate = make(settings([backend().address], access_log={"path": str(path)})).start()
    with Load(headgate.address, connections=4) as load:
        load.more(100)
        path.rename(rotated)
        headgate.signal(signal.SIGUSR1)
        wait_for(path.exists, "a new file")
        load.more(100)
    assert headgate.stop() == 0
    lines = len(path.read_text().splitlines()) + len(rotated.read_text().splitlines())
    assert lines == len(load.results)
    assert load.failures == []


def test_the_admin_api_wants_its_token(make: Make, backend: Start, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    admin = {"listen": "0.0.0.0:0", "token_file": str(secret)}
    headgate = make(settings([backend().address], admin=admin)).start()
    assert isinstance(headgate.admin, tuple)
    headgate.admin = ("127.0.0.1", headgate.admin[1])
    for path in ("/metrics", "/api/v1/status"):
        assert headgate.api("GET", path).status == 401
        assert headgate.api("GET", path, Authorization="Bearer wrong").status == 401
        assert headgate.api("GET", path, Authorization="Bearer s3cret").status == 200
    assert headgate.api("GET", "/healthz").status == 200
    refused = headgate.cli("status")
    assert refused.returncode == 69
    assert "HEADGATE_ADMIN_TOKEN" in refused.stderr
    assert headgate.cli("status", "--token-file", str(secret)).returncode == 0
    assert "s3cret" not in headgate.log


def test_a_web_page_cannot_drive_the_admin_api(make: Make, backend: Start) -> None:
    server = backend()
    headgate = make(settings([server.address])).start()
    drain = {"mode": "drain"}
    path = f"/api/v1/upstreams/web/servers/{server.address}"
    assert headgate.api("PATCH", path, drain, Origin="http://evil.example").status == 403
    assert headgate.api("PATCH", path, drain, Host="evil.example").status == 403
    assert (
        fetch(headgate.admin, path, "PATCH", body=b'{"mode":"drain"}', fields={"Content-Type": "text/plain"}).status
        == 415
    )
    assert headgate.server(server.address)["mode"] == "ready"
    assert headgate.api("PATCH", path, drain).status == 200


def test_the_api_names_what_it_knows(make: Make, backend: Start) -> None:
    server = backend()
    headgate = make(settings([server.address])).start()
    base = "/api/v1/upstreams/web/servers"
    for method, path, body, status, word in (
        ("POST", base, {"address": server.address}, 409, "already"),
        ("POST", base, {"adress": "x"}, 400, "adress"),
        ("POST", base, {"address": "nonsense"}, 400, "nonsense"),
        ("POST", base, {"address": "127.0.0.1:1", "weight": 257}, 400, "256"),
        ("DELETE", f"{base}/127.0.0.1:1", None, 404, server.address),
        ("GET", "/api/v1/upstreams/wob/servers", None, 404, "web"),
        ("PATCH", f"{base}/{server.address}", {}, 400, "mode, weight"),
    ):
        answer = headgate.api(method, path, body)
        assert answer.status == status
        assert answer.fields["content-type"].startswith("application/problem+json")
        assert word in answer.text


def test_a_slow_scraper_does_not_hold_up_traffic(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address])).start()
    assert isinstance(headgate.admin, tuple)
    scraper = HTTPConnection(*headgate.admin)
    scraper.request("GET", "/metrics")  # and the answer is left unread
    assert headgate.names(10) == ["a"] * 10
    scraper.close()
