import asyncio
import socket
from collections.abc import Awaitable, Callable

from headgate.control.channel import Channel
from headgate.control.fleet import Fleet
from headgate.model.address import Address
from headgate.model.snapshot import Snapshot
from headgate.wire.messages import Adopt, Adopted, Drain, Forget, ForgetAll, Message, Reader, ReopenLog, encode
from tests.unit.control.configs import config, upstream, with_listeners

ONE, TWO = Address("127.0.0.1", 1), Address("127.0.0.1", 2)


def snapshot(*listeners: Address, servers: int = 1) -> Snapshot:
    group = upstream("web", *(Address("10.0.0.1", port) for port in range(1, servers + 1)))
    return Fleet(with_listeners(config(group), *listeners), {}).snapshot


class Ends:
    """A channel, the worker's end of its pair, and what the channel reported."""

    def __init__(self) -> None:
        ours, self.theirs = Channel.pair()
        self.heard: list[Message] = []
        self.ends = 0
        self.reader = Reader()
        self.channel = Channel(ours, on_message=self.heard.append, on_end=self.count_end)

    def count_end(self) -> None:
        self.ends += 1

    async def receive(self) -> tuple[list[Message], int]:
        """All that the channel sends until it has no more, and how many descriptors came with it."""
        self.theirs.setblocking(False)
        messages: list[Message] = []
        descriptors = 0
        idle = 0
        while idle < 5:
            await asyncio.sleep(0)
            try:
                data, fds, _, _ = socket.recv_fds(self.theirs, 1 << 20, 64)
            except BlockingIOError:
                idle += 1
                continue
            idle = 0
            for fd in fds:
                socket.socket(fileno=fd).close()
            descriptors += len(fds)
            messages += self.reader.feed(data)
        return messages, descriptors


def with_ends(test: Callable[[Ends], Awaitable[None]]) -> None:
    async def main() -> None:
        ends = Ends()
        with ends.theirs:
            await test(ends)
        ends.channel.close()

    asyncio.run(main())


def listening(*addresses: Address) -> dict[Address, socket.socket]:
    return {address: socket.socket() for address in addresses}


def test_sockets_travel_with_the_first_snapshot_that_names_them() -> None:
    async def test(ends: Ends) -> None:
        sockets = listening(ONE, TWO)
        ends.channel.adopt(snapshot(ONE), {ONE: sockets[ONE]})
        assert await ends.receive() == ([Adopt(snapshot(ONE), (str(ONE),))], 1)
        ends.channel.adopt(snapshot(ONE, TWO), sockets)
        assert await ends.receive() == ([Adopt(snapshot(ONE, TWO), (str(TWO),))], 1)
        for sock in sockets.values():
            sock.close()

    with_ends(test)


def test_a_listener_that_comes_back_gets_its_new_socket() -> None:
    async def test(ends: Ends) -> None:
        for sock in (socket.socket(), socket.socket()):
            with sock:
                ends.channel.adopt(snapshot(ONE), {ONE: sock})
                ends.channel.adopt(snapshot(), {})
        messages, descriptors = await ends.receive()
        assert [message.sockets for message in messages if isinstance(message, Adopt)] == [
            (str(ONE),),
            (),
            (str(ONE),),
            (),
        ]
        assert descriptors == 2

    with_ends(test)


def test_a_worker_that_does_not_read_gets_the_newest_snapshot_only() -> None:
    async def test(ends: Ends) -> None:
        with socket.socket() as sock:
            for count in range(3000, 3020):  # each far bigger than the socket's buffer
                ends.channel.adopt(snapshot(ONE, servers=count), {ONE: sock})
            messages, descriptors = await ends.receive()
        assert [len(m.snapshot.upstreams[0].servers) for m in messages if isinstance(m, Adopt)] == [3000, 3019]
        assert descriptors == 1

    with_ends(test)


