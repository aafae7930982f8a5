"""A worker between fake clients and fake servers, so that a test reads like a transcript of bytes.

    client.sends(get())
    server = world.accepted()
    server.sees(forwarded(get()))
    server.sends(ok(b"hi"))
    client.sees(ok(b"hi"))

Whatever happened in a test, `World.end` then holds it to what must always be true: with the clients gone nothing is in
flight, nothing is open but idle connections to servers, and nothing of an exchange is left in memory: not even
reference cycles, for the collector is off.
"""

import asyncio
import gc
import os
import re
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import cast

from headgate.errors import ConnectFailed, ExchangeError, Exhausted
from headgate.limits.decision import Decision
from headgate.model.address import Address
from headgate.model.config import AccessLog, Ejection, Heads, Jwt, Limit, Listener, Rate, Route, Timeouts
from headgate.model.server import ServerState
from headgate.model.snapshot import LimitState, Overrides, Snapshot, UpstreamState
from headgate.store.base import Check, Resume
from headgate.store.shared import SharedStore
from headgate.store.ways import Tally
from headgate.wire.cells import Cells, LimitCell, ServerCell, WorkerCell
from headgate.wire.messages import Launch, Message
from headgate.worker.access_log import LogWriter
from headgate.worker.course import Course
from headgate.worker.downstream import Downstream
from headgate.worker.exchange import Exchange
from headgate.worker.listening import Listeners
from headgate.worker.process import Worker
from headgate.worker.server import Server
from headgate.worker.upstream import ServerConnection
from tests.exchange.fakes import FakeTransport, ManualLoop

TIMEOUTS = Timeouts(
    request_head=10, request_body=20, idle=75, connect=3, response_head=30, response_body=40, server_idle=50
)
NO_EJECTION = Ejection(failures=0)
HEADS = Heads()
NO_OVERRIDES: dict[str, Overrides] = {}
LIMIT = LimitState(Limit("per_ip", Rate(2, 60.0), on_store_error="deny"), 0)


def get(path: bytes = b"/", *fields: bytes, method: bytes = b"GET") -> bytes:
    """A request without a body."""
    return b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, path, b"".join(b"%b\r\n" % field for field in fields))


def post(body: bytes, *fields: bytes, method: bytes = b"POST", path: bytes = b"/") -> bytes:
    """A request with a body of known length."""
    return get(path, *fields, b"Content-Length: %d" % len(body), method=method) + body


def chunked(*pieces: bytes) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def ok(body: bytes = b"", *fields: bytes) -> bytes:
    """A response with a body of known length."""
    lines = b"".join(b"%b\r\n" % field for field in fields)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body)


def forwarded(request: bytes, number: int = 1, client: bytes = b"192.0.2.1", host: bytes = b"a") -> bytes:
    """The request as a server must see it: with the fields that Headgate adds."""
    head, _, body = request.partition(b"\r\n\r\n")
    return (
        b"%b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: %b\r\n"
        b"Via: 1.1 headgate\r\nX-Request-ID: r%x\r\n\r\n%b" % (head, client, host, number, body)
    )


class Peer:
    """One end that the test plays: a client, or a server's side of one connection. has_closed: it can send no more."""

    def __init__(self, world: "World", transport: FakeTransport) -> None:
        self._world = world
        self.has_closed = False
        self._seen = 0
        self.transport = transport

    def sends(self, *pieces: bytes) -> None:
        """These pieces arrive, each in a read of its own."""
        for piece in pieces:
            if piece:
                self.transport.arrive(piece)
        self._world.loop.run()

    def takes(self, size: int | None = None) -> None:
        """Reads so much (or all) of what waits for a peer that stalled."""
        self.transport.drain(size)
        self._world.loop.run()

    def closes(self) -> None:
        """Closes in order."""
        self.has_closed = True
        self.transport.finish()
        self._world.loop.run()

    def resets(self) -> None:
        """Breaks the connection off."""
        self.transport.break_off()
        self._world.loop.run()

    def new(self) -> bytes:
        """What it saw since it last looked."""
        seen = bytes(self.transport.out[self._seen :])
        self._seen = len(self.transport.out)
        return seen

    def sees(self, expected: bytes) -> None:
        """Exactly these bytes came since it last looked."""
        assert self.new() == expected

    def sees_nothing(self) -> None:
        """Nothing came since it last looked."""
        assert self.new() == b""

    @property
    def end(self) -> str:
        """How Headgate ended the connection: "" (open), "eof" (half), "closed", "reset"."""
        return self.transport.end


