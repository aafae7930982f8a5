"""From the tables of a configuration to the `Config` that they mean.

Sections are read one by one, each whatever became of the others, so that every mistake is found in one go. Then comes
what only the whole can tell: names that are used and not defined, clashes of addresses, totals, what is implied.
`config` calls it, for files and for flags alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from headgate.control import functions, network_values, overrides, secret, sections, tokens, values
from headgate.control.report import Place, Report
from headgate.control.values import Kind, Kinds
from headgate.limits.keys import is_hashed
from headgate.model.address import Address
from headgate.model.config import (
    AccessLog,
    Admin,
    Config,
    Connections,
    Heads,
    Limit,
    Listener,
    Route,
    Store,
    Tier,
    Timeouts,
    Upstream,
)
from headgate.routing.router import normal_path
from headgate.wire.cells import LIMITS, SERVERS

T = TypeVar("T")

TOKEN_VARIABLE = "HEADGATE_ADMIN_TOKEN"
SECRET_VARIABLE = "HEADGATE_STORE_SECRET"
DEFAULT_LISTENER = Address("127.0.0.1", 8000)
_WILDCARDS = {"0.0.0.0": False, "::": True}  # and whether it stands for IPv6

# The keys that stand in no table.
TOP: Kinds = {
    "workers": sections.WORKERS,
    "trusted_proxies": values.many(network_values.NETWORK, "list of networks", same=str),
    "state_file": values.OPTIONAL_TEXT,
    "python_path": values.many(values.TEXT, "list of folders", same=str),
    "drain": values.duration(zero=True),
}
TABLES = (
    "timeouts",
    "heads",
    "connections",
    "admin",
    "store",
    "jwt",
    "access_log",
    "listeners",
    "upstreams",
    "limits",
    "tiers",
    "routes",
)
_AS_IT_IS: Kind[object] = Kind("table", lambda place, value: value)


def build(
    raw: Mapping[str, object], report: Report, *, folder: Path, state_file: str, environ: Mapping[str, str]
) -> Config:
    """The configuration that the tables mean. Raises ConfigError with every problem, those of the report included.

    folder: where relative paths start. state_file: the one to use when the tables name none.
    """
    place = Place(report)
    top: dict[str, object] = {}
    with place.reporting():
        top = values.table(place, dict(raw), {**TOP, **dict.fromkeys(TABLES, _AS_IT_IS)}, "a setting")
    reader = _Reader(place, raw)
    listeners, upstreams, tiers = reader.listeners(), reader.upstreams(), reader.tiers()
    limits = reader.limits()
    routes = reader.routes(upstreams)
    admin = reader.one("admin", Kind("", lambda at, value: _admin(at, value, folder)), Admin())
    admin = _with_token(place, admin, environ.get(TOKEN_VARIABLE, ""))
    log = reader.one("access_log", sections.section(AccessLog, sections.ACCESS_LOG), None)
    heads = reader.one("heads", sections.section(Heads, sections.HEADS), Heads())
    connections = reader.one("connections", sections.section(Connections, sections.CONNECTIONS), Connections())
    store = reader.one("store", Kind("", lambda at, value: _store(at, value, folder)), Store())
    store = _with_secret(place, store, limits, environ.get(SECRET_VARIABLE, ""))
    jwt = reader.one("jwt", Kind("", lambda at, value: tokens.read(at, value, folder)), None)
    _check_claims(place, limits, "jwt" in raw)
    _check_addresses(place, listeners, upstreams, admin)
    _check_totals(place, upstreams, limits)
    whole = reader.with_overrides(limits, tiers, store.secret)
    python_path = tuple(str(folder.absolute() / path) for path in _strings(top.pop("python_path", ())))
    if any(limit.functions for limit in limits.values()):
        python_path = (str(folder.absolute()), *python_path)
    modules = functions.check(place, limits, python_path)
    report.check()
    return Config(
        listeners=tuple(listeners.values()),
        upstreams=tuple(upstreams.values()),
        routes=tuple(routes),
        limits=tuple(whole),
        tiers=tiers,
        heads=heads,
        connections=connections,
        store=store,
        jwt=jwt,
        admin=admin,
        access_log=log and AccessLog(log.format, log.path if log.path == "-" else str(folder / log.path)),
        python_path=python_path,
        modules=modules,
        state_file=_under(folder, str(top.pop("state_file", state_file))),
        **{key: value for key, value in top.items() if key in TOP},  # type: ignore[arg-type]
    )


class _Reader:
    """Reads the sections; what is wrong with one is reported and the rest goes on without it."""

    def __init__(self, place: Place, raw: Mapping[str, object]) -> None:
        self._place = place
        self._raw = raw
        kind = sections.timeouts(Timeouts(), sections.TIMEOUTS, "a timeout")
        self._timeouts = self.one("timeouts", kind, Timeouts())

    def one(self, key: str, kind: Kind[T], default: T) -> T:
        """A section that is one table."""
        if key in self._raw:
            with (self._place / key).reporting():
                return kind.read(self._place / key, self._raw[key])
        return default

    def listeners(self) -> dict[int, Listener]:
        """The listeners that could be read, by index."""
        if not self._raw.get("listeners", []):
            return {0: Listener(DEFAULT_LISTENER, self._timeouts)}
        base, kinds = self._timeouts, sections.listener(self._timeouts, self._names("limits"))
        return self._list("listeners", lambda at, value: sections.read_listener(at, value, base, kinds))

    def upstreams(self) -> dict[str, Upstream]:
        """The upstreams that could be read, by name."""
        if not self._raw.get("upstreams", {}):
            (self._place / "upstreams").say("at least one upstream is needed, as in [upstreams.web]")
        base, kinds = self._timeouts, sections.upstream(self._timeouts, self._names("limits"))
        return self._named("upstreams", lambda at, value, name: sections.read_upstream(at, value, name, base, kinds))

    def tiers(self) -> dict[str, Tier]:
        """The tiers that could be read, by name."""
        return self._named("tiers", overrides.read_tier)

    def limits(self) -> dict[str, Limit]:
        """The limits that could be read, by name; their overrides are read later."""
        return self._named("limits", sections.read_limit)

    def with_overrides(self, limits: Mapping[str, Limit], tiers: Mapping[str, Tier], secret: str) -> list[Limit]:
        """The limits with their overrides read."""
        known = {name: tiers.get(name) for name in self._names("tiers") or ()}
        place = self._place / "limits"
        return [
            overrides.with_overrides(place / name / "overrides", limit, known, secret) for name, limit in limits.items()
        ]

    def routes(self, upstreams: Mapping[str, Upstream]) -> list[Route]:
        """The routes that could be read; the implied one when there are none."""
        if not self._raw.get("routes", []):
            return self._implied(upstreams)
        known, limits = self._names("upstreams"), self._names("limits")

        def read(at: Place, value: object) -> Route:
            name = values.entries(at, value).get("upstream")
            upstream = upstreams.get(name) if isinstance(name, str) else None
            base = upstream.timeouts if upstream else self._timeouts
            return sections.read_route(at, value, base, sections.route(base, known, limits))

        routes = self._list("routes", read)
        seen: dict[tuple[str, bytes | None], int] = {}
        for index, route in routes.items():
            first = seen.setdefault((route.host, normal_path(route.path.encode())), index)
            if first != index:
                (self._place / "routes" / index).say(f"matches the same requests as routes[{first}]")
        return list(routes.values())

    def _implied(self, upstreams: Mapping[str, Upstream]) -> list[Route]:
        names = self._names("upstreams") or []
        if len(names) > 1:
            (self._place / "routes").say(f"at least one is needed, because there are {len(names)} upstreams")
        elif self._names("limits") and not self._names_limits("upstreams", "listeners"):
            # Taking the one upstream without its limits would leave a limit without effect, and nobody would notice.
            where = "where a route, a listener or an upstream names it"
            (self._place / "routes").say(f"at least one is needed, because a limit works only {where}")
        return [Route(upstream.name, timeouts=upstream.timeouts) for upstream in upstreams.values()]

    def _names(self, key: str) -> list[str] | None:
        section = self._raw.get(key, {})
        return list(section) if isinstance(section, dict) else None

    def _names_limits(self, *sections: str) -> bool:
        """Whether a table of these sections names limits, rightly or not: one mistake is not reported twice."""
        found = [self._raw.get(section) for section in sections]
        tables = [list(one.values()) if isinstance(one, dict) else one for one in found]
        return any(
            isinstance(table, dict) and table.get("limits") for one in tables if isinstance(one, list) for table in one
        )

    def _list(self, key: str, read: Callable[[Place, object], T]) -> dict[int, T]:
        found: dict[int, T] = {}
        place, section = self._place / key, self._raw[key]
        if not isinstance(section, list):
            place.say(f"expected a list of tables, as in [[{key}]], found {values.kind_of(section)}")
            return found
        for index, value in enumerate(section):
            with (place / index).reporting():
                found[index] = read(place / index, value)
        return found

    def _named(self, key: str, read: Callable[[Place, object, str], T]) -> dict[str, T]:
        found: dict[str, T] = {}
        place = self._place / key
        with place.reporting():
            for name, value in values.entries(place, self._raw.get(key, {})).items():
                with (place / name).reporting():
                    found[name] = read(place / name, value, name)
        return found


def _strings(value: object) -> tuple[str, ...]:
    assert isinstance(value, tuple)
    return value


def _under(folder: Path, path: str) -> str:
    return str(folder / path) if path else ""


def _admin(place: Place, value: object, folder: Path) -> Admin:
    """The admin section, with the token that `token_file` has."""
    given = values.table(place, value, sections.ADMIN, "a setting of the admin API")
    secret.from_file(place, given, "token", values.TOKEN, folder)
    return Admin(**given)  # type: ignore[arg-type]


def _store(place: Place, value: object, folder: Path) -> Store:
    """The store section, with the secret that `secret_file` has."""
    given = values.table(place, value, sections.STORE, "a setting")
    secret.from_file(place, given, "secret", values.SECRET, folder)
    return Store(**given)  # type: ignore[arg-type]


def _with_token(place: Place, admin: Admin, fallback: str) -> Admin:
    """The section with the environment's token when it has none of its own; one is needed beyond this machine."""
    if not admin.token and fallback:
        return replace(admin, token=secret.from_environment(place, TOKEN_VARIABLE, fallback, values.TOKEN))
    if not admin.token and admin.listen and not admin.listen.is_loopback:
        (place / "admin" / "listen").say(
            f"{admin.listen} is open to other machines, so a token is needed (token, token_file or {TOKEN_VARIABLE})"
        )
    return admin


