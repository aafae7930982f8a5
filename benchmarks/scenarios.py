"""What is measured: the scenarios, and the case that each puts before a proxy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table. load names the script of load.py that makes the requests."""

    name: str
    title: str
    load: Literal["small", "browser", "download", "upload"] = "small"
    limit: Literal["none", "local", "redis"] = "none"
    connections: int = 64


@dataclass(frozen=True, slots=True)
class Case:
    """What a proxy is to do: listen here, balance over these servers, and, if the scenario says so, count each request
    against a limit that nobody reaches.

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
)
IDLE = "idle"  # not a load but a count of memory: idle.py
NAMES = (*(scenario.name for scenario in SCENARIOS), IDLE)