class Client(Peer):
    """A client. `protocol` is its connection as the worker has it."""

    def __init__(self, world: "World", peer: object) -> None:
        self.protocol = Downstream(world.worker, world.listener)
        super().__init__(world, FakeTransport(world.loop, self.protocol, peer))

    def sees_answer(self, status: int, *, body: bool = True) -> bytes:
        """An answer of Headgate's own with this status came, whole, and nothing else. Returns its lines."""
        head, _, content = self.new().partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 %d [A-Z]" % status, head), head
        length = re.search(rb"\r\nContent-Length: (\d+)(?:\r\n|$)", head)
        assert length is not None
        assert len(content) == (int(length[1]) if body else 0)
        return head + b"\r\n"


class ServerPeer(Peer):
    """A server's side of one connection."""

    def __init__(self, world: "World", connection: ServerConnection) -> None:
        self.connection = connection
        super().__init__(world, FakeTransport(world.loop, connection, ("198.51.100.1", 80)))

    @property
    def name(self) -> str:
        """The server's address."""
        return self.connection.server.name


class Attempt:
    """A connection being made. It stands for the task, of which only `cancel` is asked."""

    def __init__(self, world: "World", server: Server, exchange: Course) -> None:
        self._world = world
        self._exchange: Course | None = exchange
        self.server = server
        self.cancelled = False

    def cancel(self) -> None:
        """Gives it up, unless it is done: as with a task, that can come from inside `succeed` and `refuse`."""
        self.cancelled |= self._exchange is not None
        self._exchange = None

    def succeed(self, *, greeting: bytes = b"", hangs_up: bool = False) -> ServerPeer:
        """The server accepts. greeting: what it says before it is asked; hangs_up: whether it closes at once."""
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        peer = ServerPeer(self._world, ServerConnection(self.server))
        self._world.accepts.append(peer)
        self._world.peers.append(peer)
        if greeting:
            peer.sends(greeting)
        if hangs_up:
            peer.closes()
        exchange.resume(peer.connection)
        self._world.loop.run()
        return peer

    def refuse(self) -> None:
        """The server refuses."""
        self._fail(ConnectFailed("Connection refused"))

    def starve(self) -> None:
        """There is no descriptor left for it."""
        self._fail(Exhausted("Too many open files"))

    def _fail(self, error: ExchangeError) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.fail(error)
            self._world.loop.run()


class FakeListeners(Listeners):
    """None of them is opened."""

    async def adopt(self, listeners: Sequence[Listener], sockets: Mapping[str, socket.socket]) -> None:
        """The test makes the connections."""


class FakeWorker(Worker):
    """A worker whose connections to servers the test makes."""

    world: "World"

    def connect(self, server: Server, exchange: Course) -> "asyncio.Task[None]":
        attempt = Attempt(self.world, server, exchange)
        server.cells[ServerCell.CONNECTS] += 1
        self.world.tried.append(server.name)
        self.world.attempts.append(attempt)
        if not self.world.holds_connects:
            refused = server.name in self.world.refusing
            self._loop.call_soon(self._decide, attempt, refused)
        return cast("asyncio.Task[None]", attempt)

    @staticmethod
    def _decide(attempt: Attempt, refused: bool) -> None:
        if not attempt.cancelled:
            attempt.refuse() if refused else attempt.succeed()


