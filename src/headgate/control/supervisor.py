"""The supervisor: the one process that is started, and that starts, feeds and ends the others.

`run` is the story from top to bottom: read, lock, bind, start the workers, serve until a signal, drain. Everything that
can fail for a reason that a person can mend fails before the first worker runs, with one line; from then on nothing but
a signal ends it. What changes in between is the plane's (plane.py).
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator

from headgate import __version__
from headgate.control import logs, systemd
from headgate.control.admin import AdminServer
from headgate.control.fleet import Fleet
from headgate.control.inherited import Inherited
from headgate.control.plane import Plane
from headgate.control.preflight import preflight
from headgate.control.sockets import Bound, bind, bind_all, close_all
from headgate.control.state import StateFile
from headgate.control.upgrade import Upgrade
from headgate.control.workers import COMMAND, Crew
from headgate.errors import ConfigError, UserError
from headgate.model.address import Address
from headgate.model.config import Config
from headgate.model.words import counted
from headgate.wire.cells import Cells
from headgate.wire.messages import ReopenLog

logger = logging.getLogger("headgate.control")


def run(load: Callable[[], Config], *, command: tuple[str, ...] = COMMAND) -> int:
    """Runs Headgate until it is told to stop; the exit code of the command.

    load: reads the configuration, now and at each reload. command: starts a worker, its Launch is added.
    Raises UserError when it cannot start.
    """
    logs.set_up()
    _raise_file_limit()
    inherited = Inherited.from_environment()
    try:
        config = load()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(load, config, command, inherited))
    except UserError as error:
        inherited.failed(str(error))
        raise


async def _serve(load: Callable[[], Config], config: Config, command: tuple[str, ...], inherited: Inherited) -> int:
    signals = _Signals()  # first of all, so that a stop during the start is one
    async with contextlib.AsyncExitStack() as stack:
        state = stack.enter_context(contextlib.closing(StateFile(config.state_file, inherited.lock)))
        overlay, tuning = state.load()
        fleet = Fleet(config, overlay, tuning)
        fleet.assume_down(inherited.down)
        for warning in await preflight(config):
            logger.warning("%s", warning)
        count = config.workers or len(os.sched_getaffinity(0))
        admin = stack.enter_context(_admin_socket(config, inherited))
        bound = stack.enter_context(_listening(config, count, inherited))
        cells_fd, limits_fd = stack.enter_context(_descriptors(Cells.create(count), inherited.limits()))
        cells = Cells(cells_fd, count)
        crew = Crew(
            count,
            cells=cells_fd,
            limits=limits_fd,
            on_death=lambda row: plane.worker_died(row),
            on_told=lambda row, message: plane.heard(row, message),
            command=command,
        )
        stack.push_async_callback(crew.kill)  # whatever happens, no worker is left behind
        plane = Plane(load, fleet=fleet, state=state, bound=bound, cells=cells, crew=crew, limits=limits_fd)
        if not await _started(crew, plane, signals):
            return 0
        await plane.start(overlay, tuning)
        stack.push_async_callback(plane.close)
        upgrade = Upgrade(plane, admin=admin, limits=limits_fd, lock=state.lock)
        api = await stack.enter_async_context(_admin(plane, upgrade, admin)) if admin else None
        _announce(plane, admin)
        inherited.ready([*bound.values(), *([admin] if admin else [])])
        await _until_stopped(plane, upgrade, signals)
        if upgrade.done.is_set():
            signals.stop.set()  # the next signal is a second one
            if api:
                await api.close()  # who asks from now on is to be answered by the one that took over
        else:
            upgrade.abort()
            systemd.notify("STOPPING=1")
        await _stop(plane, signals)
    logger.info("stopped")
    return 0


class _Signals:
    """The signals of the process, as things to await."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.stop_now = asyncio.Event()  # the second time
        self.reload = asyncio.Event()
        self.reopen = asyncio.Event()
        self.upgrade = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)
        loop.add_signal_handler(signal.SIGUSR1, self.reopen.set)
        loop.add_signal_handler(signal.SIGUSR2, self.upgrade.set)

    def _ask_to_stop(self) -> None:
        (self.stop_now if self.stop.is_set() else self.stop).set()


