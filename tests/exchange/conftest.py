"""A world for each test, held to what must be true at its end."""

from collections.abc import Iterator

import pytest

from tests.exchange.kit import Make, World


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes worlds; each is ended, and so checked, with the test."""
    worlds: list[World] = []

    def build(*args: object, **kwargs: object) -> World:
        worlds.append(World(*args, **kwargs))  # type: ignore[arg-type]
        return worlds[-1]

    yield build
    for world in worlds:
        world.end()


@pytest.fixture
def world(make: Make) -> World:
    """A worker with one server."""
    return make()
