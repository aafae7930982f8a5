"""The sections of the configuration file: which keys each has, and the kind of value of each key.

A section is read into its class of `model.config`; its defaults and what each key means stand there. Overrides of
timeouts are resolved here: a section's `timeouts` are read on top of those of the section around it.
"""

from collections.abc import Callable, Collection
from dataclasses import fields, replace
from typing import TypeVar

from headgate.control import http_values, limit_values, network_values, overrides, values
from headgate.control.report import Place, quoted
from headgate.control.values import Kind, Kinds, table
from headgate.limits import concurrency
from headgate.limits.meter import ALGORITHMS
from headgate.model import config

T = TypeVar("T")

POLICIES = ("round_robin",)
MAX_WORKERS = 256

TIMEOUTS: Kinds = {
    field.name: values.number(0, 1 << 30) if field.type is int else values.duration(zero=field.name == "total")
    for field in fields(config.Timeouts)
}
# What is awaited before a route is known belongs to the listener, and the rest to the way to the server: a timeout set
# where it has no effect is refused and not ignored.
LISTENER_TIMEOUTS: Kinds = {name: TIMEOUTS[name] for name in ("request_head", "idle")}
ROUTE_TIMEOUTS: Kinds = {name: kind for name, kind in TIMEOUTS.items() if name not in LISTENER_TIMEOUTS}

HEADS: Kinds = {
    "max_size": values.number(1024, 1 << 20),
    "max_fields": values.number(1, 10_000),
    "max_target": values.number(64, 1 << 20),
    "underscores": values.choice("a treatment", "drop", "refuse", "pass"),
    "non_ascii": values.choice("a treatment", "pass", "refuse"),
    "trace": values.FLAG,
}
CONNECTIONS: Kinds = {"max": values.number(0, 1 << 20), "max_per_client": values.number(0, 1 << 20)}
HEALTH_CHECK: Kinds = {
    "path": http_values.TARGET,
    "interval": values.duration(),
    "timeout": values.duration(),
    "rise": values.number(1, 1000),
    "fall": values.number(1, 1000),
    "status": http_values.STATUSES,
    "host": http_values.HOST_FIELD,
}
EJECTION: Kinds = {"failures": values.number(0, 1_000_000), "base": values.duration()}
SERVER: Kinds = {
    "address": network_values.SERVER_ADDRESS,
    "weight": values.number(0, 256),
    "max_requests": values.number(0, 1_000_000),
}


def section(make: Callable[..., T], kinds: Kinds, noun: str = "a setting", required: Collection[str] = ()) -> Kind[T]:
    """A table that becomes an object of a class of `model.config` that has a default for everything but `required`."""
    return Kind("table", lambda place, value: make(**table(place, value, kinds, noun, required)))


BAN: Kinds = {
    "refusals": values.number(1, 1_000_000_000),
    "within": values.duration(),
    "period": values.duration(),
}
ON_ERROR: Kinds = {
    "key": limit_values.KEY,
    "limit": values.RATE,
    "cost": values.number(0, 1_000_000_000),
    "exempt": values.FLAG,
}
PYTHON: Kinds = {
    "timeout": values.duration(),
    "cache": values.duration(),
    "cache_by": limit_values.KEY,
    "on_error": section(config.OnError, ON_ERROR, "a setting of errors"),
}
LIMIT: Kinds = {
    "rate": limit_values.RATE,
    "in_flight": limit_values.IN_FLIGHT,
    "key": limit_values.or_function(limit_values.KEY),
    "limit": limit_values.FUNCTION,
    "algorithm": values.choice("an algorithm", *ALGORITHMS, concurrency.NAME),
    "burst": overrides.BURST,
    "on_store_error": values.choice("an answer to a store's failure", "allow", "deny", "local"),
    "exempt": limit_values.EXEMPT,
    "headers": values.choice("a time for headers", "refused", "always", "off"),
    "legacy_headers": values.FLAG,
    "private": values.FLAG,
    "dry_run": values.FLAG,
    "cost": limit_values.COST,
    "count_refused": values.FLAG,
    "lease": values.number(1, 1_000_000),
    "delay": values.duration(zero=True),
    "settle": limit_values.SETTLE,
    "python": section(config.Python, PYTHON, "a setting of functions"),
    "ban": section(config.Ban, BAN, "a setting of a ban", list(BAN)),
    "overrides": overrides.OVERRIDES,
}
RETRY: Kinds = {
    "on": values.many(http_values.CONDITION, "list of failures and statuses", same=str),
    "attempts": values.number(1, 100),
    "budget": values.number(0, 100),
}
STORE: Kinds = {
    "url": network_values.STORE_URL,
    "deadline": values.duration(),
    "prefix": values.TEXT,
    "secret": values.SECRET,
    "secret_file": values.TEXT,
}
ADMIN: Kinds = {"listen": network_values.ADMIN_ADDRESS, "token": values.TOKEN, "token_file": values.TEXT}
ACCESS_LOG: Kinds = {"format": values.choice("a format", "text", "json"), "path": values.TEXT}
MATCH: Kinds = {"host": http_values.MATCH_HOST, "path": http_values.MATCH_PATH}


