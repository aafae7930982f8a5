"""The store of one master of a Redis Cluster, and what becomes of questions that it turns away.

It is a store as for a single Redis, but for the names of its keys, where it finds its Redis, and that the Cluster sees
to what must be asked elsewhere. Only `cluster.py` makes one.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from headgate.limits.decision import Decision
from headgate.limits.keys import limit_identity
from headgate.limits.tags import tag
from headgate.model import config
from headgate.model.snapshot import LimitState
from headgate.store import script, topology
from headgate.store.base import Check, LocalStore, Resume
from headgate.store.breaker import State
from headgate.store.holders import Asked
from headgate.store.link import Link, open_link
from headgate.store.redis import RedisStore
from headgate.store.resp import Reply
from headgate.store.script import Rule
from headgate.store.url import Cluster, Endpoint
from headgate.store.waiting import Told, Waiting

logger = logging.getLogger("headgate.store")

_ALL = 65536  # more than is ever owed


class Around(Protocol):
    """The Cluster around a node."""

    named: Cluster

    def elsewhere(self, node: "Node", waiting: Waiting, text: str) -> bool:
        """Whether the error means that the Cluster is to be asked elsewhere or again; then it is seen to."""

    def are(self, number: int) -> None:
        """So many Headgates live, as the Cluster said."""

    def signs(self, node: "Node") -> bool:
        """Whether this node is the one that is told that this Headgate lives."""

    def changed(self) -> None:
        """A node went down or came back."""

    def charge_soon(self) -> None:
        """Something was let pass that is to be charged, and no connection will be made for it."""

    async def know(self) -> None:
        """Reads who serves what, unless it was just read. Raises LinkFailed."""


class TaggedRule(Rule):
    """A limit as a Redis Cluster is told of it: `PREFIX:{TAG}:LIMIT:KEY`."""

    __slots__ = ("_begin", "_rest")

    def __init__(self, limit: LimitState, prefix: str) -> None:
        super().__init__(limit, prefix)
        self._begin = f"{prefix}:{{".encode("utf-8", "surrogateescape")
        self._rest = f"}}:{limit_identity(limit.limit)}:".encode("utf-8", "surrogateescape")

    def key(self, key: bytes) -> bytes:
        """The name of the key in Redis, as a bulk string."""
        name = b"".join((self._begin, tag(self.limit, key), self._rest, key))
        return b"$%d\r\n%b\r\n" % (len(name), name)


class Again:
    """Who waits for what is asked again. It is told once, whatever answers come still."""

    __slots__ = ("checks", "hops", "is_over", "resume", "timer")

    def __init__(self, checks: Sequence[Check], resume: Resume) -> None:
        self.checks = checks
        self.resume = resume
        self.hops = 0
        self.is_over = False
        self.timer: asyncio.TimerHandle | None = None

    @property
    def command(self) -> bytes:
        """That of an operator."""
        assert isinstance(self.resume, Told)
        return self.resume.command

    def end(self) -> None:
        """From now on nobody is told anything."""
        self.is_over = True
        if self.timer is not None:
            self.timer.cancel()

    def reply(self, reply: Reply) -> None:
        """The answer for an operator."""
        assert isinstance(self.resume, Told)
        self.end()
        self.resume.reply(reply)

    def __call__(self, decisions: Sequence[Decision]) -> None:
        if not self.is_over:
            self.end()
            self.resume(decisions)


class Node(RedisStore):
    """The store of one master. slots: that it serves, the first of which says what becomes of it when it fails."""

    _rule = TaggedRule

    def __init__(
        self,
        cluster: Around,
        store: config.Store,
        local: LocalStore,
        loop: asyncio.AbstractEventLoop,
        *,
        on_error: Callable[[LimitState], None],
        on_time: Callable[[float], None],
        chance: Callable[[], float],
        name: bytes,
        endpoint: Endpoint,
        slots: list[int],
    ) -> None:
        self._cluster = cluster
        self.endpoint = endpoint
        self.slots = slots
        self._shard = Shard(cluster, self, store.prefix)
        super().__init__(
            store,
            local,
            loop,
            on_change=lambda down: cluster.changed(),
            on_error=on_error,
            on_time=on_time,
            chance=chance,
            name=name,
            place=self._shard,
        )

    @property
    def is_down(self) -> bool:
        """Whether it cannot be asked."""
        return self._breaker.state is State.DOWN

    @property
    def trouble(self) -> str:
        """Where it is, if that is known, and why it cannot be asked."""
        return f"{self.endpoint.at}: {self.reason}" if self.endpoint.host else self.reason

    @property
    def accepts(self) -> bool:
        """Whether it is asked."""
        return self._accepts

    def move(self, endpoint: Endpoint) -> None:
        """Another Redis has taken the place of this one."""
        if self.endpoint.host:
            logger.info("limit store %s is at %s", self._shard, endpoint.at)
        self.endpoint = endpoint
        if self._link is not None:
            self._fail("the master is another one now")

    def ask_again(self, checks: Sequence[Check], again: Again, form: int, *, asking: bool) -> None:
        """Asks what another node did not answer. asking: although the slot is not here yet."""
        if asking:
            self._send(script.ASKING)
            form |= script.WITH_TEXT  # a second question, for the script, would have to be announced as well
        if isinstance(again.resume, Asked):
            again.resume = again.resume.moved_to(self._holders)
        self._put(checks, again, self._loop.time(), form)

    def turn_away(self, waiting: Waiting) -> None:
        """Decides what no node does; what was to be taken is kept for later."""
        checks, resume, _, form = waiting
        if not (isinstance(resume, Again) and resume.is_over):
            for check in checks if form in (script.CHARGE, script.CHARGE_WITH_TEXT) else ():
                self.owe(check)
            self._leave(waiting)
            self._cluster.charge_soon()

    def are(self, number: int) -> None:
        """So many Headgates live."""
        self._peers.are(number)

    def has(self, check: Check) -> bool:
        """Whether a request that this store let pass holds a place of the key."""
        return self._holders.has(check[0], check[1])

    def settle(self) -> list[Check]:
        """What it is owed, which it forgets."""
        return self._peers.settle(_ALL)

    def owe(self, check: Check) -> None:
        """It is owed this."""
        self._peers.passed(check)

    def charge_owed(self) -> None:
        """Charges it with what it is owed, if it can be asked."""
        if self._link is not None:
            self._charges.begin()

    def _elsewhere(self, waiting: Waiting, text: str) -> bool:
        return self._cluster.elsewhere(self, waiting, text)

    def _heard(self, answer: bytes) -> None:
        super()._heard(answer)
        self._cluster.are(self._peers.count)

    def _sign(self) -> None:
        if self._cluster.signs(self):
            super()._sign()

    def _leave(self, waiting: Waiting) -> None:
        checks, resume, asked, form = waiting
        if isinstance(resume, Again):
            if resume.is_over:
                return
            resume.end()
            resume = resume.resume
        super()._leave((checks, resume, asked, form))


class Shard:
    """Where the master is that serves the slots of a node."""

    watch = 3600.0

    def __init__(self, cluster: Around, node: Node, prefix: str) -> None:
        self._cluster = cluster
        self._node = node
        self._prefix = prefix
        self._attempt = 0

    async def open(self, loop: asyncio.AbstractEventLoop) -> Link:
        """A link to it. Raises LinkFailed."""
        self._attempt += 1
        await self._cluster.know()
        node = self._node
        return await open_link(node.endpoint, topology.probe_in(self._prefix, node.slots, self._attempt), loop)

    async def holds(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Always: a master that serves a slot no more says so."""
        return True

    def __str__(self) -> str:
        at = self._node.endpoint
        return f"{self._cluster.named} at {at.at}" if at.host else str(self._cluster.named)