def test_messages_wait_their_turn_behind_a_big_one() -> None:
    async def test(ends: Ends) -> None:
        big = snapshot(servers=4000)
        ends.channel.adopt(big, {})
        ends.channel.send(ReopenLog())
        ends.channel.send(Drain(2.0))
        assert await ends.receive() == ([Adopt(big), ReopenLog(), Drain(2.0)], 0)

    with_ends(test)


def test_what_is_to_be_done_once_waits_once_and_between_no_snapshots() -> None:
    async def test(ends: Ends) -> None:
        big, last = snapshot(servers=4000), snapshot(servers=3)
        ends.channel.adopt(big, {})
        for servers in (1, 2, 3):
            ends.channel.adopt(snapshot(servers=servers), {})
            for message in (Forget("a", b"k"), Forget("a", b"other"), ReopenLog(), Forget("a", b"k")):
                ends.channel.send(message)
        ends.channel.send(Drain(1.0))
        assert len(ends.channel._queue) == 2
        assert await ends.receive() == (
            [Adopt(big), Forget("a", b"k"), Forget("a", b"other"), ReopenLog(), Adopt(last), Drain(1.0)],
            0,
        )
        ends.channel.send(Forget("a", b"k"))
        assert await ends.receive() == ([Forget("a", b"k")], 0)

    with_ends(test)


def test_beyond_a_thousand_keys_all_are_forgotten() -> None:
    async def test(ends: Ends) -> None:
        big = snapshot(servers=4000)
        ends.channel.adopt(big, {})
        ends.channel.send(ReopenLog())
        for number in range(1023):
            ends.channel.send(Forget("a", b"%d" % number))
        assert len(ends.channel._chores) == 1024
        for number in range(1023, 5000):
            ends.channel.send(Forget("a", b"%d" % number))
        assert await ends.receive() == ([Adopt(big), ReopenLog(), ForgetAll()], 0)
        ends.channel.send(Forget("a", b"1"))
        assert await ends.receive() == ([Forget("a", b"1")], 0)

    with_ends(test)


def test_a_listener_that_was_closed_while_its_snapshot_waited_is_left_out() -> None:
    async def test(ends: Ends) -> None:
        big = snapshot(servers=4000)
        ends.channel.adopt(big, {})
        sock = socket.socket()
        ends.channel.adopt(snapshot(ONE), {ONE: sock})
        sock.close()
        ends.channel.adopt(snapshot(), {})
        messages, descriptors = await ends.receive()
        assert messages == [Adopt(big), Adopt(snapshot()), Adopt(snapshot())]
        assert descriptors == 0

    with_ends(test)


def test_what_the_worker_says_is_heard() -> None:
    async def test(ends: Ends) -> None:
        ends.theirs.sendall(encode(Adopted(1)) + encode(Adopted(2)))
        await ends.receive()
        assert ends.heard == [Adopted(1), Adopted(2)]
        assert ends.ends == 0

    with_ends(test)


def test_the_end_of_the_worker_is_told_once() -> None:
    async def test(ends: Ends) -> None:
        ends.theirs.close()
        for _ in range(3):
            ends.channel.send(ReopenLog())
            ends.channel.adopt(snapshot(), {})
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert ends.ends == 1

    with_ends(test)


def test_a_worker_that_makes_no_sense_is_given_up() -> None:
    async def test(ends: Ends) -> None:
        ends.theirs.sendall(b"\0\0\0\1\xc1")
        await asyncio.sleep(0.01)
        assert ends.ends == 1

    with_ends(test)


def test_closing_tells_nobody() -> None:
    async def test(ends: Ends) -> None:
        with socket.socket() as sock:
            ends.channel.adopt(snapshot(servers=4000), {})
            ends.channel.adopt(snapshot(ONE), {ONE: sock})
            ends.channel.close()
            ends.channel.close()
            ends.channel.send(ReopenLog())
        await asyncio.sleep(0.01)
        assert ends.ends == 0

    with_ends(test)
