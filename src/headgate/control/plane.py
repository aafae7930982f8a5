"""The control plane at work: everything that can change while Headgate runs, and the one way in which it changes.

A change is proposed, checked, written to the state file, applied to the fleet and published to the workers, in this
order and one at a time; it fails before anything was applied or not at all. The admin API, the signals and the checker
all come through here. Starting and stopping are the supervisor's.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from headgate.control import functions
from headgate.control import overlay as overlays
from headgate.control import tuning as tunings
from headgate.control.checker import Checker, Probing
from headgate.control.counting import Counting
from headgate.control.events import Events
from headgate.control.fleet import Fleet, Key
from headgate.control.httpcheck import Result, probe
from headgate.control.overlay import Overlay
from headgate.control.preflight import preflight
from headgate.control.refusals import Refusals
from headgate.control.sockets import Bound, bind_all, close_all
from headgate.control.state import StateFile
from headgate.control.tuning import Tuning
from headgate.control.unused import unused
from headgate.control.workers import Crew
from headgate.errors import Busy, Exists, StateFailed
from headgate.limits.keytext import shown
from headgate.model.address import Address
from headgate.model.config import Config
from headgate.model.server import Mode, Probe
from headgate.model.words import counted
from headgate.wire.cells import Cells, ServerCell
from headgate.wire.messages import KeyBanned, StoreChanged, Told, Tops

logger = logging.getLogger("headgate.control")
health_logger = logging.getLogger("headgate.health")

_PATIENCE = 2.0  # seconds that a change waits for the workers before it is reported as done
_CROWD = 0.01  # seconds in which the prober's verdicts are gathered into one snapshot
_TIDY = 0.1  # seconds between two looks at what waits for the workers


class Reloaded(NamedTuple):
    """What came of a reload: the version served, whether anything changed, and what needs a restart to change."""

    version: int
    changed: bool
    restart: list[str]


class Plane:
    """What runs now. Made by the supervisor when all of its parts are there."""

    def __init__(
        self,
        load: Callable[[], Config],
        *,
        fleet: Fleet,
        state: StateFile,
        bound: dict[Address, Bound],
        cells: Cells,
        crew: Crew,
        limits: int,
        probing: Probing = probe,
    ) -> None:
        """load: reads the configuration anew, at a reload. limits: descriptor of the memory in which they are counted.

        probing: how a server is probed.
        """
        self.fleet = fleet
        self.cells = cells
        self.crew = crew
        self.bound = bound
        self.refusals = Refusals()
        self.events = Events()
        self._without_store: set[int] = set()  # workers that cannot reach the limits' store
        self.counting = Counting(limits, lambda: fleet.config.store)
        self.started = time.time()
        self._load = load
        self._state = state
        self._lock = asyncio.Lock()
        self._closed_for = ""  # why nothing can be changed
        self._is_ending = False
        self._untidy = asyncio.Event()
        self._publishing: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.checker = Checker(self._take_result, probing=probing)

    def heard(self, row: int, message: Told) -> None:
        """A worker told something that is not about its own life. It has logged it itself."""
        if isinstance(message, Tops):
            self.refusals.heard(row, message.tops)
        elif isinstance(message, StoreChanged):
            self._store_changed(row, message)
        elif isinstance(message, KeyBanned):
            key, refusals = shown(message.key), counted(message.refusals, "refusal")
            self.events.add_by_strangers(
                "key_banned",
                f"limit {message.limit}: {key} is banned for {message.seconds:g} s after {refusals}",
                limit=message.limit,
                key=key,
                by="rule",
                seconds=message.seconds,
            )
        else:
            self.events.add(
                "server_ejected",
                f"server {message.server} of {message.upstream} is ejected for {message.seconds:g} s by worker {row}",
                upstream=message.upstream,
                server=message.server,
                seconds=message.seconds,
                worker=row,
            )

    def _store_changed(self, row: int, message: StoreChanged) -> None:
        # One event for what all workers see within moments of each other.
        if message.down and not self._without_store:
            text = f"the limits' store is down: {message.reason}; on_store_error decides"
            self.events.add("store_down", text, reason=message.reason, worker=row)
        elif self._without_store == {row} and not message.down:
            self.events.add("store_back", "the limits' store is back in every worker", worker=row)
        (self._without_store.add if message.down else self._without_store.discard)(row)

    def worker_died(self, row: int) -> None:
        """The worker of this row is gone."""
        self.cells.worker_died(row, self.fleet.slots_in_use())
        self.refusals.died(row)
        if not self.crew.draining:
            self.events.add("worker_died", f"worker {row} died; another takes its place", worker=row)
            self._store_changed(row, StoreChanged(False))  # the one in its place tells anew what it finds

    async def start(self, overlay: Overlay, tuning: Tuning) -> None:
        """Begins to probe and to tidy up; the workers serve already. overlay, tuning: as the state file has them."""
        await self._mend_state(overlay, tuning)
        self.checker.watch(self.fleet.checks())
        self._tasks.append(asyncio.create_task(self._tidy_for_ever()))

    async def close(self) -> None:
        """Ends what `start` began, and a reload that is still at what the configuration names."""
        functions.end()
        self.counting.close()
        await self.checker.close()
        if self._publishing:
            self._publishing.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def freeze(self, why: str) -> None:
        """Lets no more changes through, after those that are under way. Raises Busy when that is so already."""
        self._require_open()
        self._require_future()
        self._closed_for = why
        async with self._lock:
            pass
        if self._is_ending:  # since then
            self.thaw()
            self._require_future()

    def thaw(self) -> None:
        """Lets changes through again."""
        self._closed_for = ""

    def end(self) -> None:
        """Headgate stops: from now on nothing is bound or started any more, by a reload that is under way neither.

        What workers do with servers and limits while they drain can still be changed.
        """
        self._is_ending = True

    def _require_open(self) -> None:
        if self._closed_for:
            raise Busy(self._closed_for)

    def _require_future(self) -> None:
        if self._is_ending:
            raise Busy("Headgate stops")

    def _tell(self, kind: str, what: str, upstream: str, address: Address, **fields: object) -> None:
        """Says what an operator changed of a server."""
        text = f"server {address} of {upstream} {what}"
        self.events.tell(logger.info, kind, text, upstream=upstream, server=str(address), **fields)

    async def add_server(self, upstream: str, address: Address, weight: int | None) -> None:
        """Adds a server. Raises Unknown, Exists, or UserError when it cannot be kept or there is no room."""

        def propose() -> Overlay:
            group = self.fleet.upstream(upstream)
            if self.fleet.has(upstream, address):
                raise Exists(f'server {address} is in upstream "{upstream}" already')
            return overlays.add(self.fleet.overlay, group, str(address), weight)

        await self._change(propose)
        self._tell("server_added", "is added", upstream, address)

    async def set_server(self, upstream: str, address: Address, *, mode: Mode | None, weight: int | None) -> None:
        """Changes what is not None. Raises Unknown, or UserError when it cannot be kept."""

        def propose() -> Overlay:
            self.fleet.member(upstream, address)
            proposed = self.fleet.overlay
            if mode is not None:
                proposed = overlays.set_mode(proposed, upstream, str(address), mode)
            if weight is not None:
                proposed = overlays.set_weight(proposed, upstream, str(address), weight)
            return proposed

        await self._change(propose)
        if mode is not None:
            self._tell("server_mode", f"is set to {mode.value}", upstream, address, mode=mode.value)
        if weight is not None:
            self._tell("server_weight", f"has weight {weight}", upstream, address, weight=weight)

    async def remove_server(self, upstream: str, address: Address, drain: float | None) -> None:
        """Lets a server drain and then leave, after so many seconds at the latest; None for the configuration's.

        Raises Unknown, or UserError when it cannot be kept.
        """

        def propose() -> Overlay:
            self.fleet.member(upstream, address)
            return overlays.remove(self.fleet.overlay, self.fleet.upstream(upstream), str(address))

        await self._change(propose, drain)
        self._tell("server_removed", "is being removed", upstream, address)

    async def tune(self, propose: Callable[[Config, Tuning], Tuning]) -> None:
        """Changes tiers and overrides of limits. Raises what `propose` does, or UserError when it cannot be kept."""
        async with self._lock:
            self._require_open()
            tuning = propose(self.fleet.config, self.fleet.tuning)
            await asyncio.to_thread(self._state.save, self.fleet.overlay, tuning)
            self.fleet.tune(tuning)
            self._publish()
            version = self.fleet.snapshot.version
        await self._adopted(version)

    async def reload(self) -> Reloaded:
        """Goes over to the configuration as it reads now.

        Raises UserError (a ConfigError with all problems when the file is bad) with nothing changed.
        """
        async with self._lock:
            self._require_open()
            self._require_future()
            before = self.fleet.config
            config, restart = _keep_fixed(before, await asyncio.to_thread(self._load))
            for warning in await preflight(config, before):
                logger.warning("%s", warning)
            overlay, tuning = self.fleet.overlay, self.fleet.tuning
            fresh = await self._bind_new(config)
            try:
                self._require_future()  # it has taken a while
                self.fleet.check(config, overlay)
            except BaseException:
                close_all(fresh)
                raise
            self.bound.update(fresh)
            self._close_unlisted(config)
            # A worker that came up since then imported the modules that were there: it looks at them again.
            self._apply(config, overlay, config.drain, again=bool(config.modules))
            await self._mend_state(overlay, tuning)
            version = self.fleet.snapshot.version
        await self._adopted(version)
        changed = config != before
        text = f"the configuration was read again: {f'snapshot {version}' if changed else 'nothing changed'}"
        self.events.tell(logger.info, "reloaded", text, snapshot=version, changed=changed)
        return Reloaded(version, changed, restart)

    async def _bind_new(self, config: Config) -> dict[Address, Bound]:
        news = [listener.address for listener in config.listeners if listener.address not in self.bound]
        return await asyncio.to_thread(bind_all, news, len(self.crew.workers))

    def _close_unlisted(self, config: Config) -> None:
        # The workers have their own descriptors and close them with the snapshot, after taking what waits in them. Ours
        # go before that: a connection that came in between would wait in a socket that no worker looks at any more.
        listed = {listener.address for listener in config.listeners}
        for address in self.bound.keys() - listed:
            self.bound.pop(address).close()

    async def _mend_state(self, before: Overlay, tuning: Tuning) -> None:
        inert = sorted(before.keys() - {upstream.name for upstream in self.fleet.config.upstreams})
        if inert:
            logger.warning("changes made at run time are kept for upstreams that are not there: %s", ", ".join(inert))
        for line in (*unused(self.fleet.config), *tunings.inert(self.fleet.config, self.fleet.tuning)):
            logger.warning("%s", line)
        if self.fleet.overlay == before and self.fleet.tuning == tuning:
            return
        # What the configuration made meaningless is forgotten for good: it must not come back with a later one.
        try:
            await asyncio.to_thread(self._state.save, self.fleet.overlay, self.fleet.tuning)
        except StateFailed as error:
            logger.warning("%s", error)

    async def _change(self, propose: Callable[[], Overlay], drain: float | None = None) -> None:
        async with self._lock:
            self._require_open()
            overlay = propose()
            config = self.fleet.config
            self.fleet.check(config, overlay)
            await asyncio.to_thread(self._state.save, overlay, self.fleet.tuning)
            self._apply(config, overlay, config.drain if drain is None else drain)
            version = self.fleet.snapshot.version
        await self._adopted(version)

    async def _adopted(self, version: int) -> None:
        if not await self.crew.adopted(version, _PATIENCE):
            behind = [str(worker.index) for worker in self.crew.workers if 0 < worker.adopted < version]
            logger.warning("snapshot %d is on its way still to worker %s", version, ", ".join(behind))

    def _apply(self, config: Config, overlay: Overlay, drain: float, *, again: bool = False) -> None:
        self.fleet.apply(config, overlay, leave_at=time.monotonic() + drain)
        self._publish(again=again)
        self.checker.watch(self.fleet.checks())

    def _publish(self, *, again: bool = False) -> None:
        if self._publishing:
            self._publishing.cancel()
            self._publishing = None
        snapshot = self.fleet.publish(again=again)
        if snapshot:
            self.crew.adopt(snapshot, self.bound)
        if not self.fleet.is_tidy:
            self._untidy.set()

    def _take_result(self, key: Key, result: Result) -> None:
        member = self.fleet.observe(key, result.passed, result.text)
        if member is None:
            return
        row = f" ({member.health.row} in a row)" if member.health.row > 1 else ""
        is_down = member.health.verdict is Probe.DOWN
        log, word = (health_logger.warning, "down") if is_down else (health_logger.info, "up")
        text = f"server {key[1]} of {key[0]} is {word}: {result.text}{row}"
        fields = {"upstream": key[0], "server": str(key[1]), "detail": result.text}
        self.events.tell(log, f"server_{word}", text, **fields)
        # In a moment, because verdicts come in crowds: after a start, or when a rack loses its power.
        if self._publishing is None:
            self._publishing = asyncio.get_running_loop().call_later(_CROWD, self._publish)

    async def _tidy_for_ever(self) -> None:
        while True:
            await self._untidy.wait()
            await asyncio.sleep(_TIDY)
            self._tidy()
            if self.fleet.is_tidy:
                self._untidy.clear()

    def _tidy(self) -> None:
        adopted = self.crew.oldest_version()
        slots, left = self.fleet.tidy(time.monotonic(), adopted, self._is_idle)
        for slot in slots:
            self.cells.clear_server(slot)
        for slot in self.fleet.tidy_limits(adopted):
            self.cells.clear_limit(slot)
        if left:
            self._publish()

    def _is_idle(self, slot: int) -> bool:
        return self.cells.server_total(slot, ServerCell.IN_FLIGHT) == 0


def _keep_fixed(old: Config, new: Config) -> tuple[Config, list[str]]:
    """The new configuration with what needs a restart as it was, and the names of what differs in that."""
    admin = replace(new.admin, listen=old.admin.listen)
    differs = [name for name in ("workers", "state_file") if getattr(old, name) != getattr(new, name)]
    if admin != new.admin:
        differs.append("admin.listen")
    if differs:
        logger.warning("a restart is needed for the new %s; the old one stays until then", " and ".join(differs))
    return replace(new, workers=old.workers, state_file=old.state_file, admin=admin), differs
