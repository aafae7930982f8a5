"""A worker among simulated clients and servers, all of whose doings, and those of time, are drawn from one seed.

Nothing here is real: transports, loop and clock are those of `tests/exchange`, so a run takes milliseconds and the same
seed always plays the same run. What must hold is checked by the clients and servers as they read (`clients.py`,
`servers.py`), between the steps (`checks.py`) and at the end (`_settle`): nothing is counted twice or for ever, no
memory grows beyond its bound, every wait has an end, and every request that came whole has exactly one outcome.

A run is calm or not. In a calm one nothing goes wrong, so every request must be answered by a server. In the others
clients and servers do what they must not; then an answer of Headgate's own, or a connection that breaks off, must have
one of the reasons for which that is right (`judge.py`).

That the simulation notices mistakes is shown by `mutations.py`.
"""

import gc
import random
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

from headgate.model.address import Address
from headgate.model.config import Connections, Ejection, Limit, Listener, Rate, Retry, Route, Timeouts
from headgate.model.server import Mode, Probe, ServerState
from headgate.model.snapshot import LimitState
from headgate.wire.cells import ServerCell, WorkerCell
from headgate.worker import queue, upstream
from headgate.worker.exchange import Exchange
from headgate.worker.phase import Phase
from headgate.worker.upstream import ServerConnection
from tests.exchange.fakes import FakeTransport
from tests.exchange.kit import World
from tests.simulation.checks import HIGH, check_between_steps, check_log
from tests.simulation.clients import SimulatedClient
from tests.simulation.draws import Draws
from tests.simulation.judge import ROUTES
from tests.simulation.messages import Answer, Request, draw_request
from tests.simulation.servers import SimulatedServer

_SMALL = (0, 1, 7, 40, 200, 200, 3000, 3000, 30_000)
_LARGE = (0, 40, 3000, 70_000, 400_000, 600_000)
_AWAITED = ("request_head", "request_body", "idle", "queue", "connect", "response_head", "response_body")
_CLIENTS = 6  # at a time
_GIVEN_UP = 3000.0  # seconds after which everything must be over, whatever it waits for


