import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headgate.control import metrics
from headgate.control.plane import Plane
from headgate.model.address import Address
from headgate.model.config import Config, Limit, Rate, Store
from headgate.wire.cells import FLAGS, LATENCY_BUCKETS, LimitCell, ServerCell, WorkerCell
from tests.unit.control.configs import A, B, config, upstream
from tests.unit.control.planes import plane

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(the_plane: Plane) -> Samples:
    """Every sample of the page, by name and labels; fails when one is there twice."""
    found: Samples = {}
    families = list(text_string_to_metric_families(metrics.page(the_plane)))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def change(base: Config | None, prepare: Callable[[Plane], None]) -> Samples:
    """The samples after something was done to the plane."""

    async def main() -> Samples:
        with plane(base) as the_plane:
            prepare(the_plane)
            return samples(the_plane)

    return asyncio.run(main())


WEB_A = {"upstream": "web", "server": str(A)}
WEB_B = {"upstream": "web", "server": str(B)}


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("IN_FLIGHT", "headgate_in_flight"),
        ("IDLE", "headgate_server_idle"),
        ("CONNECTS", "headgate_server_connects_total"),
        ("CONNECT_FAILURES", "headgate_server_connect_failures_total"),
        ("RESETS", "headgate_server_resets_total"),
        ("TIMEOUTS", "headgate_server_timeouts_total"),
        ("BAD_RESPONSES", "headgate_server_bad_responses_total"),
        ("RETRIES", "headgate_server_retries_total"),
        ("EJECTIONS", "headgate_server_ejections_total"),
    ],
)
@pytest.mark.parametrize("row", [0, 1])
def test_each_cell_of_a_server_has_its_series(cell: str, name: str, row: int) -> None:
    def prepare(the: Plane) -> None:
        the.cells.server(row, the.fleet.member("web", A).slot)[ServerCell[cell]] = 41

    found = change(None, prepare)
    assert value(found, name, **WEB_A) == 41
    assert value(found, name, **WEB_B) == 0
    assert [key for key, number in found.items() if number == 41] == [(name, frozenset(WEB_A.items()))]


def test_requests_are_counted_by_the_class_of_their_status() -> None:
    def prepare(the: Plane) -> None:
        slot = the.fleet.member("web", A).slot
        for k in range(6):
            the.cells.server(k % 2, slot)[ServerCell.CLASS + k] = 10 + k

    found = change(None, prepare)
    for k in range(6):
        assert value(found, "headgate_requests_total", **WEB_A, status_class=f"{k}xx") == 10 + k


def test_latencies_are_a_cumulative_histogram_in_seconds() -> None:
    def prepare(the: Plane) -> None:
        slot = the.fleet.member("web", A).slot
        for row in range(2):
            for k in range(LATENCY_BUCKETS):
                the.cells.server(row, slot)[ServerCell.LATENCY + k] = 1
            the.cells.server(row, slot)[ServerCell.LATENCY_SUM] = 750_000

    found = change(None, prepare)
    name = "headgate_request_duration_seconds"
    buckets = {
        dict(labels)["le"]: number
        for (sample, labels), number in found.items()
        if sample == f"{name}_bucket" and ("server", str(A)) in labels
    }
    bounds = sorted(buckets, key=float)
    assert [buckets[bound] for bound in bounds] == [2 * (k + 1) for k in range(LATENCY_BUCKETS)]
    assert (bounds[0], bounds[1], bounds[-2], bounds[-1]) == ("6.4e-05", "0.000128", "33.554432", "+Inf")
    assert value(found, f"{name}_count", **WEB_A) == 2 * LATENCY_BUCKETS
    assert value(found, f"{name}_sum", **WEB_A) == 1.5


def test_the_latency_of_the_store_is_that_of_all_workers() -> None:
    def prepare(the: Plane) -> None:
        for row in range(2):
            for k in range(LATENCY_BUCKETS):
                the.cells.worker(row)[WorkerCell.STORE_LATENCY + k] = 1
            the.cells.worker(row)[WorkerCell.STORE_LATENCY_SUM] = 250_000

    name = "headgate_store_latency_seconds"
    found = change(replace(config(), store=Store("redis://127.0.0.1:1")), prepare)
    assert value(found, f"{name}_bucket", le="6.4e-05") == 2
    assert value(found, f"{name}_bucket", le="+Inf") == 2 * LATENCY_BUCKETS
    assert value(found, f"{name}_count") == 2 * LATENCY_BUCKETS
    assert value(found, f"{name}_sum") == 0.5
    assert not [sample for sample, _ in change(None, prepare) if sample.startswith(name)]


def test_the_headgates_on_a_store_are_those_that_a_worker_knows_of() -> None:
    def prepare(the: Plane) -> None:
        the.cells.worker(0)[WorkerCell.HEADGATES] = 1  # it has just begun
        the.cells.worker(1)[WorkerCell.HEADGATES] = 3

    name = "headgate_store_headgates"
    assert value(change(replace(config(), store=Store("redis://127.0.0.1:1")), prepare), name) == 3
    assert not [sample for sample, _ in change(None, prepare) if sample == name]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (WorkerCell.REQUESTS, "headgate_requests_received_total"),
        (WorkerCell.ACCEPTED, "headgate_connections_accepted_total"),
        (WorkerCell.CONNECTIONS, "headgate_connections"),
        (WorkerCell.IN_FLIGHT, "headgate_requests_in_flight"),
        (WorkerCell.RETRIES, "headgate_retries_total"),
        (WorkerCell.STORE_ERRORS, "headgate_store_errors_total"),
        (WorkerCell.STORE_DOWN, "headgate_store_down"),
        (WorkerCell.LOG_DROPPED, "headgate_access_log_dropped_total"),
    ],
)
def test_the_workers_cells_are_summed(cell: WorkerCell, name: str) -> None:
    def prepare(the: Plane) -> None:
        the.cells.worker(0)[cell] = 40
        the.cells.worker(1)[cell] = 2

    assert value(change(None, prepare), name) == 42


