"""Waiting for a condition."""

import time
from collections.abc import Callable

PATIENCE = 15.0  # seconds; far more than anything takes, also on a machine that is busy with other things


def wait_for(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Returns as soon as the condition holds. Raises AssertionError, with what was waited for, when it never does."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"in vain for {timeout:g} s: {what}"
        time.sleep(0.005)


def settled(value: Callable[[], int], what: str, quiet: float = 0.3) -> int:
    """The value as soon as it has not changed for so many seconds."""
    last, since = value(), time.monotonic()

    def is_quiet() -> bool:
        nonlocal last, since
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since >= quiet

    wait_for(is_quiet, f"{what} to settle", timeout=30)
    return last
