"""Active health checks: one task for each server, once for the whole machine.

The checker knows when to probe and whom; what a result means is the business of the fleet, which gets every result
through `report`. Each task begins within a moment, so that a dead server is known soon after the start, but not all at
the same instant; from then on the distance between two probes wavers by a tenth, so that servers that started together
do not get all their probes together.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from headgate.control.httpcheck import Result, probe
from headgate.model.address import Address
from headgate.model.config import HealthCheck

Key = tuple[str, Address]  # the upstream's name and the server's address
Probing = Callable[[Address, HealthCheck, Callable[[], float]], Awaitable[Result]]
Report = Callable[[Key, Result], None]

logger = logging.getLogger("headgate.health")

_FIRST = 0.2  # seconds: the first probe begins within them
_WAVER = 0.1  # of the interval, either way


@dataclass(slots=True)
class _Target:
    check: HealthCheck
    changed: asyncio.Event
    task: "asyncio.Task[None] | None" = None


class Checker:
    """Probes what `watch` was last told of, until `close`."""

    def __init__(
        self,
        report: Report,
        *,
        probing: Probing = probe,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        """report: called with each result, from the loop. clock: seconds, monotonic."""
        self._report = report
        self._probing = probing
        self._clock = clock
        self._chance = chance or random.Random()
        self._targets: dict[Key, _Target] = {}

    def watch(self, checks: Mapping[Key, HealthCheck]) -> None:
        """Probes these servers from now on; those that it probes already go on, by the new settings at once."""
        for key in self._targets.keys() - checks.keys():
            self._end(self._targets.pop(key))
        for key, check in checks.items():
            target = self._targets.get(key)
            if target is None:
                target = self._targets[key] = _Target(check, asyncio.Event())
                target.task = asyncio.create_task(self._probe_for_ever(key, target))
                target.task.add_done_callback(_complain)
            elif target.check != check:
                target.check = check
                target.changed.set()

    async def close(self) -> None:
        """Ends all probes."""
        tasks = [target.task for target in self._targets.values() if target.task]
        self.watch({})
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, target: _Target) -> None:
        if target.task:
            target.task.cancel()

    async def _probe_for_ever(self, key: Key, target: _Target) -> None:
        await asyncio.sleep(self._chance.uniform(0, min(target.check.interval, _FIRST)))
        while True:
            begun = self._clock()
            check = target.check
            result = await self._probing(key[1], check, self._clock)
            if target.check == check:  # else the result answers a question that nobody asks any more
                self._report(key, result)
            pause = target.check.interval * self._chance.uniform(1 - _WAVER, 1 + _WAVER)
            await self._pause(target, begun + pause - self._clock())

    async def _pause(self, target: _Target, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await target.changed.wait()
        except TimeoutError:
            return
        target.changed.clear()


def _complain(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("the health checks of a server ended by a bug", exc_info=error)
