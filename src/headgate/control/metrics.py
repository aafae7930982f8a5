"""The metrics page: the shared cells and the fleet as Prometheus' text format 0.0.4.

Counters are summed over the workers' rows at the time of the scrape; nothing is counted here. A server's series begin
with it and end when it has left, a worker's crash resets none of them.
"""

import os
import platform
from collections.abc import Iterable, Iterator
from itertools import accumulate

from headgate import __version__
from headgate.control.fleet import Member
from headgate.control.plane import Plane
from headgate.control.views import ejected_for
from headgate.health.available import is_available
from headgate.limits import concurrency
from headgate.model.server import Mode, Probe
from headgate.wire.cells import FLAGS, LATENCY_BUCKETS, LATENCY_SHIFT, LimitCell, ServerCell, WorkerCell

# The upper bounds of the latency histogram's buckets, in seconds.
_BOUNDS = [f"{2 ** (k + LATENCY_SHIFT) / 1e6:.10g}" for k in range(LATENCY_BUCKETS - 1)] + ["+Inf"]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, float]  # labels as text, and the value
_Totals = tuple[str, Member, list[int]]  # a server's labels, itself and its cells, summed over the workers

_SERVER_COUNTERS = (
    ("connects", ServerCell.CONNECTS, "Connections opened to the server."),
    ("connect_failures", ServerCell.CONNECT_FAILURES, "Connections that the server refused or did not take in time."),
    ("resets", ServerCell.RESETS, "Connections that the server closed before its response was complete."),
    ("timeouts", ServerCell.TIMEOUTS, "Responses that did not begin or go on in time."),
    ("bad_responses", ServerCell.BAD_RESPONSES, "Responses that are not valid HTTP."),
    ("retries", ServerCell.RETRIES, "Requests that were tried elsewhere after failing at the server."),
    ("ejections", ServerCell.EJECTIONS, "Times that a worker left the server alone after failures in a row."),
)
_WORKER_COUNTERS = (
    ("requests_received", WorkerCell.REQUESTS, "Requests received, with those answered by Headgate itself."),
    ("connections_accepted", WorkerCell.ACCEPTED, "Client connections accepted."),
    ("connections_turned_away", WorkerCell.TURNED_AWAY, "Client connections beyond what one address may have."),
    ("retries", WorkerCell.RETRIES, "Requests tried again elsewhere."),
    ("retries_refused", WorkerCell.RETRIES_REFUSED, "Requests not tried again because too many were."),
    ("store_errors", WorkerCell.STORE_ERRORS, "Limit decisions that the store did not make."),
    ("access_log_dropped", WorkerCell.LOG_DROPPED, "Access log lines that could not be written."),
)


def page(plane: Plane) -> str:
    """The whole page."""
    return "".join(_lines(plane))


def _lines(plane: Plane) -> Iterator[str]:
    servers = _server_totals(plane)
    yield from _traffic(servers)
    yield from _servers(plane, servers)
    yield from _workers(plane)
    yield from _limits(plane)
    yield from _itself(plane)


def _server_totals(plane: Plane) -> list[_Totals]:
    totals = []
    for upstream in plane.fleet.config.upstreams:
        for member in plane.fleet.members(upstream.name):
            rows = [plane.cells.server(index, member.slot).tolist() for index in range(plane.cells.workers)]
            labels = _labels(upstream=upstream.name, server=str(member.address))
            totals.append((labels, member, [sum(column) for column in zip(*rows, strict=True)]))
    return totals


def _traffic(servers: list[_Totals]) -> Iterator[str]:
    yield from _family(
        "headgate_requests_total",
        "counter",
        "Responses of servers; class 0xx is of requests whose response did not begin.",
        (
            (f'{labels},status_class="{k}xx"', cells[ServerCell.CLASS + k])
            for labels, _, cells in servers
            for k in range(6)
            if k or cells[ServerCell.CLASS]
        ),
    )
    name = "headgate_request_duration_seconds"
    yield from _head(name, "histogram", "From choosing the server to the end of its response.")
    for labels, _, cells in servers:
        counts = cells[ServerCell.LATENCY : ServerCell.LATENCY + LATENCY_BUCKETS]
        yield from _histogram(name, labels, counts, cells[ServerCell.LATENCY_SUM])
    for word, cell, text in _SERVER_COUNTERS:
        samples = [(labels, cells[cell]) for labels, _, cells in servers]
        yield from _family(f"headgate_server_{word}_total", "counter", text, samples)


