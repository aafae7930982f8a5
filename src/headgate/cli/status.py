"""`headgate status`: what a running Headgate does, at a glance."""

import json
from collections.abc import Iterable

import click

from headgate.cli.admin import Admin, with_admin
from headgate.cli.answers import Limit, Server, Status, read
from headgate.cli.tables import Row, span, table
from headgate.model.words import counted

_LIMIT_HEADS = ("NAME", "RATE", "KEY", "ALGORITHM", "MODE", "ALLOWED", "REFUSED")
_HEADS = ("ADDRESS", "WEIGHT", "MODE", "HEALTH", "IN FLIGHT", "REQUESTS", "FAILURES", "ADDED", "LAST PROBE")


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print the admin API's answer as it is.")
@with_admin
def status(admin: Admin, as_json: bool) -> None:
    """Show what a running Headgate does: its workers, servers and limits."""
    answer = admin.ask("GET", "/api/v1/status")
    click.echo(json.dumps(answer, indent=2) if as_json else text(read(answer, Status)))


def text(status: Status) -> str:
    """The status for people."""
    blocks = ["\n".join(_summary(status))]
    for upstream in status.upstreams:
        probes = "probed" if upstream.health_check else "not probed"
        servers = servers_table(upstream.servers) if upstream.servers else "no servers"
        blocks.append(f"upstream {upstream.name} ({upstream.policy}, {probes})\n{servers}")
    if status.limits:
        blocks.append("limits\n" + table(_LIMIT_HEADS, [_limit_row(limit) for limit in status.limits]))
    return "\n\n".join(blocks)


def _limit_row(limit: Limit) -> Row:
    mode = "dry run" if limit.dry_run else "on"
    refused = limit.dry_run_refused if limit.dry_run else limit.refused
    return limit.name, limit.rate, limit.key, limit.algorithm, mode, limit.allowed, refused


def servers_table(servers: Iterable[Server]) -> str:
    """The servers of an upstream, one in a line."""
    return table(_HEADS, [server_row(server) for server in servers])


def server_row(server: Server) -> Row:
    """A server's line: what the operator wants, what was seen, what it has done."""
    return (
        server.address,
        server.weight,
        server.mode,
        server.health,
        server.in_flight,
        server.requests,
        server.failures,
        "at run time" if server.source == "runtime" else "",
        server.detail,
    )


def _summary(status: Status) -> Iterable[str]:
    draining = ", draining" if status.draining else ""
    up = f"up {span(status.uptime)}"
    yield f"headgate {status.version}, pid {status.pid}, {up}, snapshot {status.snapshot}{draining}"
    yield f"listening on {', '.join(status.listeners)}"
    workers = counted(len(status.workers), "worker")
    connections = counted(sum(worker.connections for worker in status.workers), "client connection")
    in_flight = counted(sum(worker.in_flight for worker in status.workers), "request")
    requests = sum(worker.requests for worker in status.workers)
    yield f"{workers}, {connections}, {in_flight} in flight, {requests} so far"
    where = "in Redis" if status.store.kind == "redis" else "on this machine"
    if status.store.headgates > 1:
        where += f" by {status.store.headgates} Headgates"
    down = " (Redis does not answer: on_store_error decides)" if status.store.down else ""
    yield f"limits are counted {where}{down}"
