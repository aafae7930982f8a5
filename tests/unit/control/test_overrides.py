"""Tiers and overrides as the configuration writes them."""

from pathlib import Path

import pytest

from headgate.control.overrides import override_of, rate_of, rate_text
from headgate.model.config import Rate, Tier
from tests.unit.control.loading import WEB, problems, read

# Keys without a table must come first in TOML.
LIMIT = f"""
limits.l.rate = "100/minute"
limits.l.key = "header:x-api-key"
routes = [{{ upstream = "web", limits = ["l"] }}]
{WEB}"""


def test_a_key_has_a_tier_a_rate_or_no_limit(tmp_path: Path) -> None:
    text = """
    [limits.s]
    rate = "50/s"
    algorithm = "gcra"
    burst = 20
    [limits.s.overrides]
    "192.0.2.7" = "gold"
    "2001:db8::1" = { rate = "5/s", burst = 20 }
    "198.51.100.0" = "unlimited"
    "198.51.100.1" = "1000/10s"
    [tiers]
    gold = { rate = "1000/minute", burst = 7 }
    free = { rate = "unlimited" }
    [upstreams.web]
    servers = ["127.0.0.1:5000"]
    limits = ["s"]
    """
    found = read(tmp_path, text)
    assert found.tiers == {"gold": Tier(Rate(1000, 60.0), 7), "free": Tier(None)}
    assert found.limits[0].overrides == {
        "192.0.2.7": "gold",
        "2001:db8::/64": Tier(Rate(5, 1.0), 20),
        "198.51.100.0": Tier(None),
        "198.51.100.1": Tier(Rate(1000, 10.0)),
    }


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("tiers = 1", "tiers: expected a table, found a number"),
        ("tiers.gold = 1", "tiers.gold: expected a table, found a number"),
        ("tiers.gold = {}", 'tiers.gold: "rate" is missing (expected rate, "20 in flight" or "unlimited")'),
        ('tiers.gold.rate = "5"', 'tiers.gold.rate: "5" is not a rate (expected "100/minute", "10/s" or "5/10s")'),
        ("tiers.gold.rate = 5", "tiers.gold.rate: expected a rate, found a number"),
        ('tiers.unlimited.rate = "5/s"', 'tiers.unlimited: "unlimited" is no name for a tier: it means that there'),
        ('tiers."a/b".rate = "5/s"', 'tiers."a/b": "a/b" is not a name for a tier'),
        ('tiers.gold = { rate = "1/365d", burst = 20 }', "tiers.gold.burst: all of it is there again after 20 years"),
        ("limits.l.overrides = 1", "limits.l.overrides: expected a table, found a number"),
        ("limits.l.overrides.a = 1", "limits.l.overrides.a: expected a tier's name, a rate or a table, found a number"),
        ('limits.l.overrides.a = "gild"', 'limits.l.overrides.a: "gild" is not a tier (known: none)'),
        ('limits.l.overrides.a = "5/x"', 'limits.l.overrides.a: "5/x" is not a rate'),
        ('limits.l.overrides.a = "a b"', 'limits.l.overrides.a: "a b" is not a name for a tier'),
        ("limits.l.overrides.a = {}", 'limits.l.overrides.a: "rate" is missing'),
        ('limits.l.overrides.a = { tier = "x" }', "limits.l.overrides.a.tier: "),
        (
            'tiers.gold = { rate = "unlimited", burst = 5 }',
            'tiers.gold.burst: not with "unlimited" (expected only beside',
        ),
        ('tiers.gold = { rate = "20 in flight", burst = 5 }', 'tiers.gold.burst: not with "20 in flight"'),
        (
            'limits.l.overrides.a = { rate = "unlimited", burst = 2 }',
            'limits.l.overrides.a.burst: not with "unlimited"',
        ),
        ('limits.l.overrides.a = { rate = "5/s", burst = 2 }', 'burst: only with algorithm = "gcra"'),
        ('limits.l.overrides = { a = "5/s", "=a" = "6/s" }', 'limits.l.overrides."=a": =a is there twice'),
        ('limits.l.overrides."" = "5/s"', 'limits.l.overrides."": '),
        ('limits.l.cost = 7\nlimits.l.overrides.a = "5/s"', "limits.l.overrides.a: no request would ever pass limit l"),
        (
            'limits.l.cost = 7\nlimits.l.overrides.a = "t"\ntiers.t.rate = "5/s"',
            "limits.l.overrides.a: no request would ever pass limit l: its cost is 7 (here at most 5 pass at once)",
        ),
    ],
)
def test_a_mistake_is_told_where_it_is(tmp_path: Path, lines: str, problem: str) -> None:
    assert problem in "\n".join(problems(tmp_path, lines + LIMIT))


def test_a_tier_that_could_not_be_read_is_not_missed_once_more(tmp_path: Path) -> None:
    lines = 'tiers.gold.rate = "5"\nlimits.l.overrides = { a = "gold" }'
    (found,) = problems(tmp_path, lines + LIMIT)
    assert "tiers.gold.rate" in found


def test_a_key_that_is_hidden_stands_in_no_message(tmp_path: Path) -> None:
    secret = 'store.secret = "0123456789abcdef"\n'
    limit = LIMIT.replace("header:x-api-key", "api_key")
    lines = 'limits.l.overrides = { s3cret = "gild", oth3r = "5/x", thi3d = { burst = 1 } }'
    found = "\n".join(problems(tmp_path, secret + lines + limit))
    assert 'limits.l.overrides: "gild" is not a tier' in found
    assert 'limits.l.overrides: "5/x" is not a rate' in found
    assert 'limits.l.overrides: "rate" is missing' in found
    assert not any(word in found for word in ("s3cret", "oth3r", "thi3d"))
    (found,) = problems(tmp_path, 'limits.l.overrides.s3cret = "5/s"' + limit)
    assert "limits.l.overrides: the limit's keys are hashed, with a secret that each start draws anew" in found
    (key,) = read(tmp_path, secret + 'limits.l.overrides.s3cret = "5/s"' + limit).limits[0].overrides
    assert key.startswith("~")


@pytest.mark.parametrize(
    "rate",
    [None, Rate(1, 60.0), Rate(5, 10.0), Rate(5, 0.001), Rate(5, 31536000.0), Rate(5, 1234567.125), Rate(9, 86400.0)],
    ids=str,
)
def test_a_rate_is_written_as_it_is_read(rate: Rate | None) -> None:
    assert rate_of(rate_text(rate)) == rate


def test_one_word_says_an_override() -> None:
    assert override_of("unlimited") == Tier(None)
    assert override_of("5/s") == Tier(Rate(5, 1.0))
    assert override_of("gold") == "gold"