def _servers(plane: Plane, servers: list[_Totals]) -> Iterator[str]:
    def gauge(name: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
        return _family(f"headgate_{name}", "gauge", text, samples)

    yield from gauge(
        "in_flight", "Requests that the server has now.", [(ls, c[ServerCell.IN_FLIGHT]) for ls, _, c in servers]
    )
    yield from gauge("server_idle", "Idle connections to it.", [(ls, c[ServerCell.IDLE]) for ls, _, c in servers])
    ejected = {m.slot: ejected_for(plane, m.slot) for _, m, _ in servers}
    yield from gauge(
        "server_available",
        "1 when it gets requests.",
        [(ls, float(is_available(m.state(), ejected[m.slot]))) for ls, m, _ in servers],
    )
    yield from gauge(
        "server_probe_up",
        "1 when its last probes passed, 0 when it is down; no sample when it is not probed.",
        [(ls, float(m.health.verdict is Probe.UP)) for ls, m, _ in servers if m.health.verdict is not Probe.UNKNOWN],
    )
    yield from gauge(
        "server_mode",
        "1 for the mode that the operator wants.",
        [(f'{ls},mode="{mode.value}"', float(m.state().mode is mode)) for ls, m, _ in servers for mode in Mode],
    )
    yield from gauge("server_weight", "Its share.", [(ls, m.weight) for ls, m, _ in servers])
    yield from gauge(
        "server_ejected",
        "1 while every worker leaves it alone after failures in a row.",
        [(ls, float(ejected[m.slot] > 0)) for ls, m, _ in servers],
    )


def _workers(plane: Plane) -> Iterator[str]:
    cells = plane.cells
    for word, cell, text in _WORKER_COUNTERS:
        yield from _single(f"headgate_{word}_total", "counter", text, cells.worker_total(cell))
    yield from _family(
        "headgate_local_answers_total",
        "counter",
        "Requests that ended without a server's whole response, by flag (docs: response flags).",
        [(_labels(flag=flag), cells.flag_total(flag)) for flag in FLAGS],
    )
    yield from _family(
        "headgate_worker_loop_lag_seconds",
        "gauge",
        "How late the worker's event loop came to its work at the worst, fading by a tenth each quarter of a second.",
        [(_labels(worker=str(row)), cells.worker(row)[WorkerCell.LAG] / 1e6) for row in range(cells.workers)],
    )
    yield from _single(
        "headgate_connections", "gauge", "Open client connections.", cells.worker_total(WorkerCell.CONNECTIONS)
    )
    yield from _single(
        "headgate_requests_in_flight", "gauge", "Requests being served.", cells.worker_total(WorkerCell.IN_FLIGHT)
    )
    yield from _single(
        "headgate_requests_waiting", "gauge", "Requests in queues.", cells.worker_total(WorkerCell.WAITING)
    )
    yield from _single(
        "headgate_store_down",
        "gauge",
        "Workers that cannot reach the limits' store.",
        cells.worker_total(WorkerCell.STORE_DOWN),
    )
    if plane.fleet.config.store.url:
        yield from _single(
            "headgate_store_headgates",
            "gauge",
            "Headgates on the limits' store when that was last heard of; a limit is divided by it while it is down.",
            cells.worker_most(WorkerCell.HEADGATES),
        )
        name = "headgate_store_latency_seconds"
        yield from _head(name, "histogram", "From asking the limits' store to its answer, for some of the questions.")
        buckets = range(WorkerCell.STORE_LATENCY, WorkerCell.STORE_LATENCY + LATENCY_BUCKETS)
        counts = [cells.worker_total(bucket) for bucket in buckets]
        yield from _histogram(name, "", counts, cells.worker_total(WorkerCell.STORE_LATENCY_SUM))
    yield from _family(
        "headgate_worker_restarts_total",
        "counter",
        "Workers replaced after they died.",
        [(_labels(worker=str(worker.index)), worker.restarts) for worker in plane.crew.workers],
    )
    yield from _family(
        "headgate_worker_up",
        "gauge",
        "1 when the worker serves.",
        [(_labels(worker=str(worker.index)), float(worker.is_serving)) for worker in plane.crew.workers],
    )


def _limits(plane: Plane) -> Iterator[str]:
    decisions = (
        ("allowed", LimitCell.ALLOWED),
        ("refused", LimitCell.REFUSED),
        ("dry_run_refused", LimitCell.DRY_REFUSED),
    )
    limits = plane.fleet.snapshot.limits
    yield from _family(
        "headgate_limit_decisions_total",
        "counter",
        "Requests that a limit let pass, refused, or would have refused (dry_run).",
        [
            (_labels(limit=state.limit.name, decision=word), plane.cells.limit_total(state.slot, cell))
            for state in limits
            for word, cell in decisions
        ],
    )
    for name, meaning, cell in (
        ("near", "Requests that a limit let pass, after which a fifth of it or less was left.", LimitCell.NEAR),
        ("delayed", "Requests that a limit held back.", LimitCell.DELAYED),
        ("banned", "Requests that a limit refused because of a ban.", LimitCell.BANNED),
        ("store_errors", "Decisions of a limit that its on_store_error made.", LimitCell.STORE_ERRORS),
        ("function_errors", "Calls of a limit's functions that its on_error stood in for.", LimitCell.FUNCTION_ERRORS),
    ):
        samples = [(_labels(limit=state.limit.name), plane.cells.limit_total(state.slot, cell)) for state in limits]
        yield from _family(f"headgate_limit_{name}_total", "counter", meaning, samples)

    yield from _family(
        "headgate_limit_in_flight",
        "gauge",
        "Places that requests of this Headgate hold, of a limit on what is in flight.",
        [
            (_labels(limit=state.limit.name), plane.cells.limit_total(state.slot, LimitCell.IN_FLIGHT))
            for state in limits
            if state.limit.algorithm == concurrency.NAME
        ],
    )


def _itself(plane: Plane) -> Iterator[str]:
    yield from _single("headgate_snapshot_version", "gauge", "The current snapshot's.", plane.fleet.snapshot.version)
    build = _labels(version=__version__, python=platform.python_version())
    yield from _family("headgate_build_info", "gauge", "What runs.", [(build, 1)])
    yield from _single("headgate_start_time_seconds", "gauge", "When it was started, in Unix time.", plane.started)
    processes = [("supervisor", os.getpid())]
    processes += [(f"worker-{worker.index}", worker.pid) for worker in plane.crew.workers if worker.pid]
    usage = [(_labels(process=name), found) for name, pid in processes if (found := _usage(pid))]
    yield from _family(
        "headgate_process_cpu_seconds_total",
        "counter",
        "Processor time of a process.",
        [(labels, cpu) for labels, (cpu, _) in usage],
    )
    yield from _family(
        "headgate_process_resident_memory_bytes",
        "gauge",
        "Memory of a process, shared parts counted in each.",
        [(labels, memory) for labels, (_, memory) in usage],
    )


def _usage(pid: int) -> tuple[float, float] | None:
    """Seconds of processor time and bytes of resident memory, from proc(5); None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * float(os.sysconf("SC_PAGE_SIZE"))


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield from _head(name, kind, text)
    for labels, value in samples:
        yield _line(name, labels, value)


def _single(name: str, kind: str, text: str, value: float) -> Iterator[str]:
    return _family(name, kind, text, [("", value)])


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _histogram(name: str, labels: str, counts: Iterable[int], microseconds: int) -> Iterator[str]:
    before = f"{labels}," if labels else ""
    for bound, count in zip(_BOUNDS, accumulate(counts), strict=True):
        yield f'{name}_bucket{{{before}le="{bound}"}} {count}\n'
    yield _line(f"{name}_sum", labels, microseconds / 1e6)
    yield _line(f"{name}_count", labels, count)


def _line(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {value!r}\n" if labels else f"{name} {value!r}\n"


def _labels(**words: str) -> str:
    # Made once for each server and not for each of its thirty samples: with thousands of servers the page is long.
    return ",".join(f'{name}="{_escape(word)}"' for name, word in words.items())


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
