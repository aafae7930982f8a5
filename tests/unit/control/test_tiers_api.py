"""Keys of limits get another rate, and rates their names, by the admin API."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.types import ASGIApp

from headgate.control.admin import application
from headgate.control.plane import Plane
from headgate.control.upgrade import Upgrade
from headgate.limits.keys import Seal
from headgate.model.config import Config, Limit, Rate, Store, Tier
from headgate.model.snapshot import Overrides
from tests.unit.control.configs import config
from tests.unit.control.planes import Answer, call, plane

LIMITS = (
    Limit("per_key", Rate(100, 60.0), "header:x-api-key", overrides={"=file": "gold"}),
    Limit("per_ip", Rate(100, 60.0), algorithm="gcra", cost=2),
    Limit("secret", Rate(100, 60.0), "api_key"),
)
BASE = replace(config(), limits=LIMITS, tiers={"gold": Tier(Rate(1000, 60.0), 7)})
KEYS, IPS, TIERS = "/api/v1/limits/per_key/overrides", "/api/v1/limits/per_ip/overrides", "/api/v1/tiers"
GOLD = {"tier": "gold", "rate": "1000/minute", "burst": 0, "source": "runtime", "inert": None}


class Api:
    """A plane and its API."""

    def __init__(self, the_plane: Plane) -> None:
        self.plane = the_plane
        upgrade = Upgrade(the_plane, admin=None, limits=-1, lock=-1, command=[sys.executable, "-c", ""])
        self.app: ASGIApp = application(the_plane, upgrade, on_network=True)

    async def __call__(self, method: str, target: str, body: dict[str, object] | bytes | None = None) -> Answer:
        headers = {"content-type": "application/json"} if body is not None else None
        return await call(self.app, method, target, body, headers)

    def told(self, limit: str) -> Overrides | None:
        """What the workers are told."""
        return self.plane.fleet.snapshot.overrides.get(limit)


def with_api(test: Callable[[Api], Awaitable[None]], base: Config = BASE, *, state_path: str = "") -> None:
    async def main() -> None:
        with plane(base, state_path=state_path) as the_plane:
            try:
                await test(Api(the_plane))
            finally:
                await the_plane.close()
                for bound in the_plane.bound.values():
                    bound.close()

    asyncio.run(main())


def test_a_key_gets_a_tier_a_rate_or_no_limit_and_the_workers_are_told() -> None:
    async def test(api: Api) -> None:
        assert (await api("PUT", f"{KEYS}/alice", {"tier": "gold"})).json == {
            "limit": "per_key",
            "key": "=alice",
            **GOLD,
        }
        own = await api("PUT", f"{IPS}/192.0.2.7", {"rate": "5/s", "burst": 20})
        assert (own.status, own.json["rate"], own.json["burst"], own.json["tier"]) == (200, "5/second", 20, None)
        free = await api("PUT", f"{IPS}/2001%3adb8%3a%3a1", {"rate": "unlimited"})
        assert (free.json["key"], free.json["rate"]) == ("2001:db8::/64", "unlimited")
        assert api.told("per_key") == Overrides((Tier(Rate(1000, 60.0)),), {b"=file": 0, b"=alice": 0})
        assert api.told("per_ip") == Overrides(
            (Tier(Rate(5, 1.0), 20), Tier(None)), {b"192.0.2.7": 0, b"2001:db8::/64": 1}
        )
        assert api.plane.fleet.snapshot.version == 4

    with_api(test)


def test_each_change_is_an_event() -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        await api("DELETE", f"{KEYS}/alice")
        await api("PATCH", KEYS, {"overrides": {"bob": {"rate": "5/s"}}})
        await api("PUT", f"{TIERS}/gold", {"rate": "7/s"})
        await api("DELETE", f"{TIERS}/gold")
        await api("PUT", f"{KEYS}/alice", {"tier": "gild"})
        assert [(event.kind, event.text, event.fields["by"]) for event in api.plane.events.since(0)[0]] == [
            ("override_set", "limit per_key: =alice has gold", "api"),
            ("override_unset", "limit per_key: =alice has the limit's own rate", "api"),
            ("overrides_changed", "limit per_key: the rate of 1 key is changed", "api"),
            ("tier_set", "tier gold is 7/second", "api"),
            ("tier_unset", "tier gold is as the configuration has it", "api"),
        ]

    with_api(test)


def test_those_of_a_limit_are_listed_with_where_they_come_from() -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        assert (await api("GET", KEYS)).json == {
            "limit": "per_key",
            "rate": "100/minute",
            "gone": False,
            "overrides": [{"key": "=file", **GOLD, "source": "config"}, {"key": "=alice", **GOLD}],
        }
        assert (await api("GET", IPS)).json["overrides"] == []
        assert (await api("GET", f"{KEYS}/%3Dalice")).json == {"limit": "per_key", "key": "=alice", **GOLD}
        assert (await api("GET", f"{KEYS}/bob")).status == 404
        assert (await api("GET", "/api/v1/limits/per_key")).json["overrides"] == 2

    with_api(test)


def test_a_key_comes_under_the_limit_again_also_where_the_configuration_says_otherwise() -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        for key in ("alice", "file"):
            gone = await api("DELETE", f"{KEYS}/{key}")
            assert (gone.status, gone.json) == (200, {"limit": "per_key", "key": f"={key}", "inert": None})
            assert (await api("DELETE", f"{KEYS}/{key}")).status == 404
        assert api.told("per_key") is None
        assert (await api("PUT", f"{KEYS}/file", {"tier": "gold"})).json["source"] == "config"

    with_api(test)


def test_many_keys_are_changed_at_once_or_none_is() -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        changes: dict[str, object] = {f"many-{number}": {"rate": "5/s"} for number in range(1000)}
        changes |= {"alice": None, "nobody": None, "file": {"rate": "unlimited"}}
        bad = await api("PATCH", KEYS, {"overrides": {**changes, "bob": {"tier": "gild"}}})
        assert (bad.status, api.plane.fleet.snapshot.version) == (422, 2)
        done = await api("PATCH", KEYS, {"overrides": changes})
        assert (done.status, done.json) == (200, {"limit": "per_key", "changed": 1002})
        told = api.told("per_key")
        assert told is not None
        assert (len(told.keys), api.plane.fleet.snapshot.version) == (1001, 3)
        assert {key: told.tiers[told.keys[key]] for key in (b"=file", b"=many-0", b"=many-999")} == {
            b"=file": Tier(None),
            b"=many-0": Tier(Rate(5, 1.0)),
            b"=many-999": Tier(Rate(5, 1.0)),
        }

    with_api(test)


@pytest.mark.parametrize(
    ("overrides", "changed", "told"),
    [
        ({"carol": None}, 0, ""),
        ({"alice": {"tier": "gold"}, "file": {"tier": "gold"}}, 0, ""),
        ({"alice": {"rate": "5/s"}, "file": None, "carol": None}, 2, "the rates of 2 keys are changed"),
        ({"carol": {"rate": "5/s"}, "=carol": None}, 1, "the rate of 1 key is changed"),
        ({"carol": {"rate": "5/s"}, "=carol": {"rate": "7/s"}}, 1, "the rate of 1 key is changed"),
    ],
)
def test_of_many_keys_those_are_counted_whose_rate_is_another_one(
    overrides: dict[str, object], changed: int, told: str
) -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        done = await api("PATCH", KEYS, {"overrides": overrides})
        assert done.json == {"limit": "per_key", "changed": changed}
        events = api.plane.events.since(0)[0][1:]
        assert [event.text for event in events] == ([f"limit per_key: {told}"] if told else [])

    with_api(test)


def test_a_tier_is_defined_changed_and_made_what_it_was() -> None:
    async def test(api: Api) -> None:
        changed = await api("PUT", f"{TIERS}/gold", {"rate": "7/s"})
        assert (changed.status, changed.json) == (
            200,
            {"name": "gold", "rate": "7/second", "burst": 0, "source": "runtime"},
        )
        assert api.told("per_key") == Overrides((Tier(Rate(7, 1.0)),), {b"=file": 0})
        await api("PUT", f"{TIERS}/iron", {"rate": "unlimited"})
        assert (await api("GET", TIERS)).json["tiers"] == [
            {"name": "gold", "rate": "7/second", "burst": 0, "source": "runtime"},
            {"name": "iron", "rate": "unlimited", "burst": 0, "source": "runtime"},
        ]
        unset = [(await api("DELETE", f"{TIERS}/{name}")).json for name in ("gold", "iron")]
        assert unset == [
            {"name": "gold", "rate": "1000/minute", "burst": 7},
            {"name": "iron", "rate": None, "burst": 0},
        ]
        assert (await api("GET", f"{TIERS}/gold")).json == {
            "name": "gold",
            "rate": "1000/minute",
            "burst": 7,
            "source": "config",
        }
        assert (await api("GET", f"{TIERS}/iron")).status == 404

    with_api(test)


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "words"),
    [
        ("PUT", f"{KEYS}/a", {}, 400, "nothing to set (known: tier, rate, burst)"),
        ("PUT", f"{KEYS}/a", {"tir": "gold"}, 400, "unknown field `tir` (known: tier, rate, burst)"),
        ("PUT", f"{KEYS}/a", {"tier": "gold", "rate": "5/s"}, 400, "expected a tier, or a rate"),
        ("PUT", f"{KEYS}/a", {"tier": "gold", "burst": 5}, 400, "expected a tier, or a rate"),
        ("PUT", f"{KEYS}/a", {"rate": "5/x"}, 400, 'rate: "5/x" is not a rate'),
        ("PUT", f"{KEYS}/a", {"rate": "5/s", "burst": -1}, 400, ">= 0"),
        ("PUT", f"{KEYS}/a", {"rate": "5/s", "burst": 5}, 422, 'burst: only with algorithm = "gcra"'),
        ("PUT", f"{IPS}/192.0.2.7", {"rate": "unlimited", "burst": 5}, 400, 'burst: not with "unlimited"'),
        ("PATCH", IPS, {"overrides": {"192.0.2.7": {"rate": "unlimited", "burst": 5}}}, 400, "burst: not with"),
        ("PUT", f"{TIERS}/gold", {"rate": "unlimited", "burst": 5}, 400, 'burst: not with "unlimited"'),
        ("PUT", f"{TIERS}/gold", {"rate": "9 in flight", "burst": 5}, 400, 'burst: not with "9 in flight"'),
        ("PUT", f"{KEYS}/a", {"tier": "gild"}, 422, 'there is no tier "gild" (known: gold); nothing was changed'),
        ("PUT", f"{IPS}/192.0.2.7", {"rate": "1/s"}, 422, "no request would ever pass limit per_ip: its cost is 2"),
        (
            "PUT",
            f"{IPS}/192.0.2.7",
            {"rate": "1/365d", "burst": 20},
            400,
            "burst: all of it is there again after 20 years",
        ),
        ("PUT", f"{IPS}/alice", {"tier": "gold"}, 400, 'key of limit per_ip: "alice" is not an address'),
        ("PUT", f"{KEYS}/", {"tier": "gold"}, 400, "key of limit per_key: nothing for header:x-api-key"),
        ("PUT", f"{KEYS}/a/b", {"tier": "gold"}, 404, "a slash in a key is written %2F"),
        ("PUT", "/api/v1/limits/per_key/overrides%2Fa", {"tier": "gold"}, 404, "a slash in a key is written %2F"),
        ("PUT", "/api/v1/limits/secret/overrides/a", {"tier": "gold"}, 400, "overrides need one that stays"),
        (
            "PUT",
            "/api/v1/limits/nope/overrides/a",
            {"tier": "gold"},
            404,
            'no limit "nope" (known: per_key, per_ip, secret',
        ),
        ("GET", "/api/v1/limits/nope/overrides", None, 404, 'there is no limit "nope"'),
        ("DELETE", f"{KEYS}/a", None, 404, 'limit "per_key" has no override for =a'),
        ("POST", KEYS, {"tier": "gold"}, 405, ""),
        ("PATCH", KEYS, {"tier": "gold"}, 400, "unknown field `tier` (known: overrides)"),
        ("PATCH", KEYS, {"overrides": {"a": {}}}, 400, "nothing to set"),
        ("PATCH", IPS, {"overrides": {"a": None}}, 400, 'key of limit per_ip: "a" is not an address'),
        ("PUT", f"{TIERS}/gold", {"rate": "5"}, 400, 'rate: "5" is not a rate'),
        ("PUT", f"{TIERS}/gold", {}, 400, "missing required field `rate`"),
        ("PUT", f"{TIERS}/unlimited", {"rate": "5/s"}, 400, '"unlimited" is no name for a tier'),
        ("PUT", f"{TIERS}/a%20b", {"rate": "5/s"}, 400, '"a b" is not a name for a tier'),
        ("DELETE", f"{TIERS}/gold", None, 409, "as the configuration has it"),
        ("DELETE", f"{TIERS}/iron", None, 404, 'there is no tier "iron" (known: gold)'),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_changed(
    method: str, target: str, body: dict[str, object] | None, status: int, words: str
) -> None:
    async def test(api: Api) -> None:
        found = await api(method, target, body)
        assert found.status == status
        assert words in found.body.decode().replace('\\"', '"')
        assert api.plane.fleet.snapshot.version == 1

    with_api(test)


def test_a_tier_that_keys_have_stays() -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{TIERS}/iron", {"rate": "5/s"})
        await api("PUT", f"{KEYS}/alice", {"tier": "iron"})
        kept = await api("DELETE", f"{TIERS}/iron")
        assert kept.status == 409
        assert "give them another one first" in str(kept.json["detail"])

    with_api(test)


def test_what_was_set_is_there_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")

    async def change(api: Api) -> None:
        await api("PUT", f"{TIERS}/gold", {"rate": "7/s"})
        await api("PUT", f"{KEYS}/{quote('a, b/c', safe='')}", {"tier": "gold"})
        await api("DELETE", f"{KEYS}/file")

    async def look(api: Api) -> None:
        assert api.told("per_key") == Overrides((Tier(Rate(7, 1.0)),), {b"=a, b/c": 0})

    with_api(change, state_path=path)
    with_api(look, state_path=path)


def test_what_cannot_be_kept_is_not_done(tmp_path: Path) -> None:
    path = tmp_path / "state.json"

    async def test(api: Api) -> None:
        path.mkdir()
        failed = await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        assert failed.status == 503
        assert "nothing was changed" in str(failed.json["detail"])
        assert api.plane.fleet.snapshot.version == 1

    with_api(test, state_path=str(path))


def test_a_key_whose_tier_a_reload_takes_away_is_shown_so_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        api.plane._load = lambda: replace(BASE, tiers={}, limits=LIMITS[1:])
        await api("POST", "/api/v1/reload")
        assert "limit per_key: it is not in the configuration, and overrides made at run time are kept" in caplog.text
        api.plane._load = lambda: replace(BASE, tiers={}, limits=(replace(LIMITS[0], overrides={}),))
        await api("POST", "/api/v1/reload")
        assert "name tiers that are not there: gold" in caplog.text
        assert (await api("GET", f"{KEYS}/alice")).json["rate"] is None
        assert api.told("per_key") is None

    with_api(test)


def test_what_is_kept_for_a_limit_that_is_gone_is_listed_and_taken_away() -> None:
    why = "the limit is not in the configuration"

    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        await api("PUT", f"{KEYS}/bob", {"rate": "5/s"})
        await api("DELETE", f"{KEYS}/file")
        api.plane._load = lambda: replace(BASE, limits=LIMITS[1:])
        await api("POST", "/api/v1/reload")
        alice = {"key": "=alice", **GOLD, "burst": 7, "inert": why}
        listed = await api("GET", KEYS)
        assert (listed.status, listed.json) == (
            200,
            {
                "limit": "per_key",
                "rate": None,
                "gone": True,
                "overrides": [
                    alice,
                    {**alice, "key": "=bob", "tier": None, "rate": "5/second", "burst": 0},
                    {**alice, "key": "=file", "tier": None, "rate": None, "burst": 0},
                ],
            },
        )
        everything = (await api("GET", "/api/v1/overrides")).json["limits"]
        assert isinstance(everything, list)
        assert [(one["limit"], one["gone"]) for one in everything] == [
            ("per_ip", False),
            ("secret", False),
            ("per_key", True),
        ]
        assert everything[-1] == listed.json
        assert (await api("GET", f"{KEYS}/alice")).json == {"limit": "per_key", **alice}
        unknown = await api("GET", f"{KEYS}/carol")
        assert (unknown.status, "carol" in str(unknown.json["detail"])) == (404, False)
        assert (await api("PUT", f"{KEYS}/alice", {"rate": "7/s"})).status == 404
        assert (await api("PATCH", KEYS, {"overrides": {"alice": None, "x": {"rate": "7/s"}}})).status == 404
        gone = await api("DELETE", f"{KEYS}/alice")
        assert (gone.status, gone.json) == (200, {"limit": "per_key", "key": "=alice", "inert": why})
        assert api.plane.events.since(0)[0][-1].text == f"limit per_key: =alice has no override any more ({why})"
        rest = await api("PATCH", KEYS, {"overrides": {"bob": None, "=file": None, "no": None}})
        assert (rest.status, rest.json["changed"]) == (200, 2)
        assert (await api("GET", KEYS)).status == 404
        assert api.plane.fleet.tuning.overrides == {}

    with_api(test)


def test_what_a_limit_does_not_count_by_any_more_is_listed_and_taken_away() -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        api.plane._load = lambda: replace(BASE, limits=(Limit("per_key", Rate(100, 60.0)),))
        await api("POST", "/api/v1/reload")
        why = "no key of the limit any more, which counts by client_ip"
        assert (await api("GET", KEYS)).json["overrides"] == [{"key": "=alice", **GOLD, "inert": why}]
        assert (await api("GET", f"{KEYS}/bob")).status == 400
        assert (await api("DELETE", f"{KEYS}/%3Dalice")).json == {"limit": "per_key", "key": "=alice", "inert": why}
        assert (await api("GET", KEYS)).json["overrides"] == []

    with_api(test)


def test_a_secret_key_is_kept_and_shown_as_its_hash() -> None:
    async def test(api: Api) -> None:
        found = await api("PUT", "/api/v1/limits/secret/overrides/s3cret", {"tier": "gold"})
        hashed = Seal(b"0123456789abcdef")(b"=s3cret")
        assert found.json["key"] == hashed.decode()
        assert api.told("secret") == Overrides((Tier(Rate(1000, 60.0)),), {hashed: 0})

    with_api(test, replace(BASE, store=Store(secret="0123456789abcdef")))


def test_an_operator_sees_of_a_key_what_decides_on_it() -> None:
    async def test(api: Api) -> None:
        await api("PUT", f"{KEYS}/alice", {"tier": "gold"})
        await api("PUT", f"{KEYS}/free", {"rate": "unlimited"})
        keys = "/api/v1/limits/per_key/keys"
        assert (await api("GET", f"{keys}/alice")).json["remaining"] == 1000
        assert (await api("GET", f"{keys}/bob")).json["remaining"] == 100
        free = await api("GET", f"{keys}/free")
        assert free.status == 409
        assert "limit per_key does not count =free: it is unlimited" in str(free.json["detail"])

    with_api(test)
