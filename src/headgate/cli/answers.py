"""What the admin API answers, as far as the commands read it. Fields that are not read here may come and go."""

from typing import TypeVar

import msgspec

from headgate.errors import AdminFailed


class Server(msgspec.Struct, frozen=True):
    """A server as it is now."""

    address: str
    weight: int
    mode: str
    probe: str
    detail: str
    ejected_for: float
    available: bool
    in_flight: int
    requests: int
    failures: int
    source: str
    removing: bool = False

    @property
    def health(self) -> str:
        """In a word or two, why it gets requests or why it does not."""
        if self.removing:
            return "leaving"
        if self.ejected_for > 0:
            return f"ejected {self.ejected_for:.0f}s"
        return self.probe


class Servers(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v1/upstreams/{upstream}/servers`."""

    servers: list[Server]


class Upstream(msgspec.Struct, frozen=True):
    """An upstream with its servers."""

    name: str
    policy: str
    health_check: bool
    servers: list[Server]


class Worker(msgspec.Struct, frozen=True):
    """A worker process."""

    index: int
    pid: int | None
    connections: int
    in_flight: int
    requests: int


class Limit(msgspec.Struct, frozen=True):
    """A limit and what it decided so far."""

    name: str
    rate: str
    key: str
    allowed: int
    refused: int
    algorithm: str = "fixed_window"
    dry_run: bool = False
    dry_run_refused: int = 0


class Store(msgspec.Struct, frozen=True):
    """Where limits are counted. headgates: how many lived there when that was last heard of."""

    kind: str
    down: bool
    headgates: int = 1


class Status(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v1/status`."""

    version: str
    snapshot: int
    pid: int
    uptime: float
    draining: bool
    workers: list[Worker]
    listeners: list[str]
    upstreams: list[Upstream]
    limits: list[Limit]
    store: Store


class Counters(msgspec.Struct, frozen=True):
    """What a limit decided so far, over all workers."""

    allowed: int
    refused: int
    dry_run_refused: int
    near: int
    delayed: int
    banned: int
    store_errors: int
    function_errors: int = 0


class LimitStore(msgspec.Struct, frozen=True):
    """Where limits are counted. down: in how many workers that cannot be asked."""

    kind: str
    down: int


class RefusedKey(msgspec.Struct, frozen=True):
    """A key and how often a limit refused it: `refused` at the most, `at_least` for sure."""

    key: str
    refused: int
    at_least: int


class Top(msgspec.Struct, frozen=True):
    """Whom a limit refused most in the last minute or two: the answer of `GET /api/v1/limits/{name}/top`.

    refused: requests in all. unlisted_at_most: of each key that is not here.
    """

    refused: int
    unlisted_at_most: int
    keys: list[RefusedKey]


class LimitShown(msgspec.Struct, frozen=True):
    """A limit of `GET /api/v1/limits`, as far as its settings are read here."""

    name: str
    rate: str
    key: str
    algorithm: str
    dry_run: bool
    on_store_error: str
    counters: Counters
    top: Top


class Limits(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v1/limits`."""

    limits: list[LimitShown]
    store: LimitStore


class KeyShown(msgspec.Struct, frozen=True):
    """How a key stands under a limit: the answer of `GET /api/v1/limits/{name}/keys/{key}`. Times in seconds."""

    limit: str
    key: str
    remaining: int
    reset_after: float
    retry_after: float
    banned_until: str | None


class OverrideShown(msgspec.Struct, frozen=True):
    """A key with another rate: `GET /api/v1/limits/{name}/overrides/{key}`. rate: None where its tier is gone.

    inert: why it has no effect; None where it has.
    """

    key: str
    tier: str | None
    rate: str | None
    burst: int
    source: str
    inert: str | None = None


class Overrides(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v1/limits/{name}/overrides`."""

    limit: str
    overrides: list[OverrideShown]


class AllOverrides(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v1/overrides`."""

    limits: list[Overrides]


class OverrideUnset(msgspec.Struct, frozen=True):
    """The answer of `DELETE /api/v1/limits/{name}/overrides/{key}`: the key in its one form.

    inert: why it had no effect; None where it had.
    """

    limit: str
    key: str
    inert: str | None = None


class TierShown(msgspec.Struct, frozen=True):
    """A rate with a name: `GET /api/v1/tiers/{name}`."""

    name: str
    rate: str
    burst: int
    source: str


class Tiers(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v1/tiers`."""

    tiers: list[TierShown]


class TierUnset(msgspec.Struct, frozen=True):
    """The answer of `DELETE /api/v1/tiers/{name}`: what the configuration says. rate: None where it says nothing."""

    name: str
    rate: str | None
    burst: int


class Reset(msgspec.Struct, frozen=True):
    """The answer of `DELETE /api/v1/limits/{name}/keys/{key}`: whether there was something to forget."""

    limit: str
    key: str
    reset: bool


class Unbanned(msgspec.Struct, frozen=True):
    """The answer of `DELETE /api/v1/limits/{name}/keys/{key}/ban`: whether there was a ban."""

    limit: str
    key: str
    unbanned: bool


class Event(msgspec.Struct, frozen=True):
    """Something that changed."""

    number: int
    time: str
    kind: str
    text: str
    fields: dict[str, object]


class Events(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v1/events`. misses: some of those that were asked for are not kept any more.

    started: when the process was, whose numbers these are.
    """

    events: list[Event]
    last: int
    misses: bool
    started: float


class Reloaded(msgspec.Struct, frozen=True):
    """The answer of `POST /api/v1/reload`."""

    snapshot: int
    changed: bool
    restart_needed: tuple[str, ...] = ()


class Upgraded(msgspec.Struct, frozen=True):
    """The answer of `POST /api/v1/upgrade`."""

    version: str
    pid: int


T = TypeVar("T", bound=msgspec.Struct)


def read(answer: object, kind: type[T]) -> T:
    """The answer as what it should be. Raises AdminFailed when it is something else."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise AdminFailed(f"an answer of the admin API that this version does not understand: {error}") from error
