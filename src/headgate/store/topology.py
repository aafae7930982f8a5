"""Which master of a Redis Cluster serves which slots, as any of its nodes says it.

A slot is a hash of a key's name, of the part of it in braces where there are any (the tag). What a node says may be
old. Whoever asks the wrong master is told the right one (MOVED), so it need not be right, only mostly.
"""

import asyncio
from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from headgate.store.link import Link, LinkFailed, ask, open_link
from headgate.store.resp import Reply, command
from headgate.store.script import probe
from headgate.store.url import Cluster, Endpoint

SLOTS = 16384
_PATIENCE = 0.5  # seconds for what one node says
_GOLDEN = 0.6180339887  # its multiples modulo 1 lie as far apart as they can, however many they are
_QUESTION = command(b"CLUSTER", b"SLOTS")  # CLUSTER SHARDS is unknown before Redis 7


@dataclass(frozen=True, slots=True)
class Range:
    """Slots that one master serves, the first and the last one of them. replicas: those that have its keys too."""

    first: int
    last: int
    master: Endpoint
    replicas: tuple[Endpoint, ...] = ()


def slot(name: bytes) -> int:
    """The slot of a key's name."""
    begin = name.find(b"{")
    if begin >= 0 and (end := name.find(b"}", begin)) > begin + 1:
        name = name[begin + 1 : end]
    return crc_hqx(name, 0) % SLOTS


def probe_in(prefix: str, slots: Sequence[int], attempt: int = 0) -> bytes:
    """The probe (`script.probe`) for a node that serves these slots; one that writes nothing where it serves none.

    attempt: another one leads to another slot mostly, for one that just moves cannot be written to.
    """
    if not slots:
        return probe(None)
    tag = tag_in(slots[int(attempt * _GOLDEN % 1 * len(slots))])
    return probe(b"%b:{%b}" % (prefix.encode("utf-8", "surrogateescape"), tag))


def tag_in(number: int) -> bytes:
    """A tag of four letters whose slot is this one.

    A CRC is linear: which bits of the slot change with a bit of the tag does not depend on the others. So it is known
    for each bit of a slot which bits of the tag change that one alone. To try tags until one fits takes some 16,000.
    """
    wanted, bits = number ^ slot(_letters(0)), 0
    for bit, change in enumerate(_changes()):
        if wanted >> bit & 1:
            bits ^= change
    return _letters(bits)


def _letters(bits: int) -> bytes:
    """A tag for each number of 16 bits, four of them in each letter: from `@` to `O`."""
    return bytes([0x40 | bits >> shift & 15 for shift in (12, 8, 4, 0)])


@cache
def _changes() -> list[int]:
    """What changes each bit of a slot alone: Gauss-Jordan elimination, modulo 2, of what each bit of a tag does."""
    known: dict[int, tuple[int, int]] = {}  # by its highest bit: what changes in the slot, and by what in the tag
    for bit in range(16):
        effect, change = slot(_letters(1 << bit)) ^ slot(_letters(0)), 1 << bit
        for place, (its_effect, its_change) in known.items():
            if effect >> place & 1:
                effect, change = effect ^ its_effect, change ^ its_change
        if effect:
            new = effect.bit_length() - 1
            for place, (its_effect, its_change) in known.items():
                if its_effect >> new & 1:
                    known[place] = its_effect ^ effect, its_change ^ change
            known[new] = effect, change
    return [known[place][1] for place in range(14)]


def place_of(text: str, said_by: Endpoint) -> Endpoint:
    """The node of `host:port`, as MOVED names it. A node that does not know its own host leaves it out."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError("not a node")
    return replace(said_by, host=said_by.host if host in ("", "?") else host.strip("[]"), port=int(port))


def ranges(reply: Reply, said_by: Endpoint) -> list[Range]:
    """What a node said. Raises LinkFailed when it is no answer of one."""
    found: list[Range] = []
    for entry in reply if isinstance(reply, list) else [None]:
        match entry:
            case [int(first), int(last), [_, *_] as master, *replicas] if 0 <= first <= last < SLOTS:
                found.append(Range(first, last, _node(master, said_by), tuple(_node(one, said_by) for one in replicas)))
            case _:
                raise LinkFailed("its answer is not that of a Cluster's node", permanent=True)
    return found


def _node(reply: Reply, said_by: Endpoint) -> Endpoint:
    match reply:
        case [bytes(host), int(port), *_] if 0 < port < 65536:
            return place_of(f"{host.decode('utf-8', 'replace')}:{port}", said_by)
        case [None, int(port), *_] if 0 < port < 65536:
            return place_of(f":{port}", said_by)
    raise LinkFailed("its answer is not that of a Cluster's node", permanent=True)


async def read(nodes: Iterable[Endpoint], loop: asyncio.AbstractEventLoop) -> list[Range]:
    """What the first node says that says something; the nodes are asked in turn. Raises LinkFailed."""
    failures: dict[Endpoint, LinkFailed] = {}
    for node in nodes:
        try:
            async with asyncio.timeout(_PATIENCE):
                found = ranges(await ask(node, _QUESTION, loop), node)
            if found:
                return found
            failures[node] = LinkFailed("it knows of no slot that is served")
        except LinkFailed as failure:
            failures[node] = failure
        except TimeoutError:
            failures[node] = LinkFailed(f"no answer within {_PATIENCE:g} s")
    first = min(failures, key=lambda node: node.at)  # so that the same trouble has the same words each time
    permanent = all(failure.permanent for failure in failures.values())
    raise LinkFailed(f"no node of the Cluster helps; {first.at}: {failures[first].reason}", permanent)


class Whole:
    """All masters of a Cluster, for the check before the start."""

    watch = 3600.0

    def __init__(self, named: Cluster, prefix: str) -> None:
        self._named = named
        self._prefix = prefix

    async def open(self, loop: asyncio.AbstractEventLoop) -> Link:
        """A link to one of the masters, after each was seen to count. Raises LinkFailed."""
        if "{" in self._prefix:
            raise LinkFailed("store.prefix has a brace, which in a Cluster says where a key lies", permanent=True)
        found = await read(self._named.nodes, loop)
        slots: dict[Endpoint, list[int]] = {}
        for one in found:
            slots.setdefault(one.master, []).extend(range(one.first, one.last + 1))
        link: Link | None = None
        for master, served in slots.items():
            if link is not None:
                link.abort()
            try:
                link = await open_link(master, probe_in(self._prefix, served), loop)
            except LinkFailed as failure:
                raise LinkFailed(f"{master.at}: {failure.reason}", failure.permanent, failure.silent) from failure
        missing = SLOTS - sum(map(len, slots.values()))
        if missing or link is None:
            if link is not None:
                link.abort()
            raise LinkFailed(f"{missing} of its slots are served by nobody")
        return link

    async def holds(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Always: nobody stays at this place."""
        return True

    def __str__(self) -> str:
        return str(self._named)
