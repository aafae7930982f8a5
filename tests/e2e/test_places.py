"""Limits on what is in flight, on a running Headgate: places come back whatever becomes of who holds them."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tests.e2e.kit.backend import Backend, Gate, Peer, Request
from tests.e2e.kit.client import Raw
from tests.e2e.kit.headgate import Headgate, Settings, settings
from tests.e2e.kit.waiting import wait_for
from tests.redis_server import RedisServer

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
IN_REDIS = pytest.mark.parametrize("in_redis", [False, True], ids=["on this machine", "in Redis"])


def flying(backend: Backend, redis: RedisServer | None = None, at_once: int = 3, **more: object) -> Settings:
    """Two workers, and so many in flight at once."""
    limits = {"flying": {"algorithm": "concurrency", "in_flight": at_once, "key": "constant", "headers": "always"}}
    store = {"store": {"url": redis.url, "deadline": "10s"}} if redis else {}
    routes = [{"upstream": "web", "limits": ["flying"]}]
    return settings([backend.address], workers=2, limits=limits, routes=routes, **{**store, **more})


@pytest.fixture
def clients() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def ask(headgate: Headgate, clients: contextlib.ExitStack, count: int, held: int) -> list[Raw]:
    """So many slow requests, one after the other; so many are in flight then."""
    asked = []
    for _ in range(count):
        asked.append(clients.enter_context(Raw(headgate.address)))
        asked[-1].send(SLOW)
    await_held(headgate, held)
    return asked


def await_held(headgate: Headgate, held: int) -> None:
    wait_for(lambda: headgate.metric("headgate_limit_in_flight", limit="flying") == held, f"{held} in flight")


def await_free(headgate: Headgate, free: int, *, in_redis: bool) -> None:
    """Waits until Redis was told; on this machine a place is free before its client has the response."""
    key = "/api/v1/limits/flying/keys/*"
    if in_redis:
        wait_for(lambda: headgate.api("GET", key).json()["remaining"] == free, f"{free} places to be free")


@IN_REDIS
def test_the_fourth_request_is_refused_until_another_has_ended(
    make: Make, backend: Start, redis_server: RedisServer, clients: contextlib.ExitStack, in_redis: bool
) -> None:
    server, gate = backend(), Gate()
    server.behaviour = gate
    headgate = make(flying(server, redis_server if in_redis else None)).start()
    asked = ask(headgate, clients, 3, held=3)
    for _ in range(4):  # whichever worker
        refused = headgate.get("/slow")
        assert refused.status == 429
    assert refused.fields["retry-after"] == "1"
    assert refused.fields["ratelimit-policy"] == '"flying";q=3;qu="concurrent-requests"'
    assert refused.fields["ratelimit"] == '"flying";r=0'
    gate.is_open = True
    assert [client.rest()[9:12] for client in asked] == [b"200"] * 3
    await_free(headgate, 3, in_redis=in_redis)
    assert headgate.get().fields["ratelimit"] == '"flying";r=2'
    assert headgate.metric("headgate_store_errors_total") == 0


@IN_REDIS
def test_a_client_that_goes_away_gives_its_place_back(
    make: Make, backend: Start, redis_server: RedisServer, clients: contextlib.ExitStack, in_redis: bool
) -> None:
    server = backend()
    server.behaviour = Gate()
    headgate = make(flying(server, redis_server if in_redis else None)).start()
    asked = ask(headgate, clients, 3, held=3)
    assert headgate.get().status == 429
    asked[0].socket.close()
    await_held(headgate, 2)
    assert headgate.get().status == 200
    await_free(headgate, 1, in_redis=in_redis)
    ask(headgate, clients, 1, held=3)
    assert headgate.get().status == 429


def test_an_upgrade_whose_client_is_gone_for_good_gives_its_place_back(
    make: Make, backend: Start, clients: contextlib.ExitStack
) -> None:
    gate = Gate()

    async def agrees(request: Request, peer: Peer) -> None:
        if request.target != "/slow":
            return await gate(request, peer)
        while not gate.is_open:
            await asyncio.sleep(0.005)
        peer.writer.write(b"HTTP/1.1 101 -\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await asyncio.Event().wait()  # for something that nobody is there to send
        return None

    limits = {"flying": {"algorithm": "concurrency", "in_flight": 2, "key": "constant"}}
    route = {"upstream": "web", "limits": ["flying"], "on_client_gone": "finish", "timeouts": {"response_body": "0.1s"}}
    headgate = make(settings([backend(behaviour=agrees).address], limits=limits, routes=[route])).start()
    client = clients.enter_context(Raw(headgate.address))
    client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    await_held(headgate, 1)
    client.socket.shutdown(socket.SHUT_WR)
    assert headgate.get().status == 200  # the worker has read the end, for what came later is read later
    gate.is_open = True
    client.until(b"\r\n\r\n")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()
    await_held(headgate, 0)


def test_who_has_the_whole_response_finds_its_place_free_in_every_worker(make: Make, backend: Start) -> None:
    headgate = make(flying(backend(), at_once=1)).start()
    assert [headgate.get().status for _ in range(200)] == [200] * 200


def test_what_a_killed_worker_held_is_free(make: Make, backend: Start, clients: contextlib.ExitStack) -> None:
    server = backend()
    server.behaviour = Gate()
    headgate = make(flying(server)).start()
    ask(headgate, clients, 3, held=3)
    wait_for(lambda: sum(in_flight(headgate)) == 3, "the workers to say what they have")
    index = max(range(2), key=lambda index: in_flight(headgate)[index])
    freed = in_flight(headgate)[index]
    headgate.kill_worker(index)
    await_held(headgate, 3 - freed)
    ask(headgate, clients, freed, held=3)
    assert [headgate.get().status for _ in range(4)] == [429] * 4
    headgate.kill_worker(0)
    headgate.kill_worker(1)
    ask(headgate, clients, 3, held=3)
    assert headgate.get().status == 429


def in_flight(headgate: Headgate) -> list[int]:
    return [cast("int", worker["in_flight"]) for worker in headgate.workers()]


@IN_REDIS
def test_places_are_held_over_a_reload_and_an_upgrade(
    make: Make, backend: Start, redis_server: RedisServer, clients: contextlib.ExitStack, in_redis: bool
) -> None:
    server, gate = backend(), Gate()
    server.behaviour = gate
    config = flying(server, redis_server if in_redis else None, drain="20s")
    headgate = make(config).start()
    asked = ask(headgate, clients, 2, held=2)
    headgate.configure({**config, "heads": {"max_fields": 99}})
    headgate.signal(signal.SIGHUP)
    wait_for(lambda: headgate.status()["snapshot"] == 2, "the reload")
    asked += ask(headgate, clients, 1, held=3)
    assert headgate.get().status == 429
    answer = headgate.api("POST", "/api/v1/upgrade")
    assert answer.status == 200, answer.text
    successor = cast("int", answer.json()["pid"])
    wait_for(lambda: headgate.status()["pid"] == successor, "the successor")
    assert headgate.get().status == 429
    gate.is_open = True
    assert [client.rest()[9:12] for client in asked] == [b"200"] * 3
    await_free(headgate, 3, in_redis=in_redis)
    assert headgate.get().fields["ratelimit"] == '"flying";r=2'


def test_a_worker_that_is_drained_leaves_nothing_held_in_redis(
    make: Make, backend: Start, redis_server: RedisServer, clients: contextlib.ExitStack
) -> None:
    server, gate = backend(), Gate()
    server.behaviour = gate
    headgate = make(flying(server, redis_server, drain="0.1s")).start()
    ask(headgate, clients, 3, held=3)
    headgate.stop()  # cuts them off
    other = make(flying(server, redis_server)).start()
    assert other.get().fields["ratelimit"] == '"flying";r=2'


def test_a_worker_killed_while_it_holds_requests_back_leaves_nothing_in_flight(
    make: Make, backend: Start, clients: contextlib.ExitStack
) -> None:
    limit = {"rate": "1/hour", "algorithm": "gcra", "delay": "2h"}
    config = settings([backend().address], limit="1/hour", limits={"per_ip": limit})
    headgate = make(config).start()
    assert headgate.get().status == 200
    waiting = clients.enter_context(Raw(headgate.address))
    waiting.send(SLOW)
    wait_for(lambda: headgate.metric("headgate_limit_delayed_total", limit="per_ip") == 1, "a request to be held back")
    wait_for(lambda: in_flight(headgate) == [1], "the worker to say what it has")
    pid = headgate.worker_pid()
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ConnectionResetError):
        assert waiting.rest() == b""
    wait_for(lambda: headgate.worker_pid() not in (0, pid), "a new worker")
    headgate.await_ready()
    assert in_flight(headgate) == [0]
    assert headgate.metric("headgate_requests_in_flight") == 0
    assert headgate.metric("headgate_in_flight") == 0
    config["limits"] = {"per_ip": {"rate": "9/hour"}}
    headgate.configure(config)
    headgate.signal(signal.SIGHUP)
    wait_for(lambda: headgate.status()["snapshot"] == 2, "the reload")
    assert headgate.get().status == 200
