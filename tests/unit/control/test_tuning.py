"""What operators change of limits at run time, and what comes of it with the configuration."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.control.tuning import (
    UNTUNED,
    Tuning,
    define,
    forget,
    give_up,
    gone,
    inert,
    kept_key,
    key_text,
    limit_of,
    override,
    override_all,
    overrides,
    overrides_of,
    prune,
    resolve,
    tiers,
    why_inert,
)
from headgate.errors import InUse, Unknown, UserError
from headgate.limits.keys import Seal
from headgate.model.config import Config, Limit, Override, Rate, Tier
from headgate.model.snapshot import Overrides
from tests.unit.control.configs import config

GOLD, SILVER, OWN, FREE = Tier(Rate(1000, 60.0), 50), Tier(Rate(200, 60.0)), Tier(Rate(7, 1.0)), Tier(None)
PER_KEY = Limit("per_key", Rate(100, 60.0), "header:x-api-key")
PER_IP = Limit("per_ip", Rate(100, 60.0), algorithm="gcra")


def having(*limits: Limit, **named: Tier) -> Config:
    return replace(config(), limits=limits, tiers=named)


SECRET = "0123456789abcdef"
FILE: dict[str, Override] = {"=alice": "gold", "=bob": OWN}
BASE = having(replace(PER_KEY, overrides=FILE), PER_IP, gold=GOLD, silver=SILVER)


def test_without_changes_what_counts_is_the_configurations() -> None:
    assert tiers(BASE, UNTUNED) == {"gold": GOLD, "silver": SILVER}
    assert overrides(BASE.limits[0], UNTUNED) == FILE
    assert overrides(PER_IP, UNTUNED) == {}
    assert inert(BASE, UNTUNED) == []


def test_workers_are_told_each_tier_once_and_which_of_them_a_key_has() -> None:
    tuning = override(BASE, UNTUNED, "per_key", "=carol", "gold")
    tuning = override(BASE, tuning, "per_key", "=dave", FREE)
    tuning = override(BASE, tuning, "per_ip", "192.0.2.7", "gold")
    assert resolve(BASE, tuning) == {
        # No burst where the limit knows none.
        "per_key": Overrides((Tier(GOLD.rate), OWN, FREE), {b"=alice": 0, b"=bob": 1, b"=carol": 0, b"=dave": 2}),
        "per_ip": Overrides((GOLD,), {b"192.0.2.7": 0}),
    }


def test_a_change_lies_over_the_configuration_and_goes_with_it() -> None:
    tuning = override(BASE, UNTUNED, "per_key", "=alice", "silver")
    assert overrides(BASE.limits[0], tuning) == {"=alice": "silver", "=bob": OWN}
    assert override(BASE, tuning, "per_key", "=alice", "gold") == UNTUNED
    gone = give_up(BASE, tuning, "per_key", "=alice")
    assert gone.overrides == {"per_key": {"=alice": None}}
    assert overrides(BASE.limits[0], gone) == {"=bob": OWN}


def test_what_was_set_at_run_time_alone_leaves_nothing_when_it_is_given_up() -> None:
    tuning = override(BASE, UNTUNED, "per_ip", "192.0.2.7", SILVER)
    assert give_up(BASE, tuning, "per_ip", "192.0.2.7") == UNTUNED


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda: override(BASE, UNTUNED, "per_kee", "=x", OWN), Unknown, "no limit .per_kee. .known: per_key, per_ip"),
        (lambda: override(BASE, UNTUNED, "per_key", "=x", "gild"), UserError, "no tier .gild. .known: gold, silver"),
        (lambda: override(having(PER_IP), UNTUNED, "per_ip", "x", "gold"), UserError, "known: none"),
        (lambda: override(having(), UNTUNED, "per_ip", "x", "gold"), Unknown, "known: none"),
        (lambda: override(BASE, UNTUNED, "per_key", "=x", GOLD), UserError, 'burst: only with algorithm = "gcra"'),
        (lambda: give_up(BASE, UNTUNED, "per_key", "=x"), Unknown, 'limit "per_key" has no override for =x'),
        (lambda: give_up(BASE, UNTUNED, "nope", "=x"), Unknown, "no limit"),
        (lambda: forget(BASE, UNTUNED, "gild"), Unknown, "no tier .gild. .known: gold, silver"),
        (lambda: forget(having(), UNTUNED, "gild"), Unknown, "known: none"),
        (lambda: forget(BASE, UNTUNED, "gold"), InUse, "as the configuration has it"),
    ],
)
def test_what_cannot_be_is_said(change: Callable[[], Tuning], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        change()


def test_a_tier_can_be_changed_and_is_again_what_the_configuration_says() -> None:
    tuning = define(BASE, UNTUNED, "gold", Tier(Rate(5, 1.0)))
    assert resolve(BASE, tuning)["per_key"].tiers[0] == Tier(Rate(5, 1.0))
    assert define(BASE, tuning, "gold", GOLD) == UNTUNED
    assert forget(BASE, tuning, "gold") == UNTUNED


def test_a_tier_that_keys_have_cannot_go() -> None:
    tuning = override(BASE, define(BASE, UNTUNED, "iron", OWN), "per_key", "=carol", "iron")
    with pytest.raises(InUse, match='keys of limit per_key have tier "iron"'):
        forget(BASE, tuning, "iron")
    assert forget(BASE, give_up(BASE, tuning, "per_key", "=carol"), "iron") == UNTUNED


def test_no_key_has_a_rate_below_the_cost_of_a_request() -> None:
    costly = having(replace(PER_KEY, cost=10, overrides={"=alice": "gold"}), PER_IP, gold=GOLD)
    with pytest.raises(UserError, match=r"no request would ever pass limit per_key: its cost is 10 .here at most 7"):
        override(costly, UNTUNED, "per_key", "=bob", OWN)
    with pytest.raises(UserError, match="no request would ever pass limit per_key"):
        define(costly, UNTUNED, "gold", OWN)
    assert define(costly, UNTUNED, "gold", FREE).tiers == {"gold": FREE}
    assert define(costly, UNTUNED, "other", OWN).tiers == {"other": OWN}
    smooth = having(replace(PER_IP, cost=10), gold=GOLD)
    with pytest.raises(UserError, match="at most 5 pass"):
        override(smooth, UNTUNED, "per_ip", "192.0.2.7", Tier(Rate(100, 1.0), 5))


def test_what_the_configuration_came_to_say_is_forgotten_and_what_is_of_others_is_kept() -> None:
    tuning = Tuning(
        {"gold": GOLD, "silver": OWN, "iron": OWN},
        {
            "per_key": {"=alice": "gold", "=carol": "gold", "=dave": None},
            "per_ip": {"192.0.2.7": None},
            "gone": {"=x": OWN},
        },
    )
    assert prune(BASE, tuning) == Tuning(
        {"silver": OWN, "iron": OWN}, {"per_key": {"=carol": "gold"}, "gone": {"=x": OWN}}
    )


def test_what_has_no_effect_is_told_and_its_keys_come_under_the_limit_as_all_do() -> None:
    tuning = Tuning({}, {"gone": {"=x": OWN}, "per_key": {"=carol": "gild"}, "per_ip": {"no address": OWN}})
    assert resolve(BASE, tuning) == resolve(BASE, UNTUNED)
    assert inert(BASE, tuning) == [
        "limit gone: it is not in the configuration, and overrides made at run time are kept for it "
        "(`headgate limit overrides gone` lists them, `headgate limit unset gone KEY` removes one)",
        "limit per_key: overrides made at run time name tiers that are not there: gild "
        "(`headgate limit overrides per_key` lists them, `headgate limit unset per_key KEY` removes one)",
        "limit per_ip: 1 override made at run time is for what it does not count by any more "
        "(`headgate limit overrides per_ip` lists them, `headgate limit unset per_ip KEY` removes one)",
    ]
    assert (
        "limit per_ip: 2 overrides made at run time are for"
        in inert(BASE, Tuning({}, {"per_ip": {"no address": OWN, "nor this": OWN}}))[0]
    )


def test_what_is_kept_for_a_limit_that_is_gone_is_known_and_can_be_given_up() -> None:
    tuning = Tuning({}, {"gone": {"=x": OWN, "=y": None}, "also": {"z": "gold"}, "per_key": {"=carol": "gold"}})
    assert gone(BASE, tuning) == ["also", "gone"]
    assert overrides_of(BASE, tuning, "gone") == {"=x": OWN, "=y": None}
    assert overrides_of(BASE, tuning, "per_key") == {**FILE, "=carol": "gold"}
    tuning = give_up(BASE, tuning, "gone", "=x")
    assert gone(BASE, tuning) == ["also", "gone"]
    tuning = override_all(BASE, tuning, "gone", {"=y": None, "=x": None})
    assert gone(BASE, give_up(BASE, tuning, "also", "z")) == []
    with pytest.raises(Unknown, match='no limit "gone"'):
        give_up(BASE, tuning, "gone", "=x")
    with pytest.raises(Unknown, match='limit "also" has no override for =x'):
        give_up(BASE, tuning, "also", "=x")
    with pytest.raises(Unknown, match='no limit "also"'):
        override_all(BASE, tuning, "also", {"z": OWN})


def test_what_a_limit_does_not_count_by_any_more_can_be_given_up() -> None:
    tuning = Tuning({}, {"per_ip": {"=alice": OWN, "192.0.2.7": OWN}})
    assert give_up(BASE, tuning, "per_ip", "=alice") == Tuning({}, {"per_ip": {"192.0.2.7": OWN}})


@pytest.mark.parametrize(
    ("text", "limit", "key"),
    [
        ("alice", None, "=alice"),
        ("=alice", None, "=alice"),
        ("192.0.2.7", None, "192.0.2.7"),
        ("bob", None, None),
        ("=carol", None, None),
        ("alice", PER_IP, "=alice"),
        ("=alice", PER_IP, "=alice"),
        ("192.0.2.7", PER_IP, "192.0.2.7"),
        ("192.0.2.8", PER_IP, None),
        ("alice", PER_KEY, "=alice"),
        ("bob", PER_KEY, None),
        ("=alice", replace(PER_KEY, private=True), "=alice"),
        ("bob", replace(PER_KEY, private=True), None),
        # What the limit counts by is named by what it is, and never taken for another key that is written alike.
        ("=carol", PER_KEY, None),
    ],
)
def test_the_key_of_an_override_is_found_also_where_it_is_none_of_the_limit_any_more(
    text: str, limit: Limit | None, key: str | None
) -> None:
    assert kept_key(text, limit, {"=alice": OWN, "192.0.2.7": OWN, "==carol": None}, SECRET) == key


def test_a_hash_is_found_also_when_the_secret_is_gone() -> None:
    hashed = key_text("alice", replace(PER_KEY, private=True), SECRET)
    assert kept_key(hashed, replace(PER_KEY, private=True), {hashed: OWN}, "") == hashed


def test_a_text_that_is_no_key_and_none_of_those_is_told() -> None:
    with pytest.raises(ValueError, match="not an address"):
        kept_key("bob", PER_IP, {"=alice": OWN}, "")


@pytest.mark.parametrize(
    ("limit", "key", "what", "words"),
    [
        (None, "=alice", OWN, "the limit is not in the configuration"),
        (PER_IP, "=alice", OWN, "no key of the limit any more, which counts by client_ip"),
        (replace(PER_KEY, private=True), "=alice", OWN, "which counts by header:x-api-key (private)"),
        (PER_KEY, "=alice", "gild", "there is no such tier"),
        (PER_KEY, "=alice", Tier(Rate(20, 0.0)), "20 in flight cannot stand for 100/minute"),
        (PER_KEY, "=alice", "gold", None),
        (PER_KEY, "=alice", FREE, None),
    ],
)
def test_why_an_override_has_no_effect_is_told(
    limit: Limit | None, key: str, what: Override, words: str | None
) -> None:
    found = why_inert(limit, {"gold": GOLD}, key, what)
    assert found == words if words is None or found is None else words in found


def test_a_key_has_one_text() -> None:
    assert key_text("alice", PER_KEY, "") == key_text("=alice", PER_KEY, SECRET) == "=alice"
    assert key_text("2001:db8::5", PER_IP, "") == key_text("2001:DB8::6", PER_IP, "") == "2001:db8::/64"
    with pytest.raises(ValueError, match="not an address"):
        key_text("alice", PER_IP, "")
    assert limit_of(BASE, "per_ip") is PER_IP


@pytest.mark.parametrize(
    "limit", [replace(PER_KEY, key="api_key"), replace(PER_KEY, private=True)], ids=["api key", "private"]
)
def test_a_key_that_is_hidden_is_known_by_its_hash_alone(limit: Limit) -> None:
    text = key_text("alice", limit, SECRET)
    assert text.encode() == Seal(SECRET.encode())(b"=alice")
    assert key_text(text, limit, SECRET) == text
    tuning = override(having(limit), UNTUNED, "per_key", text, OWN)
    assert resolve(having(limit), tuning) == {"per_key": Overrides((OWN,), {text.encode(): 0})}
    with pytest.raises(ValueError, match="overrides need one that stays"):
        key_text("alice", limit, "")


KEYS = st.sampled_from(["=alice", "=bob", "=carol"])
WHAT = st.sampled_from(["gold", "silver", OWN, FREE, None])


@given(st.lists(st.tuples(KEYS, WHAT)))
def test_however_it_came_about_what_counts_is_the_last_that_was_said(
    changes: list[tuple[str, Override | None]],
) -> None:
    tuning, expected = UNTUNED, dict(FILE)
    for key, what in changes:
        if what is not None:
            tuning = override(BASE, tuning, "per_key", key, what)
            expected[key] = what
        elif key in expected:
            tuning = give_up(BASE, tuning, "per_key", key)
            del expected[key]
    assert overrides(BASE.limits[0], tuning) == expected
    assert prune(BASE, tuning) == tuning, "nothing is kept that the configuration says"
    # A later configuration that says the same makes all of it superfluous.
    now = having(replace(PER_KEY, overrides=expected), PER_IP, gold=GOLD, silver=SILVER)
    assert overrides(now.limits[0], prune(now, tuning)) == expected
