"""The worker processes: started, told of snapshots, replaced when they die, drained.

A worker has a row: its place in the cells and its share of each listener's sockets. The row outlives the process, so
a replacement takes over where the other ended, and connections that waited meanwhile are served.
`crew.adopt` never waits: what a worker cannot take yet is kept for it, the newest snapshot in place of older ones. Who
wants to know that a snapshot is everywhere awaits `adopted`.
"""

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine

import msgspec

from headgate.control import child
from headgate.control.channel import Channel
from headgate.control.sockets import Bound
from headgate.errors import StartFailed
from headgate.model.address import Address
from headgate.model.snapshot import Snapshot
from headgate.wire.messages import Adopted, Drain, Drained, Forget, Launch, Message, ReopenLog, Told

logger = logging.getLogger("headgate.workers")

COMMAND = child.command("headgate.worker")
_READY = 20.0  # seconds that a worker has to adopt its first snapshot
_SOON = 1.0  # a worker that dies within so many seconds is replaced with growing delay
_DELAYS = (0.1, 5.0)  # the first and the longest such delay
_LOOK = 0.005  # seconds between two looks at a worker that is ending
_LATE = 1.0  # seconds that adopting a snapshot may take before it is worth a word
_REAP = 2.0  # seconds from the end of its channel to the end of a worker, before it is killed


class Worker:
    """One row and the process that serves in it, if any."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: Channel | None = None
        self.adopted = 0  # the version served; 0 until the first
        self.started = 0.0
        self.quick_deaths = 0
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The process's, 0 when there is none."""
        return self.process.pid if self.process else 0

    @property
    def is_serving(self) -> bool:
        """Whether there is a process that has adopted a snapshot."""
        return self.process is not None and self.adopted > 0


