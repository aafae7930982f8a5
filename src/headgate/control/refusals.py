"""Who each limit refuses most, over all workers: each tells what changed in its own summaries."""

from headgate.limits.heavy_hitters import Counter, Summary, merged
from headgate.wire.messages import Top

ROOM = 128  # keys of a limit that are shown at the most


class Refusals:
    """What the workers told."""

    def __init__(self) -> None:
        self._told: dict[int, dict[str, Summary]] = {}

    def heard(self, row: int, tops: tuple[Top, ...]) -> None:
        """The worker of this row told these."""
        told = self._told.setdefault(row, {})
        for top in tops:
            if top.total:
                told[top.limit] = Summary(top.total, top.least, tuple(Counter(*counter) for counter in top.counters))
            else:
                told.pop(top.limit, None)

    def died(self, row: int) -> None:
        """The worker of this row is gone, and with it what it counted."""
        self._told.pop(row, None)

    def of(self, limit: str) -> Summary:
        """Of a limit, by all workers."""
        return merged([told[limit] for told in self._told.values() if limit in told], ROOM)