async def _started(crew: Crew, plane: Plane, signals: _Signals) -> bool:
    """Starts the workers; False when a stop was asked for before they were there."""
    starting = asyncio.create_task(crew.start(plane.fleet.snapshot, plane.bound))
    stopping = asyncio.create_task(signals.stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await crew.kill()
    return False


def _announce(plane: Plane, admin: Bound | None) -> None:
    count = len(plane.crew.workers)
    for bound in plane.bound.values():
        at = str(bound.actual) if bound.actual.path else f"http://{bound.actual}"
        logger.info("listening on %s (%s)", at, counted(count, "worker"))
    if admin:
        at = str(admin.actual) if admin.actual.path else f"http://{admin.actual}"
        logger.info("admin API and metrics on %s", at)
    logger.info("headgate %s is ready", __version__)
    systemd.notify("READY=1")


async def _until_stopped(plane: Plane, upgrade: Upgrade, signals: _Signals) -> None:
    """Waits until this process is told to stop, or another has taken over."""
    chores = [
        asyncio.create_task(_reload_when_asked(plane, signals)),
        asyncio.create_task(_reopen_when_asked(plane, signals)),
        asyncio.create_task(_upgrade_when_asked(upgrade, signals)),
    ]
    ends = [asyncio.create_task(signals.stop.wait()), asyncio.create_task(upgrade.done.wait())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for chore in (*chores, *ends):
        chore.cancel()
    await asyncio.gather(*chores, *ends, return_exceptions=True)


async def _reload_when_asked(plane: Plane, signals: _Signals) -> None:
    while True:
        await signals.reload.wait()
        signals.reload.clear()
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            await plane.reload()
        except ConfigError as error:
            for line in error.problems:
                logger.error("not reloaded: %s", line)
        except UserError as error:
            logger.error("not reloaded: %s", error)
        except Exception:  # a bug in a reload must not end what serves well
            logger.exception("not reloaded, by a bug")
        systemd.notify("READY=1")


async def _reopen_when_asked(plane: Plane, signals: _Signals) -> None:
    while True:
        await signals.reopen.wait()
        signals.reopen.clear()
        plane.crew.tell(ReopenLog())


async def _upgrade_when_asked(upgrade: Upgrade, signals: _Signals) -> None:
    while True:
        await signals.upgrade.wait()
        signals.upgrade.clear()
        try:
            await upgrade.run()
        except UserError as error:
            logger.error("not upgraded: %s", error)
        except Exception:
            logger.exception("not upgraded, by a bug")


async def _stop(plane: Plane, signals: _Signals) -> None:
    """Drains the workers, at most for the configuration's time; a second signal ends them at once."""
    grace = plane.fleet.config.drain
    plane.end()
    logger.info("stopping: up to %g s for what is in flight; a second signal stops at once", grace)
    # Ours first: as long as we hold a socket the kernel would go on taking connections that no worker accepts.
    close_all(plane.bound)
    draining = asyncio.create_task(plane.crew.drain(grace))
    hurry = asyncio.create_task(signals.stop_now.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not draining.done():
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        await plane.crew.kill()


@contextlib.contextmanager
def _admin_socket(config: Config, inherited: Inherited) -> Iterator[Bound | None]:
    if config.admin.listen is None:
        yield None
        return
    bound = bind(config.admin.listen, 1, mode=0o660, inherited=inherited.admin(config.admin.listen))
    try:
        yield bound
    finally:
        bound.close()


@contextlib.contextmanager
def _listening(config: Config, workers: int, inherited: Inherited) -> Iterator[dict[Address, Bound]]:
    bound = bind_all([listener.address for listener in config.listeners], workers, inherited.listeners)
    try:
        yield bound
    finally:
        close_all(bound)


@contextlib.contextmanager
def _descriptors(*descriptors: int) -> Iterator[tuple[int, ...]]:
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextlib.asynccontextmanager
async def _admin(plane: Plane, upgrade: Upgrade, bound: Bound) -> AsyncIterator[AdminServer]:
    server = AdminServer(plane, upgrade, bound)
    server.start()
    try:
        yield server
    finally:
        await server.close()


def _raise_file_limit() -> None:
    # Each listener takes a descriptor for each worker; the workers inherit the limit for their connections.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on every platform; asyncio's own does the same, slower
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
