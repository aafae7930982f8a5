"""A new version of the code takes over, and no client sees a difference.

The same command is started again, with whatever code is installed by now. It inherits the listening sockets, the memory
of the limits and the lock of the state file, reads the configuration and the state anew, and starts workers of its own.
When these serve, both accept on the same sockets for a moment; then this process takes no more and finishes what it
has. Should the new one not come up, it is ended and nothing has changed. In the meantime nothing else may be changed
here: the new one has read the state already.
"""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import msgspec

from headgate.control import systemd
from headgate.control.plane import Plane
from headgate.control.sockets import Bound
from headgate.errors import UpgradeFailed
from headgate.wire.handover import ENVIRONMENT, Answer, Handover

logger = logging.getLogger("headgate.control")

_PATIENCE = 60.0  # seconds for the new process to serve
_LAST_WORDS = 5.0  # seconds in which a new process that is told to stop can end its workers
_MOST = 1 << 20  # bytes of its answer


class Upgrade:
    """The way to a successor. done: set when another process has taken over; on_done is called then, before anybody is
    told.
    """

    def __init__(
        self, plane: Plane, *, admin: Bound | None, limits: int, lock: int, command: Sequence[str] | None = None
    ) -> None:
        """limits, lock: descriptors of the limits' memory and of the state file's lock. command: starts the new one."""
        self.done = asyncio.Event()
        self.on_done: Callable[[], None] = lambda: None
        self._plane = plane
        self._admin = admin
        self._limits = limits
        self._lock = lock
        self._command = command or [sys.executable, *sys.orig_argv[1:]]
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self) -> Answer:
        """Has a new process take over. Raises UpgradeFailed, with nothing changed, or Busy when one is on its way."""
        await self._plane.freeze("another process is taking over")
        try:
            answer = await self._successor()
        except BaseException:
            await self._end_process()
            self._plane.thaw()
            raise
        # Sockets' files are the successor's to remove now.
        for bound in (*self._plane.bound.values(), *([self._admin] if self._admin else [])):
            bound.file = None
        systemd.notify(f"MAINPID={answer.pid}")
        logger.info("headgate %s (pid %d) has taken over", answer.version, answer.pid)
        self.on_done()
        self.done.set()
        return answer

    def abort(self) -> None:
        """Ends the new process, should one be coming up: this one was told to stop, and that is meant for both."""
        if self._process and not self.done.is_set():
            self._process.terminate()

    async def _successor(self) -> Answer:
        """Starts the new process and waits until it serves."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            handover = self._handover(theirs.fileno())
            logger.info("upgrading: starting %s", " ".join(self._command))
            try:
                self._process = self._start(handover)
            except OSError as error:
                raise UpgradeFailed(f"{self._command[0]} cannot be started: {error.strerror or error}") from error
            theirs.close()
            try:
                async with asyncio.timeout(_PATIENCE):
                    text = await _read(ours)
            except TimeoutError:
                raise UpgradeFailed(f"the new process does not serve after {_PATIENCE:g} s; it is ended") from None
        try:
            answer = msgspec.json.decode(text, type=Answer)
        except msgspec.MsgspecError:
            raise UpgradeFailed("the new process ended before it served: see its last lines in the log") from None
        if answer.problem:
            raise UpgradeFailed(f"headgate {answer.version} cannot take over: {answer.problem}")
        return answer

    def _handover(self, answer: int) -> Handover:
        return Handover(
            answer,
            {
                str(address): tuple(sock.fileno() for sock in dict.fromkeys(bound.sockets))
                for address, bound in self._plane.bound.items()
            },
            (str(self._plane.fleet.config.admin.listen), self._admin.sockets[0].fileno()) if self._admin else None,
            self._limits,
            self._lock,
            tuple((upstream, str(address)) for upstream, address in self._plane.fleet.down()),
        )

    def _start(self, handover: Handover) -> "subprocess.Popen[bytes]":
        descriptors = [number for numbers in handover.listeners.values() for number in numbers]
        descriptors += [handover.answer, handover.limits, handover.lock]
        descriptors += [handover.admin[1]] if handover.admin else []
        return subprocess.Popen(
            self._command,
            env={**os.environ, ENVIRONMENT: msgspec.json.encode(handover).decode()},
            pass_fds=[number for number in descriptors if number >= 0],
        )

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # Its workers end with it: it is asked first, so that it can see to that.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.shield(asyncio.to_thread(process.wait, _LAST_WORDS))
        process.kill()
        await asyncio.shield(asyncio.to_thread(process.wait))


async def _read(sock: socket.socket) -> bytes:
    """All that comes until the other end is closed."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    text = b""
    while len(text) < _MOST and (piece := await loop.sock_recv(sock, 65536)):
        text += piece
    return text
