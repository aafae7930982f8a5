"""What the admin API shows: the control plane's knowledge and the workers' counts, as plain JSON values."""

import os
import time
from datetime import UTC, datetime

from headgate import __version__
from headgate.control.fleet import Member
from headgate.control.plane import Plane
from headgate.health.available import is_available
from headgate.model.address import Address
from headgate.wire.cells import LimitCell, ServerCell, WorkerCell

Json = dict[str, object]

_FAILURES = (
    ServerCell.CONNECT_FAILURES,
    ServerCell.RESETS,
    ServerCell.TIMEOUTS,
    ServerCell.BAD_RESPONSES,
)


def status(plane: Plane) -> Json:
    """Everything, for `GET /api/v1/status`."""
    config = plane.fleet.config
    return {
        "version": __version__,
        "snapshot": plane.fleet.snapshot.version,
        "pid": os.getpid(),
        "started": datetime.fromtimestamp(plane.started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "uptime": round(time.time() - plane.started, 3),
        "draining": plane.crew.draining,
        "workers": _workers(plane),
        "listeners": [str(bound.actual) for bound in plane.bound.values()],
        "upstreams": [
            {
                "name": upstream.name,
                "policy": upstream.policy,
                "health_check": upstream.health_check is not None,
                "servers": servers(plane, upstream.name),
            }
            for upstream in config.upstreams
        ],
        "limits": _limits(plane),
        "store": {
            "kind": "redis" if config.store.url else "local",
            "down": plane.cells.worker_total(WorkerCell.STORE_DOWN) > 0,
            "headgates": plane.cells.worker_most(WorkerCell.HEADGATES) if config.store.url else 1,
        },
    }


def servers(plane: Plane, upstream: str) -> list[Json]:
    """The servers of an upstream. Raises Unknown when there is no such upstream."""
    plane.fleet.upstream(upstream)
    return [_server(plane, member) for member in plane.fleet.members(upstream)]


def server(plane: Plane, upstream: str, address: Address) -> Json:
    """One server. Raises Unknown when it is not there."""
    return _server(plane, plane.fleet.member(upstream, address))


def shortages(plane: Plane) -> list[str]:
    """Why Headgate is not ready for every request, in words; empty when it is."""
    problems = []
    if plane.crew.draining:
        problems.append("draining")
    crew = plane.crew
    problems += [f"worker {worker.index} is not running" for worker in crew.workers if not worker.is_serving]
    late = crew.laggards(plane.fleet.snapshot.version)
    problems += [f"worker {worker.index} serves snapshot {worker.adopted} still" for worker in late]
    for upstream in plane.fleet.config.upstreams:
        members = plane.fleet.members(upstream.name)
        if not any(is_available(member.state(), ejected_for(plane, member.slot)) for member in members):
            problems.append(f"no server of upstream {upstream.name} is available")
    return problems


def ejected_for(plane: Plane, slot: int) -> float:
    """For how many more seconds no worker gives a server requests, 0 when some worker does."""
    now = time.monotonic()
    until = [plane.cells.server(index, slot)[ServerCell.EJECTED_UNTIL] for index in range(plane.cells.workers)]
    return max(0.0, min(until) / 1000 - now)


def _server(plane: Plane, member: Member) -> Json:
    cells = [plane.cells.server(index, member.slot) for index in range(plane.cells.workers)]

    def total(cell: int) -> int:
        return sum(row[cell] for row in cells)

    state = member.state()
    longest = max(row[ServerCell.EJECTED_UNTIL] for row in cells) / 1000 - time.monotonic()
    return {
        "address": str(member.address),
        "weight": member.weight,
        "mode": state.mode.value,
        "probe": state.probe.value,
        "detail": member.detail,
        "ejected_for": max(0, round(longest, 1)),
        "available": is_available(state, ejected_for(plane, member.slot)),
        "in_flight": total(ServerCell.IN_FLIGHT),
        "idle": total(ServerCell.IDLE),
        "requests": sum(total(ServerCell.CLASS + k) for k in range(6)),
        "failures": sum(total(cell) for cell in _FAILURES),
        "source": "config" if member.configured else "runtime",
        "removing": member.leaves,
    }


def _workers(plane: Plane) -> list[Json]:
    shown: list[Json] = []
    for worker in plane.crew.workers:
        cells = plane.cells.worker(worker.index)
        shown.append(
            {
                "index": worker.index,
                "pid": worker.pid,
                "snapshot": worker.adopted,
                "connections": cells[WorkerCell.CONNECTIONS],
                "in_flight": cells[WorkerCell.IN_FLIGHT],
                "requests": cells[WorkerCell.REQUESTS],
                "restarts": worker.restarts,
            }
        )
    return shown


def _limits(plane: Plane) -> list[Json]:
    return [
        {
            "name": state.limit.name,
            "rate": str(state.limit.rate),
            "key": state.limit.key,
            "algorithm": state.limit.algorithm,
            "dry_run": state.limit.dry_run,
            "allowed": plane.cells.limit_total(state.slot, LimitCell.ALLOWED),
            "refused": plane.cells.limit_total(state.slot, LimitCell.REFUSED),
            "dry_run_refused": plane.cells.limit_total(state.slot, LimitCell.DRY_REFUSED),
            "near": plane.cells.limit_total(state.slot, LimitCell.NEAR),
            "delayed": plane.cells.limit_total(state.slot, LimitCell.DELAYED),
            "banned": plane.cells.limit_total(state.slot, LimitCell.BANNED),
            "store_errors": plane.cells.limit_total(state.slot, LimitCell.STORE_ERRORS),
            "function_errors": plane.cells.limit_total(state.slot, LimitCell.FUNCTION_ERRORS),
            "in_flight": plane.cells.limit_total(state.slot, LimitCell.IN_FLIGHT),
        }
        for state in plane.fleet.snapshot.limits
    ]
