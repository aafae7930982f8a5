"""Limits in a Redis Cluster: exact over any number of Headgates that name the same one.

For each master there is a store of its own (node.py), with its connection, its breaker and its pipeline, and all keys
of a request lie in one slot (`limits/tags.py`). So a request is asked of one master as of a single Redis, and where a
master fails it is the clients of its slots for whom `on_store_error` decides.

Which master serves a slot is read at the start, with each new connection, and when a master says that another one does:

    MOVED           the slot is there from now on: asked again there
    ASK             this key is there already: asked again there, this once
    TRYAGAIN        some keys of the request are here and some there: asked again after a moment
    CLUSTERDOWN     nobody serves the slot just now: the same (that the whole Cluster is down is a failure as any other)

It is asked again three times at the most, and within the deadline that it had; then `on_store_error` decides for this
request alone. Bans and what is taken without asking go the same way and are not lost. Nothing was counted where a
question was turned away, so nothing counts twice.

When a replica takes a dead master's place, the store of that master goes there with its next connection.
"""

import asyncio
import os
import random
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from functools import partial

from headgate.limits.decision import Decision
from headgate.limits.tags import tag
from headgate.model import config
from headgate.model.snapshot import LimitState
from headgate.store import script, topology
from headgate.store.base import Check, LocalStore, Resume
from headgate.store.node import Again, Node
from headgate.store.resp import Reply
from headgate.store.script import Rule
from headgate.store.url import Cluster, Endpoint
from headgate.store.waiting import Waiting
from headgate.store.ways import Tally

_HOPS = 3
_PAUSE = 0.004  # seconds before the first time that a node is asked again; twice as much each time
_FRESH = 0.1  # seconds for which nobody asks again who serves what
_REST = 1.0  # seconds after which what was let pass is charged when no connection was lost
_GRACE = 10.0  # seconds in which a node that serves nothing any more answers what it was asked


