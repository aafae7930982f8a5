import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from headgate.control.admin import application
from headgate.control.plane import Plane
from headgate.control.upgrade import Upgrade
from headgate.limits.keys import Seal
from headgate.limits.overrides import having
from headgate.limits.refusals import refusals
from headgate.model.config import Ban, Config, Limit, OnError, Python, Rate, Store, Tier
from headgate.model.snapshot import LimitState
from headgate.store.shared import SharedStore
from headgate.testing.stores import never
from headgate.wire.cells import LimitCell, WorkerCell
from headgate.wire.messages import Top, Tops
from tests.unit.control.configs import config
from tests.unit.control.planes import Answer, call, plane
from tests.unit.store.fake_redis import FakeRedis

BY_IP = Limit("per_ip", Rate(2, 3600.0))
BY_PATH = Limit("by_path", Rate(2, 3600.0), "path", ban=Ban(3, 60.0, 600.0))
BASE = replace(config(), limits=(BY_IP, BY_PATH))
KEY = "/api/v1/limits/per_ip/keys/192.0.2.7"
SLASHES = "/api/v1/limits/by_path/keys/%2Fa%2Fban"


class Api:
    """A plane, its API, and a worker's store on the same memory."""

    def __init__(self, the_plane: Plane) -> None:
        self.plane = the_plane
        upgrade = Upgrade(the_plane, admin=None, limits=-1, lock=-1, command=[sys.executable, "-c", ""])
        self.app: ASGIApp = application(the_plane, upgrade, on_network=True)
        self.store = SharedStore(the_plane.counting._local._fd)

    async def __call__(self, method: str, target: str, body: dict[str, object] | bytes | None = None) -> Answer:
        headers = {"content-type": "application/json"} if body is not None else None
        return await call(self.app, method, target, body, headers)

    def state(self, name: str) -> LimitState:
        return next(state for state in self.plane.fleet.snapshot.limits if state.limit.name == name)

    def passes(self, name: str, key: bytes) -> bool:
        return self.store.hit([(self.state(name), key, 1)], never)[0].allowed


def with_api(test: Callable[[Api], Awaitable[None]], base: Config = BASE) -> None:
    async def main() -> None:
        with plane(base) as the_plane:
            api = Api(the_plane)
            try:
                await test(api)
            finally:
                api.store.close()
                await the_plane.close()

    asyncio.run(main())


def test_limits_are_shown_with_settings_and_counters() -> None:
    async def test(api: Api) -> None:
        slot = api.state("by_path").slot
        api.plane.cells.limit(0, slot)[LimitCell.REFUSED] = 3
        api.plane.cells.limit(1, slot)[LimitCell.REFUSED] = 4
        api.plane.cells.limit(1, slot)[LimitCell.FUNCTION_ERRORS] = 5
        answer = (await api("GET", "/api/v1/limits")).json
        assert answer["store"] == {"kind": "local", "down": 0}
        one = (await api("GET", "/api/v1/limits/by_path")).json
        assert (one["name"], one["rate"], one["key"], one["algorithm"]) == ("by_path", "2/hour", "path", "fixed_window")
        assert one["ban"] == {"refusals": 3, "within": 60.0, "period": 600.0}
        assert one["counters"] == {
            **dict.fromkeys(("allowed", "dry_run_refused", "near", "delayed", "banned", "store_errors"), 0),
            "refused": 7,
            "function_errors": 5,
        }
        names = [limit["name"] for limit in answer["limits"]]  # type: ignore[attr-defined]
        assert names == ["per_ip", "by_path"]

    with_api(test)


def test_functions_and_rates_are_shown_as_the_configuration_names_them() -> None:
    limit = Limit(
        "own",
        Rate(2, 3600.0),
        cost_of="python:plans:cost",
        exempt_by="python:plans:free",
        python=Python(on_error=OnError(limit=Rate(5, 60.0))),
    )

    async def test(api: Api) -> None:
        shown = (await api("GET", "/api/v1/limits/own")).json
        assert (shown["cost"], shown["exempt"]) == ("python:plans:cost", "python:plans:free")
        assert shown["python"]["on_error"]["limit"] == "5/minute"  # type: ignore[index]
        assert not {"cost_of", "exempt_by"} & shown.keys()
        plain = (await api("GET", "/api/v1/limits/per_ip")).json
        assert (plain["cost"], plain["exempt"]) == (1, [])
        assert plain["python"]["on_error"]["limit"] is None  # type: ignore[index]

    with_api(test, replace(BASE, limits=(limit, BY_IP)))


