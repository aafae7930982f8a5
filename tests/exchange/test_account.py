"""What is kept of every exchange: the cells and the line in the access log, whatever came of it."""

import json
from dataclasses import replace

import pytest

from headgate.limits.keys import Seal
from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState
from headgate.wire.cells import FLAGS, LATENCY_BUCKETS, ServerCell, WorkerCell
from tests.exchange.kit import LIMIT, Make, World, get, ok, post


def buckets(world: World) -> int:
    """How many latencies the first server's histogram has."""
    return sum(world.cells.server(0, 0)[ServerCell.LATENCY + n] for n in range(LATENCY_BUCKETS))


@pytest.mark.parametrize("status", [200, 204, 301, 404, 503])
def test_a_response_counts_in_its_class_and_the_histogram_and_under_no_flag(world: World, status: int) -> None:
    client = world.client()
    client.sends(get())
    world.accepted().sends(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"" if status == 204 else b"Content-Length: 0\r\n"))
    assert [world.responses(kind) for kind in range(1, 6)] == [int(kind == status // 100) for kind in range(1, 6)]
    assert buckets(world) == 1
    assert world.worker_cell(WorkerCell.REQUESTS) == 1
    assert not any(world.flagged(flag) for flag in FLAGS)


def test_a_failure_counts_under_its_flag_and_in_no_class(world: World) -> None:
    world.refusing = {"s1:80"}
    client = world.client()
    client.sends(get())
    client.sees_answer(502)
    assert buckets(world) == 0
    assert [flag for flag in FLAGS if world.flagged(flag)] == ["UF"]
    assert world.worker_cell(WorkerCell.REQUESTS) == 1


def test_a_retry_counts_once_and_its_response_where_it_came_from(make: Make) -> None:
    world = make(2)
    world.refusing = {"s1:80"}
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok())
    assert world.worker_cell(WorkerCell.REQUESTS) == 1
    assert world.worker_cell(WorkerCell.RETRIES) == 1
    assert world.responses(2, 0) == 0
    assert world.responses(2, 1) == 1


def test_connections_and_exchanges_are_counted_by_the_sweep(world: World) -> None:
    clients = [world.client() for _ in range(3)]
    clients[0].sends(get())
    world.advance(0.3)
    assert world.worker_cell(WorkerCell.CONNECTIONS) == 3
    assert world.worker_cell(WorkerCell.ACCEPTED) == 3
    assert world.worker_cell(WorkerCell.IN_FLIGHT) == 1
    world.accepted().sends(ok())
    clients[1].resets()
    world.advance(0.3)
    assert world.worker_cell(WorkerCell.CONNECTIONS) == 2
    assert world.worker_cell(WorkerCell.ACCEPTED) == 3
    assert world.worker_cell(WorkerCell.IN_FLIGHT) == 0


def test_the_time_of_a_line_is_that_of_its_end_to_the_millisecond(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks, wall = 50.0, 951782399.25  # 2000-02-28T23:59:59.250Z
    for module in ("account", "course"):
        monkeypatch.setattr(f"headgate.worker.{module}.monotonic", lambda: ticks)
    monkeypatch.setattr("headgate.worker.account.time", lambda: wall)
    log = world.logs("text")
    for seconds in (0.0, 0.0105, 0.739, 0.002, 3600.0):
        ticks, wall = ticks + seconds, wall + seconds
        client = world.client()
        client.sends(get(b"/", b"Connection: close"))
        world.accepted().sends(ok(b"", b"Connection: close"))
    assert [line.split()[0] for line in log.lines] == [
        b"2000-02-28T23:59:59.250Z",
        b"2000-02-28T23:59:59.260Z",
        b"2000-02-28T23:59:59.999Z",
        b"2000-02-29T00:00:00.001Z",
        b"2000-02-29T01:00:00.001Z",
    ]


def test_a_line_of_text_says_what_became_of_a_request(world: World) -> None:
    log = world.logs("text")
    client = world.client()
    client.sends(get(b"/a?b=c"))
    world.accepted().sends(ok(b"hi"))
    (line,) = log.lines
    assert b"\n" not in line
    stamp, ip, method, host, target, status, sent, seconds, upstream, server, flag, name = line.split()
    assert len(stamp) == len("2000-01-01T00:00:00.000Z")
    assert (ip, method, host, target, status) == (b"192.0.2.1", b"GET", b"a", b"/a?b=c", b"200")
    assert int(sent) == len(ok(b"hi"))
    assert 0 <= float(seconds) < 10
    assert (upstream, server, flag, name) == (b"web", b"s1:80", b"-", b"r1")


def test_the_bytes_of_a_line_are_those_that_the_client_was_sent(world: World) -> None:
    log = world.logs("text")
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(b"HTTP/1.1 200 OK\r\n\r\nabc", b"de")
    server.closes()
    assert int(log.lines[0].split()[6]) == len(client.new())


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (b"/plain", b""),
        (b'/"quoted"\\', b""),
        (b"/%22%00%ff", b""),
        (b"/", b'quo"te\\'),
        (b"/", b"tab\there"),
        (b"/", b"caf\xc3\xa9 \xff"),
    ],
)
def test_a_line_of_json_is_json_whatever_the_client_sends(make: Make, target: bytes, field: bytes) -> None:
    world = make(trusted=["192.0.2.0/24"])
    log = world.logs("json")
    client = world.client()
    client.sends(get(target, *([b"X-Request-ID: " + field] if field else [])))
    world.accepted().sends(ok(b"hi"))
    (line,) = log.lines
    assert b"\n" not in line
    entry = json.loads(line)
    assert entry.pop("time")[-1] == "Z"
    assert entry.pop("seconds") >= 0
    assert entry == {
        "client": "192.0.2.1",
        "method": "GET",
        "host": "a",
        "target": target.decode("latin-1"),
        "status": 200,
        "bytes": len(ok(b"hi")),
        "upstream": "web",
        "server": "s1:80",
        "flag": "-",
        "id": field.decode("latin-1") or "r1",
    }


