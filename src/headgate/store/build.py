"""Which store a configuration means."""

import asyncio
from collections.abc import Callable

from headgate.model import config
from headgate.model.snapshot import LimitState
from headgate.store.base import LocalStore, Store
from headgate.store.cluster import ClusterStore
from headgate.store.redis import RedisStore
from headgate.store.url import Cluster, parse


def build(
    store: config.Store,
    local: LocalStore,
    loop: asyncio.AbstractEventLoop,
    *,
    on_change: Callable[[bool], None] = lambda down: None,
    on_error: Callable[[LimitState], None] = lambda limit: None,
    on_time: Callable[[float], None] = lambda seconds: None,
    name: bytes = b"",
) -> Store:
    """The store that the settings name: `local` itself when they name no URL, else Redis with `local` to fall back on.

    on_change: called with whether Redis is down, at each change; it is taken for up at first. on_error: called with
    each limit that `on_store_error` had to decide. on_time: called with how long Redis took, for some questions. name:
    of this Headgate, for all of its workers. Raises ValueError when the URL is none.
    """
    if not store.url:
        return local
    return elsewhere(store, local, loop, on_change=on_change, on_error=on_error, on_time=on_time, name=name)


def elsewhere(
    store: config.Store,
    local: LocalStore,
    loop: asyncio.AbstractEventLoop,
    *,
    on_change: Callable[[bool], None] = lambda down: None,
    on_error: Callable[[LimitState], None] = lambda limit: None,
    on_time: Callable[[float], None] = lambda seconds: None,
    name: bytes = b"",
) -> RedisStore | ClusterStore:
    """The same for settings that name a URL."""
    named = parse(store.url)
    if isinstance(named, Cluster):
        return ClusterStore(
            store, named, local, loop, on_change=on_change, on_error=on_error, on_time=on_time, name=name
        )
    return RedisStore(store, local, loop, on_change=on_change, on_error=on_error, on_time=on_time, name=name)
