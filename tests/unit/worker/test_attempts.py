"""What is kept of a request's failed attempts, as a table of when it may go out again."""

import pytest

from headgate.balance.retry import MAX_SENDS
from headgate.errors import ConnectFailed, ServerReset
from headgate.model.address import Address
from headgate.model.server import ServerState
from headgate.wire.cells import SERVER_CELLS
from headgate.worker.attempts import Attempts
from headgate.worker.server import Server


def server(name: str = "s1") -> Server:
    """A server."""
    return Server("web", ServerState(Address(name, 80), 0), memoryview(bytearray(SERVER_CELLS * 8)).cast("Q"))


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_refused_connections_cost_no_sends(method: bytes) -> None:
    attempts, servers = Attempts(), [server(f"s{n}") for n in range(MAX_SENDS + 3)]
    for each in servers:
        attempts.failed(ConnectFailed("x"), each, method, was_sent=False, is_stale=False, replayable=True)
    assert attempts.tried == servers
    assert not attempts.is_fresh


def test_what_was_sent_as_often_as_it_may_be_is_not_sent_again() -> None:
    attempts = Attempts()
    for _ in range(MAX_SENDS - 1):
        attempts.failed(ServerReset("x"), server(), b"GET", was_sent=True, is_stale=False, replayable=True)
    last = ServerReset("last")
    with pytest.raises(ServerReset) as caught:
        attempts.failed(last, server(), b"GET", was_sent=True, is_stale=False, replayable=True)
    assert caught.value is last


def test_refusals_between_do_not_make_a_request_forget_that_it_was_sent() -> None:
    attempts = Attempts()
    attempts.failed(ServerReset("x"), server(), b"PUT", was_sent=True, is_stale=False, replayable=True)
    with pytest.raises(ConnectFailed):
        attempts.failed(ConnectFailed("x"), server(), b"PUT", was_sent=False, is_stale=False, replayable=False)


@pytest.mark.parametrize(("method", "replayable"), [(b"POST", True), (b"GET", False)])
def test_what_must_not_be_done_twice_is_raised(method: bytes, replayable: bool) -> None:
    with pytest.raises(ServerReset):
        Attempts().failed(ServerReset("x"), server(), method, was_sent=True, is_stale=True, replayable=replayable)


def test_a_stale_connection_leaves_its_server_in_the_choice_and_asks_for_a_fresh_one() -> None:
    attempts = Attempts()
    attempts.failed(ServerReset("x"), server(), b"GET", was_sent=True, is_stale=True, replayable=True)
    assert attempts.is_fresh
    assert attempts.tried == []
