"""What must hold between the steps of a simulation, and the counting at its end."""

import json
from typing import TYPE_CHECKING

from headgate.wire.cells import FLAGS, ServerCell, WorkerCell
from headgate.worker.absent import Absent
from headgate.worker.downstream import Downstream
from headgate.worker.phase import Phase
from tests.exchange.fakes import FakeTransport
from tests.simulation.servers import SimulatedServer

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

HIGH = 10_000  # bytes that wait for a peer when no more is to be read for it; little, so that it comes to that
_PIECE = 65536  # bytes of one read at the most


def check_between_steps(sim: "Simulation") -> None:
    """What holds whenever nothing is on its way."""
    worker = sim.world.worker
    for flag in ("IE", "RLSE"):
        assert not sim.world.flagged(flag), f"flag {flag}"
    exchanges = [client.exchange for client in worker._clients if client.exchange is not None]
    sends = [exchange for exchange in exchanges if exchange.connection is not None]
    held = sum(exchange._holds is not None for exchange in exchanges)  # from the choice of a server on
    assert sim.world.in_flight() == held, f"{sim.world.in_flight()} counted, {held} in flight"
    idle = [connection for server in worker.plan.servers.values() for connection in server.idle]
    assert len({id(connection) for connection in idle}) == len(idle), "twice among the idle"
    for live in worker.plan.servers.values():
        assert not sim.max_requests or live.cells[ServerCell.IN_FLIGHT] <= sim.max_requests, f"{live.name} has too many"
        assert live.admitted or not live.idle, f"{live.name} is to be left alone and has idle connections"
    for connection in idle:
        assert connection.exchange is None, "idle and busy"
        assert not connection.is_lost, "idle and lost"
    for exchange in sends:
        assert exchange.connection is not None
        assert exchange.connection.exchange is exchange, "a connection of two exchanges"
    for server in sim.servers:
        connection = server.peer.connection
        if server.peer.end == "":
            assert connection in idle or connection.exchange in sends, f"{server} is open, and nobody has it"
        waits = server.peer.transport.get_write_buffer_size()
        assert waits <= HIGH + 2 * _PIECE, f"{waits} bytes wait for {server}"
    for client in worker._clients:
        _check_client(client)
    for server in sim.servers:
        if server.in_tunnel and server.is_connected and not server.faulty:
            _check_tunnel(sim, server)
    downstreams = sum(type(client) is Downstream for client in worker._clients)
    assert sum(worker._guard._counts.values()) == downstreams, "connections are counted wrong"


def _check_client(client: Downstream | Absent) -> None:
    exchange = client.exchange
    assert client.deadline < float("inf") or (exchange is not None and exchange._phase is Phase.STORE), "no deadline"
    if exchange is not None:
        assert exchange._phase is not Phase.OVER, "an exchange that is over is kept"
    if isinstance(client, Absent):
        assert exchange is not None, "nobody, for nothing"
        return
    waits = client.transport.get_write_buffer_size()
    assert waits <= HIGH + 2 * _PIECE, f"{waits} bytes wait for a client"
    if exchange is not None and exchange.connection is not None:
        server, here = exchange.connection.transport, client.transport
        assert isinstance(server, FakeTransport)
        assert isinstance(here, FakeTransport)
        assert not (exchange.connection.paused and here.reading), "a client is read although the server is slow"
        if exchange._phase in (Phase.RESPONSE_BODY, Phase.TUNNEL):
            assert not (client.paused and server.reading), "a server is read although the client is slow"
    assert len(client.buffer) <= 2 * _PIECE, f"{len(client.buffer)} bytes of requests sent ahead"
    if exchange is not None and exchange._upload is not None and exchange.connection is None:
        assert len(exchange._upload.backlog) <= 2 * _PIECE, "too much of a body waits"


def _check_tunnel(sim: "Simulation", server: SimulatedServer) -> None:
    """When one end has sent its last, and nothing is left on the way, the other knows."""
    assert server.answer is not None
    client = sim.client_of(server.answer.request)
    if client.tunnel is not server.answer or not client.is_connected or client.faulty:
        return
    ends = (server, client)
    for here, there in (ends, ends[::-1]):
        if here.is_done and not here.peer.transport.unread and not there.peer.transport.get_write_buffer_size():
            assert there.peer.end, f"{there} does not know that the tunnel's other end is done"


def check_log(sim: "Simulation") -> None:
    """Every request is counted once, and logged as what it was."""
    lines = [json.loads(line) for line in sim.log.lines]
    cells, servers = sim.world.cells, range(sim.slots)
    counted = sim.world.worker_cell(WorkerCell.REQUESTS)
    flags = sum(sim.world.flagged(flag) for flag in FLAGS)
    classes = sum(cells.server(0, slot)[ServerCell.CLASS + kind] for slot in servers for kind in range(6))
    assert len(lines) == counted == flags + classes, f"{len(lines)} {counted} {flags} {classes}"
    logged: dict[int, int] = {}
    for line in lines:
        request = sim.request_of(line["target"].encode()) if "/q" in line["target"] else None
        if request is None:
            continue
        assert request.number not in logged, f"{request.mark!r} is logged twice"
        logged[request.number] = line["status"]
    for request in sim.requests:
        if request.sent < request.head_size or request.flaw == "head" or request.status == 408:
            continue
        assert not request.answers or request.number in logged, f"{request.mark!r} is not logged"
        if request.outcome == "answered":
            assert request.number in logged, f"{request.mark!r} is not logged"
            assert logged[request.number] == request.status, f"{request.mark!r}: {logged[request.number]} in the log"