class Simulation:
    """One run. `draws` decides everything."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.journal: list[str] = []
        self.is_calm = draws.chance(25)
        self.is_finishing = False
        self.is_large = draws.chance(15)
        self.sizes = _LARGE if self.is_large else _SMALL
        self.clients: list[SimulatedClient] = []
        self.servers: list[SimulatedServer] = []
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.faults = 0  # of servers
        self.quiet_faults = 0  # those of them that Headgate knows of
        self._owners: list[SimulatedClient] = []  # of the requests, by their number
        self.slots = 0
        self.was_empty = False
        self.stops_at = float("inf")
        self._set_up()

    # Its world.

    def _set_up(self) -> None:
        draws = self.draws
        count = draws.between(1, 4)
        timeouts = self._draw_timeouts()
        self.limit = LimitState(Limit("per_ip", Rate(draws.pick((2, 5, 1000)), 60.0)), 0)
        ejection = Ejection(failures=draws.pick((0, 1, 3)), base=draws.pick((1.0, 5.0)))
        self.world = world = World(count, timeouts=timeouts, ejection=ejection)
        self.slots = count
        loop = world.loop
        world.worker._local._clock = lambda: int(loop.now * 1e6)
        world.worker._clients = _Ordered()  # type: ignore[assignment]  # a set has another order in each run
        world.holds_connects = True
        routes = tuple(self._draw_route(number, timeouts) for number in range(ROUTES))
        self._most_per_client = draws.pick((0, 0, 3))
        self.max_requests = draws.pick((0, 0, 0, 1, 2))  # of each server
        states = tuple(replace(state, max_requests=self.max_requests) for state in World.states(count))
        size = 1000 if self.is_calm else draws.pick((0, 1, 1000))
        web = replace(world.snapshot.upstreams[0], servers=states, queue=size)
        self._adopt(
            upstreams=(web,),
            routes=routes,
            limits=(self.limit,),
            connections=Connections(max_per_client=self._most_per_client),
        )
        world.listener = Listener(Address("127.0.0.1", 8000), timeouts)
        self.most_sends = max(route.retry.attempts for route in routes)
        every = [timeouts, *(route.timeouts for route in routes)]
        self.least = min(
            [2.0, *(value for each in every for value in _values(each) if value)]
            + [route.on_client_gone for route in routes if route.on_client_gone]
        )
        self.began = world.loop.now
        self.log = world.logs("json")
        self.note(f"{'calm' if self.is_calm else 'wild'}, {count} servers, {timeouts}, {ejection}, {routes}")

    def _draw_timeouts(self) -> Timeouts:
        if self.is_calm:
            return replace(Timeouts(tunnel=60.0), **dict.fromkeys(_AWAITED, 60.0))  # type: ignore[arg-type]
        pick, min_rate = self.draws.pick, 1000 * self.is_large
        awaited = {name: pick((0.5, 1.0, 3.0, 6.0)) for name in _AWAITED}
        timeouts = Timeouts(
            total=pick((0.0, 0.0, 2.0, 8.0)),
            tunnel=pick((1.0, 5.0)),
            server_idle=8.0,
            request_min_rate=min_rate,
            response_min_rate=min_rate,
            min_rate_window=2.0,
        )
        return replace(timeouts, **awaited)  # type: ignore[arg-type]  # those are all durations

    def _draw_route(self, number: int, timeouts: Timeouts) -> Route:
        draws = self.draws
        conditions = ("reset", "timeout", "malformed", 503)
        retry = Retry(
            on=tuple(condition for condition in conditions if draws.chance(60)),
            attempts=draws.pick((1, 2, 3)),
            budget=draws.pick((0, 20, 100)),
        )
        return Route(
            "web",
            path=f"/r{number}",
            limits=("per_ip",) if draws.chance(30) else (),
            upgrades=draws.pick((("*",), ("*",), ("other",))),
            retry=retry,
            on_client_gone=60.0 if self.is_calm else draws.pick((0.0, 0.0, 1.0, float("inf"))),
            timeouts=timeouts if self.is_calm or draws.chance(50) else self._draw_timeouts(),
        )

    def _adopt(self, **changes: object) -> None:
        snapshot = self.world.snapshot
        self.world.adopt(replace(snapshot, version=snapshot.version + 1, **changes))  # type: ignore[arg-type]
        self.was_empty |= not any(server.admitted for server in self.world.worker.plan.servers.values())

    @property
    def now(self) -> float:
        """The time of the simulation."""
        return self.world.loop.now

    def note(self, what: str) -> None:
        """Keeps what happened, to be shown should the run fail."""
        self.journal.append(f"{self.world.loop.now:9.2f} {what}" if hasattr(self, "world") else what)

    # The run.

    def run(self) -> None:
        """Plays it; raises AssertionError with a journal of the run when something does not hold."""
        try:
            with (
                patch.object(ServerConnection, "has_news", _has_news),
                patch.object(upstream, "HIGH_WATER", HIGH),
                patch.object(queue, "random", random.Random(0)),
                patch.object(queue, "_LOOK", 0.05),  # or most of the time would go into looks
            ):
                self._play()
        except BaseException as error:
            gc.unfreeze()
            gc.enable()
            error.add_note("\n".join(["how it went:", *self.journal[-60:]]))
            raise
        finally:
            self.world.worker._local.close()  # or ten thousand runs would need as many descriptors
        self.world.end()

    def _play(self) -> None:
        for _ in range(self.draws.between(20, 400)):
            self._step()
        if self.draws.chance(70):
            self._finish()
        self._settle()

    def _step(self) -> None:
        choice = self.draws.below(100)
        if choice < 6 or not self.clients:
            self._connect_client()
        elif choice < 44:
            self._one_of(self.clients)
        elif choice < 80:
            self._one_of(self.servers)
        elif choice < 92:
            self._decide_attempt()
        elif choice < 95:
            self._disturb()
        elif choice < 98:
            self._let_time_pass()
        else:
            self._operate()
        if self.draws.chance(70):
            self.world.loop.run()
        else:
            for _ in range(self.draws.below(4)):
                self.world.loop.step()
        self._observe()

    def _observe(self) -> None:
        """Lets everybody read, and checks what must hold when nothing is on its way."""
        for server in self.servers:
            server.read()
        for client in self.clients:
            client.read()
        if self.world.loop.is_quiet:
            self.quiet_faults = self.faults
            check_between_steps(self)

    def _connect_client(self) -> None:
        if self.world.worker.draining or sum(client.is_connected for client in self.clients) >= _CLIENTS // (
            1 + self.is_large
        ):
            return
        requests: list[Request] = []
        for _ in range(self.draws.pick((1, 1, 2, 3, 5))):
            number = len(self.requests)
            request = draw_request(self.draws, number, sizes=self.sizes, routes=ROUTES, calm=self.is_calm)
            self.requests.append(request)
            requests.append(request)
        peer = self.world.client((f"192.0.2.{self.draws.between(1, 3)}", 4000))
        peer.transport.set_write_buffer_limits(HIGH)
        client = SimulatedClient(self, peer, requests)
        self._owners += [client] * len(requests)
        self.clients.append(client)
        self.note(f"{client} connects from {peer.protocol.ip}: {[request.wire[:30] for request in requests]}")
        if peer.end == "reset":
            assert self._most_per_client, f"{client} was turned away"
            client.faulty = "turned away"

    def _one_of(self, actors: "list[SimulatedClient] | list[SimulatedServer]") -> None:
        able = [actor for actor in actors if actor.can_act()]
        if able:
            self.draws.pick(able).act(calm=self.is_calm)

    def _decide_attempt(self) -> None:
        attempts = [attempt for attempt in self.world.attempts if attempt._exchange is not None]
        if not attempts:
            return
        attempt = self.draws.pick(attempts)
        assert attempt._exchange is not None
        request = self.request_of(attempt._exchange.head.target)
        how = (
            "succeed" if self.is_calm else self.draws.pick(("succeed",) * 6 + ("refuse", "starve", "hang up", "greet"))
        )
        self.note(f"a connection to {attempt.server.name} for {request.mark!r}: {how}")
        if how != "succeed":
            request.troubles.append(how)
            self.faults += 1
        if how == "refuse":
            attempt.refuse()
        elif how == "starve":
            attempt.starve()
        else:
            peer = attempt.succeed(greeting=b"220 poison\r\n" * (how == "greet"), hangs_up=how == "hang up")
            server = SimulatedServer(self, peer)
            if self.is_finishing:
                peer.transport.stalled = False
                peer.transport.drain()
            server.is_done = how != "succeed"
            server.faulty = "" if how == "succeed" else how
            self.servers.append(server)

    def _disturb(self) -> None:
        """An idle connection is closed by its server, or is not as silent as it should be."""
        idle = [server for server in self.servers if server.is_connected and server.is_idle and not server.is_done]
        if self.is_calm or not idle:
            return
        server = self.draws.pick(idle)
        if self.draws.chance(70):
            server.misbehave()
        elif self.world.loop.is_quiet and server.peer.connection.exchange is None:
            self.faults += 1
            server.bothers()

    def _let_time_pass(self) -> None:
        seconds = 0.05 if self.is_calm else self.draws.pick((0.1, 0.3, 0.3, 1.0, 1.0, 3.0, 10.0))
        self.note(f"{seconds} s pass")
        self._advance(seconds)

    def _advance(self, seconds: float) -> None:
        """Lets time pass while everybody reads, and nobody does anything."""
        until = self.now + seconds
        while self.now < until:
            self.world.advance(min(0.25, until - self.now))
            self._observe()

    def _operate(self) -> None:
        """The operator or the prober changes something."""
        draws = self.draws
        servers = list(self.world.snapshot.upstreams[0].servers)
        what = draws.pick(("mode", "probe", "mode", "probe", "add", "add", "remove", "drain"))
        if what == "drain":
            if draws.chance(20):
                grace = 60.0 if self.is_calm else draws.pick((0.0, 1.0, 5.0))
                self.note(f"drain for {grace} s")
                # By the worker's clock, which is up to a sweep behind.
                self.stops_at = min(self.stops_at, self.world.worker.now + grace)
                self.world.worker.drain(grace)
            return
        if what == "add":
            servers.append(ServerState(Address(f"s{self.slots + 1}", 80), self.slots, max_requests=self.max_requests))
            self.world.slots.add(self.slots)
            self.slots += 1
        elif servers:
            at = draws.below(len(servers))
            if what == "remove":
                del servers[at]
            elif what == "mode":
                servers[at] = replace(servers[at], mode=draws.pick((Mode.READY, Mode.READY, Mode.DRAIN, Mode.MAINT)))
            else:
                servers[at] = replace(servers[at], probe=draws.pick((Probe.UP, Probe.UP, Probe.DOWN)))
        usable = [server for server in servers if server.mode is Mode.READY and server.probe is not Probe.DOWN]
        if self.is_calm and not usable:
            return
        self.note(f"{what}: {[(str(server.address), server.mode.value, server.probe.value) for server in servers]}")
        self._adopt(upstreams=(replace(self.world.snapshot.upstreams[0], servers=tuple(servers)),))

    def _finish(self) -> None:
        """Everybody does what is left to do, without a fault and hardly a moment passing: nothing may hang then."""
        self.is_finishing = True
        self.note("all finish")
        for actor in self._actors():
            actor.peer.transport.stalled = False
            actor.peer.transport.drain()
        still = 0
        while still < 20:
            before = len(self.journal)
            for actor in self._actors():
                if actor.can_act():
                    actor.act(calm=True)
                    actor.peer.transport.stalled = False
                    actor.peer.transport.drain()
                self.world.loop.run()
            for _ in range(8):
                self._finish_attempt()
            self.world.advance(0.01 if self.max_requests else 0.0)  # in which who waits for a server looks again
            self._observe()
            still = 0 if len(self.journal) > before else still + 1
            assert len(self.journal) < 50_000, "it comes to no end"
        for client in self.clients:
            self._check_nothing_hangs(client)

    def _actors(self) -> list[SimulatedClient | SimulatedServer]:
        return [*self.clients, *self.servers]

    def _finish_attempt(self) -> None:
        calm, self.is_calm = self.is_calm, True
        self._decide_attempt()
        self.is_calm = calm
        self.world.loop.run()

    def _check_nothing_hangs(self, client: SimulatedClient) -> None:
        if client.faulty or not client.is_connected or client.tunnel is not None or client.says_close:
            return
        exchange = client.peer.protocol.exchange
        if exchange is not None and exchange._phase is Phase.QUEUE and not self._has_room(exchange):
            return  # behind one whose client will not send the rest
        for request in client.requests:
            assert request.outcome or not request.is_whole, f"{client}: {request.mark!r} hangs"

    def _has_room(self, exchange: Exchange) -> bool:
        """Whether there is a server that would take the exchange and has room for it."""
        group = self.world.worker.plan.groups["web"]
        tried = group.queue._waiting.get(exchange, ())
        servers = [server for server in group.servers if server not in tried]
        usable = [server for server in servers if server.admitted and server.ejected_until <= self.now]
        return any(server.cells[ServerCell.IN_FLIGHT] < self.max_requests for server in usable)

    def _settle(self) -> None:
        """Nobody does anything more: time alone must end it all. Then everything must add up."""
        self.note("all stop")
        worker, until = self.world.worker, self.now + _GIVEN_UP
        self.world.loop.run()
        self._observe()
        while worker._clients:
            assert self.now < until, f"{len(worker._clients)} connections stay for ever"
            self._advance(5.0)
        self._advance(1.0)
        for client in self.clients:
            assert client.peer.end in ("closed", "reset"), f"{client} is open, and nobody has it"
        if not worker.draining:
            assert self.world.worker_cell(WorkerCell.IN_FLIGHT) == self.world.worker_cell(WorkerCell.CONNECTIONS) == 0
            for server in worker.plan.servers.values():
                assert server.cells[ServerCell.IDLE] == len(server.idle)
        else:
            assert worker._finished.done(), "the drain does not end"
        assert not worker._guard._counts, "connections are counted for ever"
        check_log(self)

    # What the clients and servers ask of it.

    def request_of(self, target: bytes) -> Request:
        """The request that the target names."""
        return self.requests[int(target.rpartition(b"/q")[2])]

    def client_of(self, request: Request) -> SimulatedClient:
        """The client that sends the request."""
        return self._owners[request.number]


def _has_news(connection: ServerConnection) -> bool:
    """What the system would say: `ServerConnection.has_news` asks it about a real socket."""
    transport = connection.transport
    assert isinstance(transport, FakeTransport)
    return transport.has_news


class _Ordered(dict[object, None]):
    """A set that keeps its order."""

    def add(self, thing: object) -> None:
        self[thing] = None

    def remove(self, thing: object) -> None:
        del self[thing]


def _values(timeouts: Timeouts) -> Iterator[float]:
    for name in (*_AWAITED, "total", "tunnel"):
        yield getattr(timeouts, name)


def run_seed(seed: int) -> Simulation:
    """Plays the run of a seed; what does not hold raises, with how to play it again."""
    if seed % 50 == 0:
        gc.collect()  # worlds are full of cycles, and each has descriptors
    simulation = Simulation(Draws(seed))
    try:
        simulation.run()
    except BaseException as error:
        error.add_note(f"to play it again: HEADGATE_SEED={seed} make test ARGS=tests/simulation")
        raise
    return simulation
