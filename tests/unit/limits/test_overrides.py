"""Keys of a limit that have another rate than its own, or none."""

import re
from dataclasses import replace

import pytest

from headgate.limits.keys import limit_identity
from headgate.limits.overrides import at_rate, at_tier, state_of, tuned
from headgate.model.config import Ban, Limit, Rate, Tier
from headgate.model.snapshot import LimitState, Overrides

LIMIT = Limit("l", Rate(1000, 1.0), algorithm="gcra", burst=7, cost=2, ban=Ban(1, 1.0, 1.0), lease=100)
STATE = LimitState(LIMIT, 3)
OVERRIDES = Overrides((Tier(Rate(5000, 60.0), 5), Tier(None)), {b"x": 0, b"y": 0, b"z": 1})


def test_a_rate_of_its_own_has_all_else_of_the_limit_and_is_one_object_for_all_keys() -> None:
    found = tuned(STATE, OVERRIDES).keys
    assert found[b"x"] == LimitState(replace(LIMIT, rate=Rate(5000, 60.0), burst=5), 3)
    assert found[b"x"] is found[b"y"]
    assert found[b"z"] is None
    assert set(found) == {b"x", b"y", b"z"}


@pytest.mark.parametrize("overrides", [None, OVERRIDES], ids=["none", "some"])
def test_what_decides_on_one_key_is_what_decides_on_all(overrides: Overrides | None) -> None:
    found = tuned(STATE, overrides).keys
    for key in (b"x", b"y", b"z", b"other"):
        assert state_of(STATE, overrides, key) == found.get(key, STATE)
    assert state_of(STATE, overrides, b"other") is STATE


def test_a_tier_has_a_count_of_its_own() -> None:
    own = tuned(STATE, OVERRIDES).keys[b"x"]
    assert own is not None
    assert limit_identity(own.limit) != limit_identity(LIMIT)


@pytest.mark.parametrize(("rate", "lease"), [(20, 2), (9, 1), (5000, 100)])
def test_its_lease_is_no_larger_than_it_may_be(rate: int, lease: int) -> None:
    own = tuned(STATE, Overrides((Tier(Rate(rate, 1.0)),), {b"x": 0})).keys[b"x"]
    assert own is not None
    assert own.limit.lease == lease


def again(overrides: Overrides) -> Overrides:
    """The same as a later snapshot has it: other objects."""
    return Overrides(tuple(replace(tier) for tier in overrides.tiers), dict(overrides.keys))


def test_what_is_the_same_as_before_is_the_same_object() -> None:
    first = tuned(STATE, OVERRIDES)
    second = tuned(LimitState(replace(LIMIT), 3), again(OVERRIDES), first)
    assert second == first
    assert second.state is STATE
    assert second.keys[b"x"] is first.keys[b"x"]
    assert tuned(LimitState(replace(LIMIT), 3), None, first).state is STATE
    other = tuned(STATE, Overrides((Tier(Rate(8, 1.0)), *OVERRIDES.tiers), {b"x": 1, b"y": 0}), first)
    assert other.keys[b"x"] is first.keys[b"x"]
    assert other.keys[b"y"] == LimitState(replace(LIMIT, rate=Rate(8, 1.0), burst=0, lease=1), 3)


@pytest.mark.parametrize(
    "now", [LimitState(replace(LIMIT, cost=1), 3), LimitState(LIMIT, 4)], ids=["another setting", "another slot"]
)
def test_what_is_not_the_same_is_made_anew_with_all_its_tiers(now: LimitState) -> None:
    first = tuned(STATE, OVERRIDES)
    found = tuned(now, again(OVERRIDES), first)
    assert found.state is now
    own = found.keys[b"x"]
    assert own is not None
    assert (own.limit.cost, own.slot) == (now.limit.cost, now.slot)


def test_a_limit_at_a_tier_has_its_burst_where_the_algorithm_knows_one() -> None:
    window = replace(STATE, limit=replace(LIMIT, algorithm="fixed_window", burst=0))
    gold = Tier(Rate(50, 1.0), 9)
    for state, burst in ((STATE, 9), (window, 0)):
        own = at_tier(state, gold)
        assert own is not None
        assert (own.limit.rate, own.limit.burst) == (gold.rate, burst)
        assert at_tier(state, Tier(None)) is None


@pytest.mark.parametrize(
    ("rate", "tier", "problem"),
    [
        (LIMIT.rate, Tier(Rate(20, 0.0)), 'is "20 in flight", which cannot stand for "1000/second"'),
        (Rate(3, 0.0), Tier(Rate(20, 1.0)), 'is "20/second", which cannot stand for "3 in flight"'),
        (LIMIT.rate, Tier(Rate(1, 365 * 86400.0), 1000), "is too slow for a burst of 1000"),
    ],
)
def test_a_limit_has_no_rate_that_cannot_stand_for_its_own(rate: Rate, tier: Tier, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        at_tier(replace(STATE, limit=replace(LIMIT, rate=rate)), tier)


def test_a_limit_at_what_is_said_is_that_of_a_tier_or_of_a_rate() -> None:
    tiers = {"gold": Tier(Rate(50, 1.0), 9), "free": Tier(None)}
    gold, own = at_rate(STATE, "gold", tiers), at_rate(STATE, "7/s", tiers)
    assert gold is not None
    assert own is not None
    assert (gold.limit.rate, gold.limit.burst) == (Rate(50, 1.0), 9)
    assert (own.limit.rate, own.limit.burst) == (Rate(7, 1.0), LIMIT.burst)
    assert at_rate(STATE, "free", tiers) is at_rate(STATE, "unlimited", tiers) is None


@pytest.mark.parametrize(
    ("tiers", "text", "problem"),
    [
        ({}, "silver", "nor a tier (known: none)"),
        ({"gold": Tier(None)}, "silver", "nor a tier (known: gold)"),
    ],
)
def test_what_is_neither_a_rate_nor_a_tier_is_refused(tiers: dict[str, Tier], text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        at_rate(STATE, text, tiers)


def test_a_tier_that_cannot_stand_for_the_rate_is_not_taken_for_unknown() -> None:
    with pytest.raises(ValueError, match=r'which cannot stand for "1000/second"$'):
        at_rate(STATE, "many", {"many": Tier(Rate(20, 0.0))})
