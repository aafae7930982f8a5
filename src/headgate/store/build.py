"""Which store a configuration means, where it means one beside the memory of this machine."""

import asyncio
from collections.abc import Callable

from headgate.model import config
from headgate.model.snapshot import LimitState
from headgate.store.base import LocalStore
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
) -> RedisStore | ClusterStore:
    """The store that the settings name by their URL, with `local` to fall back on.

    on_change: called with whether Redis is down, at each change; it is taken for up at first. on_error: called with
    each limit that `on_store_error` had to decide. on_time: called with how long Redis took, for some questions. name:
    of this Headgate, for all of its workers. Raises ValueError when the URL is none.
    """
    named = parse(store.url)
    if isinstance(named, Cluster):
        return ClusterStore(
            store, named, local, loop, on_change=on_change, on_error=on_error, on_time=on_time, name=name
        )
    return RedisStore(store, local, loop, on_change=on_change, on_error=on_error, on_time=on_time, name=name)
