"""What is kept of a request's failed attempts, as a table of when it may go out again."""

import os
from itertools import count

import pytest

from headgate.balance.budget import FLOOR, WINDOW, Budget
from headgate.errors import BadResponse, ConnectFailed, ServerError, ServerReset, ServerTimeout
from headgate.model.address import Address
from headgate.model.config import Retry, Route
from headgate.model.server import ServerState
from headgate.wire.cells import SERVER_CELLS, Cells, WorkerCell
from headgate.worker.account import Account
from headgate.worker.attempts import Attempts
from headgate.worker.keys import Keys
from headgate.worker.plan import Group, LiveRoute
from headgate.worker.queue import Queue
from headgate.worker.server import Server

DEFAULT = Retry()
MOST = DEFAULT.attempts


def server(name: str = "s1") -> Server:
    """A server."""
    return Server("web", ServerState(Address(name, 80), 0), memoryview(bytearray(SERVER_CELLS * 8)).cast("Q"))


def cells() -> Cells:
    """Counters of one worker."""
    fd = Cells.create(1)
    try:
        return Cells(fd, 1)
    finally:
        os.close(fd)


def attempts_of(retry: Retry = DEFAULT, counters: Cells | None = None, budget: Budget | None = None) -> Attempts:
    """The attempts of a request on a route with this rule."""
    counters = counters or cells()
    queue = Queue(counters, 0, lambda seconds, callback: None)
    group = Group("web", [], count().__next__, budget or Budget(), queue)
    return Attempts(LiveRoute(group, (), Route("web", retry=retry), Keys(b"")), Account(counters, 0))


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_refused_connections_cost_no_sends(method: bytes) -> None:
    attempts, servers = attempts_of(), [server(f"s{n}") for n in range(MOST + 3)]
    for each in servers:
        attempts.failed(ConnectFailed("x"), each, method, was_sent=False, is_stale=False, replayable=True)
    assert attempts.tried == servers
    assert not attempts.is_fresh


def test_what_was_sent_as_often_as_it_may_be_is_not_sent_again() -> None:
    attempts = attempts_of()
    for _ in range(MOST - 1):
        attempts.failed(ServerReset("x"), server(), b"GET", was_sent=True, is_stale=False, replayable=True)
    last = ServerReset("last")
    with pytest.raises(ServerReset) as caught:
        attempts.failed(last, server(), b"GET", was_sent=True, is_stale=False, replayable=True)
    assert caught.value is last


def test_refusals_between_do_not_make_a_request_forget_that_it_was_sent() -> None:
    attempts = attempts_of()
    attempts.failed(ServerReset("x"), server(), b"PUT", was_sent=True, is_stale=False, replayable=True)
    with pytest.raises(ConnectFailed):
        attempts.failed(ConnectFailed("x"), server(), b"PUT", was_sent=False, is_stale=False, replayable=False)


@pytest.mark.parametrize(("method", "replayable"), [(b"POST", True), (b"GET", False)])
def test_what_must_not_be_done_twice_is_raised(method: bytes, replayable: bool) -> None:
    with pytest.raises(ServerReset):
        attempts_of().failed(ServerReset("x"), server(), method, was_sent=True, is_stale=True, replayable=replayable)


def test_a_stale_connection_leaves_its_server_in_the_choice_and_asks_for_a_fresh_one() -> None:
    attempts = attempts_of()
    attempts.failed(ServerReset("x"), server(), b"GET", was_sent=True, is_stale=True, replayable=True)
    assert attempts.is_fresh
    assert attempts.tried == []


@pytest.mark.parametrize(
    ("error", "condition"),
    [(ServerReset("x"), "reset"), (ServerTimeout("x"), "timeout"), (BadResponse("x"), "malformed")],
    ids=["reset", "timeout", "malformed"],
)
@pytest.mark.parametrize("on", [(), ("reset",), ("timeout",), ("malformed",), (503,)])
def test_a_route_says_which_failures_are_tried_again(
    error: ServerError, condition: str, on: tuple[str | int, ...]
) -> None:
    attempts = attempts_of(Retry(on=on))
    if condition in on:
        attempts.failed(error, server(), b"GET", was_sent=True, is_stale=False, replayable=True)
    else:
        with pytest.raises(ServerError):
            attempts.failed(error, server(), b"GET", was_sent=True, is_stale=False, replayable=True)


def test_no_rule_keeps_a_request_from_another_connection_where_nothing_was_sent_or_the_old_one_was_stale() -> None:
    never = Retry(on=(), attempts=1, budget=0)
    attempts_of(never).failed(ConnectFailed("x"), server(), b"POST", was_sent=False, is_stale=False, replayable=True)
    stale = attempts_of(never)
    stale.failed(ServerReset("x"), server(), b"GET", was_sent=True, is_stale=True, replayable=True)
    assert stale.is_fresh
    with pytest.raises(ServerReset):
        stale.failed(ServerReset("x"), server(), b"GET", was_sent=True, is_stale=False, replayable=True)


def test_beyond_the_budget_nothing_is_tried_again_and_that_is_counted() -> None:
    counters, budget = cells(), Budget()
    most = int(FLOOR * WINDOW)
    for number in range(most + 2):
        attempts = attempts_of(counters=counters, budget=budget)
        attempts.failed(ServerReset("x"), server(), b"GET", was_sent=True, is_stale=False, replayable=True)
        assert attempts.is_afforded() is (number < most)
    assert counters.worker(0)[WorkerCell.RETRIES_REFUSED] == 2
    free = attempts_of(counters=counters, budget=budget)
    free.failed(ConnectFailed("x"), server(), b"GET", was_sent=False, is_stale=False, replayable=True)
    assert free.is_afforded()


@pytest.mark.parametrize(
    ("method", "replayable", "leaves"), [(b"GET", True, True), (b"GET", False, False), (b"POST", True, False)]
)
def test_an_unwanted_answer_is_left_only_by_what_may_be_sent_twice(
    method: bytes, replayable: bool, leaves: bool
) -> None:
    attempts, one = attempts_of(Retry(on=(503,))), server()
    assert attempts.may_leave(one, method, replayable=replayable) is leaves
    assert attempts.tried == ([one] if leaves else [])


def test_unwanted_answers_are_left_as_often_as_a_request_may_be_sent() -> None:
    attempts = attempts_of(Retry(on=(503,), attempts=2))
    assert attempts.may_leave(server(), b"GET", replayable=True)
    assert not attempts.may_leave(server(), b"GET", replayable=True)
