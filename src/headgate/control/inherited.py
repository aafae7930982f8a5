"""What this process takes over from the Headgate whose place it takes; nothing when a person started it.

The sockets listen already and the limits are counted already, so no client sees a difference. The other half of the
story is upgrade.py's.
"""

import contextlib
import os
import socket
from collections.abc import Iterable, Sequence

import msgspec

from headgate import __version__
from headgate.control.sockets import Bound
from headgate.errors import UserError
from headgate.model.address import Address
from headgate.store.shared import SharedStore
from headgate.wire.handover import ENVIRONMENT, Answer, Handover


class Inherited:
    """Sockets, memory and lock of the process before this one. lock: of its state file, -1 for none.

    down: the servers that it had found down, each with its upstream.
    """

    def __init__(self, handover: Handover | None = None) -> None:
        """Raises OSError when the descriptors are not there."""
        self.listeners: dict[Address, list[socket.socket]] = {}
        self.lock = -1
        self.down: list[tuple[str, Address]] = []
        self._admin: dict[Address, list[socket.socket]] = {}
        self._limits = -1
        self._answer: socket.socket | None = None
        if handover is not None:
            self._take(handover)

    @classmethod
    def from_environment(cls) -> "Inherited":
        """What the environment says of; it says it once. Raises UserError when that is not so."""
        text = os.environ.pop(ENVIRONMENT, "")
        if not text:
            return cls()
        try:
            return cls(msgspec.json.decode(text, type=Handover))
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise UserError(f"{ENVIRONMENT} is set, and not by a Headgate that is being upgraded: {error}") from error

    def admin(self, address: Address) -> Sequence[socket.socket]:
        """The admin API's socket, if it listens on that address already."""
        return self._admin.get(address, ())

    def limits(self) -> int:
        """A descriptor of the limit store's memory: that of before, if it is laid out as here, or a fresh one."""
        if self._limits >= 0 and SharedStore.knows(self._limits):
            return self._limits
        if self._limits >= 0:
            os.close(self._limits)
        return SharedStore.create()

    def ready(self, used: Iterable[Bound]) -> None:
        """Tells the process before this one that its work is done. used: what this process listens on.

        What it does not is closed first: clients must not wait where nobody accepts. Files of sockets are this
        process's once the other was told, and not before: should this one not come up they must stay.
        """
        used = list(used)
        kept = {sock for bound in used for sock in bound.sockets}
        given = {sock for sockets in (*self.listeners.values(), *self._admin.values()) for sock in sockets}
        for sock in given - kept:
            if sock.fileno() >= 0 and sock.family == socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    os.unlink(sock.getsockname())
            sock.close()
        if self.lock >= 0:
            os.close(self.lock)  # the state file has its own
            self.lock = -1
        if self._tell(Answer(__version__, os.getpid())):
            for bound in used:
                bound.own()

    def failed(self, problem: str) -> None:
        """Tells it that this process cannot take its place, and why."""
        self._tell(Answer(__version__, os.getpid(), problem))

    def _take(self, handover: Handover) -> None:
        self._answer = _socket(handover.answer)
        for address, descriptors in handover.listeners.items():
            self.listeners[Address.parse(address)] = [_socket(descriptor) for descriptor in descriptors]
        if handover.admin is not None:
            address, descriptor = handover.admin
            self._admin[Address.parse(address)] = [_socket(descriptor)]
        self.down = [(upstream, Address.parse(address)) for upstream, address in handover.down]
        for descriptor in (handover.limits, handover.lock):
            if descriptor >= 0:
                os.set_inheritable(descriptor, False)
        self._limits, self.lock = handover.limits, handover.lock

    def _tell(self, answer: Answer) -> bool:
        """Whether somebody heard it."""
        if self._answer is None:
            return False
        with self._answer as sock:
            self._answer = None
            sock.setblocking(True)
            try:
                sock.sendall(msgspec.json.encode(answer))
            except OSError:  # it did not wait; it goes on by itself and kills this process
                return False
        return True


def _socket(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock
