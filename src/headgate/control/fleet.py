"""The fleet: which servers there are now, in which state, and the snapshot that says so to the workers.

Three sources meet here and nowhere else: the configuration, the overlay of run-time changes, and what the prober saw.
`apply` brings the members in line with the first two, `observe` takes the third, and `publish` numbers the result. A
member that neither source names any more leaves: it stays in the snapshot in drain until nothing is in flight there in
any worker (or its time is over), so that removing a server costs no request.

No processes, clocks or files: the time, the workers' progress and the counts in flight are arguments. Called only from
the supervisor's loop, by one change at a time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from headgate.control.overlay import Overlay, prune
from headgate.control.slots import Slots
from headgate.control.tuning import UNTUNED, Tuning, resolve, tiers
from headgate.control.tuning import prune as prune_tuning
from headgate.errors import Unknown
from headgate.health.probe import Health
from headgate.limits.tags import meetings, tags
from headgate.model.address import Address
from headgate.model.config import Config, HealthCheck, Upstream
from headgate.model.server import Mode, Probe, ServerState
from headgate.model.snapshot import LimitState, Overrides, Snapshot, UpstreamState
from headgate.wire.cells import LIMITS, SERVERS

Key = tuple[str, Address]  # the upstream's name and the server's address


@dataclass(slots=True)
class Member:
    """One server of an upstream as the control plane knows it.

    configured: named by the configuration, not added at run time.
    leave_at: None, or when it leaves at the latest, on the clock of `apply`.
    drained_in: the first snapshot version in which it drains because it leaves.
    """

    address: Address
    slot: int
    weight: int
    mode: Mode
    configured: bool
    max_requests: int = 0
    health: Health = field(default_factory=Health)
    detail: str = ""  # of the last probe, for people
    leave_at: float | None = None
    drained_in: int = 0

    @property
    def leaves(self) -> bool:
        """Whether it stays only for what is in flight."""
        return self.leave_at is not None

    def state(self) -> ServerState:
        """What the workers are told."""
        mode = Mode.DRAIN if self.leaves else self.mode
        return ServerState(self.address, self.slot, self.weight, mode, self.health.verdict, self.max_requests)


class Fleet:
    """The servers of all upstreams, and the current snapshot."""

    def __init__(self, config: Config, overlay: Overlay, tuning: Tuning = UNTUNED) -> None:
        """Raises UserError when there are more servers or limits than the cells have room for."""
        self.config = config
        self.overlay: Overlay = {}
        self.tuning = tuning
        self._limits_now: tuple[LimitState, ...] = ()
        self._overrides: dict[str, Overrides] = {}
        self._members: dict[Key, Member] = {}
        self._servers: Slots[Key] = Slots(SERVERS, "servers")
        self._limits: Slots[str] = Slots(LIMITS, "limits")
        self._limit_slots: dict[str, int] = {}
        self._health_checks: dict[str, HealthCheck | None] = {}  # by upstream
        self._snapshot = Snapshot(0, (), (), ())
        self.apply(config, overlay, leave_at=0.0)
        self.publish()

    @property
    def snapshot(self) -> Snapshot:
        """The current one."""
        return self._snapshot

    def upstream(self, name: str) -> Upstream:
        """The configuration of an upstream. Raises Unknown, with the names that there are."""
        for upstream in self.config.upstreams:
            if upstream.name == name:
                return upstream
        known = ", ".join(upstream.name for upstream in self.config.upstreams) or "none"
        raise Unknown(f'there is no upstream "{name}" (known: {known})')

    def members(self, upstream: str) -> list[Member]:
        """The servers of an upstream: the configuration's in its order, then those added at run time in theirs."""
        return [member for (name, _), member in self._members.items() if name == upstream]

    def member(self, upstream: str, address: Address) -> Member:
        """A server that does not leave. Raises Unknown, with the addresses that there are."""
        self.upstream(upstream)
        member = self._members.get((upstream, address))
        if member is None or member.leaves:
            known = ", ".join(str(m.address) for m in self.members(upstream) if not m.leaves) or "none"
            raise Unknown(f'there is no server {address} in upstream "{upstream}" (known: {known})')
        return member

    def has(self, upstream: str, address: Address) -> bool:
        """Whether a server is there and does not leave."""
        member = self._members.get((upstream, address))
        return member is not None and not member.leaves

    def check(self, config: Config, overlay: Overlay) -> None:
        """Raises UserError when `apply` could not take this for want of room; changes nothing."""
        self._servers.require(_wanted(config, overlay))
        self._limits.require(limit.name for limit in config.limits)

    def apply(self, config: Config, overlay: Overlay, leave_at: float) -> None:
        """Brings the members in line. leave_at: when those that are named no more leave at the latest.

        Raises UserError, with nothing changed, when there is no room.
        """
        overlay = prune(overlay, config)
        self.check(config, overlay)
        self.config, self.overlay = config, overlay
        self._health_checks = {upstream.name: upstream.health_check for upstream in config.upstreams}
        wanted = _wanted(config, overlay)
        members = {key: self._wanted_member(key, want) for key, want in wanted.items()}
        for key, member in self._members.items():
            if key in wanted:
                continue
            if key[0] not in self._health_checks:
                # No upstream is left to drain it in; exchanges in flight keep the snapshot they began with.
                self._servers.give_up(key, self._snapshot.version + 1)
                continue
            if not member.leaves:
                member.leave_at = leave_at
                # A member that drains already changes no snapshot by leaving: the current one says all.
                member.drained_in = self._snapshot.version + (member.mode is not Mode.DRAIN)
            members[key] = member
        self._members = members
        self._forget_unprobed()
        self._apply_limits()
        self.tune(self.tuning)

    def tune(self, tuning: Tuning) -> None:
        """Takes other tiers and overrides of limits; those that the configuration has as well are forgotten."""
        self.tuning = prune_tuning(self.config, tuning)
        self._overrides = resolve(self.config, self.tuning)

    def publish(self, *, again: bool = False) -> Snapshot | None:
        """The new snapshot, one version further, or None when it would say what the current one says.

        again: there is a new one even so.
        """
        config = self.config
        servers: dict[str, list[ServerState]] = {upstream.name: [] for upstream in config.upstreams}
        for (name, _), member in self._members.items():
            servers[name].append(member.state())
        upstreams = tuple(
            UpstreamState(
                upstream.name,
                tuple(servers[upstream.name]),
                upstream.policy,
                upstream.ejection,
                upstream.timeouts,
                upstream.queue,
                upstream.limits,
            )
            for upstream in config.upstreams
        )
        version = self._snapshot.version
        snapshot = Snapshot(
            version=version,
            listeners=config.listeners,
            upstreams=upstreams,
            routes=config.routes,
            limits=self._limits_now,
            tiers=tiers(config, self.tuning) if any(limit.limit for limit in config.limits) else {},
            overrides=self._overrides,
            heads=config.heads,
            connections=config.connections,
            store=config.store,
            jwt=config.jwt,
            access_log=config.access_log,
            trusted_proxies=config.trusted_proxies,
            python_path=config.python_path,
            modules=config.modules,
        )
        if snapshot == self._snapshot and not again:
            return None
        self._snapshot = replace(snapshot, version=version + 1)
        return self._snapshot

    def checks(self) -> dict[Key, HealthCheck]:
        """Whom to probe, and how: not those in maintenance and not those that leave."""
        return {key: check for key, member in self._members.items() if (check := self._check_of(key, member))}

    def observe(self, key: Key, passed: bool, detail: str) -> Member | None:
        """Takes the result of a probe; the member when its verdict changed, else None. Late results are ignored."""
        member = self._members.get(key)
        if member is None or (check := self._check_of(key, member)) is None:
            return None
        member.detail = detail
        return member if member.health.observe(passed, check.rise, check.fall) else None

    def down(self) -> list[Key]:
        """The servers that the prober found down."""
        return [key for key, member in self._members.items() if member.health.verdict is Probe.DOWN]

    def assume_down(self, keys: Iterable[Key]) -> None:
        """Takes the word of somebody who probed them before that these are down; those not probed here are not."""
        for key in keys:
            member = self._members.get(key)
            if member is not None and self._check_of(key, member) is not None:
                member.health.observe(False, rise=1, fall=1)
                member.detail = "down when it was taken over"
        self.publish()

    def tidy(self, now: float, adopted: int, idle: Callable[[int], bool]) -> tuple[list[int], bool]:
        """Ends what only waited for the workers: the server slots to clear, and whether a member has left.

        now: on the clock of `leave_at`. adopted: the oldest version that a worker still serves.
        idle: whether nothing is in flight in a server's slot.
        """
        left = False
        for key, member in list(self._members.items()):
            if member.leave_at is None:
                continue
            if now >= member.leave_at or (member.drained_in <= adopted and idle(member.slot)):
                del self._members[key]
                self._servers.give_up(key, self._snapshot.version + 1)
                left = True
        return self._servers.reclaim(adopted, idle), left

    def tidy_limits(self, adopted: int) -> list[int]:
        """The limit slots to clear: of limits that no worker knows any more."""
        return self._limits.reclaim(adopted, lambda _slot: True)

    @property
    def is_tidy(self) -> bool:
        """Whether `tidy` and `tidy_limits` have nothing to wait for."""
        leaves = any(member.leaves for member in self._members.values())
        return not (leaves or self._servers.rests or self._limits.rests)

    def slots_in_use(self) -> list[int]:
        """The server slots that workers may be counting in."""
        return self._servers.in_use()

    def _check_of(self, key: Key, member: Member) -> HealthCheck | None:
        probed = member.mode is not Mode.MAINT and not member.leaves
        return self._health_checks[key[0]] if probed else None

    def _wanted_member(self, key: Key, want: "_Want") -> Member:
        member = self._members.get(key)
        if member is None:
            return Member(key[1], self._servers.take(key), want.weight, want.mode, want.configured, want.max_requests)
        member.weight, member.mode, member.configured = want.weight, want.mode, want.configured
        member.max_requests = want.max_requests
        member.leave_at = None  # it was to leave and is wanted again
        return member

    def _forget_unprobed(self) -> None:
        for key, member in self._members.items():
            if not member.leaves and self._check_of(key, member) is None:
                member.health.forget()
                member.detail = ""

    def _apply_limits(self) -> None:
        names = [limit.name for limit in self.config.limits]
        for name in self._limit_slots.keys() - set(names):
            self._limits.give_up(name, self._snapshot.version + 1)
        self._limit_slots = {name: self._limits.take(name) for name in names}
        together = tags(meetings(self.config))
        self._limits_now = tuple(
            LimitState(replace(limit, overrides={}), self._limit_slots[limit.name], together.get(limit.name))
            for limit in self.config.limits
        )


@dataclass(frozen=True, slots=True)
class _Want:
    weight: int
    mode: Mode
    configured: bool
    max_requests: int


def _wanted(config: Config, overlay: Overlay) -> dict[Key, _Want]:
    """The servers that should be there, in the order in which they are shown and balanced."""
    wanted: dict[Key, _Want] = {}
    for upstream in config.upstreams:
        changes = overlay.get(upstream.name)
        servers = [(server.address, server.weight, True) for server in upstream.servers]
        own = {server.address: server.max_requests for server in upstream.servers}
        if changes:
            servers = [server for server in servers if str(server[0]) not in changes.removed]
            servers += [(Address.parse(address), 1, False) for address in changes.added]
        for address, weight, configured in servers:
            mode = Mode.READY
            if changes:
                weight = changes.weights.get(str(address), weight)
                mode = Mode(changes.modes.get(str(address), "ready"))
            most = own.get(address) or upstream.max_requests
            wanted[upstream.name, address] = _Want(weight, mode, configured, most)
    return wanted