def _with_secret(place: Place, store: Store, limits: Mapping[str, Limit], fallback: str) -> Store:
    """The section with the environment's secret when it has none; in Redis, private limits need the same everywhere."""
    if not store.secret and fallback:
        return replace(store, secret=secret.from_environment(place, SECRET_VARIABLE, fallback, values.SECRET))
    for name, limit in limits.items():
        if store.url and not store.secret and is_hashed(limit):
            (place / "limits" / name / ("private" if limit.private else "key")).say(
                "its keys are hashed in Redis, so all Headgates need the same secret "
                f"(store.secret, store.secret_file or {SECRET_VARIABLE})"
            )
    return store


def _check_addresses(
    place: Place, listeners: Mapping[int, Listener], upstreams: Mapping[str, Upstream], admin: Admin
) -> None:
    taken: list[tuple[str, Address]] = [("admin.listen", admin.listen)] if admin.listen else []
    for index, listener in listeners.items():
        for owner, address in taken:
            if _clash(address, listener.address):
                at = place / "listeners" / index / "address"
                at.say(f"{listener.address} cannot be had beside {owner} ({address})")
                break
        taken.append((f"listeners[{index}]", listener.address))
    own = {str(listener.address) for listener in listeners.values()}
    for name, upstream in upstreams.items():
        for index, server in enumerate(upstream.servers):
            if str(server.address) in own:
                at = place / "upstreams" / name / "servers" / index
                at.say(f"{server.address} is a listener of Headgate itself: requests would go round in a circle")


