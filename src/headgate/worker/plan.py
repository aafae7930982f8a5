"""A snapshot made ready to serve by: router, policies and limits, built once so that a request only looks things up.

Adopting a snapshot is building a plan and one assignment. An exchange in flight keeps the plan it began with; live
servers are carried over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from headgate.balance.budget import Budget
from headgate.balance.choose import choose, usable
from headgate.balance.policy import Policy
from headgate.balance.round_robin import RoundRobin
from headgate.http1.request import RequestHead
from headgate.limits import concurrency, settle
from headgate.limits.keys import client_ip
from headgate.limits.overrides import Tuned, tuned
from headgate.model.address import Address
from headgate.model.config import Heads, Listener, Retry, Route, Timeouts
from headgate.model.snapshot import LimitState, Snapshot, UpstreamState
from headgate.routing.client import Networks, TrustedProxies
from headgate.routing.router import Router
from headgate.store.base import Check
from headgate.store.stripes import Stripe
from headgate.wire.cells import TURNS, Cells, ServerCell
from headgate.wire.messages import Ejected, Message
from headgate.worker.functions import Asks, Function, Library
from headgate.worker.keys import Key, Keys
from headgate.worker.queue import Later, Queue
from headgate.worker.server import Server
from headgate.worker.turns import SharedTurn

_IN_FLIGHT = int(ServerCell.IN_FLIGHT)
POLICIES = {"round_robin": RoundRobin}


class Group:
    """The servers of an upstream under their policy."""

    __slots__ = ("_policy", "_take_turn", "budget", "is_full", "name", "next_change", "queue", "servers")

    def __init__(
        self, name: str, servers: list[Server], take_turn: Callable[[], int], budget: Budget, queue: Queue
    ) -> None:
        self.name = name
        self.budget = budget
        self.queue = queue
        self.is_full = False  # whether the last request found no server only because all have as many as they may
        self.servers = servers
        self._take_turn = take_turn
        self._policy: Policy[Server] = RoundRobin([], take_turn)
        self.next_change = 0.0  # when the next ejection ends

    def rebuild(self, now: float) -> None:
        """Lets the policy share requests among those that are usable now."""
        shares = [(server, server.state.weight) for server in usable(self.servers, now)]
        self._policy = RoundRobin(shares, self._take_turn)
        ends = [server.ejected_until for server in self.servers if server.ejected_until > now]
        self.next_change = min(ends, default=0.0)

    def sweep(self, now: float) -> None:
        """Lets servers back in whose ejection is over, and closes connections that were idle for too long."""
        self.budget.turn(now)
        if self.queue:
            self.queue.look()
        if 0.0 < self.next_change <= now:
            self.rebuild(now)
        for server in self.servers:
            server.sweep(now)

    def choose(self, now: float, tried: Sequence[Server] = ()) -> Server | None:
        """The server for the next request; one outside the policy's choice is better than none for one tried before."""
        return choose(self._policy.order(), now, tried) or choose(self.servers, now, tried)

    def enter(self, now: float, tried: Sequence[Server] = ()) -> Server | None:
        """The server for the next request, which has entered it; None where there is none, and `is_full` says why."""
        order = self._policy.order()
        if order:
            first = order[0]
            # Nearly always: `choose` and `enter`, without the calls that they would cost every request.
            if first.admitted and first.ejected_until <= now and not first.max_requests and first not in tried:
                first.cells[_IN_FLIGHT] += 1
                return first
        server = choose(order, now, tried) or choose(self.servers, now, tried)
        if server is not None and server.enter():
            return server
        self.is_full = server is not None or any(
            server.admitted and server.ejected_until <= now and server not in tried for server in self.servers
        )
        return None


class LiveLimit(NamedTuple):
    """A limit of a route, with what reads its key from a request.

    exempt: the clients that it is not for. overrides: keys that have another rate, None for no limit at all. asks: the
    functions of users that it asks.
    """

    state: LimitState
    key: Key
    exempt: Networks
    overrides: Mapping[bytes, LimitState | None]
    asks: Asks | None = None


