"""A store of its own for a test, on a loop that the test runs."""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

import uvloop

from headgate.limits.decision import Decision
from headgate.model.config import Store as Settings
from headgate.model.snapshot import LimitState
from headgate.store.base import Check, Resume
from headgate.store.build import build
from headgate.store.cluster import ClusterStore
from headgate.store.link import Link
from headgate.store.memory import MemoryStore
from headgate.store.redis import RedisStore
from headgate.testing.clock import ManualClock
from headgate.testing.stores import never

T = TypeVar("T")
K = b"192.0.2.1"
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


class Bench:
    """A store on a loop that runs while somebody waits for it."""

    def __init__(self, url: str, loop_factory: Callable[[], asyncio.AbstractEventLoop], deadline: float = 5.0) -> None:
        # The deadline is long where a test is not about it: the machine that runs the tests may be busy.
        self.changes: list[bool] = []
        self.errors: list[LimitState] = []
        self.changed = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self.any = build(
            Settings(url=url, deadline=deadline),
            MemoryStore(ManualClock()),
            self._runner.get_loop(),
            on_change=self._note,
            on_error=self.errors.append,
        )

    @property
    def store(self) -> RedisStore:
        """The store of a single Redis."""
        assert isinstance(self.any, RedisStore)
        return self.any

    @property
    def cluster(self) -> ClusterStore:
        """The store of a Cluster."""
        assert isinstance(self.any, ClusterStore)
        return self.any

    def _note(self, down: bool) -> None:
        self.changes.append(down)
        self.changed.set()

    def run(self, main: Coroutine[object, None, T]) -> T:
        return self._runner.run(main)

    def advance(self, seconds: float) -> None:
        """Lets the time pass, on the clock of Redis: those of loops tick in milliseconds, so a sleep may end early."""
        self.run(asyncio.sleep(seconds + 0.002))

    def hit(self, checks: Sequence[Check], resume: Resume = never) -> Sequence[Decision]:
        """The decisions, waited for."""
        return self.run(self.ask(*checks))

    def charge(self, checks: Sequence[Check]) -> None:
        async def charge() -> None:
            self.any.charge(checks)

        self.run(charge())

    async def ask(self, *checks: Check) -> Sequence[Decision]:
        answer: asyncio.Future[Sequence[Decision]] = asyncio.get_running_loop().create_future()
        decisions = self.any.hit(checks, answer.set_result)
        return await answer if decisions is None else decisions

    def allows(self, one: LimitState, key: bytes = K) -> bool:
        return self.hit([(one, key, 1)])[0].allowed

    def await_change(self, down: bool) -> None:
        """Waits until the breaker is so."""

        async def until() -> None:
            async with asyncio.timeout(30):
                while not self.changes or self.changes[-1] is not down:
                    self.changed.clear()
                    await self.changed.wait()

        self.run(until())

    def close(self) -> None:
        self.any.close()
        loop = self._runner.get_loop()
        links = [thing for thing in gc.get_objects() if type(thing) is Link and thing.opened.get_loop() is loop]
        self.run(_until_lost(links))  # one of TLS says goodbye first, and a loop must not close before
        self._runner.close()


async def _until_lost(links: Sequence[Link]) -> None:
    for patience in (1, 30):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while any(link.is_connected for link in links):
                    await asyncio.sleep(0)
        for link in links:  # whose server is paused, say
            link.abort()
