"""A bug in Headgate, or in an extension, costs the exchange that meets it and nothing else."""

import logging
from collections.abc import Iterator

import pytest

from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState
from headgate.wire.cells import LimitCell
from headgate.worker.account import Account
from headgate.worker.exchange import Exchange
from headgate.worker.plan import Group
from headgate.worker.upstream import ServerConnection
from tests.exchange.kit import LIMIT, Make, SlowStore, World, get, ok, post


def bug(*args: object, **kwargs: object) -> None:
    """What nobody expected."""
    raise ZeroDivisionError("a bug")


def flatten(record: logging.LogRecord) -> bool:
    """Makes text of a traceback, which would hold all that there was."""
    if record.exc_info:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None
    return True


@pytest.fixture(autouse=True)
def _flat() -> Iterator[None]:
    """What is logged is text."""
    logger = logging.getLogger("headgate.worker")
    logger.addFilter(flatten)
    yield
    logger.removeFilter(flatten)


@pytest.mark.parametrize("request_", [get(), post(b"body"), post(b"body")[:-1]], ids=["GET", "POST", "half a POST"])
def test_before_a_server_is_asked_it_is_500(
    world: World, request_: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Group, "enter", bug)
        client = world.client()
        client.sends(request_)
    client.sees_answer(500)
    assert client.end == ("eof" if request_.endswith(b"bod") else "")
    assert world.flagged("IE") == 1
    assert caplog.messages == ["request r1 failed by a mistake of Headgate"]
    assert "ZeroDivisionError: a bug" in caplog.text
    if not client.end:
        client.sends(get())
        world.accepted().sends(ok())
        client.sees(ok())


def test_what_a_request_held_is_given_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    flying = LimitState(Limit("flying", Rate(1, 0.0), algorithm="concurrency"), 0)
    world = make(limits=[flying])
    with monkeypatch.context() as patch:
        patch.setattr(Group, "enter", bug)
        client = world.client()
        client.sends(get())
    client.sees_answer(500)
    assert world.worker._local.hit([(flying, b"192.0.2.1", 0)])[0].remaining == 1


def test_what_a_request_gave_back_before_the_mistake_is_not_given_back_twice(make: Make) -> None:
    world = make(limits=[LimitState(Limit("flying", Rate(2, 0.0), algorithm="concurrency"), 0)])
    clients = [world.client(), world.client()]
    for client in clients:
        client.sends(get())
    clients[0].protocol.write = bug
    world.accepted().sends(ok())
    assert world.limit_cell(LimitCell.IN_FLIGHT) == 1
    assert world.worker._local.hit([(world.snapshot.limits[0], b"192.0.2.1", 0)])[0].remaining == 1
    world.accepted().sends(ok())
    clients[1].sees(ok())


def test_in_a_response_that_did_not_begin_it_is_500_and_the_servers_connection_closes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client()
    client.sends(get())
    server = world.accepted()
    with monkeypatch.context() as patch:
        patch.setattr(ServerConnection, "begin_body", bug)
        server.sends(ok())
    client.sees_answer(500)
    assert server.end == "reset"
    assert world.in_flight() == 0


def test_after_the_response_began_the_connection_breaks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client = world.client()
    client.sends(get(b"/1") + get(b"/2"))
    server = world.accepted()
    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "_finish", bug)
        server.sends(ok(b"1"))
    client.sees(ok(b"1"))
    assert client.end == "closed"
    assert server.end == "reset"
    assert world.in_flight() == 0


def test_in_a_decision_of_the_store_it_is_500(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(limits=[LIMIT])
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    with monkeypatch.context() as patch:
        patch.setattr(Account, "decided", bug)
        store.decide(True)
    client.sees_answer(500)


def test_a_sweep_that_fails_is_not_the_last(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client = world.client()
    with monkeypatch.context() as patch:
        patch.setattr(Group, "sweep", bug)
        with pytest.raises(ZeroDivisionError):
            world.advance(0.3)
    world.advance(11)
    assert client.end == "reset"