def test_local_answers_are_counted_by_flag() -> None:
    def prepare(the: Plane) -> None:
        for k in range(len(FLAGS)):
            the.cells.worker(k % 2)[WorkerCell.FLAG + k] = 100 + k

    found = change(None, prepare)
    for k, flag in enumerate(FLAGS):
        assert value(found, "headgate_local_answers_total", flag=flag) == 100 + k


def test_limits_are_counted_by_decision() -> None:
    def prepare(the: Plane) -> None:
        (state,) = the.fleet.snapshot.limits
        the.cells.limit(0, state.slot)[LimitCell.ALLOWED] = 7
        the.cells.limit(1, state.slot)[LimitCell.REFUSED] = 8
        the.cells.limit(1, state.slot)[LimitCell.STORE_ERRORS] = 9
        the.cells.limit(0, state.slot)[LimitCell.NEAR] = 10
        the.cells.limit(1, state.slot)[LimitCell.NEAR] = 1
        the.cells.limit(0, state.slot)[LimitCell.DELAYED] = 12
        the.cells.limit(0, state.slot)[LimitCell.BANNED] = 13

    found = change(config(limits=("per_ip",)), prepare)
    assert value(found, "headgate_limit_decisions_total", limit="per_ip", decision="allowed") == 7
    assert value(found, "headgate_limit_decisions_total", limit="per_ip", decision="refused") == 8
    assert value(found, "headgate_limit_store_errors_total", limit="per_ip") == 9
    assert value(found, "headgate_limit_near_total", limit="per_ip") == 11
    assert value(found, "headgate_limit_delayed_total", limit="per_ip") == 12
    assert value(found, "headgate_limit_banned_total", limit="per_ip") == 13


def test_what_is_in_flight_under_a_limit_is_the_sum_of_what_the_workers_hold() -> None:
    def prepare(the: Plane) -> None:
        flying, _ = the.fleet.snapshot.limits
        the.cells.limit(0, flying.slot)[LimitCell.IN_FLIGHT] = 2
        the.cells.limit(1, flying.slot)[LimitCell.IN_FLIGHT] = 3

    limits = (Limit("flying", Rate(9, 0.0), algorithm="concurrency"), Limit("rate", Rate(9, 1.0)))
    found = change(replace(config(limits=("flying",)), limits=limits), prepare)
    assert value(found, "headgate_limit_in_flight", limit="flying") == 5
    assert ("headgate_limit_in_flight", frozenset({("limit", "rate")})) not in found


def test_what_is_known_of_a_server_is_shown() -> None:
    def prepare(the: Plane) -> None:
        the.fleet.observe(("web", A), False, "connection refused")

    found = change(None, prepare)
    assert value(found, "headgate_server_probe_up", **WEB_A) == 0
    assert ("headgate_server_probe_up", frozenset(WEB_B.items())) not in found
    assert value(found, "headgate_server_available", **WEB_A) == 0
    assert value(found, "headgate_server_available", **WEB_B) == 1
    assert value(found, "headgate_server_weight", **WEB_B) == 1
    assert [value(found, "headgate_server_mode", **WEB_B, mode=mode) for mode in ("ready", "drain", "maint")] == [
        1,
        0,
        0,
    ]


def test_an_ejected_server_is_shown() -> None:
    def prepare(the: Plane) -> None:
        for row in range(2):
            cells = the.cells.server(row, the.fleet.member("web", A).slot)
            cells[ServerCell.EJECTED_UNTIL] = int((time.monotonic() + 1000) * 1000)

    found = change(None, prepare)
    assert value(found, "headgate_server_ejected", **WEB_A) == 1
    assert value(found, "headgate_server_available", **WEB_A) == 0
    assert value(found, "headgate_server_ejected", **WEB_B) == 0


def test_labels_are_escaped() -> None:
    strange = 'a"b\\c\nd{}'
    group = replace(upstream("web", Address(path='/run/"q"\\s')), name=strange)
    found = change(config(group), lambda the: None)
    assert value(found, "headgate_in_flight", upstream=strange, server='unix:/run/"q"\\s') == 0


def test_processes_and_the_build_are_shown() -> None:
    def prepare(the: Plane) -> None:
        the.crew.workers[1].restarts = 3

    found = change(None, prepare)
    assert value(found, "headgate_process_cpu_seconds_total", process="supervisor") > 0
    assert value(found, "headgate_process_resident_memory_bytes", process="supervisor") > 1_000_000
    assert value(found, "headgate_worker_restarts_total", worker="1") == 3
    assert value(found, "headgate_worker_up", worker="0") == 0
    assert value(found, "headgate_snapshot_version") == 1
    assert abs(value(found, "headgate_start_time_seconds") - time.time()) < 60
    assert any(name == "headgate_build_info" for name, _ in found)


def test_a_process_that_is_gone_has_no_usage() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert metrics._usage(pid) is None
