"""Whether there was a reason for what became of a request.

A request that no server answered must have a fault, a timeout or a limit to show for it. The reasons are taken from
what the simulated peers did, never from what Headgate says.
"""

from typing import TYPE_CHECKING

from tests.simulation.messages import Answer, Request

if TYPE_CHECKING:
    from tests.simulation.clients import SimulatedClient
    from tests.simulation.simulation import Simulation

ROUTES = 2  # of a simulation; a request for a route beyond has none


def judge_admission(sim: "Simulation", request: Request) -> None:
    """The request's head came to a server: within its limit?"""
    limited = sim.world.snapshot.routes[request.route].limits
    if limited and sim.now - sim.began < 60 and not request.answers:
        address = sim.client_of(request).peer.protocol.ip
        others = [
            other
            for other in sim.requests
            if other.answers
            and sim.world.snapshot.routes[other.route].limits
            and sim.client_of(other).peer.protocol.ip == address
        ]
        assert len(others) < sim.limit.limit.rate.limit, f"{request.mark!r} is beyond the limit"


def judge_own_answer(sim: "Simulation", client: "SimulatedClient", request: Request, status: int) -> None:
    """Headgate answered by itself: with a reason?"""
    right = {
        404: request.route == ROUTES,
        408: _is_slow(sim, request),
        429: request.route < ROUTES and bool(sim.world.snapshot.routes[request.route].limits),
        502: bool(request.troubles) or sim.faults > request.faults_before or _is_slow(sim, request),
        503: sim.was_empty or "starve" in request.troubles or _may_be_too_many(sim, request),
        504: _is_slow(sim, request),
    }
    flawed = status in (400, 414, 431, 501, 505) and request.flaw in ("head", "body")
    assert flawed or right.get(status, False), f"{client}: {status} to {request.mark!r} for no reason"


def judge_break(sim: "Simulation", client: "SimulatedClient", request: Request, answer: Answer | None) -> None:
    """The answer broke off: with a reason?"""
    if client.faulty or request.flaw or _is_slow(sim, request) or sim.now >= sim.stops_at:
        return
    assert answer is not None, f"{client}: an answer of Headgate's own to {request.mark!r} broke off"
    assert request.troubles, f"{client}: the answer to {request.mark!r} broke off for no reason"


def judge_silence(sim: "Simulation", client: "SimulatedClient", request: Request) -> None:
    """The connection ended before there was an answer to the request, and it was not said before: with a reason?"""
    if client.faulty or request.flaw or sim.world.worker.draining:
        return
    if client.peer.transport.get_write_buffer_size() or client.takes_slowly:
        return
    assert not request.is_whole, f"{client}: no answer to {request.mark!r}"
    assert sim.now - client.touched >= sim.least, f"{client}: closed before {request.mark!r} for no reason"


def judge_end_of_tunnel(sim: "Simulation", client: "SimulatedClient") -> None:
    """A tunnel is over: did all come through?"""
    answer = client.tunnel
    assert answer is not None
    request = answer.request
    if client.faulty or request.troubles or _is_slow(sim, request) or sim.now >= sim.stops_at:
        return
    server = next(server for server in sim.servers if server.answer is answer)
    assert client.is_done, f"{client}: the tunnel ended, and nobody ended it"
    assert server.is_done, f"{server}: the tunnel ended, and nobody ended it"
    server.read()
    assert client.tunnel_came == server.tunnel_sent, f"{client}: {client.tunnel_came} bytes of {server.tunnel_sent}"
    assert server.tunnel_came == len(client.sent_after(request)), f"{server}: not all came through the tunnel"


def _may_be_too_many(sim: "Simulation", request: Request) -> bool:
    """Whether there may have been no room for the request: the queue was full, or it waited for too long."""
    return sim.max_requests > 0 and (not sim.is_calm or _is_slow(sim, request))


def _is_slow(sim: "Simulation", request: Request) -> bool:
    """Whether any timeout may have passed since the request began."""
    return sim.now - request.since >= sim.least
