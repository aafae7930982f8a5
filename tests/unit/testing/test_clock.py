import asyncio
import socket
from collections.abc import Coroutine
from typing import TypeVar

from headgate.testing.clock import ManualClock, VirtualLoop


def test_a_manual_clock_moves_only_by_hand() -> None:
    clock = ManualClock(5)
    assert (clock(), clock()) == (5, 5)
    clock.advance(1.5)
    assert clock() == 1_500_005


T = TypeVar("T")


def run(main: Coroutine[object, None, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def test_an_hour_of_virtual_time_passes_at_once() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - begin

    assert 3600 <= run(main()) < 3600.001


def test_what_a_peer_wrote_comes_before_the_next_timer() -> None:
    async def main() -> float:
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=here)
        loop = asyncio.get_running_loop()
        loop.call_later(0.001, there.send, b"x")
        begin = loop.time()
        async with asyncio.timeout(0.002):
            assert await reader.read(1) == b"x"
        writer.close()
        await writer.wait_closed()
        there.close()
        return loop.time() - begin

    assert run(main()) < 0.002


def test_the_loop_waits_for_another_thread() -> None:
    async def main() -> int:
        return await asyncio.to_thread(lambda: 7)

    assert run(main()) == 7
