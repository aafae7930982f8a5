import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headgate.control import workers
from headgate.control.fleet import Fleet
from headgate.control.overlay import set_weight
from headgate.control.sockets import bind_all, close_all
from headgate.control.workers import Crew
from headgate.errors import StartFailed
from headgate.model.address import Address
from headgate.wire.cells import Cells
from tests.unit.control.configs import A, config

FAKE = str(Path(__file__).with_name("fake_worker.py"))
ANY = Address("127.0.0.1", 0)


class Running:
    """A crew of fake workers that serves on a port."""

    def __init__(self, crew: Crew, fleet: Fleet, port: int, deaths: list[int]) -> None:
        self.crew = crew
        self.fleet = fleet
        self.port = port
        self.deaths = deaths

    async def ask(self) -> tuple[int, int, int]:
        """The index, pid and version of the worker that answers."""
        return await self.answer(*await self.call())

    async def call(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which a request was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        return reader, writer

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, int, int]:
        """What a worker answered on the connection."""
        answer = await reader.read()
        writer.close()
        index, pid, version = answer.rpartition(b"\r\n")[2].split()
        return int(index), int(pid), int(version)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(behaviour: str = "good", count: int = 2) -> AsyncIterator[Running]:
    fleet = Fleet(config(), {})
    bound = bind_all([ANY], count)
    cells = Cells.create(count)
    deaths: list[int] = []
    command = (sys.executable, FAKE, behaviour)
    crew = Crew(count, cells=cells, limits=cells, on_death=deaths.append, command=command)
    try:
        await crew.start(fleet.snapshot, bound)
        crew.adopt(fleet.snapshot, bound)
        yield Running(crew, fleet, bound[ANY].actual.port, deaths)
    finally:
        await crew.kill()
        close_all(bound)
        os.close(cells)
        assert all(worker.process is None for worker in crew.workers)


def test_all_serve_when_start_returns() -> None:
    async def main() -> None:
        async with running() as the:
            assert the.crew.is_whole
            answers = {await the.ask() for _ in range(30)}
            assert {(index, version) for index, _, version in answers} == {(0, 1), (1, 1)}
            assert {pid for _, pid, _ in answers} == {worker.pid for worker in the.crew.workers}

    asyncio.run(main())


def test_workers_have_a_process_group_of_their_own() -> None:
    async def main() -> None:
        async with running() as the:
            assert all(os.getpgid(worker.pid) == worker.pid for worker in the.crew.workers)

    asyncio.run(main())


def test_a_snapshot_reaches_every_worker() -> None:
    async def main() -> None:
        async with running() as the:
            the.fleet.apply(the.fleet.config, set_weight({}, "web", str(A), 9), 0.0)
            snapshot = the.fleet.publish()
            assert snapshot is not None
            the.crew.adopt(snapshot, {})
            assert await the.crew.adopted(snapshot.version, 10.0)
            assert the.crew.oldest_version() == 2

    asyncio.run(main())


def test_waiting_for_a_version_ends_with_its_patience() -> None:
    async def main() -> None:
        async with running() as the:
            assert not await the.crew.adopted(99, 0.05)

    asyncio.run(main())


def test_a_killed_worker_is_replaced_and_loses_no_waiting_connection() -> None:
    async def main() -> None:
        async with running(count=1) as the:
            old = the.crew.workers[0].pid
            os.kill(old, signal.SIGSTOP)
            await asyncio.to_thread(os.waitpid, old, os.WUNTRACED)  # it has stopped indeed
            waiting = [await the.call() for _ in range(20)]
            os.kill(old, signal.SIGKILL)
            await the.until(lambda: the.crew.workers[0].pid not in (0, old))
            answers = {pid for _, pid, _ in [await the.answer(*call) for call in waiting]}
            assert answers == {the.crew.workers[0].pid}
            assert the.deaths == [0]
            assert the.crew.workers[0].restarts == 1

    asyncio.run(main())


def test_a_replacement_is_given_the_newest_snapshot() -> None:
    async def main() -> None:
        async with running() as the:
            the.fleet.apply(the.fleet.config, set_weight({}, "web", str(A), 9), 0.0)
            snapshot = the.fleet.publish()
            assert snapshot is not None
            os.kill(the.crew.workers[1].pid, signal.SIGKILL)
            await the.until(lambda: not the.crew.is_whole)
            the.crew.adopt(snapshot, the.crew._bound)
            await the.until(lambda: the.crew.is_whole)
            assert await the.crew.adopted(2, 10.0)

    asyncio.run(main())


