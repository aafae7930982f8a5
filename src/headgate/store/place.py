"""Where the Redis is that counts: at one address, or wherever Sentinels say that the master is now.

A place is asked for a connection each time that one is needed: after a lost one, say, or an answer by which a Redis
shows that it is no master (READONLY). What a Sentinel says may be old; so the Redis itself is asked whether it is a
master, and when it is not, the store comes again after its pause.
Where the master is is asked again each second too: after a failover by hand, or when a master that was cut off comes
back, Sentinels let the old one take writes for some ten seconds before they tell it, and what it counts then is lost.
Called by the store and by the check before the start.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Protocol

from headgate.store.link import Link, LinkFailed, ask, open_link
from headgate.store.resp import command
from headgate.store.script import probe
from headgate.store.topology import Whole
from headgate.store.url import Cluster, Endpoint, Sentinels, parse

logger = logging.getLogger("headgate.store")

_PATIENCE = 0.5  # seconds for what one Sentinel says


class Place(Protocol):
    """Where a Redis is. Its text stands in logs. watch: seconds between two looks whether a link still leads there."""

    watch: float

    async def open(self, loop: asyncio.AbstractEventLoop) -> Link:
        """A link that is ready for commands. Raises LinkFailed; it has no time limit of its own."""

    async def holds(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the link that was opened last leads where one would be opened now."""


def find(url: str, prefix: str) -> Place:
    """The place that the URL names. prefix: of the keys, of which one is written to see that Redis can count.

    Raises ValueError.
    """
    named = parse(url)
    if isinstance(named, Cluster):
        return Whole(named, prefix)
    written = probe(prefix.encode("utf-8", "surrogateescape"))
    return Fixed(named, written) if isinstance(named, Endpoint) else Master(named, written)


class Fixed:
    """A Redis whose address does not change."""

    watch = 3600.0

    def __init__(self, endpoint: Endpoint, probe: bytes) -> None:
        self._endpoint = endpoint
        self._probe = probe

    async def open(self, loop: asyncio.AbstractEventLoop) -> Link:
        """A link to it. Raises LinkFailed."""
        return await open_link(self._endpoint, self._probe, loop)

    async def holds(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Always."""
        return True

    def __str__(self) -> str:
        return str(self._endpoint)


class Master:
    """The master of a service that Sentinels watch."""

    watch = 1.0

    def __init__(self, named: Sentinels, probe: bytes) -> None:
        self._named = named
        self._probe = probe
        self._sentinels = list(named.sentinels)  # those that answered last come first
        self._question = command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", named.service)
        self._at = ""

    async def open(self, loop: asyncio.AbstractEventLoop) -> Link:
        """A link to the master, wherever the Sentinels say that it is. Raises LinkFailed."""
        endpoint = await self._find(loop)
        try:
            link = await open_link(endpoint, self._probe, loop, master=True)
        except LinkFailed as failure:
            raise LinkFailed(f"{endpoint.at}: {failure.reason}", failure.permanent, failure.silent) from failure
        if endpoint.at != self._at:
            self._at = endpoint.at
            logger.info("limit store %s is at %s", self, endpoint.at)
        return link

    async def holds(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it is still where the last link leads; also when no Sentinel can be asked."""
        try:
            return (await self._find(loop)).at == self._at
        except LinkFailed:
            return True

    async def _find(self, loop: asyncio.AbstractEventLoop) -> Endpoint:
        failures: dict[Endpoint, LinkFailed] = {}
        for sentinel in self._sentinels.copy():
            try:
                async with asyncio.timeout(_PATIENCE):
                    reply = await ask(sentinel, self._question, loop)
                return self._master(reply)
            except LinkFailed as failure:
                failures[sentinel] = failure
            except TimeoutError:
                failures[sentinel] = LinkFailed(f"no answer within {_PATIENCE:g} s")
            finally:
                # One that did not answer is asked last the next time; so none that is silent holds up each attempt.
                if sentinel in failures:
                    self._sentinels.remove(sentinel)
                    self._sentinels.append(sentinel)
        # In the order of the URL, so that the same trouble has the same words each time.
        first = next(one for one in self._named.sentinels if one in failures)
        permanent = all(failure.permanent for failure in failures.values())
        raise LinkFailed(f"no Sentinel helps; {first.at}: {failures[first].reason}", permanent)

    def _master(self, reply: object) -> Endpoint:
        if reply is None:
            raise LinkFailed(f'it knows no service "{self._named.service}"', permanent=True)
        match reply:
            case [bytes(host), bytes(port)] if port.isdigit() and int(port) < 65536:
                return replace(self._named.master, host=host.decode("utf-8", "replace"), port=int(port))
        raise LinkFailed("its answer is not that of a Sentinel", permanent=True)

    def __str__(self) -> str:
        return str(self._named)


def down(place: Place, reason: str) -> str:
    """The line that says so."""
    return f"limit store {place} is down: {reason}; on_store_error decides"