def test_where_limits_are_counted_and_who_cannot_reach_it_is_shown() -> None:
    async def test(api: Api) -> None:
        api.plane.cells.worker(1)[WorkerCell.STORE_DOWN] = 1
        assert (await api("GET", "/api/v1/limits")).json["store"] == {"kind": "redis", "down": 1}

    with_api(test, replace(BASE, store=Store("redis://127.0.0.1:1")))


def test_a_key_is_looked_at_without_taking_anything() -> None:
    async def test(api: Api) -> None:
        fresh = {"limit": "per_ip", "key": "192.0.2.7", "remaining": 2, "reset_after": 0.0, "retry_after": 0.0}
        assert (await api("GET", KEY)).json == fresh | {"banned_until": None}
        assert [api.passes("per_ip", b"192.0.2.7") for _ in range(3)] == [True, True, False]
        shown = (await api("GET", KEY)).json
        assert shown["remaining"] == 0
        assert 3590 < shown["retry_after"] <= 3600  # type: ignore[operator]
        assert shown["retry_after"] == shown["reset_after"]

    with_api(test)


def test_a_reset_key_passes_again() -> None:
    async def test(api: Api) -> None:
        assert [api.passes("per_ip", b"192.0.2.7") for _ in range(3)] == [True, True, False]
        assert (await api("DELETE", KEY)).json == {"limit": "per_ip", "key": "192.0.2.7", "reset": True}
        assert api.passes("per_ip", b"192.0.2.7")
        assert (await api("DELETE", KEY)).json["reset"] is True
        assert (await api("DELETE", KEY)).json["reset"] is False

    with_api(test)


def test_a_key_is_banned_and_let_in_again() -> None:
    async def test(api: Api) -> None:
        banned = await api("PUT", KEY + "/ban", {"for": "10m"})
        assert banned.status == 200
        assert 599 < banned.json["retry_after"] <= 600  # type: ignore[operator]
        assert str(banned.json["banned_until"]).endswith("Z")
        assert not api.passes("per_ip", b"192.0.2.7")
        assert (await api("GET", KEY)).json["banned_until"] is not None
        assert (await api("DELETE", KEY + "/ban")).json == {"limit": "per_ip", "key": "192.0.2.7", "unbanned": True}
        assert api.passes("per_ip", b"192.0.2.7")
        assert (await api("DELETE", KEY + "/ban")).json["unbanned"] is False
        assert (await api("GET", KEY)).json["remaining"] == 1

    with_api(test)


def test_what_an_operator_changes_is_an_event_once() -> None:
    async def test(api: Api) -> None:
        assert api.passes("per_ip", b"192.0.2.7")
        for _ in range(2):
            await api("DELETE", KEY)
        await api("PUT", KEY + "/ban", {"for": "1m"})
        for _ in range(2):
            await api("DELETE", KEY + "/ban")
        by = {"limit": "per_ip", "key": "192.0.2.7", "by": "api"}
        assert [(event.kind, event.text, event.fields) for event in api.plane.events.since(0)[0]] == [
            ("key_reset", "limit per_ip: 192.0.2.7 is reset", by),
            ("key_banned", "limit per_ip: 192.0.2.7 is banned for 60 s by an operator", by | {"seconds": 60.0}),
            ("key_unbanned", "limit per_ip: 192.0.2.7 is banned no more", by),
        ]

    with_api(test)


