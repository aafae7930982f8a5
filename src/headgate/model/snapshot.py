"""What the supervisor tells the workers: the whole truth at one moment, immutable and numbered.

A worker builds its router, policies and limits from one snapshot and swaps them in with one assignment; an exchange in
flight keeps what it began with.
"""

from dataclasses import dataclass, field

from headgate.model.config import (
    AccessLog,
    Connections,
    Ejection,
    Heads,
    Jwt,
    Limit,
    Listener,
    Route,
    Store,
    Tier,
    Timeouts,
)
from headgate.model.server import ServerState


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """An upstream with its servers as they are now."""

    name: str
    servers: tuple[ServerState, ...]
    policy: str
    ejection: Ejection
    timeouts: Timeouts
    queue: int = 1000
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tag:
    """What keys have in common that must lie together; `limits/tags.py` makes it.

    parts: the places of parts in the key, each with the lengths of networks to which an address there is widened (None:
    the part as it is). name: instead of parts where there are none.
    """

    parts: tuple[tuple[int, tuple[int, int] | None], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit and its index in the shared cells, which also names it in the shared store.

    Its `overrides` are empty here: stores remember limits, and would remember the overrides of each snapshot.
    tag: with which others its keys must lie; None when it is decided alone.
    """

    limit: Limit
    slot: int
    tag: Tag | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """The keys of a limit that have something in place of its rate.

    tiers: what they have, each once; with no burst where the limit knows none. keys: which of these each has.
    """

    tiers: tuple[Tier, ...]
    keys: dict[bytes, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a worker needs to serve."""

    version: int
    listeners: tuple[Listener, ...]
    upstreams: tuple[UpstreamState, ...]
    routes: tuple[Route, ...]
    limits: tuple[LimitState, ...] = ()
    tiers: dict[str, Tier] = field(default_factory=dict)  # where functions may say one; by name
    overrides: dict[str, Overrides] = field(default_factory=dict)  # by limit, of those that have some
    heads: Heads = Heads()
    connections: Connections = Connections()
    store: Store = Store()
    jwt: Jwt | None = None
    access_log: AccessLog | None = None
    trusted_proxies: tuple[str, ...] = ()
    python_path: tuple[str, ...] = ()
    modules: tuple[tuple[str, str], ...] = ()
