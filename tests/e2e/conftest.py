"""Fixtures of the end-to-end tests: what they start is ended, and what Headgate logged is looked at."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit.backend import Backend, BackendProcess
from tests.e2e.kit.headgate import Headgate


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this directory."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Headgate]]:
    """Makes a Headgate, with the arguments of its class but the directory, to be started by the test.

    In the end its processes are gone and nothing that it logged is a traceback, but of functions of users that are to
    fail.
    """
    made: list[Headgate] = []
    numbers = count()

    def making(*args: Any, **kwargs: Any) -> Headgate:
        made.append(Headgate(tmp_path / f"headgate-{next(numbers)}", *args, **kwargs))
        return made[-1]

    yield making
    with ExitStack() as stack:
        for one in made:
            stack.callback(one.close)
    for one in made:
        assert one.has_failing_functions or "Traceback" not in one.log


@pytest.fixture
def backend() -> Iterator[Callable[..., Backend]]:
    """Starts a backend in this process, with the arguments of its class."""
    with ExitStack() as stack:

        def start(*args: Any, **kwargs: Any) -> Backend:
            started = Backend(*args, **kwargs)
            stack.callback(started.close)
            return started.start()

        yield start


@pytest.fixture
def backend_process() -> Iterator[Callable[[str], BackendProcess]]:
    """Starts a backend in a process of its own."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(BackendProcess(name))
