"""`headgate tier` against an admin API that a test plays."""

import json

import pytest

from tests.unit.cli.conftest import Headgate
from tests.unit.cli.fake_admin import FakeAdmin

TIERS = "/api/v1/tiers"
GOLD: dict[str, object] = {"name": "gold", "rate": "1000/minute", "burst": 20, "source": "config"}
FREE = GOLD | {"name": "free", "rate": "unlimited", "burst": 0, "source": "runtime"}


def test_tiers_are_listed_with_where_they_come_from(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"GET {TIERS}"] = (200, {"tiers": [GOLD, FREE]})
    code, out, _ = headgate("tier", "list")
    assert code == 0
    assert [line.split() for line in out] == [
        ["NAME", "RATE", "BURST", "SOURCE"],
        ["gold", "1000/minute", "20", "config"],
        ["free", "unlimited", "runtime"],
    ]
    assert json.loads("\n".join(headgate("tier", "list", "--json")[1])) == {"tiers": [GOLD, FREE]}


def test_a_headgate_without_tiers_says_so(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"GET {TIERS}"] = (200, {"tiers": []})
    assert headgate("tier", "list")[1] == ["no tiers"]


@pytest.mark.parametrize(
    ("words", "body", "answer", "line"),
    [
        (["2000/minute"], {"rate": "2000/minute"}, GOLD | {"rate": "2000/minute", "burst": 0}, "2000/minute"),
        (["5/s", "--burst", "9"], {"rate": "5/s", "burst": 9}, GOLD | {"burst": 9}, "1000/minute with a burst of 9"),
        (["5/s", "--burst", "0"], {"rate": "5/s", "burst": 0}, GOLD | {"burst": 0}, "1000/minute"),
        (["20 in flight"], {"rate": "20 in flight"}, GOLD | {"rate": "20 in flight", "burst": 0}, "20 in flight"),
        (["unlimited"], {"rate": "unlimited"}, GOLD | {"rate": "unlimited", "burst": 0}, "unlimited"),
    ],
    ids=["rate", "burst", "no burst", "in flight", "unlimited"],
)
def test_a_tier_is_what_it_is_set_to(
    headgate: Headgate, admin: FakeAdmin, words: list[str], body: object, answer: object, line: str
) -> None:
    admin.answers[f"PUT {TIERS}/gold"] = (200, answer)
    assert headgate("tier", "set", "gold", *words)[:2] == (0, [f"tier gold is {line} now"])
    assert admin.asked[-1].body == body


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            {"name": "gold", "rate": "7/second", "burst": 2},
            "tier gold is 7/second with a burst of 2 again, as the configuration says",
        ),
        ({"name": "gold", "rate": None, "burst": 0}, "tier gold is gone"),
    ],
    ids=["of the file", "of nothing"],
)
def test_a_tier_is_what_the_configuration_says_again(
    headgate: Headgate, admin: FakeAdmin, answer: object, line: str
) -> None:
    admin.answers[f"DELETE {TIERS}/gold"] = (200, answer)
    assert headgate("tier", "unset", "gold")[:2] == (0, [line])


def test_a_name_that_is_none_reaches_the_api_as_it_is_and_its_words_the_operator(
    headgate: Headgate, admin: FakeAdmin
) -> None:
    path = f"{TIERS}/a%20b%2Fc%FF"
    admin.answers[f"PUT {path}"] = (400, {"detail": '"a b/c" is not a name for a tier'})
    admin.answers[f"DELETE {path}"] = (409, {"detail": "keys have it"})
    assert headgate("tier", "set", "a b/c\udcff", "5/s") == (69, [], ['headgate: "a b/c" is not a name for a tier'])
    assert headgate("tier", "unset", "a b/c\udcff") == (69, [], ["headgate: keys have it"])


@pytest.mark.parametrize("arguments", [["set", "gold"], ["set", "gold", "5/s", "--burst", "-1"], ["unset"]])
def test_what_was_not_meant_is_told(headgate: Headgate, admin: FakeAdmin, arguments: list[str]) -> None:
    code, out, err = headgate("tier", *arguments)
    assert (code, out, admin.asked) == (2, [], [])
    assert err