class ClusterStore:
    """A store in a Redis Cluster. It belongs to one event loop and begins to connect as soon as that runs."""

    def __init__(
        self,
        store: config.Store,
        named: Cluster,
        local: LocalStore,
        loop: asyncio.AbstractEventLoop,
        *,
        on_change: Callable[[bool], None] = lambda down: None,
        on_error: Callable[[LimitState], None] = lambda limit: None,
        on_time: Callable[[float], None] = lambda seconds: None,
        chance: Callable[[], float] = random.random,
        name: bytes = b"",
    ) -> None:
        """As a RedisStore. on_change: called with whether any master is down, at each change."""
        self.named = named
        self._loop = loop
        self._deadline = store.deadline
        self._on_change = on_change
        self._make = partial(
            Node,
            self,
            store,
            local,
            loop,
            on_error=on_error,
            on_time=on_time,
            chance=chance,
            name=name or os.urandom(8).hex().encode(),
        )
        self._alive = 1
        self._down = False
        self._closed = False
        self._known: list[Endpoint] = [*named.nodes]  # who may know who serves what
        self._read = -_FRESH  # when it was read last
        self._reading: asyncio.Task[None] | None = None
        self._nodes: dict[Endpoint, Node] = {}
        self._leaving: set[Node] = set()
        self._charge_timer: asyncio.TimerHandle | None = None
        self._home = topology.slot(f"{store.prefix}:alive".encode("utf-8", "surrogateescape"))
        # Until it is known who serves what, one stands for all: those that it is asked wrongly are asked again.
        first = self._add(Endpoint(), [0])
        self._slots = [first] * topology.SLOTS

    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision] | None:
        """None, and `resume` is called with the decisions; or the decisions, when Redis need not or cannot be asked."""
        return self._node(checks).hit(checks, resume)

    def charge(self, checks: Sequence[Check]) -> None:
        """Takes without asking, or gives back."""
        self._node(checks).charge(checks)

    def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on, for so long; on this machine alone while its master cannot be asked."""
        self._node([(limit, key, 0)]).ban(limit, key, seconds)

    def release(self, checks: Sequence[Check]) -> None:
        """Gives places back, each to the store that gave it: its slot may have moved since."""
        for check in checks:
            node = self._node([check])
            if not node.has(check):
                node = next((one for one in (*self._nodes.values(), *self._leaving) if one.has(check)), node)
            node.release([check])

    def way(self, checks: Sequence[Check], tallies: Sequence[Tally]) -> None:
        """There is no shorter way than to ask."""

    def gate(self, check: Check, tally: Tally) -> None:
        """Nor here."""

    def forget(self, limit: str, key: bytes) -> None:
        """Forgets what is remembered of a key of the limit of this name: somebody changed what there is of it."""
        for node in self._nodes.values():
            node.forget(limit, key)

    def forget_all(self) -> None:
        """Forgets what is remembered of any key."""
        for node in self._nodes.values():
            node.forget_all()

    def tell(
        self, limit: LimitState, key: bytes, make: Callable[[Rule], bytes], resume: Callable[[Reply], object]
    ) -> None:
        """Sends Redis another command about a key. `resume` is called later, with the reply or None."""
        self._node([(limit, key, 0)]).tell(limit, key, make, resume)

    def close(self) -> None:
        """Gives up all connections. What waits, and whatever still comes, is decided by `on_store_error`."""
        self._closed = True
        for node in (*self._nodes.values(), *self._leaving):
            node.close()
        if self._reading is not None:
            self._reading.cancel()
        if self._charge_timer is not None:
            self._charge_timer.cancel()

    def _node(self, checks: Sequence[Check]) -> Node:
        limit, key, _ = checks[0]
        return self._slots[crc_hqx(tag(limit, key), 0) % topology.SLOTS]

    # What nodes say and ask.

    def elsewhere(self, node: Node, waiting: Waiting, text: str) -> bool:
        """Whether the error means that the Cluster is to be asked elsewhere or again; then it is seen to."""
        word, _, rest = text.partition(" ")
        try:
            if word in ("MOVED", "ASK"):
                number, _, address = rest.partition(" ")
                if not number.isdigit() or int(number) >= topology.SLOTS:
                    return False
                self._redirect(word, int(number), topology.place_of(address, node.endpoint), waiting)
            elif word == "TRYAGAIN" or text.startswith("CLUSTERDOWN Hash slot"):
                self._again_later(node, waiting)
            elif word == "CROSSSLOT":  # a limit of another configuration met one of this
                node.turn_away(waiting)
            else:
                return False
        except ValueError:
            return False
        return True

    def _redirect(self, word: str, slot: int, endpoint: Endpoint, waiting: Waiting) -> None:
        target = self._nodes.get(endpoint)
        if word == "MOVED":
            target = target or self._add(endpoint, [slot])
            self._slots[slot] = target
            self._read_again()
        elif target is None:
            target = self._add(endpoint, [])  # it serves nothing yet
        self._ask_at(target, waiting, asking=word == "ASK")

    def _again_later(self, node: Node, waiting: Waiting) -> None:
        self._read_again()
        again = self._again(waiting)
        pause = _PAUSE * 2**again.hops
        self._loop.call_later(pause, lambda: self._ask_at(self._at(again, node), (waiting[0], again, *waiting[2:])))

    def _at(self, again: Again, node: Node) -> Node:
        return self._node(again.checks) if again.checks else node

    def _ask_at(self, target: Node, waiting: Waiting, *, asking: bool = False) -> None:
        again = self._again(waiting)
        if again.is_over:
            return
        again.hops += 1
        if again.hops > _HOPS or not target.accepts:
            target.turn_away((waiting[0], again, *waiting[2:]))
            return
        target.ask_again(waiting[0], again, waiting[3], asking=asking)

    def _again(self, waiting: Waiting) -> Again:
        checks, resume, asked, form = waiting
        if isinstance(resume, Again):
            return resume
        again = Again(checks, resume)
        if form < script.SIGN:
            # The nodes that are asked after the first are judged by the time that each has for itself.
            again.timer = self._loop.call_at(
                asked + self._deadline, lambda: self._node(checks).turn_away((checks, again, asked, form))
            )
        return again

    def are(self, number: int) -> None:
        """So many Headgates live, as the Cluster said."""
        self._alive = number
        for node in self._nodes.values():
            node.are(number)

    def signs(self, node: Node) -> bool:
        """Whether this node is the one that is told that this Headgate lives."""
        return self._slots[self._home] is node

    @property
    def headgates(self) -> int:
        """How many Headgates lived on this Cluster when that was last heard of, this one included."""
        return next((node.headgates for node in self._nodes.values()), 1)

    @property
    def reason(self) -> str:
        """Which masters cannot be asked, and why; "" while all can."""
        return "; ".join(sorted(node.trouble for node in self._nodes.values() if node.slots and node.is_down))

    def changed(self) -> None:
        """A node went down or came back."""
        down = any(node.is_down for node in self._nodes.values() if node.slots)
        if down is not self._down and not self._closed:
            self._down = down
            self._on_change(down)

    def charge_soon(self) -> None:
        """Something was let pass that the Cluster is to be charged with, and no connection will be made for it."""
        if self._charge_timer is None and not self._closed:
            self._charge_timer = self._loop.call_later(_REST, self._charge)

    def _charge(self) -> None:
        self._charge_timer = None
        for node in self._nodes.values():
            node.charge_owed()

    # Who serves what.

    async def know(self) -> None:
        """Reads who serves what, unless it was just read. Raises LinkFailed."""
        if self._loop.time() < self._read + _FRESH:
            return
        if self._reading is None or self._reading.done():
            self._reading = self._loop.create_task(self._learn())
            self._reading.add_done_callback(_looked_at)
        await asyncio.shield(self._reading)

    def _read_again(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = self._loop.create_task(self._learn_later())
            self._reading.add_done_callback(_looked_at)

    async def _learn_later(self) -> None:
        await asyncio.sleep(max(0.0, self._read + _FRESH - self._loop.time()))
        await self._learn()

    async def _learn(self) -> None:
        self._known.append(self._known.pop(0))  # one that does not answer holds up one attempt, not each
        found = await topology.read(self._known, self._loop)
        self._read = self._loop.time()
        self._adopt(found)

    def _adopt(self, found: list[topology.Range]) -> None:
        masters = {one.master: list[int]() for one in found}
        served: list[Endpoint | None] = [None] * topology.SLOTS
        for one in found:
            numbers = range(one.first, one.last + 1)
            masters[one.master].extend(numbers)
            served[one.first : one.last + 1] = [one.master] * len(numbers)
        for endpoint, node in list(self._nodes.items()):
            heir = (served[node.slots[0]] if node.slots else None) or (None if endpoint.host else found[0].master)
            if endpoint not in masters and heir is not None:
                del self._nodes[endpoint]
                if heir in self._nodes:
                    self._retire(node)
                else:
                    node.move(heir)
                    self._nodes[heir] = node
        for master, slots in masters.items():
            node = self._nodes.get(master) or self._add(master, slots)
            node.slots = slots
        for slot, serving in enumerate(served):
            if serving is not None:
                self._slots[slot] = self._nodes[serving]
            elif self._slots[slot] in self._leaving:  # any other will say who serves it, when somebody does
                self._slots[slot] = self._nodes[found[0].master]
        replicas = [replica for one in found for replica in one.replicas]
        now = dict.fromkeys([*masters, *replicas, *self.named.nodes])
        self._known = [
            *(node for node in self._known if node in now),
            *(node for node in now if node not in self._known),
        ]
        for node in self._leaving:
            self._hand_on(node)
        self.changed()

    def _add(self, endpoint: Endpoint, slots: list[int]) -> Node:
        node = self._nodes[endpoint] = self._make(endpoint=endpoint, slots=slots)
        node.are(self._alive)
        return node

    def _retire(self, node: Node) -> None:
        """A node serves nothing any more. It still answers what it was asked."""
        node.slots = []
        self._leaving.add(node)

        def leave() -> None:
            node.close()
            self._hand_on(node)
            self._leaving.discard(node)

        self._loop.call_later(_GRACE, leave)

    def _hand_on(self, node: Node) -> None:
        """What is owed to a node goes to those that serve its slots."""
        for check in node.settle():
            self._node([check]).owe(check)
            self.charge_soon()


def _looked_at(task: "asyncio.Task[None]") -> None:
    """A failure is told by whoever needs a connection."""
    if not task.cancelled():
        task.exception()
