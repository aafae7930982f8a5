"""`headgate limit set`, `unset` and `overrides` against an admin API that a test plays."""

import json

import pytest

from tests.unit.cli.conftest import Headgate
from tests.unit.cli.fake_admin import FakeAdmin
from tests.unit.cli.test_limit import LIMITS, LOCAL, PER_IP

OF_KEYS = f"{LIMITS}/per_key/overrides"
OF_IPS = f"{LIMITS}/per_ip/overrides"
ALICE: dict[str, object] = {
    "limit": "per_key",
    "key": "=alice",
    "tier": "gold",
    "rate": "1000/minute",
    "burst": 0,
    "source": "runtime",
}
BOB = ALICE | {"key": "=bob", "tier": None, "rate": "5/second", "burst": 20, "source": "config"}
FREE = ALICE | {"key": "=free\x1b", "tier": None, "rate": "unlimited"}
HELD = ALICE | {"key": "=held", "tier": None, "rate": "20 in flight"}
GONE = ALICE | {"key": "=gone", "tier": "gild", "rate": None}


@pytest.mark.parametrize(
    ("words", "body", "answer", "line"),
    [
        (["gold"], {"tier": "gold"}, ALICE, "=alice has 1000/minute under per_key now (tier gold)"),
        (
            ["5/s", "--burst", "20"],
            {"rate": "5/s", "burst": 20},
            BOB,
            "=bob has 5/second with a burst of 20 under per_key now",
        ),
        (["unlimited"], {"rate": "unlimited"}, FREE, "=free? has no limit under per_key now"),
        (["20 in flight"], {"rate": "20 in flight"}, HELD, "=held has 20 in flight under per_key now"),
    ],
    ids=["tier", "rate", "unlimited", "in flight"],
)
def test_a_key_gets_what_it_is_given(
    headgate: Headgate, admin: FakeAdmin, words: list[str], body: object, answer: object, line: str
) -> None:
    admin.answers[f"PUT {OF_KEYS}/a%2F%2C%20b"] = (200, answer)
    assert headgate("limit", "set", "per_key", "a/, b", *words)[:2] == (0, [line])
    assert admin.asked[-1].body == body


def test_the_only_limit_need_not_be_named(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"GET {LIMITS}"] = (200, {"limits": [PER_IP], "store": LOCAL})
    admin.answers[f"PUT {OF_IPS}/192.0.2.7"] = (200, ALICE)
    admin.answers[f"DELETE {OF_IPS}/2001%3Adb8%3A%3A1"] = (200, {"limit": "per_ip", "key": "2001:db8::/64"})
    assert headgate("limit", "set", "192.0.2.7", "gold")[0] == 0
    # The key is told in its one form, as all commands show it, and not as it was typed.
    line = "2001:db8::/64 comes under per_ip as all others do now"
    assert headgate("limit", "unset", "2001:db8::1")[:2] == (0, [line])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set", "gold"], "expected [LIMIT] KEY and a rate, a tier or unlimited, found gold"),
        (["set", "per_key", "a", "b", "gold"], "a key with blanks needs quotes"),
        (["set", "per_key", "a", "5/s", "--burst", "-1"], "burst"),
    ],
)
def test_what_was_not_meant_is_told(headgate: Headgate, admin: FakeAdmin, arguments: list[str], words: str) -> None:
    code, _, err = headgate("limit", *arguments)
    assert code == 2
    assert words in "\n".join(err)
    assert admin.asked == []


def test_what_the_api_refuses_is_told(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"PUT {OF_KEYS}/a"] = (422, {"detail": "no", "problems": ['there is no tier "gild" (known: gold)']})
    code, _, err = headgate("limit", "set", "per_key", "a", "gild")
    assert (code, err) == (69, ['headgate: there is no tier "gild" (known: gold)'])


def test_the_overrides_of_one_limit_are_listed(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"GET {OF_KEYS}"] = (200, {"limit": "per_key", "overrides": [ALICE, BOB, FREE, GONE]})
    code, out, _ = headgate("limit", "overrides", "per_key")
    assert code == 0
    assert [line.split() for line in out] == [
        ["KEY", "TIER", "RATE", "BURST", "SOURCE"],
        ["=alice", "gold", "1000/minute", "runtime"],
        ["=bob", "5/second", "20", "config"],
        ["=free?", "unlimited", "runtime"],
        ["=gone", "gild", "?", "runtime"],
    ]


def test_those_of_all_limits_are_listed_with_the_limit(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"GET {OF_IPS}"] = (200, {"limit": "per_ip", "overrides": []})
    both = [{"limit": "per_ip", "overrides": []}, {"limit": "per_key", "overrides": [ALICE]}]
    admin.answers["GET /api/v1/overrides"] = (200, {"limits": both})
    _, out, _ = headgate("limit", "overrides")
    assert [line.split() for line in out] == [
        ["LIMIT", "KEY", "TIER", "RATE", "SOURCE"],
        ["per_key", "=alice", "gold", "1000/minute", "runtime"],
    ]
    _, out, _ = headgate("limit", "overrides", "--json")
    assert [one["limit"] for one in json.loads("\n".join(out))["limits"]] == ["per_ip", "per_key"]
    _, out, _ = headgate("limit", "overrides", "per_ip", "--json")
    assert json.loads("\n".join(out)) == {"limit": "per_ip", "overrides": []}
    assert headgate("limit", "overrides", "per_ip")[1] == ["no overrides"]


def test_what_has_no_effect_is_listed_with_why_and_taken_away(headgate: Headgate, admin: FakeAdmin) -> None:
    why = "the limit is not in the configuration"
    lost = [ALICE | {"inert": why}, ALICE | {"key": "=own", "tier": None, "rate": None, "inert": why}]
    admin.answers["GET /api/v1/overrides"] = (200, {"limits": [{"limit": "per_key", "overrides": lost}]})
    admin.answers[f"DELETE {OF_KEYS}/alice"] = (200, {"limit": "per_key", "key": "=alice", "inert": why})
    assert [" ".join(line.split()) for line in headgate("limit", "overrides")[1]] == [
        "LIMIT KEY TIER RATE SOURCE WITHOUT EFFECT",
        f"per_key =alice gold 1000/minute runtime {why}",
        f"per_key =own the limit's own runtime {why}",
    ]
    line = f"what was kept for =alice under per_key is gone; it had no effect: {why}"
    assert headgate("limit", "unset", "per_key", "alice")[:2] == (0, [line])