def test_a_line_of_text_has_its_fields_whatever_the_id_is(make: Make) -> None:
    world = make(trusted=["192.0.2.0/24"])
    log = world.logs("text")
    client = world.client()
    client.sends(get(b"/", b"X-Request-ID: a b\tc\xff"))
    world.accepted().sends(ok())
    assert len(log.lines[0].split()) == 12
    assert log.lines[0].isascii()


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_end_has_one_line_with_its_flag(make: Make, form: str) -> None:
    world = make(limits=[LIMIT])
    log = world.logs(form)
    bad = world.client()
    bad.sends(b"nonsense\r\n")
    gone = world.client()
    gone.sends(get())
    gone.resets()
    slow = world.client()
    slow.sends(post(b"ab")[:-1])
    world.advance(21)
    limited = world.client()
    limited.sends(get())
    late = world.client(("192.0.2.2", 1))
    late.sends(post(b""))
    world.advance(31)
    assert len(log.lines) == 5
    if form == "json":
        entries = [json.loads(line) for line in log.lines]
        found = [(entry["status"], entry["flag"], entry["server"]) for entry in entries]
    else:
        fields = [line.decode().split() for line in log.lines]
        found = [(int(line[5]), line[10], line[9]) for line in fields]
    assert found == [(400, "BR", "-"), (0, "DC", "s1:80"), (408, "DT", "s1:80"), (429, "RL", "-"), (504, "UT", "s1:80")]


def test_a_response_that_broke_off_is_logged_with_its_status_and_its_flag(world: World) -> None:
    log = world.logs("text")
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(ok(b"0123456789")[:-5])
    server.resets()
    line = log.lines[0].split()
    assert (line[5], line[10]) == (b"200", b"UC")
    assert int(line[6]) == len(client.new())


SECRET = Limit("by_token", Rate(2, 60.0), "query:token", private=True)


@pytest.mark.parametrize("limit", [SECRET, replace(SECRET, dry_run=True)], ids=["decides", "tries"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_private_limit_counts_by_is_not_in_the_log(make: Make, form: str, limit: Limit) -> None:
    world = make(limits=[LimitState(limit, 0)])
    log = world.logs(form)
    client = world.client()
    client.sends(get(b"/a?token=s3cret&b=c"))
    server = world.accepted()
    assert b"/a?token=s3cret&b=c" in server.new()  # its server gets it as it is
    server.sends(ok())
    shown = b"/a?token=%b&b=c" % Seal(world.worker._local.secret)(b"=s3cret")
    assert shown in log.lines[0]
    assert b"s3cret" not in log.lines[0]


def test_a_secret_is_not_in_the_log_of_what_no_route_matches_but_of_routes_without_the_limit(make: Make) -> None:
    world = make()
    one = world.snapshot.routes[0]
    routes = (replace(one, path="/private", limits=("by_token",)), replace(one, path="/other", limits=()))
    world.adopt(replace(world.snapshot, version=2, limits=(LimitState(SECRET, 0),), routes=routes))
    log = world.logs("text")
    for path in (b"/private", b"/other", b"/none"):
        client = world.client()
        client.sends(get(path + b"?token=s3cret", b"Connection: close"))
        if path != b"/none":
            world.accepted().sends(ok(b"", b"Connection: close"))
    shown = [line.split()[4] for line in log.lines]
    hashed = Seal(world.worker._local.secret)(b"=s3cret")
    assert shown == [b"/private?token=" + hashed, b"/other?token=s3cret", b"/none?token=" + hashed]


def test_a_request_keeps_its_secret_when_the_limit_is_taken_away_meanwhile(make: Make) -> None:
    world = make(limits=[LimitState(SECRET, 0)])
    log = world.logs("text")
    client = world.client()
    client.sends(get(b"/?token=s3cret"))
    server = world.accepted()
    routes = tuple(replace(route, limits=()) for route in world.snapshot.routes)
    world.adopt(replace(world.snapshot, version=2, limits=(), routes=routes))
    server.sends(ok())
    client.sends(get(b"/?token=public"))
    server.sends(ok())
    assert b"s3cret" not in log.lines[0]
    assert log.lines[1].split()[4] == b"/?token=public"
