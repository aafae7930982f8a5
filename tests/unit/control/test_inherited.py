import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from headgate.control.inherited import Inherited
from headgate.control.sockets import Bound, bind
from headgate.errors import UserError
from headgate.model.address import Address
from headgate.store.shared import SharedStore
from headgate.wire.handover import ENVIRONMENT, Answer, Handover

ADDRESS = Address("127.0.0.1", 0)


@pytest.fixture
def answer() -> Iterator[tuple[socket.socket, int]]:
    """The old process's end of the answer, and the descriptor of the new one's."""
    ours, theirs = socket.socketpair()
    yield ours, theirs.detach()
    ours.close()


def told(ours: socket.socket) -> Answer:
    ours.settimeout(5)
    text = b""
    while piece := ours.recv(1000):
        text += piece
    return msgspec.json.decode(text, type=Answer)


def test_who_was_started_by_a_person_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    inherited = Inherited.from_environment()
    assert (inherited.listeners, inherited.lock, inherited.down) == ({}, -1, [])
    assert inherited.admin(ADDRESS) == ()
    descriptor = inherited.limits()
    assert SharedStore.knows(descriptor)
    os.close(descriptor)
    inherited.ready([])
    inherited.failed("nobody hears it")


@pytest.mark.parametrize("text", ["x", "{}", '{"answer": 999999}'])
def test_an_environment_that_lies_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(ENVIRONMENT, text)
    with pytest.raises(UserError, match=ENVIRONMENT):
        Inherited.from_environment()
    assert ENVIRONMENT not in os.environ


def test_what_is_not_listened_on_any_more_is_closed_before_the_old_process_goes(
    answer: tuple[socket.socket, int],
) -> None:
    ours, theirs = answer
    kept, gone = (bind(ADDRESS, 2) for _ in range(2))
    descriptors = [tuple(os.dup(sock.fileno()) for sock in bound.sockets) for bound in (kept, gone)]
    inherited = Inherited(Handover(theirs, {"127.0.0.1:1": descriptors[0], "127.0.0.1:2": descriptors[1]}))
    used = bind(Address("127.0.0.1", 1), 2, inherited=inherited.listeners[Address("127.0.0.1", 1)])
    assert used.actual == kept.actual
    inherited.ready([used])
    assert told(ours).pid == os.getpid()
    assert [sock.fileno() for sock in inherited.listeners[Address("127.0.0.1", 2)]] == [-1, -1]
    for bound in (used, kept, gone):
        bound.close()


def hand_over(answer: int, address: Address) -> tuple[Bound, Inherited, Bound]:
    """A Unix socket as the old process has it, what the new one got, and what it made of that."""
    old = bind(address, 1)
    inherited = Inherited(Handover(answer, {str(address): (os.dup(old.sockets[0].fileno()),)}))
    return old, inherited, bind(address, 1, inherited=inherited.listeners[address])


def test_a_sockets_file_goes_with_the_process_that_is_left(answer: tuple[socket.socket, int], tmp_path: Path) -> None:
    ours, theirs = answer
    old, inherited, used = hand_over(theirs, Address(path=str(tmp_path / "s")))
    assert [bound.file is None for bound in (used, old)] == [True, False]  # should the new process end now
    inherited.ready([used])
    assert used.file == old.file
    ours.close()
    for bound in (used, old):
        bound.close()


def test_who_does_not_wait_any_more_keeps_the_files(answer: tuple[socket.socket, int], tmp_path: Path) -> None:
    ours, theirs = answer
    old, inherited, used = hand_over(theirs, Address(path=str(tmp_path / "s")))
    ours.close()
    inherited.ready([used])
    used.close()
    assert (tmp_path / "s").exists()
    old.close()


def test_the_old_process_is_told_what_went_wrong(answer: tuple[socket.socket, int]) -> None:
    ours, theirs = answer
    Inherited(Handover(theirs)).failed("no such upstream")
    assert told(ours).problem == "no such upstream"


def test_memory_of_limits_that_is_laid_out_otherwise_is_not_taken(answer: tuple[socket.socket, int]) -> None:
    _, theirs = answer
    descriptor = os.memfd_create("other")
    os.write(descriptor, b"something else")
    inherited = Inherited(Handover(theirs, limits=descriptor))
    fresh = inherited.limits()
    assert SharedStore.knows(fresh)
    os.close(fresh)
    inherited.failed("done")
