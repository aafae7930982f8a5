"""The counts of limits as the control plane reaches them: a store of its own beside those of the workers.

On this machine it is the memory that they share. In Redis it is a connection of its own, made when an operator first
asks for something and kept from then on. Who asks waits for Redis for two seconds at the most.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from headgate.limits.keys import Seal
from headgate.model import config
from headgate.store.build import build
from headgate.store.cluster import ClusterStore
from headgate.store.counts import Counts, LocalCounts, RedisCounts
from headgate.store.redis import RedisStore
from headgate.store.shared import SharedStore

_DEADLINE = 2.0  # seconds; nobody's request waits, so a slow Redis is not taken for a dead one


class Counting:
    """Gives the counts where they are kept now."""

    def __init__(self, limits: int, settings: Callable[[], config.Store]) -> None:
        """limits: descriptor of the memory that the workers share. settings: those of now."""
        self._settings = settings
        self._local = SharedStore(limits)
        self._redis: RedisStore | ClusterStore | None = None
        self._redis_settings = config.Store()

    def counts(self) -> Counts:
        """The counts. Needs a running loop."""
        settings = self._settings()
        if not settings.url:
            return LocalCounts(self._local)
        if self._redis is None or settings != self._redis_settings:
            self._leave()
            patient = replace(settings, deadline=max(settings.deadline, _DEADLINE))
            loop = asyncio.get_running_loop()
            # The name of the workers: to Redis all of them are one Headgate.
            self._redis = build(patient, self._local, loop, name=self._local.name)
            self._redis_settings = settings
        return RedisCounts(self._redis)

    def seal(self) -> Seal:
        """What hides the keys of private limits, as the workers hide them."""
        return Seal(self._settings().secret.encode() or self._local.secret)

    def close(self) -> None:
        """Gives the stores back."""
        self._leave()
        self._local.close()

    def _leave(self) -> None:
        if self._redis is not None:
            self._redis.close()
            self._redis = None
