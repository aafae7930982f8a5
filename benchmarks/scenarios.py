"""What is measured: the scenarios, and the case that each puts before a proxy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SERVERS = 3
PROOF = 2 * SERVERS  # requests that a proxy answers to prove that it works
MANY = 10_000_000  # 6 us each in a minute


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table. load names the script of load.py that makes the requests.

    group: the table that it belongs to; limits: how many limits count a request; refused: whether all requests are over
    the limit, once the proxy has shown that it works. lease: places that Headgate takes at once.
    """

    name: str
    title: str
    load: Literal["small", "browser", "download", "upload"] = "small"
    limit: Literal["none", "local", "redis"] = "none"
    connections: int = 64
    group: Literal["main", "limits"] = "main"
    algorithm: Literal["fixed_window", "sliding_window", "gcra", "concurrency"] = "fixed_window"
    limits: int = 1
    refused: bool = False
    lease: int = 1

    @property
    def quotas(self) -> list[int]:
        """The requests that each limit lets pass in a period: more than anybody makes, or what a proof needs."""
        return [PROOF] if self.refused else [MANY * (number + 1) for number in range(self.limits)]

    @property
    def period(self) -> int:
        """The seconds of a limit's period: where all is refused, longer than any run."""
        return 3600 if self.refused else 60


@dataclass(frozen=True, slots=True)
class Case:
    """What a proxy is to do: listen here, balance over these servers, and, if the scenario says so, count each request
    against its limits.

    redis: the port of the Redis that counts, 0 where none does.
    """

    port: int
    servers: Sequence[int]
    scenario: Scenario
    redis: int = 0

    @property
    def large(self) -> bool:
        """Whether bodies are large here, and a proxy should be set up for it."""
        return self.scenario.load in ("download", "upload")


SCENARIOS = (
    Scenario("small", "small response"),
    Scenario("browser", "a browser's headers", load="browser"),
    Scenario("limited", "limited on this machine", limit="local"),
    Scenario("redis", "limited in Redis", limit="redis"),
    Scenario("download", "100 kB responses", load="download"),
    Scenario("upload", "100 kB uploads", load="upload"),
    Scenario("crowd", "1,000 connections", connections=1000),
    Scenario("here-fixed", "fixed window, here", limit="local", group="limits"),
    Scenario("here-sliding", "sliding window, here", limit="local", group="limits", algorithm="sliding_window"),
    Scenario("here-gcra", "GCRA, here", limit="local", group="limits", algorithm="gcra"),
    Scenario("here-concurrency", "concurrency, here", limit="local", group="limits", algorithm="concurrency"),
    Scenario("redis-fixed", "fixed window, Redis", limit="redis", group="limits"),
    Scenario("redis-sliding", "sliding window, Redis", limit="redis", group="limits", algorithm="sliding_window"),
    Scenario("redis-gcra", "GCRA, Redis", limit="redis", group="limits", algorithm="gcra"),
    Scenario("redis-concurrency", "concurrency, Redis", limit="redis", group="limits", algorithm="concurrency"),
    Scenario("redis-lease", "fixed window, Redis, lease of 50", limit="redis", group="limits", lease=50),
    Scenario("redis-fixed-3", "3 fixed windows, Redis", limit="redis", group="limits", limits=3),
    Scenario(
        "redis-sliding-3",
        "3 sliding windows, Redis",
        limit="redis",
        group="limits",
        algorithm="sliding_window",
        limits=3,
    ),
    Scenario("redis-gcra-3", "3 GCRA, Redis", limit="redis", group="limits", algorithm="gcra", limits=3),
    Scenario("refused-here", "all refused, here", limit="local", group="limits", refused=True),
    Scenario("refused-redis", "all refused, Redis", limit="redis", group="limits", refused=True),
)
LIMITS = "limits"  # the name of that group
IDLE = "idle"  # not a load but a count of memory: idle.py
NAMES = (*(scenario.name for scenario in SCENARIOS), IDLE)
DEFAULT = (*(scenario.name for scenario in SCENARIOS if scenario.group == "main"), IDLE)
GROUPS = {LIMITS: tuple(scenario.name for scenario in SCENARIOS if scenario.group == LIMITS)}


def chosen(names: Sequence[str]) -> list[str]:
    """The scenarios of these names, in which a group stands for all of its own; without a name the default ones."""
    return [name for each in names or DEFAULT for name in GROUPS.get(each, (each,))]
