"""The life of a worker process: it adopts snapshots, listens, sweeps deadlines, and drains.

One sweep, four times a second, serves every deadline of every connection: no timer is started for a request. It also
keeps the coarse clock (`now`) that the data path reads instead of asking the system.
"""

import asyncio
import logging
import os
import resource
import socket
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import partial
from typing import TypeVar

from headgate.errors import ConnectFailed, ExchangeError, Exhausted
from headgate.limits.decision import Decision
from headgate.model.snapshot import Snapshot
from headgate.model.words import counted
from headgate.store.base import Check, Store
from headgate.store.build import build as build_store
from headgate.store.cluster import ClusterStore
from headgate.store.redis import RedisStore
from headgate.store.shared import SharedStore
from headgate.wire.cells import Cells, WorkerCell
from headgate.wire.messages import Adopted, Drained, Launch, Message, StoreChanged
from headgate.worker.absent import Absent
from headgate.worker.access_log import LogWriter
from headgate.worker.account import Account
from headgate.worker.answers import answer, refusal
from headgate.worker.asking import begin
from headgate.worker.bans import Bans
from headgate.worker.course import Course
from headgate.worker.downstream import Downstream
from headgate.worker.functions import Library, Saying
from headgate.worker.guard import Guard
from headgate.worker.listening import Listeners
from headgate.worker.pace import Paces
from headgate.worker.places import Places
from headgate.worker.plan import Plan, Shared
from headgate.worker.refused import Refused
from headgate.worker.server import Server
from headgate.worker.upstream import connect

logger = logging.getLogger("headgate.worker")

T = TypeVar("T")

_SWEEP = 0.25  # seconds
_QUIET = 10.0  # seconds in which a shortage is not logged again
_QUIET_BEFORE_CLOSE = 1.0  # seconds of silence after which a drain closes a connection that asked for nothing


