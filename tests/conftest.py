"""Fixtures for all tests."""

from collections.abc import Iterator

import pytest

from tests.redis_server import RedisServer


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A real, empty Redis that runs."""
    with RedisServer() as server:
        yield server