class LiveRoute:
    """A route with what it needs to serve.

    name: its host and path. limits: those that decide, of its listener and its upstream too; tried: those that are only
    tried. asks: whether any of them asks functions of users. bans, delays: whether any that decides bans clients or
    holds requests back. holds: whether any of either is on what is in flight. by_address: whether all that decide count
    a client's requests on the route by one key, and none is settled. checks: what they have to decide on a request; see
    `checks`. tells: whether every response says what is left of them. costs: what tells, by the limit's slot, what a
    request really cost. unwanted: the statuses with which a request goes to another server.
    hide: what hides from the access log what a private limit counts by.
    """

    __slots__ = (
        "asks",
        "bans",
        "by_address",
        "checks",
        "costs",
        "delays",
        "group",
        "hide",
        "holds",
        "limits",
        "name",
        "on_client_gone",
        "retry",
        "tells",
        "timeouts",
        "tried",
        "unwanted",
        "upgrades",
    )

    def __init__(
        self, group: Group, limits: Sequence[Tuned], route: Route, keys: Keys, library: Library | None = None
    ) -> None:
        self.group = group
        self.name = f"{route.host}{route.path}"
        live = [_live(state, overrides, self.name.encode(), keys, library) for state, overrides, _ in limits]
        self.asks = any(limit.asks is not None for limit in live)
        self.limits = tuple(limit for limit in live if not limit.state.limit.dry_run)
        self.tried = tuple(limit for limit in live if limit.state.limit.dry_run)
        self.checks = _checks_with_overrides if any(limit.overrides for limit in live) else checks
        self.costs = {limit.state.slot: _cost(limit) for limit in self.limits if limit.state.limit.settle}
        self.by_address = all(limit.key.is_address for limit in self.limits) and not self.costs
        self.bans = any(limit.state.limit.ban is not None for limit in self.limits)
        self.delays = any(limit.state.limit.delay for limit in self.limits)
        self.holds = any(limit.state.limit.algorithm == concurrency.NAME for limit in live)
        self.tells = any(limit.state.limit.headers == "always" for limit in self.limits)
        self.timeouts: Timeouts = route.timeouts
        self.retry: Retry = route.retry
        self.on_client_gone = route.on_client_gone
        self.hide = keys.hiding(state.limit for state, _, _ in limits)
        self.unwanted = frozenset(status for status in route.retry.on if isinstance(status, int))
        self.upgrades = frozenset(name.encode() for name in route.upgrades)


def _live(
    state: LimitState,
    overrides: Mapping[bytes, LimitState | None],
    route: bytes,
    keys: Keys,
    library: Library | None,
) -> LiveLimit:
    limit, python = state.limit, state.limit.python
    functions = None if library is None else library.of(state)
    asks = None
    if functions is not None:
        by = keys.of(replace(limit, key=python.cache_by), route, apart=True) if python.cache_by else None
        asks = Asks(functions, by, keys.told(limit))
        if "key" in limit.functions:
            limit = replace(limit, key=python.on_error.key)
    return LiveLimit(state, keys.of(limit, route), Networks(limit.exempt), overrides, asks)


def _cost(limit: LiveLimit) -> settle.Cost | Function[int | None]:
    """What tells what a request really cost."""
    if limit.asks is not None and limit.asks.functions.settle is not None:
        return limit.asks.functions.settle
    return settle.cost(limit.state.limit.settle)


def checks(limits: Sequence[LiveLimit], client: str, head: RequestHead) -> list[Check]:
    """What these limits have to decide on a request, without those that are not for its client.

    client: the address that the request is for.
    """
    address = client_ip(client)
    return [
        (limit.state, limit.key.read(head, address, client), limit.state.limit.cost)
        for limit in limits
        if client not in limit.exempt
    ]


def _checks_with_overrides(limits: Sequence[LiveLimit], client: str, head: RequestHead) -> list[Check]:
    """The same where keys may have a rate of their own, or no limit. In `checks`, all would pay for the look."""
    address = client_ip(client)
    found: list[Check] = []
    for state, key, exempt, overrides, _ in limits:
        if client not in exempt:
            what = key.read(head, address, client)
            own = overrides.get(what, state)
            if own is not None:
                found.append((own, what, own.limit.cost))
    return found


class Shared(NamedTuple):
    """What a worker has for all plans: the cells, its row in them, the lock of the turns, and its loop's timers.

    secret: what keys are hashed with where the configuration says nothing, the same in all workers. send: tells the
    supervisor something. library: the functions of users.
    """

    cells: Cells
    row: int
    lock: Stripe
    later: Later
    secret: bytes = b""
    send: Callable[[Message], None] = lambda message: None
    library: Library | None = None


