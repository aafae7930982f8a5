import asyncio

import pytest

from headgate.model.config import Store as Settings
from headgate.store.build import build
from headgate.store.cluster import ClusterStore
from headgate.store.memory import MemoryStore
from headgate.store.redis import RedisStore
from headgate.testing.clock import ManualClock, VirtualLoop


def test_a_url_means_redis() -> None:
    async def main() -> None:
        store = build(Settings(url="redis://127.0.0.1"), MemoryStore(ManualClock()), asyncio.get_running_loop())
        assert isinstance(store, RedisStore)
        store.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_a_url_of_a_cluster_means_its_masters() -> None:
    async def main() -> None:
        settings = Settings(url="redis+cluster://127.0.0.1")
        store = build(settings, MemoryStore(ManualClock()), asyncio.get_running_loop())
        assert isinstance(store, ClusterStore)
        store.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_what_is_no_url_is_refused() -> None:
    loop = VirtualLoop()
    with pytest.raises(ValueError, match="expected redis://"):
        build(Settings(url="http://h"), MemoryStore(ManualClock()), loop)
    loop.close()