class Crew:
    """All workers of the machine."""

    def __init__(
        self,
        count: int,
        *,
        cells: int,
        limits: int,
        on_death: Callable[[int], None],
        on_told: Callable[[int, Told], None] = lambda row, message: None,
        command: tuple[str, ...] = COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """cells, limits: the descriptors that every worker inherits. on_death: told the row when a worker is gone.

        on_told: given the row and what its worker says that is not about its own life.
        """
        self.workers = [Worker(index) for index in range(count)]
        self.draining = False
        self._shared = (cells, limits)
        self._on_death = on_death
        self._on_told = on_told
        self._command = command
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._sent = 0.0  # when a snapshot was sent last
        self._bound: dict[Address, Bound] = {}
        self._changed = asyncio.Event()  # set and renewed at every step of any worker
        self._chores: set[asyncio.Task[None]] = set()

    async def start(self, snapshot: Snapshot, bound: dict[Address, Bound]) -> None:
        """Starts all and returns when all serve. Raises StartFailed when one does not come up; none is left then."""
        self._snapshot, self._bound = snapshot, bound
        try:
            for worker in self.workers:
                self._launch(worker)
        except OSError as error:
            await self.kill()
            raise StartFailed(f"a worker cannot be started: {error}") from error
        deadline = self._clock() + _READY
        while not all(worker.is_serving for worker in self.workers):
            dead = [worker for worker in self.workers if worker.process is None]
            if dead or not await self._step(deadline):
                which = (dead or [worker for worker in self.workers if not worker.is_serving])[0]
                await self.kill()
                raise StartFailed(f"worker {which.index} does not come up: see its last lines above")

    def adopt(self, snapshot: Snapshot, bound: dict[Address, Bound]) -> None:
        """Sends the snapshot to every worker, with the sockets that it does not have yet."""
        self._sent = self._clock()
        self._snapshot, self._bound = snapshot, bound
        for worker in self.workers:
            if worker.channel:
                worker.channel.adopt(snapshot, self._sockets_of(worker))

    async def adopted(self, version: int, patience: float) -> bool:
        """Waits until every serving worker serves this version or a later one; False when they do not in time."""
        deadline = self._clock() + patience
        while any(worker.is_serving and worker.adopted < version for worker in self.workers):
            if not await self._step(deadline):
                return False
        return True

    def oldest_version(self) -> int:
        """The oldest version that a worker still serves; a worker that comes up may have begun with any."""
        return min((worker.adopted for worker in self.workers if worker.process), default=sys.maxsize)

    def laggards(self, version: int) -> list[Worker]:
        """The workers that serve an older version although this one was sent to them a while ago."""
        if self._clock() - self._sent < _LATE:
            return []
        return [worker for worker in self.workers if worker.is_serving and worker.adopted < version]

    @property
    def is_whole(self) -> bool:
        """Whether every row has a worker that serves."""
        return all(worker.is_serving for worker in self.workers)

    def tell(self, message: ReopenLog | Forget) -> None:
        """Sends every worker a message."""
        for worker in self.workers:
            if worker.channel:
                worker.channel.send(message)

    async def drain(self, grace: float) -> None:
        """Lets every worker finish what it has, for so many seconds; a second later it is ended."""
        self.draining = True
        for worker in self.workers:
            if worker.channel:
                worker.channel.send(Drain(grace))
        deadline = self._clock() + grace + 1.0
        while any(worker.process for worker in self.workers) and await self._step(deadline):
            pass
        await self.kill()

    async def kill(self) -> None:
        """Ends every worker at once."""
        self.draining = True
        for worker in self.workers:
            if worker.process:
                worker.process.kill()
        deadline = self._clock() + 2 * _REAP
        while any(worker.process for worker in self.workers) and await self._step(deadline):
            pass
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)

    def _launch(self, worker: Worker) -> None:
        assert self._snapshot is not None
        ours, theirs = Channel.pair()
        cells, limits = self._shared
        launch = Launch(worker.index, len(self.workers), theirs.fileno(), cells, limits)
        try:
            # A process group of its own: Ctrl-C in a terminal reaches the supervisor alone, which decides for all.
            process = subprocess.Popen(
                [*self._command, msgspec.json.encode(launch).decode()],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), cells, limits),
                process_group=0,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        worker.process = process
        worker.started = self._clock()
        worker.adopted = 0
        worker.channel = Channel(
            ours,
            on_message=lambda message: self._heard(worker, message),
            on_end=lambda: self._keep(self._bury(worker)),
        )
        worker.channel.adopt(self._snapshot, self._sockets_of(worker))
        asyncio.get_running_loop().call_later(_READY, self._require_ready, worker, process)

    def _require_ready(self, worker: Worker, process: "subprocess.Popen[bytes]") -> None:
        if worker.process is process and not worker.is_serving:
            logger.error("worker %d (pid %d) is not ready after %g s", worker.index, process.pid, _READY)
            process.kill()

    def _sockets_of(self, worker: Worker) -> dict[Address, socket.socket]:
        return {address: bound.sockets[worker.index] for address, bound in self._bound.items()}

    def _heard(self, worker: Worker, message: Message) -> None:
        if isinstance(message, Told):
            self._on_told(worker.index, message)
            return
        if isinstance(message, Adopted):
            worker.adopted = message.version
        elif not isinstance(message, Drained):
            logger.error("worker %d sent a %s, which only a supervisor sends", worker.index, type(message).__name__)
        self._wake()

    async def _bury(self, worker: Worker) -> None:
        """Takes note of a worker's end and replaces it, unless all are to end."""
        process = worker.process
        assert process is not None
        status = await self._reap(process)
        if worker.channel:
            worker.channel.close()
        worker.process = worker.channel = None
        was_ready, worker.adopted = worker.adopted > 0, 0
        self._on_death(worker.index)
        self._wake()
        if self.draining:
            return
        logger.error("worker %d (pid %d) died: %s", worker.index, process.pid, _cause(status))
        quick = not was_ready or self._clock() - worker.started < _SOON
        worker.quick_deaths = worker.quick_deaths + 1 if quick else 0
        await self._replace(worker)

    async def _reap(self, process: "subprocess.Popen[bytes]") -> int:
        """The exit status of a worker whose channel ended. One that does not end by itself is killed."""
        # Looked at again and again rather than waited for in a thread: the loop's threads may all be busy with
        # names that a broken DNS does not resolve, and a worker must be replaced nevertheless.
        deadline = self._clock() + _REAP
        while (status := process.poll()) is None:
            if self._clock() >= deadline:
                process.kill()
            await asyncio.sleep(_LOOK)
        return status

    async def _replace(self, worker: Worker) -> None:
        first, longest = _DELAYS
        if worker.quick_deaths:
            await asyncio.sleep(min(first * 2 ** min(worker.quick_deaths - 1, 10), longest))
        while not self.draining:
            try:
                self._launch(worker)
            except OSError as error:
                logger.error("worker %d cannot be started: %s", worker.index, error)
                await asyncio.sleep(longest)
            else:
                worker.restarts += 1
                logger.info("worker %d is replaced (pid %d)", worker.index, worker.pid)
                return

    def _keep(self, chore: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _step(self, deadline: float) -> bool:
        """Waits for the next step of any worker; False when the deadline comes first."""
        try:
            async with asyncio.timeout(max(deadline - self._clock(), 0)):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _cause(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