class Plan:
    """Everything that a worker serves by.

    has_min_rates: whether any route asks its clients for a least rate. router: of all listeners but those in `routers`,
    which are those that have limits of their own: a route is another one with each listener's limits. hide: that of all
    limits together, for requests that no route matches.
    """

    __slots__ = (
        "groups",
        "has_min_rates",
        "heads",
        "hide",
        "limits",
        "router",
        "routers",
        "servers",
        "snapshot",
        "trusted",
    )

    def __init__(self, snapshot: Snapshot, before: "Plan | None", shared: Shared, now: float) -> None:
        """before: whose live servers and budgets are carried over."""
        self.snapshot = snapshot
        self.heads: Heads = snapshot.heads
        self.trusted = TrustedProxies(snapshot.trusted_proxies)
        self.servers: dict[int, Server] = {}
        self.groups: dict[str, Group] = {}
        for place, upstream in enumerate(snapshot.upstreams):
            self.groups[upstream.name] = self._group(upstream, before, shared, place % TURNS, now)
        old: dict[str, Tuned] = {} if before is None else before.limits
        self.limits: dict[str, Tuned] = {
            state.limit.name: tuned(state, snapshot.overrides.get(state.limit.name), old.get(state.limit.name))
            for state in snapshot.limits
        }
        self.has_min_rates = any(
            route.timeouts.request_min_rate or route.timeouts.response_min_rate for route in snapshot.routes
        )
        keys = Keys(snapshot.store.secret.encode() or shared.secret, snapshot.jwt, snapshot.limits)
        self.hide = keys.hiding(state.limit for state in snapshot.limits)
        self.router = self._router((), keys, shared.library)
        made = {
            listener.limits: self._router(listener.limits, keys, shared.library)
            for listener in snapshot.listeners
            if listener.limits
        }
        self.routers: dict[Address, Router[LiveRoute]] = {
            listener.address: made[listener.limits] for listener in snapshot.listeners if listener.limits
        }

    def router_of(self, listener: Listener) -> Router[LiveRoute]:
        """The router for requests that came by a listener, whatever that was like in an earlier snapshot."""
        return self.routers.get(listener.address, self.router)

    def _router(self, names: tuple[str, ...], keys: Keys, library: Library | None) -> Router[LiveRoute]:
        """names: of the limits of a listener."""
        of_upstreams = {upstream.name: upstream.limits for upstream in self.snapshot.upstreams}
        routes: list[tuple[str, str, LiveRoute]] = []
        for route in self.snapshot.routes:
            wanted = dict.fromkeys((*names, *route.limits, *of_upstreams[route.upstream]))  # each once
            limits = tuple(self.limits[name] for name in wanted)
            live = LiveRoute(self.groups[route.upstream], limits, route, keys, library)
            routes.append((route.host, route.path, live))
        return Router(routes)

    def _group(self, upstream: UpstreamState, before: "Plan | None", shared: Shared, turn: int, now: float) -> Group:
        cells, row, lock, later = shared[:4]
        servers = {} if before is None else before.servers
        old = None if before is None else before.groups.get(upstream.name)
        members: list[Server] = []
        budget = Budget() if old is None else old.budget
        queue = Queue(cells, row, later) if old is None else old.queue
        shared_turn = SharedTurn(cells.turns, turn, lock)
        take_turn = shared_turn.take if cells.workers > 1 else shared_turn.take_alone
        group = Group(upstream.name, members, take_turn, budget, queue)
        queue.group, queue.size = group, upstream.queue
        for state in upstream.servers:
            server = servers.get(state.slot)
            # Slots are not given away while any worker counts in them; should one be, its old server is not this one.
            if server is None or server.state.address != state.address or server.upstream != upstream.name:
                rows = [cells.server(index, state.slot) for index in range(cells.workers)]
                server = Server(upstream.name, state, rows[row], rows)
            told = Ejected(upstream.name, server.name, upstream.ejection.base)
            server.update(state, upstream.ejection, partial(_ejected, group, shared.send, told))
            members.append(server)
            self.servers[state.slot] = server
        group.rebuild(now)
        return group


def _ejected(group: Group, send: Callable[[Message], None], told: Ejected, now: float) -> None:
    group.rebuild(now)
    send(told)
