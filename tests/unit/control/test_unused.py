from dataclasses import replace

import pytest

from headgate.control.unused import unused
from headgate.model.config import Config, Heads, Limit, OnError, Python, Rate, Store, Tier
from tests.unit.control.configs import config, upstream

PLACES = (Limit("places", Rate(5, 0.0), algorithm="concurrency"),)
PER_MINUTE = (Limit("per_ip", Rate(5, 60.0)),)


def naming(route: str = "", listener: str = "", upstreams: dict[str, str] | None = None) -> Config:
    """A configuration with the limit `l`, one route (to `web`), and what names which limit; "" names none."""
    names = upstreams or {"web": ""}
    base = config(limits=("l",))
    return replace(
        base,
        routes=tuple(replace(one, limits=(route,) if route else ()) for one in base.routes),
        listeners=tuple(replace(one, limits=(listener,) if listener else ()) for one in base.listeners),
        upstreams=tuple(replace(upstream(name=name), limits=(its,) if its else ()) for name, its in names.items()),
    )


@pytest.mark.parametrize(
    "base",
    [naming(route="l"), naming(listener="l"), naming(upstreams={"web": "l"}), naming("l", "l", {"web": "l"})],
    ids=["route", "listener", "upstream", "all"],
)
def test_a_limit_that_something_names_is_used(base: Config) -> None:
    assert unused(base) == []


@pytest.mark.parametrize("base", [naming(), naming(upstreams={"web": "", "old": "l"})], ids=["nothing", "no route's"])
def test_a_limit_that_stands_nowhere_is_told(base: Config) -> None:
    assert unused(base) == ["limits.l: no route, no listener and no upstream of a route names it"]


@pytest.mark.parametrize(("treatment", "is_"), [("drop", "dropped"), ("refuse", "refused"), ("pass", "")])
def test_a_field_that_is_dropped_before_the_limit_is_told(treatment: str, is_: str) -> None:
    python = Python(cache_by="header:x_a", on_error=OnError(key="api_key:x_b"))
    limit = Limit("l", Rate(5, 60.0), key="header:x-y,query:a_b,header:x_tenant_id", python=python)
    base = replace(naming(route="l"), limits=(limit,), heads=Heads(underscores=treatment))
    found = [
        ("key", "header:x_tenant_id", "header:x-tenant-id"),
        ("python.cache_by", "header:x_a", "header:x-a"),
        ("python.on_error.key", "api_key:x_b", "api_key:x-b"),
    ]
    assert unused(base) == [
        f'limits.l.{place}: "{key}" is never there: fields with an underscore are {is_} (heads.underscores); '
        f'did you mean "{meant}"?'
        for place, key, meant in found
        if is_
    ]


LEASED = Limit("l", Rate(1000, 1.0), lease=50)
OTHER = Limit("other", Rate(100, 1.0))
REDIS = Store("redis://127.0.0.1:6379")
ALONE = "limits.l.lease: it has no effect where limits are counted on this machine (store.url names no Redis)"
TOGETHER = "limits.l.lease: it has no effect: each of its requests comes under another limit too (other)"


@pytest.mark.parametrize(
    ("base", "other", "store", "expected"),
    [
        (naming(route="l"), OTHER, REDIS, []),
        (naming(route="l"), OTHER, Store(), [ALONE]),
        (naming(route="l", listener="other"), OTHER, REDIS, [TOGETHER]),
        (naming(listener="l", upstreams={"web": "other"}), OTHER, REDIS, [TOGETHER]),
        (naming(route="l", listener="other"), replace(OTHER, exempt=("10.0.0.0/8",)), REDIS, []),
        (naming(route="l", listener="other"), replace(OTHER, exempt_by="m:f"), REDIS, []),
        (naming(route="l", listener="other"), replace(OTHER, overrides={"10.0.0.1": "gold"}), REDIS, []),
        (naming(route="l", listener="other"), replace(OTHER, dry_run=True), REDIS, []),
    ],
)
def test_a_lease_that_does_nothing_is_told(base: Config, other: Limit, store: Store, expected: list[str]) -> None:
    found = unused(replace(base, limits=(LEASED, other), store=store))
    assert [line for line in found if line.startswith("limits.l.")] == expected


def test_a_lease_that_works_on_some_route_is_as_it_should_be() -> None:
    base = naming(route="l", listener="other")
    listeners = (*base.listeners, replace(base.listeners[0], limits=()))
    assert unused(replace(base, limits=(LEASED, OTHER), store=REDIS, listeners=listeners)) == []


def test_a_lease_of_what_nothing_names_is_told_once() -> None:
    assert unused(replace(naming(), limits=(LEASED,))) == [
        "limits.l: no route, no listener and no upstream of a route names it"
    ]


@pytest.mark.parametrize(
    ("limits", "tier", "why"),
    [
        (PER_MINUTE, Tier(Rate(9, 60.0)), ""),
        (PER_MINUTE, Tier(None), ""),
        (PLACES, Tier(None), ""),
        (PLACES, Tier(Rate(9, 0.0)), ""),
        (PLACES + PER_MINUTE, Tier(Rate(9, 0.0)), ""),
        (PER_MINUTE, Tier(Rate(9, 0.0)), 'it is "9 in flight", and no limit is one for which that could stand'),
        (PLACES, Tier(Rate(9, 60.0)), 'it is "9/minute", and no limit is one for which that could stand'),
        ((), Tier(None), "there is no limit whose keys could have it"),
    ],
)
def test_a_tier_that_keys_could_have_is_as_it_should_be(limits: tuple[Limit, ...], tier: Tier, why: str) -> None:
    base = config()
    names = tuple(limit.name for limit in limits)
    routes = tuple(replace(route, limits=names) for route in base.routes)
    base = replace(base, limits=limits, routes=routes, tiers={"gold": tier})
    assert unused(base) == ([f"tiers.gold: {why}"] if why else [])