def test_a_limit_that_bans_says_for_how_long_and_forgets_its_refusals_with_the_ban() -> None:
    async def test(api: Api) -> None:
        state = api.state("by_path")
        counter = refusals(state)
        assert counter is not None
        assert api.store.hit([(counter, b"=/a/ban", 1)], never)[0].remaining == 2
        assert 599 < (await api("PUT", SLASHES + "/ban", {})).json["retry_after"] <= 600  # type: ignore[operator]
        assert not api.passes("by_path", b"=/a/ban")
        assert (await api("DELETE", SLASHES + "/ban")).json["key"] == "=/a/ban"
        assert api.store.hit([(counter, b"=/a/ban", 1)], never)[0].remaining == 2

    with_api(test)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/api/v1/limits/none", None, 404, 'there is no limit "none" (known: per_ip, by_path)'),
        ("GET", "/api/v1/limits/none/keys/a", None, 404, 'there is no limit "none" (known: per_ip, by_path)'),
        ("GET", "/api/v1/limits/per_ip/keys/abc", None, 400, 'key of limit per_ip: "abc" is not an address'),
        ("GET", "/api/v1/limits/by_path/keys/", None, 400, "nothing for path"),
        ("GET", "/api/v1/limits/by_path/keys/a/b", None, 404, "a slash in a key is written %2F"),
        ("GET", "/api/v1/limits/by_path/keys%2Fa", None, 404, "a slash in a key is written %2F, no other is"),
        ("GET", "/api/v1/limits/by_path/keys%2Fa/ban", None, 404, "a slash in a key is written %2F, no other is"),
        ("GET", "/api%2Fv1/limits/by_path/keys/a/b", None, 404, "a slash in a key is written %2F, no other is"),
        ("PUT", KEY, {}, 405, "Method Not Allowed"),
        ("GET", KEY + "/ban", None, 405, "Method Not Allowed"),
        ("GET", "/api/v1/limits/none/top", None, 404, 'there is no limit "none"'),
        ("GET", "/api/v1/limits/per_ip/top?count=0", None, 400, "count=0: expected a number from 1 to 128"),
        ("GET", "/api/v1/limits/per_ip/top?count=x", None, 400, "count=x: expected a number from 1 to 128"),
        ("GET", "/api/v1/limits/per_ip/top?count=" + "9" * 5000, None, 400, "expected a number from 1 to 128"),
        ("POST", KEY, {}, 405, "Method Not Allowed"),
        (
            "PUT",
            KEY + "/ban",
            {},
            400,
            'for: missing, and limit per_ip has no "ban" that says for how long (expected a duration)',
        ),
        ("PUT", KEY + "/ban", {"for": "soon"}, 400, 'for: "soon" is not a duration'),
        ("PUT", KEY + "/ban", {"for": 0}, 400, "for: 0"),
        ("PUT", KEY + "/ban", {"for": "400d"}, 400, "for: 400d is out of range (expected 1ms to a year)"),
        ("PUT", KEY + "/ban", {"for": 1e-9}, 400, "for: 1e-09 is out of range (expected 1ms to a year)"),
        ("PUT", KEY + "/ban", {"until": 5}, 400, "(known: for)"),
    ],
)
def test_what_cannot_be_done_is_a_problem_in_words(
    method: str, path: str, body: dict[str, object] | None, status: int, detail: str
) -> None:
    async def test(api: Api) -> None:
        answer = await api(method, path, body)
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert detail in str(answer.json["detail"])

    with_api(test)


def test_what_is_counted_at_a_rate_that_a_function_says_is_seen_and_changed() -> None:
    async def test(api: Api) -> None:
        for text, tier in (("9/minute", Tier(Rate(9, 60.0))), ("gold", Tier(Rate(99, 60.0)))):
            own = having(api.state("per_ip"), tier)
            assert own is not None
            assert tier.rate is not None
            target = f"{KEY}?rate={text.replace('/', '%2F')}"
            ban = target.replace("?", "/ban?")
            assert api.store.hit([(own, b"192.0.2.7", 1)], never)[0].allowed
            assert (await api("GET", target)).json["remaining"] == tier.rate.limit - 1
            assert (await api("PUT", ban, {"for": "1m"})).status == 200
            assert not api.store.hit([(own, b"192.0.2.7", 1)], never)[0].allowed
            assert (await api("DELETE", ban)).json["unbanned"] is True
            assert (await api("DELETE", target)).json["reset"] is False
        assert (await api("GET", KEY)).json["remaining"] == 2
        soon = await api("GET", f"{KEY}?rate=soon")
        assert soon.status == 400
        assert str(soon.json["detail"]).startswith("rate=soon: is not a rate (expected ")
        assert str(soon.json["detail"]).endswith("), nor a tier (known: gold, free, held)")
        held = await api("GET", f"{KEY}?rate=held")
        assert held.status == 400
        assert held.json["detail"] == 'rate=held: is "20 in flight", which cannot stand for "2/hour"'
        for free in ("free", "unlimited"):
            assert (await api("GET", f"{KEY}?rate={free}")).status == 409

    with_api(
        test, replace(BASE, tiers={"gold": Tier(Rate(99, 60.0), 7), "free": Tier(None), "held": Tier(Rate(20, 0.0))})
    )


