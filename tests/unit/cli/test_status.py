import json

import pytest

from headgate.cli.answers import Status, read
from headgate.cli.status import text
from tests.unit.cli.conftest import Headgate
from tests.unit.cli.fake_admin import STATUS, FakeAdmin


def test_one_of_a_kind_is_told_as_one(headgate: Headgate, admin: FakeAdmin) -> None:
    worker = {"index": 0, "pid": 43, "snapshot": 5, "connections": 1, "in_flight": 1, "requests": 1}
    admin.answers["GET /api/v1/status"] = (200, STATUS | {"workers": [worker]})
    assert "1 worker, 1 client connection, 1 request in flight, 1 so far" in headgate("status")[1]


def test_the_status_is_told_at_a_glance(headgate: Headgate, admin: FakeAdmin) -> None:
    code, out, err = headgate("status")
    assert (code, err) == (0, [])
    assert out == [
        "headgate 0.1.0, pid 42, up 2h 3m, snapshot 5",
        "listening on 127.0.0.1:8000, [::1]:8000",
        "2 workers, 7 client connections, 2 requests in flight, 1234 so far",
        "limits are counted on this machine",
        "",
        "upstream web (round_robin, probed)",
        "ADDRESS         WEIGHT  MODE   HEALTH      IN FLIGHT  REQUESTS  FAILURES  ADDED        LAST PROBE",
        "127.0.0.1:5000       1  ready  up                  2      1234         0               200 OK in 3 ms",
        "[::1]:5001          10  ready  ejected 8s          2      1234         0  at run time  200 OK in 3 ms",
        "",
        "limits",
        "NAME    RATE        KEY        ALGORITHM     MODE     ALLOWED  REFUSED",
        "per_ip  100/minute  client_ip  fixed_window  on           900       12",
        "trial   5/second    client_ip  gcra          dry run      800      112",
    ]


def test_json_is_the_answer_itself(headgate: Headgate, admin: FakeAdmin) -> None:
    code, out, _ = headgate("status", "--json")
    assert (code, json.loads("\n".join(out))) == (0, STATUS)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"draining": True}, "snapshot 5, draining"),
        ({"store": {"kind": "redis", "down": False}}, "limits are counted in Redis\n"),
        ({"store": {"kind": "redis", "down": True}}, "in Redis (Redis does not answer: on_store_error decides)"),
        ({"store": {"kind": "redis", "down": False, "headgates": 1}}, "limits are counted in Redis\n"),
        ({"store": {"kind": "redis", "down": False, "headgates": 3}}, "limits are counted in Redis by 3 Headgates\n"),
        ({"uptime": 0.2}, "up 0s,"),
        ({"uptime": 59.9}, "up 59s,"),
        ({"uptime": 60}, "up 1m 0s,"),
        ({"uptime": 90061}, "up 1d 1h,"),
        ({"uptime": 400 * 86400}, "up 400d 0h,"),
        ({"workers": [{"index": 0, "pid": None, "connections": 0, "in_flight": 0, "requests": 0}]}, "\n1 worker, 0"),
        (
            {"upstreams": [{"name": "b", "policy": "round_robin", "health_check": False, "servers": []}]},
            "upstream b (round_robin, not probed)\nno servers",
        ),
    ],
)
def test_what_is_unusual_is_told(change: dict[str, object], line: str) -> None:
    assert line in text(read(STATUS | change, Status))


def test_a_leaving_server_is_called_so() -> None:
    (upstream,) = read(STATUS, Status).upstreams
    server = upstream.servers[0]
    leaving = type(server)(**{name: getattr(server, name) for name in server.__struct_fields__} | {"removing": True})
    assert (server.health, leaving.health) == ("up", "leaving")