class SlowStore:
    """A store that decides when the test says so, as one elsewhere does."""

    def __init__(self, loop: ManualLoop) -> None:
        self._loop = loop
        self.asked: deque[tuple[Sequence[Check], Resume]] = deque()
        self.banned: list[tuple[str, bytes, float]] = []
        self.charged: list[tuple[str, bytes, int]] = []
        self.released: list[Check] = []

    def hit(self, checks: Sequence[Check], resume: Resume) -> None:
        """Nothing yet."""
        self.asked.append((checks, resume))

    def decide(self, allowed: bool, *, reset_after: int = 0, unavailable: bool = False) -> None:
        """Decides the request that waits the longest, every limit alike."""
        checks, resume = self.asked.popleft()
        resume([Decision(allowed, limit, 0, reset_after, unavailable) for limit, _, _ in checks])
        self._loop.run()

    def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Remembers it."""
        self.banned.append((limit.limit.name, key, seconds))

    def charge(self, checks: Sequence[Check]) -> None:
        """Remembers it."""
        self.charged += [(limit.limit.name, key, cost) for limit, key, cost in checks]

    def release(self, checks: Sequence[Check]) -> None:
        """Remembers them."""
        self.released += checks

    def way(self, checks: Sequence[Check], tallies: Sequence[Tally]) -> None:
        """It must be asked each time."""

    def gate(self, check: Check, tally: Tally) -> None:
        """Nor here."""

    def close(self) -> None:
        """Holds nothing."""


class Lines(LogWriter):
    """Keeps the lines of the access log."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def add(self, line: bytes) -> None:
        self.lines.append(line)

    def close(self, timeout: float = 1.0) -> None:
        """Holds nothing."""