def _clash(one: Address, other: Address) -> bool:
    """Whether no two can listen on both. Port 0 is one that is free, so it clashes with nothing."""
    if one.path or other.path:
        return one.path == other.path
    if one.port != other.port or one.port == 0:
        return False
    return one.host == other.host or _covers(one.host, other.host) or _covers(other.host, one.host)


def _covers(host: str, other: str) -> bool:
    return host in _WILDCARDS and _WILDCARDS[host] == (":" in other)


def _check_claims(place: Place, limits: Mapping[str, Limit], has_table: bool) -> None:
    for name, limit in limits.items():
        parts = (part for text in limit.keys for part in text.split(","))
        claim = next((part for part in parts if part.startswith("jwt:")), None)
        if claim and not has_table:
            (place / "limits" / name / "key").say(f"{claim} needs the table [jwt], which says what tokens are good")


def _check_totals(place: Place, upstreams: Mapping[str, Upstream], limits: Mapping[str, Limit]) -> None:
    servers = sum(len(upstream.servers) for upstream in upstreams.values())
    if servers > SERVERS:
        (place / "upstreams").say(f"{servers} servers in all (expected at most {SERVERS})")
    if len(limits) > LIMITS:
        (place / "limits").say(f"{len(limits)} limits in all (expected at most {LIMITS})")