def timeouts(base: config.Timeouts, kinds: Kinds, noun: str) -> Kind[config.Timeouts]:
    """A table of timeouts on top of the base's; `noun` says whose, because not every timeout can be set everywhere."""

    def read(place: Place, value: object) -> config.Timeouts:
        return replace(base, **table(place, value, kinds, noun))  # type: ignore[arg-type]

    return Kind("table", read)


def limits(known: Collection[str] | None) -> Kind[tuple[str, ...]]:
    """Names of limits. known: those that are defined, None when that is not known (see `route`)."""
    return values.many(values.named("a limit", known), "list of names", same=str)


def listener(base: config.Timeouts, known_limits: Collection[str] | None = None) -> Kinds:
    """The keys of a listener. base: the timeouts of the whole installation."""
    return {
        "address": network_values.LISTEN_ADDRESS,
        "timeouts": timeouts(base, LISTENER_TIMEOUTS, "a timeout of a listener"),
        "limits": limits(known_limits),
    }


def upstream(base: config.Timeouts, known_limits: Collection[str] | None = None) -> Kinds:
    """The keys of an upstream. base: the timeouts of the whole installation."""
    servers = values.many(
        Kind("address or table", _server), "list of addresses or tables", same=lambda server: str(server.address)
    )
    return {
        "policy": values.choice("a policy", *POLICIES),
        "servers": servers,
        "max_requests": values.number(0, 1_000_000),
        "queue": values.number(0, 1_000_000),
        "health_check": section(config.HealthCheck, HEALTH_CHECK, "a setting of a health check"),
        "ejection": section(config.Ejection, EJECTION, "a setting of ejection"),
        "timeouts": timeouts(base, ROUTE_TIMEOUTS, "a timeout of an upstream"),
        "limits": limits(known_limits),
    }


def route(
    base: config.Timeouts,
    upstreams: Collection[str] | None = None,
    known_limits: Collection[str] | None = None,
) -> Kinds:
    """The keys of a route.

    base: the timeouts of its upstream. upstreams, known_limits: the names that are defined, None when that is not known
    because their section is no table: one mistake is not reported twice.
    """
    return {
        "match": Kind("table", lambda place, value: table(place, value, MATCH, "a thing to match")),
        "upstream": values.named("an upstream", upstreams),
        "limits": limits(known_limits),
        "retry": section(config.Retry, RETRY, "a setting of retries"),
        "on_client_gone": values.ON_CLIENT_GONE,
        "upgrades": values.many(http_values.UPGRADE, "list of protocols", same=str),
        "timeouts": timeouts(base, ROUTE_TIMEOUTS, "a timeout of a route"),
    }


def read_listener(place: Place, value: object, base: config.Timeouts, kinds: Kinds) -> config.Listener:
    """The listener that a table says. base: the timeouts around it; kinds: what `listener` gives for them."""
    found = table(place, value, kinds, "a setting of a listener", ["address"])
    return config.Listener(**{"timeouts": base} | found)  # type: ignore[arg-type]