class Worker:
    """What the connections and exchanges of one process share.

    now: seconds of the monotonic clock, at most a sweep old. plan: what is served by. number: of the last request, and
    id_prefix: what makes it an id among all workers.
    """

    def __init__(
        self,
        launch: Launch,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Message], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """send: tells the supervisor something. clock: seconds, monotonic, the same for all processes."""
        self._launch = launch
        self._loop = loop
        self._send = send
        self._clock = clock
        self._cells = Cells(launch.cells, launch.workers)
        self._row = self._cells.worker(launch.index)
        self._local = SharedStore(launch.limits)
        self._clients: set[Downstream | Absent] = set()
        self._listeners = Listeners(self, loop, self._check_drained)
        self._connecting: set[asyncio.Task[None]] = set()
        self._finished: asyncio.Future[None] = loop.create_future()
        self._guard = Guard()
        self._most_clients = _half_of_descriptors()
        self._is_full = False  # accepts no more for now
        self._resuming: asyncio.Task[None] | None = None
        self._swept = clock()
        self._drain_until = 0.0
        self._quiet_until = 0.0
        self._drain_quiet = 0.0
        self._date = b""
        self.draining = False
        self.number = 0
        self.id_prefix = os.urandom(8).hex().encode()
        self.account = Account(self._cells, launch.index)
        self._local.on_uncounted = self.account.store_failed
        self._library = Library(self.account.function_failed)
        lock, secret = self._local.spare_lock, self._local.secret
        self._shared = Shared(self._cells, launch.index, lock, loop.call_later, secret, send, self._library)
        self.paces = Paces()
        self.now = clock()
        self.plan = Plan(Snapshot(0, (), (), ()), None, self._shared, self.now)
        self.store: Store = self._local
        self.bans = Bans(lambda: self.store, send)
        self.refused = Refused(send, self.now)

    # Its life.

    async def run(self) -> None:
        """Serves until it is drained."""
        self._sweep()
        await self._finished
        for server in self.plan.servers.values():
            server.close_idle()
        self.store.close()
        self.account.count()
        if self.account.log is not None:
            self.account.log.close()

    async def adopt(self, snapshot: Snapshot, sockets: dict[str, socket.socket]) -> None:
        """Serves by the snapshot from now on. sockets: the listening sockets that are new, by address."""
        before = self.plan.snapshot
        self._library.adopt(snapshot)
        plan = Plan(snapshot, self.plan, self._shared, self.now)
        for slot, server in self.plan.servers.items():
            if plan.servers.get(slot) is not server:
                server.retire()
        if snapshot.store != before.store or before.version == 0:
            old, self.store = self.store, self._build_store(snapshot)
            if old is not self._local:
                old.close()
        if snapshot.access_log != before.access_log:
            self._open_log(snapshot)
        self.plan = plan
        if snapshot.trusted_proxies != before.trusted_proxies:
            self._guard.trust(self._clients, plan.trusted)
        self.account.count()
        self.account.hides |= plan.hide is not None
        self.refused.keep(snapshot.limits)
        self._guard.most = snapshot.connections.max_per_client
        self._most_clients = snapshot.connections.max or _half_of_descriptors()
        await self._listeners.adopt(snapshot.listeners, sockets)
        self._row[WorkerCell.VERSION] = snapshot.version
        self._send(Adopted(snapshot.version))

    def drain(self, grace: float) -> None:
        """Takes no new connections; ends when what is in flight has ended, or after so many seconds."""
        if self.draining:
            return
        self.draining = True
        self._drain_until = self._clock() + grace  # by the exact clock, or it could be a sweep too short
        self._drain_quiet = min(grace, _QUIET_BEFORE_CLOSE)
        self._listeners.close()
        for client in list(self._clients):
            client.drain(self._drain_quiet)
        self._check_drained()

    def stop(self) -> None:
        """Ends at once."""
        for client in list(self._clients):
            client.abort()
        if not self._finished.done():
            self._finished.set_result(None)

    def forget(self, limit: str, key: bytes) -> None:
        """An operator changed what is counted of this key."""
        if isinstance(self.store, RedisStore | ClusterStore):
            self.store.forget(limit, key)

    def forget_all(self) -> None:
        """The same of many keys."""
        if isinstance(self.store, RedisStore | ClusterStore):
            self.store.forget_all()

    def reopen_log(self) -> None:
        """Opens the access log's file anew."""
        if self.account.log is not None:
            self.account.log.reopen()

    def _open_log(self, snapshot: Snapshot) -> None:
        config, old = snapshot.access_log, self.account.log
        try:
            log = None if config is None else LogWriter(config, self._loop, self.account.dropped)
        except OSError as error:
            # The supervisor tried the path before; what fails here is new and must not stop the service.
            logger.error("access log %s cannot be opened: %s", config.path if config else "", error.strerror)
            log = None
        self.account.log_to(log, config)
        if old is not None:
            old.close()

    def _sweep(self) -> None:
        """Moves the coarse clock and looks at every deadline."""
        if not self._finished.done():
            self._loop.call_later(_SWEEP, self._sweep)  # first of all: whatever goes wrong, there is a next one
        self.now = now = self._clock()
        since = now - self._swept
        lag = max(0, int((since - _SWEEP) * 1e6))
        self._row[WorkerCell.LAG] = max(lag, self._row[WorkerCell.LAG] * 9 // 10)
        self._swept = now
        self._date = formatdate(usegmt=True).encode()
        # Deadlines count from a clock that was up to a sweep behind: looked at so much later, none is early.
        due = now - _SWEEP
        for client in [client for client in self._clients if client.deadline <= due]:
            client.expire(due)
        busy = [client for client in self._clients if client.exchange is not None]
        # In a sweep that is late what clients sent meanwhile may not have been read: its time counts for nobody.
        self.paces.sweep(busy if self.plan.has_min_rates else (), since if since <= 2 * _SWEEP else 0.0)
        for group in self.plan.groups.values():
            group.sweep(now)
        self.refused.sweep(now)
        self.account.count()
        self._row[WorkerCell.CONNECTIONS] = len(self._clients)
        self._row[WorkerCell.IN_FLIGHT] = len(busy)
        if isinstance(self.store, RedisStore | ClusterStore):
            self._row[WorkerCell.HEADGATES] = self.store.headgates
        if self._is_full and len(self._clients) < self._most_clients and self._resuming is None and not self.draining:
            self._resuming = self._loop.create_task(self._accept_again())
        self._listeners.sweep(self._clients, _QUIET_BEFORE_CLOSE)
        if self.draining:
            self._sweep_drain(now)

    async def _accept_again(self) -> None:
        """Some have closed: who waits may come in."""
        self._is_full = False
        try:
            await self._listeners.resume()
        except OSError as error:  # no descriptor is left; the next sweep tries again
            logger.warning("connections cannot be accepted yet: %s", error.strerror)
            self._is_full = True
        finally:
            self._resuming = None

    def _sweep_drain(self, now: float) -> None:
        if now >= self._drain_until:
            logger.warning("%s cut: not over in the time given", counted(len(self._clients), "connection"))
            self.stop()
            return
        for client in list(self._clients):
            client.drain(self._drain_quiet)

    def _check_drained(self) -> None:
        if self.draining and not self._clients and not self._listeners.are_taking_in and not self._finished.done():
            self._send(Drained())
            self._finished.set_result(None)

    def _build_store(self, snapshot: Snapshot) -> Store:
        def changed(down: bool) -> None:
            self._row[WorkerCell.STORE_DOWN] = int(down)
            self._send(StoreChanged(down, store.reason))

        if self._row[WorkerCell.STORE_DOWN]:  # of the one before
            self._row[WorkerCell.STORE_DOWN] = 0
            self._send(StoreChanged(False))
        if not snapshot.store.url:
            return self._local
        store = build_store(
            snapshot.store,
            self._local,
            self._loop,
            on_change=changed,
            on_error=self.account.store_failed,
            on_time=self.account.store_took,
            name=self._local.name,
        )
        return store

    # What connections and exchanges ask of it.

    @property
    def room(self) -> int:
        """How many more connections it may have; less than 0 where it has too many."""
        return self._most_clients - len(self._clients)

    def accepted(self, client: Downstream) -> bool:
        """A client connected. Whether it may stay: not if its address has too many connections already."""
        self._row[WorkerCell.ACCEPTED] += 1
        if not client.trusted and not self._guard.enters(client.ip):
            self._row[WorkerCell.TURNED_AWAY] += 1
            return False
        self._clients.add(client)
        if not self._is_full:
            self._require_room()
        return True

    def _require_room(self) -> None:
        """Makes room for more connections where there is none, or else accepts no more."""
        self._is_full = len(self._clients) >= self._most_clients
        if not self._is_full:
            return
        if self._close_idle():
            self.soon(self._require_room)  # they are gone in the next turn
            return
        logger.warning("%s: no more are accepted until some have closed", counted(len(self._clients), "connection"))
        self._listeners.pause()

    def _close_idle(self) -> bool:
        """Closes the connections that have been idle for longest between two requests; whether there were any.

        A twentieth of all at a time, because finding them takes a look at all.
        """
        idle = [client for client in self._clients if client.is_idle]
        idle.sort(key=lambda client: client.deadline)
        for client in idle[: max(1, self._most_clients // 20)]:
            client.drain()
        return bool(idle)

    def absent(self, client: Absent) -> None:
        """A client has gone and its request goes on."""
        self._clients.add(client)

    def closed(self, client: Downstream | Absent) -> None:
        """A client's connection is gone."""
        if client in self._clients:
            self._clients.remove(client)
            if not client.trusted:
                self._guard.leaves(client.ip)
        if self.draining:
            self._check_drained()

    def ask(self, saying: Saying[T]) -> "T | asyncio.Task[T]":
        """What functions of users say; the task where one of them must be awaited."""
        return begin(saying, self._loop.create_task, self.later)

    def tried(self, checks: Sequence[Check], places: Places | None) -> None:
        """Counts a request under limits that are only tried, each for itself; nobody waits for them.

        places: of the request, where it may hold some.
        """
        for check in checks:
            told = partial(self._tried, check)
            decisions = (self.store if places is None else places).hit([check], told)
            if decisions is not None:
                told(decisions)

    def _tried(self, check: Check, decisions: Sequence[Decision]) -> None:
        self.account.decided(decisions)
        if not decisions[0].allowed and not decisions[0].unavailable:
            self.refused.note([check], decisions)

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls it in the next turn of the loop."""
        self._loop.call_soon(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Calls it after so many seconds."""
        return self._loop.call_later(seconds, callback)

    def answer(
        self,
        error: ExchangeError,
        connection: bytes,
        decisions: Sequence[Decision] = (),
        *,
        head_only: bool = False,
    ) -> bytes:
        """A whole response for an error."""
        return answer(error, date=self._date, connection=connection, decisions=decisions, head_only=head_only)

    def refusal(self, decisions: Sequence[Decision], connection: bytes, *, head_only: bool) -> bytes:
        """A whole response for a request that limits refuse."""
        return refusal(decisions, date=self._date, connection=connection, head_only=head_only)

    def connect(self, server: Server, exchange: Course) -> asyncio.Task[None]:
        """Connects to the server; the exchange is resumed with the connection or fails with ConnectFailed."""
        task = self._loop.create_task(self._connect(server, exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task

    async def _connect(self, server: Server, exchange: Course) -> None:
        try:
            connection = await connect(server)
        except ConnectFailed as error:
            exchange.fail(error)
        except Exhausted as error:
            if self.now >= self._quiet_until:
                self._quiet_until = self.now + _QUIET
                logger.error("cannot connect to %s: %s; raise the limit of open files?", server.name, error)
            exchange.fail(error)
        else:
            exchange.resume(connection)


def _half_of_descriptors() -> int:
    """So many clients can each have a connection to a server."""
    return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