class World:
    """A worker with servers `s1:80`, `s2:80`, ... under one route.

    accepts: connections to servers that no `accepted` fetched yet. tried: servers that were connected to, in order.
    refusing: names of servers that refuse. holds_connects: attempts wait until the test decides them.
    """

    def __init__(
        self,
        servers: int = 1,
        *,
        timeouts: Timeouts = TIMEOUTS,
        ejection: Ejection = NO_EJECTION,
        limits: Sequence[LimitState] = (),
        overrides: dict[str, Overrides] = NO_OVERRIDES,
        of_listener: Sequence[str] = (),
        of_upstream: Sequence[str] = (),
        trusted: Sequence[str] = (),
        heads: Heads = HEADS,
        jwt: Jwt | None = None,
    ) -> None:
        """limits: those of the route, but for those named in of_listener and of_upstream, which are theirs."""
        gc.disable()
        gc.freeze()  # what was there before is not looked at in the end
        self.loop = ManualLoop()  # type: ignore[abstract]  # it has what is asked of it
        self.accepts: deque[ServerPeer] = deque()
        self.peers: list[ServerPeer] = []
        self.clients: list[Client] = []
        self.attempts: list[Attempt] = []
        self.tried: list[str] = []
        self.refusing: set[str] = set()
        self.holds_connects = False
        self.told: list[Message] = []
        self.listener = Listener(Address("127.0.0.1", 8000), timeouts, tuple(of_listener))
        names = [limit.limit.name for limit in limits]
        of_route = tuple(name for name in names if name not in of_listener and name not in of_upstream)
        cells, memory = Cells.create(1), SharedStore.create(1024)
        self.worker = FakeWorker(Launch(0, 1, 0, cells, memory), self.loop, self.told.append, self.loop.time)
        self.worker.world = self
        self.worker._listeners = FakeListeners(self.worker, self.loop, lambda: None)
        self.worker.id_prefix = b"r"
        self.cells = Cells(cells, 1)
        os.close(cells)
        os.close(memory)
        self.snapshot = Snapshot(
            1,
            (self.listener,),
            (UpstreamState("web", self.states(servers), "round_robin", ejection, timeouts, limits=tuple(of_upstream)),),
            (Route("web", path="/", limits=of_route, timeouts=timeouts),),
            limits=tuple(limits),
            overrides=overrides,
            heads=heads,
            trusted_proxies=tuple(trusted),
            jwt=jwt,
        )
        self.adopt(self.snapshot)
        self.worker._sweep()
        self.slots = set(range(servers))

    # What a test does with it.

    @staticmethod
    def states(servers: int) -> tuple[ServerState, ...]:
        """The states of so many servers that are ready."""
        return tuple(ServerState(Address(f"s{n + 1}", 80), n) for n in range(servers))

    def adopt(self, snapshot: Snapshot) -> None:
        """The worker serves by this snapshot from now on."""
        self.snapshot = snapshot
        _run(self.worker.adopt(snapshot, {}))

    def client(self, peer: object = ("192.0.2.1", 4000)) -> Client:
        """A client that has just connected."""
        client = Client(self, peer)
        self.clients.append(client)
        return client

    def accepted(self) -> ServerPeer:
        """The next connection that a server accepted."""
        assert self.accepts, "no server was connected to"
        return self.accepts.popleft()

    def advance(self, seconds: float) -> None:
        """Lets time pass, with the worker's sweeps."""
        self.loop.advance(seconds)

    def logs(self, form: str) -> Lines:
        """The access log from now on."""
        lines = Lines()
        self.worker.account.log_to(lines, AccessLog(form))
        return lines

    def warm(self) -> ServerPeer:
        """An idle connection to the next server, which served one request."""
        client = self.client()
        client.sends(get(b"/warm", b"Connection: close"))
        server = self.accepted()
        server.new()
        server.sends(ok())
        assert client.end == "closed"
        return server

    def idle_too(self) -> ServerPeer:
        """One more idle connection, for which the others are busy meanwhile."""
        clients = [self.client(), self.client()]
        for client in clients:
            client.sends(get(b"/warm", b"Connection: close"))
        server = self.accepted()
        for peer in self.peers:
            if peer.connection.exchange is not None:
                peer.new()
                peer.sends(ok())
        return server

    # What it counted.

    def server_cell(self, cell: ServerCell, slot: int = 0) -> int:
        """A cell of a server."""
        return self.cells.server(0, slot)[cell]

    def server_cell_of(self, name: str, slot: int = 0) -> int:
        """The same by the cell's name."""
        return self.server_cell(ServerCell[name], slot)

    def limit_cell(self, cell: LimitCell, slot: int = 0) -> int:
        """A cell of a limit."""
        self.worker.account.count()
        return self.cells.limit(0, slot)[cell]

    def worker_cell(self, cell: WorkerCell) -> int:
        """A cell of the worker."""
        return self.cells.worker(0)[cell]

    def flagged(self, flag: str) -> int:
        """How many requests ended with this flag."""
        return self.cells.flag_total(flag)

    def responses(self, kind: int, slot: int = 0) -> int:
        """How many responses of this class (2 for 2xx) a server gave."""
        return self.cells.server(0, slot)[ServerCell.CLASS + kind]

    def in_flight(self) -> int:
        """Requests at servers, by the shared cells."""
        return sum(self.cells.server(0, slot)[ServerCell.IN_FLIGHT] for slot in self.slots)

    # What must be true in the end.

    def end(self) -> None:
        """Ends every connection and checks that nothing of any exchange is left."""
        try:
            self._end()
        finally:
            gc.unfreeze()
            gc.enable()

    def _end(self) -> None:
        for client in self.clients:
            client.transport.break_off()
        self.loop.run()
        assert self.in_flight() == 0, "requests are in flight for ever"
        places = sum(self.limit_cell(LimitCell.IN_FLIGHT, limit.slot) for limit in self.snapshot.limits)
        assert places == 0, "a place is held for ever"
        assert not self.worker._clients
        assert all(attempt._exchange is None for attempt in self.attempts), "a connection is made for nobody"
        idle = {id(connection) for server in self.worker.plan.servers.values() for connection in server.idle}
        for peer in self.peers:
            if not peer.end:
                assert id(peer.connection) in idle, "a connection to a server is open and nobody has it"
                assert peer.connection.exchange is None
            else:
                assert id(peer.connection) not in idle, "an idle connection is closed"
        left = [thing for thing in gc.get_objects() if type(thing) is Exchange]
        assert not left, f"{len(left)} exchanges are kept by reference cycles"


def _run(coroutine: Coroutine[None, None, None]) -> None:
    """Runs what never really waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


Make = Callable[..., World]
