import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.control.sockets import MOST, Bound, bind, bind_all, close_all
from headgate.errors import ListenFailed
from headgate.model.address import Address
from tests.ports import free_port

ANY = Address("127.0.0.1", 0)


@pytest.fixture
def bound() -> Iterator[list[Bound]]:
    """What a test binds, closed after it."""
    made: list[Bound] = []
    yield made
    for one in made:
        one.close()


def test_every_worker_has_a_socket_of_its_own_on_the_same_port(bound: list[Bound]) -> None:
    bound.append(listener := bind(ANY, 3))
    assert len({sock.fileno() for sock in listener.sockets}) == 3
    assert {sock.getsockname() for sock in listener.sockets} == {("127.0.0.1", listener.actual.port)}
    assert listener.actual.port > 0
    assert not any(sock.getblocking() for sock in listener.sockets)


def test_connections_are_taken_before_anybody_accepts(bound: list[Bound]) -> None:
    bound.append(listener := bind(ANY, 2))
    callers = [socket.create_connection(("127.0.0.1", listener.actual.port)) for _ in range(50)]
    waiting = 0
    for sock in listener.sockets:
        try:
            while True:
                sock.accept()[0].close()
                waiting += 1
        except BlockingIOError:
            pass
    assert waiting == 50
    for caller in callers:
        caller.close()


def test_the_port_of_another_headgate_is_in_use_in_spite_of_so_reuseport(bound: list[Bound]) -> None:
    bound.append(first := bind(ANY, 2))
    with pytest.raises(ListenFailed, match=f"cannot listen on 127.0.0.1:{first.actual.port}: it is in use"):
        bind(first.actual, 2)


def test_the_port_of_another_program_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ListenFailed, match="it is in use"):
        bind(Address("127.0.0.1", other.getsockname()[1]), 1)


def test_a_port_with_connections_that_linger_can_be_bound_again(bound: list[Bound]) -> None:
    first = bind(ANY, 1)
    caller = socket.create_connection(("127.0.0.1", first.actual.port))
    first.sockets[0].accept()[0].close()  # the side that closes first keeps the address in TIME_WAIT
    caller.close()
    first.close()
    bound.append(bind(first.actual, 1))


def test_ipv6_and_ipv4_of_one_port_are_two_listeners(bound: list[Bound]) -> None:
    bound.append(six := bind(Address("::", 0), 2))
    bound.append(bind(Address("0.0.0.0", six.actual.port), 2))
    assert str(six.actual) == f"[::]:{six.actual.port}"


def test_a_name_is_bound_to_its_ipv4_address(bound: list[Bound]) -> None:
    bound.append(listener := bind(Address("localhost", 0), 1))
    assert listener.sockets[0].getsockname()[0] == "127.0.0.1"
    assert listener.actual.host == "localhost"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (Address("192.0.2.1", 8000), "192.0.2.1 is not an address of this machine"),
        (Address("no-such-host.invalid", 8000), 'the host name "no-such-host.invalid" is not known'),
        (Address("x" * 70 + ".example", 8000), "is not known"),
        (Address(path="/" + "x" * 120), "too long"),
        (Address(path="/no/such/directory/s"), "no such file or directory"),
    ],
)
def test_an_address_that_cannot_be_bound_is_told_in_one_line(address: Address, reason: str) -> None:
    with pytest.raises(ListenFailed, match=reason) as raised:
        bind(address, 1)
    assert str(raised.value).startswith(f"cannot listen on {address}: ")
    assert "\n" not in str(raised.value)


def test_a_port_below_1024_without_permission_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(ListenFailed, match=r"higher port.*ip_unprivileged_port_start=80.*setcap"):
        bind(Address("127.0.0.1", 80), 1)


def test_when_one_address_cannot_be_bound_none_is() -> None:
    free = Address("127.0.0.1", free_port())
    with pytest.raises(ListenFailed):
        bind_all([free, Address("192.0.2.1", 8000)], 2)
    bind(free, 2).close()


def test_there_is_a_bound_on_listeners(tmp_path: Path) -> None:
    with pytest.raises(ListenFailed, match=f"{MOST} listeners at most"):
        bind_all([Address(path=str(tmp_path / f"{k}")) for k in range(MOST + 1)], 1)
    assert list(tmp_path.iterdir()) == []


def test_closing_all_frees_every_port() -> None:
    bound = bind_all([ANY, Address("127.0.0.2", 0)], 2)
    ports = [listener.actual for listener in bound.values()]
    close_all(bound)
    assert bound == {}
    for address in ports:
        bind(address, 1).close()


class TestUnixSockets:
    """Bound once, shared by all workers, and their files taken care of."""

    @pytest.fixture
    def address(self, tmp_path: Path) -> Address:
        return Address(path=str(tmp_path / "s"))

    def test_one_socket_serves_all_workers(self, address: Address, bound: list[Bound]) -> None:
        bound.append(listener := bind(address, 3, mode=0o660))
        assert len(set(listener.sockets)) == 1
        assert len(listener.sockets) == 3
        assert stat.S_IMODE(os.stat(address.path).st_mode) == 0o660

    def test_a_listeners_socket_is_for_whoever_its_directory_lets_in(
        self, address: Address, bound: list[Bound]
    ) -> None:
        bound.append(bind(address, 1))
        assert stat.S_IMODE(os.stat(address.path).st_mode) == 0o666

    def test_its_file_goes_with_it(self, address: Address) -> None:
        bind(address, 1).close()
        assert not os.path.exists(address.path)

    def test_a_file_that_nobody_listens_on_is_replaced(self, address: Address, bound: list[Bound]) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(address.path)
        bound.append(bind(address, 1))
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(address.path)

    def test_one_that_somebody_listens_on_is_in_use(self, address: Address, bound: list[Bound]) -> None:
        bound.append(bind(address, 1))
        with pytest.raises(ListenFailed, match="it is in use"):
            bind(address, 1)

    def test_one_whose_queue_is_full_is_in_use(self, address: Address) -> None:
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as caller:
            busy.bind(address.path)
            busy.listen(0)
            caller.connect(address.path)
            with pytest.raises(ListenFailed, match="it is in use"):
                bind(address, 1)

    def test_another_file_is_never_removed(self, address: Address) -> None:
        Path(address.path).write_text("precious")
        with pytest.raises(ListenFailed, match="not a socket"):
            bind(address, 1)
        assert Path(address.path).read_text() == "precious"

    def test_the_file_of_a_successor_stays(self, address: Address, bound: list[Bound]) -> None:
        first = bind(address, 1)
        os.unlink(address.path)
        bound.append(bind(address, 1))
        first.close()
        assert os.path.exists(address.path)