def test_a_worker_that_dies_again_and_again_is_replaced_ever_later() -> None:
    async def main() -> None:
        async with running() as the:
            delays: list[float] = []
            for _ in range(4):
                pid = the.crew.workers[0].pid
                os.kill(pid, signal.SIGKILL)
                await the.until(lambda pid=pid: the.crew.workers[0].pid != pid)  # type: ignore[misc]
                begun = time.monotonic()
                await the.until(lambda: the.crew.workers[0].is_serving)
                delays.append(time.monotonic() - begun)
            assert delays[3] > 0.4  # 0.1, 0.2, 0.4, 0.8 at least; the first when its first second was not over yet
            assert the.crew.workers[0].restarts == 4
            assert the.crew.workers[1].restarts == 0

    asyncio.run(main())


def test_a_worker_that_dies_at_the_start_ends_the_start(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with running("dies"):
            pass

    with pytest.raises(StartFailed, match=r"worker \d does not come up"):
        asyncio.run(main())


def test_a_worker_that_does_not_come_up_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_READY", 0.2)

    async def main() -> None:
        async with running("silent"):
            pass

    with pytest.raises(StartFailed, match="worker 0 does not come up"):
        asyncio.run(main())


def test_a_worker_that_makes_no_sense_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_REAP", 0.1)

    async def main() -> None:
        async with running("garbled"):
            pass

    with pytest.raises(StartFailed, match=r"worker \d does not come up"):
        asyncio.run(main())


def test_a_replacement_that_does_not_come_up_is_ended_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(count=1) as the:
            monkeypatch.setattr(workers, "_READY", 0.1)
            good, the.crew._command = the.crew._command, (sys.executable, FAKE, "silent")
            os.kill(the.crew.workers[0].pid, signal.SIGKILL)
            await the.until(lambda: "is not ready after 0.1 s" in caplog.text)
            monkeypatch.setattr(workers, "_READY", 20.0)
            the.crew._command = good
            await the.until(lambda: the.crew.is_whole)

    asyncio.run(main())


def test_a_replacement_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "_DELAYS", (0.01, 0.01))

    async def main() -> None:
        async with running(count=1) as the:
            good, the.crew._command = the.crew._command, ("/no/such/program",)
            os.kill(the.crew.workers[0].pid, signal.SIGKILL)
            await the.until(lambda: "worker 0 cannot be started" in caplog.text)
            the.crew._command = good
            await the.until(lambda: the.crew.is_whole)

    asyncio.run(main())


def test_a_program_that_is_not_there_ends_the_start() -> None:
    async def main() -> None:
        fleet = Fleet(config(), {})
        memory = Cells.create(1)
        crew = Crew(1, cells=memory, limits=memory, on_death=print, command=("/no/such/program",))
        try:
            await crew.start(fleet.snapshot, {})
        finally:
            os.close(memory)

    with pytest.raises(StartFailed, match="cannot be started"):
        asyncio.run(main())


def test_draining_ends_every_worker_and_replaces_none() -> None:
    async def main() -> None:
        async with running() as the:
            begun = time.monotonic()
            await the.crew.drain(30.0)
            assert time.monotonic() - begun < 20
            assert [worker.process for worker in the.crew.workers] == [None, None]
            assert [worker.restarts for worker in the.crew.workers] == [0, 0]

    asyncio.run(main())


def test_a_worker_that_does_not_end_is_killed_a_second_after_its_time() -> None:
    async def main() -> None:
        async with running("stubborn") as the:
            begun = time.monotonic()
            await the.crew.drain(0.1)
            assert 1.0 < time.monotonic() - begun < 10
            assert [worker.process for worker in the.crew.workers] == [None, None]

    asyncio.run(main())


def test_the_cause_of_a_death_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with running() as the:
            os.kill(the.crew.workers[0].pid, signal.SIGSEGV)
            await the.until(lambda: bool(the.deaths))
            await the.until(lambda: the.crew.is_whole)

    asyncio.run(main())
    assert "died: killed by SIGSEGV" in caplog.text


def test_nothing_of_the_supervisor_leaks_into_a_worker() -> None:
    async def main() -> None:
        with socket.socket() as ours:
            async with running(count=1) as the:
                links = [
                    os.readlink(f"/proc/{the.crew.workers[0].pid}/fd/{fd}")
                    for fd in os.listdir(f"/proc/{the.crew.workers[0].pid}/fd")
                ]
                assert os.readlink(f"/proc/self/fd/{ours.fileno()}") not in links

    asyncio.run(main())