def read_upstream(place: Place, value: object, name: str, base: config.Timeouts, kinds: Kinds) -> config.Upstream:
    """The upstream that a table says; it may have no servers, they can be added at run time.

    base: the timeouts around it; kinds: what `upstream` gives for them.
    """
    values.name(name, "an upstream")
    found = table(place, value, kinds, "a setting of an upstream")
    return config.Upstream(name, **{"timeouts": base, "servers": ()} | found)  # type: ignore[arg-type]


def read_limit(place: Place, value: object, name: str) -> config.Limit:
    """The limit that a table says; its overrides are read later (`with_overrides`)."""
    values.name(name, "a limit")
    found = table(place, value, LIMIT, "a setting of a limit")
    limit_values.take_rate(place, found)
    limit = config.Limit(name, **limit_values.by_function(found))  # type: ignore[arg-type]
    _check_functions(place, limit)
    if limit.burst and limit.algorithm != "gcra":
        (place / "burst").say(f'only with algorithm = "gcra", and this is "{limit.algorithm}"')
    if limit.lease > 1 and (limit.algorithm != "fixed_window" or limit.count_refused):
        (place / "lease").say('only with algorithm = "fixed_window" and without count_refused')
    elif limit.lease > 1 and (limit.cost > 1 or limit.settle):
        (place / "lease").say(
            "only for requests that cost 1, known beforehand (here with cost or settle it takes nothing)"
        )
    elif limit.lease > max(1, limit.rate.limit // 10):
        (place / "lease").say(f"{limit.lease} is too many (expected at most a tenth of {limit.rate})")
    if why_not := overrides.overdue(limit.burst, limit.rate):
        (place / "burst").say(why_not)
    if limit.delay and limit.algorithm != "gcra":
        (place / "delay").say(f'only with algorithm = "gcra", and this is "{limit.algorithm}"')
    if limit.settle and limit.dry_run:
        (place / "settle").say("not with dry_run: what is only tried is not settled")
    most = limit.at_once
    if limit.cost > most > 0 and not limit.cost_of:
        (place / "cost").say(f"no request would ever pass: {limit.cost} (expected at most {most}, what passes at once)")
    return limit


def _check_functions(place: Place, limit: config.Limit) -> None:
    python = limit.python
    if python != config.Python() and not limit.functions:
        (place / "python").say('only where a function of Python is named ("python:module:name")')
    if bool(python.cache) != bool(python.cache_by):
        (place / "python").say('"cache" and "cache_by" stand together (expected both, or none)')
    if why_not := overrides.overdue(limit.burst, python.on_error.limit):
        (place / "python" / "on_error" / "limit").say(f"too slow for the burst: {why_not}")


def read_route(place: Place, value: object, base: config.Timeouts, kinds: Kinds) -> config.Route:
    """The route that a table says. base: the timeouts of its upstream; kinds: what `route` gives for that upstream."""
    found = table(place, value, kinds, "a setting of a route", ["upstream"])
    match = found.pop("match", {})
    assert isinstance(match, dict)
    return config.Route(**{"timeouts": base} | found | match)  # type: ignore[arg-type]


def read_workers(place: Place, value: object) -> int:
    """The number of workers, 0 for "auto"."""
    if value == "auto":
        return 0
    if isinstance(value, str):
        raise ValueError(f'{quoted(value)} is not a number of workers (expected "auto" or 1 to {MAX_WORKERS})')
    return values.number(1, MAX_WORKERS).read(place, value)


WORKERS = Kind(f'`"auto"` or 1 to {MAX_WORKERS}', read_workers)


def _server(place: Place, value: object) -> config.Server:
    if isinstance(value, str):
        return config.Server(network_values.SERVER_ADDRESS.read(place, value))
    if not isinstance(value, dict):
        raise ValueError(f"expected an address or a table, found {values.kind_of(value)}")
    return config.Server(**table(place, value, SERVER, "a setting of a server", ["address"]))  # type: ignore[arg-type]
