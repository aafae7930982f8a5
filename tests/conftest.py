"""Fixtures for all tests."""

import signal
from collections.abc import Iterator

import pytest

from tests.redis_server import RedisServer


def pytest_configure() -> None:
    """In a job in the background SIGINT is ignored, also by all that it starts, and tests stop processes with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A real, empty Redis that runs."""
    with RedisServer() as server:
        yield server