def test_who_is_refused_most_is_shown_with_what_is_sure_of_it() -> None:
    async def test(api: Api) -> None:
        assert (await api("GET", "/api/v1/limits/per_ip/top")).json == {
            "limit": "per_ip",
            "refused": 0,
            "unlisted_at_most": 0,
            "keys": [],
        }
        counters = tuple((b"192.0.2.%d" % number, 50 - number, 1) for number in range(5))
        api.plane.heard(0, Tops((Top("per_ip", 300, 7, counters),)))
        api.plane.heard(1, Tops((Top("per_ip", 10, 0, ((b"192.0.2.0", 10, 0),)),)))
        top = (await api("GET", "/api/v1/limits/per_ip/top?count=2")).json
        assert (top["refused"], top["unlisted_at_most"]) == (310, 48)
        assert top["keys"] == [
            {"key": "192.0.2.0", "refused": 60, "at_least": 59},
            {"key": "192.0.2.1", "refused": 49, "at_least": 48},
        ]
        every = (await api("GET", "/api/v1/limits/per_ip/top")).json
        assert (len(every["keys"]), every["unlisted_at_most"]) == (5, 7)  # type: ignore[arg-type]
        shown = (await api("GET", "/api/v1/limits/per_ip")).json["top"]
        assert len(shown["keys"]) == 3  # type: ignore[index]
        api.plane.worker_died(0)
        assert (await api("GET", "/api/v1/limits/per_ip/top")).json["refused"] == 10

    with_api(test)


@pytest.mark.parametrize("secret", ["", "not to be guessed"], ids=["of the memory", "of the configuration"])
def test_the_keys_of_private_limits_are_found_by_what_a_person_knows_of_them(secret: str) -> None:
    async def test(api: Api) -> None:
        hidden = Seal(secret.encode() or api.store.secret)(b"=/a")
        assert api.passes("hidden", hidden)
        shown = (await api("GET", "/api/v1/limits/hidden/keys/%2Fa")).json
        assert shown["remaining"] == 1
        assert shown["key"] == hidden.decode()
        assert (await api("GET", f"/api/v1/limits/hidden/keys/{hidden.decode()}")).json["remaining"] == 1

    limits = (Limit("hidden", Rate(2, 3600.0), "path", private=True),)
    with_api(test, replace(BASE, limits=limits, store=Store(secret=secret)))


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", SLASHES, None),
        ("DELETE", SLASHES, None),
        ("PUT", f"{SLASHES}/ban", {}),
        ("DELETE", f"{SLASHES}/ban", None),
    ],
    ids=["look", "reset", "ban", "unban"],
)
@pytest.mark.parametrize("held", [False, True], ids=["counted", "in flight"])
def test_a_worker_that_keeps_a_lock_holds_up_no_other_operator(
    method: str, target: str, body: dict[str, object] | None, held: bool
) -> None:
    async def test(api: Api) -> None:
        operated = api.plane.counting._local
        locks = [*api.store._stripes, api.store._owners_lock]
        for lock in (*operated._stripes, operated._owners_lock):
            lock.patience = 30.0
        for lock in locks:
            assert lock.enter()
        waiting = asyncio.create_task(api(method, target, body))
        await asyncio.sleep(0)
        assert (await api("GET", "/api/v1/limits")).status == 200
        assert not waiting.done()
        for lock in locks:
            lock.leave()
        assert (await waiting).status == 200

    places = Limit("by_path", Rate(2, 0.0), "path", algorithm="concurrency", ban=BY_PATH.ban)
    with_api(test, replace(BASE, limits=(places if held else BY_PATH,)))


def test_a_redis_that_is_not_there_is_503_and_one_that_comes_is_asked(tmp_path: Path) -> None:
    async def test(api: Api) -> None:
        answer = await api("GET", KEY)
        assert answer.status == 503
        assert "does not answer" in str(answer.json["detail"])
        fake = FakeRedis(str(tmp_path / "redis"))
        fake.answer = lambda command: b":1\r\n"
        await fake.start()
        async with asyncio.timeout(20):
            while (answer := await api("DELETE", KEY)).status == 503:
                await asyncio.sleep(0)
        assert answer.json["reset"] is True
        assert fake.commands[-1] == [b"DEL", b"headgate:per_ip:client_ip:fixed_window:2/3600000000:192.0.2.7"]
        await fake.stop()

    with_api(test, replace(BASE, store=Store(f"unix://{tmp_path}/redis")))


def test_a_reload_that_moves_the_store_is_followed(tmp_path: Path) -> None:
    async def test(api: Api) -> None:
        fakes = [FakeRedis(str(tmp_path / name)) for name in ("a", "b")]
        for fake in fakes:
            fake.answer = lambda command: b":1\r\n"
            await fake.start()
            settings = replace(api.plane.fleet.config, store=Store(f"unix://{fake.path}", prefix=fake.path[-1]))
            api.plane.fleet.apply(settings, {}, leave_at=0.0)
            assert (await api("DELETE", KEY)).status == 200
            assert [command[1][:7] for command in fake.commands] == [b"%b:per_i" % fake.path[-1].encode()]
        api.plane.fleet.apply(BASE, {}, leave_at=0.0)
        assert (await api("GET", KEY)).json["remaining"] == 2
        for fake in fakes:
            await fake.stop()

    with_api(test)
