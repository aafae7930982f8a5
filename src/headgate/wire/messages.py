"""The messages between the supervisor and a worker, and their framing on the socket pair.

Each message is a 4-byte big-endian length and that many bytes of msgpack. File descriptors (listening sockets) ride
on the first byte of the `Adopt` that names them (SCM_RIGHTS). Reading is fed with bytes and yields messages, so it
knows neither sockets nor loops.
"""

import msgspec

from headgate.model.snapshot import Snapshot

_LENGTH = 4


class Launch(msgspec.Struct, frozen=True, tag=True):
    """What a worker is started with, as JSON in its one argument: descriptors that it inherits, and its place.

    index: 0 to workers - 1, also its row in the cells.
    control, cells, limits: descriptors of the socket pair, the cells' memory and the shared limit store's memory.
    """

    index: int
    workers: int
    control: int
    cells: int
    limits: int


class Adopt(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: serve by this snapshot from now on.

    sockets: the addresses (text form) of the listening sockets that travel with this message, in the order of the
    descriptors; listeners that the worker already has do not travel again.
    """

    snapshot: Snapshot
    sockets: tuple[str, ...] = ()


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: take no new connections, finish what is in flight within so many seconds, then exit."""

    grace: float


class ReopenLog(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: open the access log's file anew, because it was rotated."""


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: an operator changed what is counted of this key, so what Redis said of it holds no more."""

    limit: str
    key: bytes


class ForgetAll(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: the same of more keys than are worth naming."""


class Adopted(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor: this version is the one served now. The first means that the worker is ready."""

    version: int


class Drained(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor: nothing is in flight any more; the process exits by itself."""


class Top(msgspec.Struct, frozen=True):
    """Whom a limit refused most of late.

    total: refusals in all. least: a key that is not among the counters was refused no more often. counters: each a key,
    how often it was refused at the most, and by how much that may be too high; the highest first.
    """

    limit: str
    total: int = 0
    least: int = 0
    counters: tuple[tuple[bytes, int, int], ...] = ()


class Tops(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor: this is what changed for some limits."""

    tops: tuple[Top, ...]


class StoreChanged(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor: the limits' store cannot be reached any more, and why; or it can again."""

    down: bool
    reason: str = ""


class KeyBanned(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor: a key was banned by its limit's own rule, for so many seconds."""

    limit: str
    key: bytes
    seconds: float
    refusals: int


class Ejected(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor: it leaves a server alone for so many seconds."""

    upstream: str
    server: str
    seconds: float


Message = Adopt | Drain | ReopenLog | Forget | ForgetAll | Adopted | Drained | Tops | StoreChanged | KeyBanned | Ejected
Told = Tops | StoreChanged | KeyBanned | Ejected  # of these, what is not about a worker's own life

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def encode(message: Message) -> bytes:
    """The message as it goes on the socket."""
    body = _encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


class Reader:
    """Turns the bytes of the socket back into messages, however they were split."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with these bytes. Raises msgspec.MsgspecError on bytes that are none."""
        self._buffer += data
        messages: list[Message] = []
        while len(self._buffer) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._buffer[:_LENGTH], "big")
            if len(self._buffer) < end:
                break
            messages.append(_decode(bytes(self._buffer[_LENGTH:end])))
            del self._buffer[:end]
        return messages
