"""A world for each test, held to what must be true at its end."""

from collections.abc import Iterator

import pytest

from tests.exchange.kit import Make, World


@pytest.fixture
def make(caplog: pytest.LogCaptureFixture) -> Iterator[Make]:
    """Makes worlds; each is ended, and so checked, with the test."""
    worlds: list[World] = []

    def build(*args: object, **kwargs: object) -> World:
        worlds.append(World(*args, **kwargs))  # type: ignore[arg-type]
        return worlds[-1]

    yield build
    for record in caplog.get_records("call"):
        # pytest keeps it, and in Python 3.13 its frames lead through generators that ended to all who called.
        record.exc_info = None
    for world in worlds:
        world.end()


@pytest.fixture
def world(make: Make) -> World:
    """A worker with one server."""
    return make()
