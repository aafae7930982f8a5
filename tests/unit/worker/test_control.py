"""The worker's end of the socket pair: messages with their descriptors, and a supervisor that goes away."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from headgate.model.address import Address
from headgate.model.config import Listener
from headgate.model.snapshot import Snapshot
from headgate.wire.messages import Adopt, Adopted, Drain, Message, Reader, ReopenLog, Top, Tops, encode
from headgate.worker.control import Control
from tests.descriptors import none_left

Got = list[tuple[Message, dict[str, socket.socket]]]
Scenario = Callable[[socket.socket, Control, Got], None]


def adopt(version: int, *names: str) -> Adopt:
    """A snapshot with these listening sockets."""
    listeners = tuple(Listener(Address.parse(name)) for name in names)
    return Adopt(Snapshot(version, listeners, (), ()), names)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until it is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not happen")


def run(scenario: Callable[[socket.socket, Control, Got], object], expected: int) -> Got:
    """What the worker got once so many messages came."""
    got: Got = []

    async def main() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with ours, theirs:
            control = Control(theirs, loop, lambda message, sockets: got.append((message, sockets)))
            scenario(ours, control, got)
            await until(lambda: len(got) >= expected)
            loop.remove_reader(theirs)

    asyncio.run(main())
    return got


def test_messages_come_in_their_order_however_they_are_split() -> None:
    data = encode(Drain(5.0)) + encode(ReopenLog()) + encode(adopt(3))

    def scenario(ours: socket.socket, control: Control, got: Got) -> None:
        # Not byte by byte: nobody reads yet, and the kernel has room for some 270 pieces of whatever size.
        for index in range(0, len(data), 7):
            ours.sendall(data[index : index + 7])

    assert [message for message, _ in run(scenario, 3)] == [Drain(5.0), ReopenLog(), adopt(3)]


def test_listening_sockets_come_with_the_snapshot_that_names_them() -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(3)]
        for sock in made:
            sock.bind(("127.0.0.1", 0))

        def scenario(ours: socket.socket, control: Control, got: Got) -> None:
            socket.send_fds(ours, [encode(adopt(1, "a:1", "b:2"))], [made[0].fileno(), made[1].fileno()])
            ours.sendall(encode(ReopenLog()))
            socket.send_fds(ours, [encode(adopt(2, "c:3"))], [made[2].fileno()])

        got = run(scenario, 3)
        received = [stack.enter_context(sock) for _, sockets in got for sock in sockets.values()]
        assert [list(sockets) for _, sockets in got] == [["a:1", "b:2"], [], ["c:3"]]
        assert [sock.getsockname() for sock in received] == [sock.getsockname() for sock in made]


def test_what_the_worker_says_is_heard() -> None:
    def scenario(ours: socket.socket, control: Control, got: Got) -> None:
        control.send(Adopted(7))
        assert Reader().feed(ours.recv(1000)) == [Adopted(7)]

    run(scenario, 0)


def test_messages_stay_whole_when_the_supervisor_is_slow_and_are_left_out_when_it_is_stuck() -> None:
    said = [Tops((Top("a", number, 0, ((b"k" * 60_000, 1, 0),)),)) for number in range(40)]
    heard: list[Message] = []
    reader = Reader()

    async def main() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with ours, theirs:
            ours.setblocking(False)
            control = Control(theirs, loop, lambda message, sockets: None)
            for message in said:
                control.send(message)

            def hears() -> bool:
                with suppress(BlockingIOError):
                    heard.extend(reader.feed(ours.recv(100_000)))
                return not control._unsent

            await until(hears)
            control.send(Adopted(1))
            await until(lambda: hears() and heard[-1] == Adopted(1))
            kept = len(heard) - 1
            assert heard[:-1] == said[:kept]
            assert 17 < kept < 30
            loop.remove_reader(theirs)

    asyncio.run(main())


def test_what_waits_for_a_supervisor_that_went_away_is_let_go() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with theirs:
            control = Control(theirs, loop, lambda message, sockets: None)
            for number in range(10):
                control.send(Tops((Top("a", number, 0, ((b"k" * 60_000, 1, 0),)),)))
            ours.close()
            await until(lambda: not control._unsent)
            loop.remove_reader(theirs)

    asyncio.run(main())


def test_without_a_supervisor_the_worker_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with theirs:
            control = Control(theirs, loop, lambda message, sockets: None)
            ours.close()
            await until(lambda: bool(caplog.messages))
            control.send(Adopted(1))
            assert not loop.remove_reader(theirs)

    asyncio.run(main())
    assert caplog.messages == ["the supervisor is gone; serving on by the last snapshot"]


def test_a_snapshot_waits_for_descriptors_and_so_does_what_comes_after_it(caplog: pytest.LogCaptureFixture) -> None:
    got: Got = []

    async def main() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with ours, theirs, socket.socket() as one, socket.socket() as other:
            for sock in (one, other):
                sock.bind(("127.0.0.1", 0))
            control = Control(theirs, loop, lambda message, sockets: got.append((message, sockets)))
            ours.sendall(encode(ReopenLog()))
            socket.send_fds(ours, [encode(adopt(1, "a:1", "b:2"))], [one.fileno(), other.fileno()])
            ours.sendall(encode(Drain(5.0)))
            with none_left():
                await until(lambda: control._lacks)
                with suppress(AssertionError):
                    await until(lambda: bool(got))
                assert got == []
            async with asyncio.timeout(10):
                while len(got) < 3:
                    await asyncio.sleep(0.01)
            assert [message for message, _ in got] == [ReopenLog(), adopt(1, "a:1", "b:2"), Drain(5.0)]
            for sock, name in ((one, "a:1"), (other, "b:2")):
                with got[1][1][name] as received:
                    assert received.getsockname() == sock.getsockname()
            loop.remove_reader(theirs)

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(main())
    assert len(os.listdir("/proc/self/fd")) == before
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_descriptors_do_not_leak() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket() as sock:

        def scenario(ours: socket.socket, control: Control, got: Got) -> None:
            socket.send_fds(ours, [encode(adopt(1, "a:1"))], [sock.fileno()])

        for received in run(scenario, 1)[0][1].values():
            received.close()
    assert len(os.listdir("/proc/self/fd")) == before
