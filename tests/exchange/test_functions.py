"""Limits that ask functions of users: plain ones at once, async ones as long as they have; no error is a client's."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType

import pytest

from headgate.ext import Request, Response
from headgate.model.config import Limit, OnError, Python, Rate
from headgate.model.snapshot import LimitState
from headgate.wire.cells import LimitCell
from tests.exchange.kit import TIMEOUTS, SlowStore, World, get, ok, post

Make = Callable[..., World]
Build = Callable[..., World]

TWO = Rate(2, 60.0)


class Users(ModuleType):
    """A module of users. Its async functions wait for futures that the test sets, in the order of the requests."""

    def __init__(self) -> None:
        super().__init__("hg_users")
        self.world: World | None = None
        self.waiting: list[asyncio.Future[object]] = []
        self.cancelled = 0

    async def later(self, request: Request, response: Response | None = None) -> object:
        """What the test says, when it says it."""
        assert self.world is not None
        future = self.world.loop.create_future()
        self.waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def says(self, answer: object) -> None:
        """The one that has waited the longest says this."""
        assert self.world is not None
        self.waiting.pop(0).set_result(answer)
        self.world.loop.run()

    def fails(self, error: BaseException) -> None:
        """The same with an error."""
        assert self.world is not None
        self.waiting.pop(0).set_exception(error)
        self.world.loop.run()


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Iterator[Users]:
    module = Users()
    monkeypatch.setitem(sys.modules, "hg_users", module)
    yield module
    assert all(future.done() for future in module.waiting), "a function is waited for, and nobody wants to know"


@pytest.fixture
def build(make: Make, users: Users) -> Build:
    """Makes the world whose functions these are."""

    def built(*limits: Limit, **more: object) -> World:
        world = make(limits=[LimitState(limit, slot) for slot, limit in enumerate(limits)], **more)
        users.world = world
        return world

    return built


def statuses(world: World, *requests: bytes) -> list[bytes]:
    """The statuses of these requests, each of a client of its own; servers answer at once."""
    found = []
    for request in requests:
        client = world.client()
        client.sends(request)
        for peer in world.peers:
            if peer.connection.exchange is not None:
                peer.sends(ok())
        found.append(client.new()[9:12])
    return found


def test_plain_functions_decide_without_a_task(build: Build, users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    users.user = lambda request: request.header("x-user")  # type: ignore[attr-defined]
    users.cost = lambda request: 2 if request.path == "/dear" else 1  # type: ignore[attr-defined]
    users.tier = lambda request: "4/minute" if request.header("x-user") == "gold" else None  # type: ignore[attr-defined]
    users.free = lambda request: request.path == "/health"  # type: ignore[attr-defined]
    world = build(
        Limit(
            "l",
            TWO,
            key="python:hg_users:user",
            cost_of="python:hg_users:cost",
            limit="python:hg_users:tier",
            exempt_by="python:hg_users:free",
        )
    )
    monkeypatch.setattr(world.loop, "create_task", None)
    gold, plain = b"X-User: gold", b"X-User: plain"
    assert statuses(world, *[get(b"/", gold)] * 5) == [b"200"] * 4 + [b"429"]
    assert statuses(world, get(b"/dear", plain), get(b"/", plain)) == [b"200", b"429"]
    assert statuses(world, get(b"/health", plain), *[get(b"/")] * 3) == [b"200", b"200", b"200", b"429"]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "limit",
    [
        Limit("l", TWO),
        Limit("l", TWO, algorithm="sliding_window"),
        Limit("l", Rate(9, 60.0), algorithm="gcra", burst=2),
        Limit("l", Rate(2, 0.0), algorithm="concurrency"),
    ],
    ids=["fixed window", "sliding window", "gcra", "in flight"],
)
def test_what_can_never_pass_is_not_told_to_come_again(build: Build, users: Users, limit: Limit, legacy: bool) -> None:
    users.cost = lambda request: 3 if request.path == "/dear" else 1  # type: ignore[attr-defined]
    world = build(replace(limit, cost_of="python:hg_users:cost", legacy_headers=legacy))
    client = world.client()
    client.sends(get(b"/dear"))
    told = client.new()
    assert told.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After" not in told
    assert b"X-RateLimit-Reset" not in told
    assert (b"X-RateLimit-Remaining: 2\r\n" in told) is legacy
    assert b'RateLimit: "l";r=2\r\n' in told
    assert b', and this request counts for more than ever pass at once.", "violated-policies": ["l"]}\n' in told
    assert statuses(world, get()) == [b"200"]


def test_what_may_pass_later_is_told_when_also_where_functions_are_asked(build: Build, users: Users) -> None:
    users.cost = lambda request: 2  # type: ignore[attr-defined]
    world = build(Limit("l", TWO, cost_of="python:hg_users:cost"))
    assert statuses(world, get()) == [b"200"]
    client = world.client()
    client.sends(get())
    told = client.new()
    assert b"Retry-After: 60\r\n" in told
    assert b'RateLimit: "l";r=0;t=60\r\n' in told


def test_of_several_limits_one_that_is_never_passed_decides_what_is_told(build: Build, users: Users) -> None:
    users.cost = lambda request: 3 if request.path == "/dear" else 1  # type: ignore[attr-defined]
    world = build(Limit("dear", TWO, cost_of="python:hg_users:cost"), Limit("one", Rate(1, 60.0)))
    assert statuses(world, get()) == [b"200"]
    client = world.client()
    client.sends(get(b"/dear"))
    told = client.new()
    assert b"Retry-After" not in told
    assert b'RateLimit: "dear";r=1, "one";r=0;t=60\r\n' in told
    assert b'"The limit is 2/minute, and this request counts for more than' in told
    assert b'"violated-policies": ["dear", "one"]' in told


def test_an_async_function_is_waited_for_and_the_body_meanwhile(build: Build, users: Users) -> None:
    world = build(Limit("l", TWO, cost_of="python:hg_users:later"))
    client = world.client()
    request = post(b"a body")
    client.sends(request[:-3], request[-3:])
    assert not world.tried
    users.says(2)
    server = world.accepted()
    assert server.new().endswith(b"\r\n\r\na body")
    server.sends(ok())
    client.sees(ok())
    client.sends(get())
    users.says(1)
    client.sees_answer(429)


def test_several_functions_are_asked_one_after_the_other(build: Build, users: Users) -> None:
    one = Limit("one", TWO, key="python:hg_users:later", cost_of="python:hg_users:later")
    world = build(one, Limit("other", TWO, limit="python:hg_users:later"), Limit("plain", TWO))
    world.worker.store = store = SlowStore(world.loop)
    world.client().sends(get())
    for answer in (2, "somebody", "7/minute"):
        assert not store.asked
        users.says(answer)
    ((checks, _),) = store.asked
    assert [(limit.limit.name, str(limit.limit.rate), key, cost) for limit, key, cost in checks] == [
        ("one", "2/minute", b"=somebody", 2),
        ("other", "7/minute", b"192.0.2.1", 1),
        ("plain", "2/minute", b"192.0.2.1", 1),
    ]
    store.decide(True)


def test_a_function_that_takes_too_long_is_cancelled_and_its_error_value_used(build: Build, users: Users) -> None:
    python = Python(timeout=0.05, on_error=OnError(exempt=True))
    world = build(Limit("l", Rate(1, 60.0), exempt_by="python:hg_users:later", python=python))
    for _ in range(2):
        client = world.client()
        client.sends(get())
        world.advance(0.04)
        assert not world.in_flight()
        world.advance(0.02)
        assert world.in_flight()
        next(peer for peer in world.peers if peer.connection.exchange is not None).sends(ok())
    assert users.cancelled == 2
    assert world.limit_cell(LimitCell.FUNCTION_ERRORS) == 2
    assert world.limit_cell(LimitCell.ALLOWED) == 0


def test_a_function_that_will_not_be_cancelled_was_too_late_all_the_same(build: Build, users: Users) -> None:
    async def stubborn(request: Request) -> bool:
        try:
            await users.later(request)
        except asyncio.CancelledError:
            return True
        return True

    users.stubborn = stubborn  # type: ignore[attr-defined]
    world = build(Limit("l", TWO, exempt_by="python:hg_users:stubborn"))
    world.client().sends(get())
    world.advance(0.1)
    assert world.in_flight()
    assert world.limit_cell(LimitCell.FUNCTION_ERRORS) == 1
    assert world.limit_cell(LimitCell.ALLOWED) == 1


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(1), asyncio.CancelledError(), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_no_error_of_a_function_reaches_a_client(build: Build, users: Users, error: BaseException) -> None:
    async def raises(request: Request) -> int:
        await users.later(request)
        raise error

    users.raises = raises  # type: ignore[attr-defined]
    world = build(Limit("l", TWO, cost_of="python:hg_users:raises"))
    world.client().sends(get())
    users.says(None)
    assert world.in_flight()
    assert world.limit_cell(LimitCell.FUNCTION_ERRORS) == 1
    assert world.limit_cell(LimitCell.ALLOWED) == 1


def test_a_plain_function_may_look_at_a_task_that_was_cancelled(build: Build, users: Users) -> None:
    def looks(request: Request, response: Response | None = None) -> int:
        raise asyncio.CancelledError

    users.looks = looks  # type: ignore[attr-defined]
    name = "python:hg_users:looks"
    world = build(Limit("l", TWO, cost_of=name, settle=name), Limit("flying", Rate(1, 0.0), algorithm="concurrency"))
    client = world.client()
    client.sends(get())
    world.accepted().sends(ok())
    client.sees(ok())
    assert world.limit_cell(LimitCell.FUNCTION_ERRORS) == 2
    assert world.cells.limit(0, 1)[LimitCell.IN_FLIGHT] == 0


@pytest.mark.parametrize("early", [True, False], ids=["before it begins", "while it waits"])
def test_a_client_that_goes_away_ends_the_function_that_is_asked_for_it(
    build: Build, users: Users, early: bool
) -> None:
    world = build(Limit("l", TWO, cost_of="python:hg_users:later"))
    client = world.client()
    if early:
        client.transport.arrive(get())
        world.loop.step()
        client.transport.break_off()
        world.loop.run()
    else:
        client.sends(get())
        client.resets()
        assert users.cancelled == 1
    assert world.flagged("DC") == 1
    assert world.limit_cell(LimitCell.FUNCTION_ERRORS) == 0
    assert not world.tried


def test_the_time_of_the_whole_request_counts_while_a_function_is_asked(build: Build, users: Users) -> None:
    limit = Limit("l", TWO, cost_of="python:hg_users:later", python=Python(timeout=60.0))
    world = build(limit, timeouts=replace(TIMEOUTS, total=2.0))
    client = world.client()
    client.sends(get())
    world.advance(3)
    client.sees_answer(504)
    assert users.cancelled == 1


def test_what_is_remembered_needs_no_task(build: Build, users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    python = Python(cache=10.0, cache_by="header:x-user")
    world = build(Limit("l", TWO, cost_of="python:hg_users:later", python=python))
    world.client().sends(get(b"/", b"X-User: a"))
    users.says(0)
    world.accepted().sends(ok())
    monkeypatch.setattr(world.loop, "create_task", None)
    assert statuses(world, *[get(b"/", b"X-User: a")] * 3) == [b"200"] * 3


def test_nobody_waits_for_the_functions_of_a_limit_that_is_only_tried(build: Build, users: Users) -> None:
    users.plain = lambda request: 1  # type: ignore[attr-defined]
    trial = Limit("trial", Rate(1, 60.0), cost_of="python:hg_users:later", dry_run=True)
    world = build(trial, Limit("simple", Rate(1, 60.0), cost_of="python:hg_users:plain", dry_run=True))
    assert statuses(world, get(), get()) == [b"200", b"200"]
    for _ in range(2):
        users.says(1)
    for slot in (0, 1):
        row = world.cells.limit(0, slot)
        assert [row[LimitCell.ALLOWED], row[LimitCell.DRY_REFUSED]] == [1, 1]


def test_a_plain_trial_counts_at_once(build: Build, users: Users) -> None:
    users.plain = lambda request: 1  # type: ignore[attr-defined]
    world = build(Limit("trial", Rate(1, 60.0), cost_of="python:hg_users:plain", dry_run=True))
    assert statuses(world, get(), get()) == [b"200", b"200"]
    assert world.limit_cell(LimitCell.DRY_REFUSED) == 1


def test_a_function_says_what_a_request_really_cost(build: Build, users: Users) -> None:
    seen: list[tuple[str, int, str | None]] = []

    def settle(request: Request, response: Response) -> int | None:
        seen.append((request.path, response.status, response.header("x-used")))
        return int(response.header("x-used") or 0) if response.status == 200 else None

    users.settle = settle  # type: ignore[attr-defined]
    world = build(Limit("l", Rate(100, 60.0), cost=10, settle="python:hg_users:settle"))
    world.worker.store = store = SlowStore(world.loop)
    for response in (
        ok(b"", b"X-Used: 70"),
        ok(b"", b"X-Used: 10"),
        ok(b"", b"X-Used: many"),
        ok().replace(b"200", b"500"),
    ):
        client = world.client()
        client.sends(get(b"/a"))
        store.decide(True)
        next(peer for peer in world.peers if peer.connection.exchange is not None).sends(response)
    assert seen == [("/a", 200, "70"), ("/a", 200, "10"), ("/a", 200, "many"), ("/a", 500, None)]
    assert store.charged == [("l", b"192.0.2.1", 60)]
    assert world.limit_cell(LimitCell.FUNCTION_ERRORS) == 1


def test_nobody_waits_for_an_async_function_to_settle(build: Build, users: Users) -> None:
    world = build(Limit("l", Rate(100, 60.0), cost=10, settle="python:hg_users:later"))
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get())
    store.decide(True)
    world.accepted().sends(ok())
    client.sees(ok())
    assert store.charged == []
    users.says(3)
    assert store.charged == [("l", b"192.0.2.1", -7)]
