"""Some hundred runs of the simulation; `scripts/simulate` plays as many as one likes.

`HEADGATE_SEED=1234 make test ARGS=tests/simulation` plays one run again.
"""

import os

import pytest

from tests.simulation.simulation import run_seed

_CHOSEN = os.environ.get("HEADGATE_SEED")


@pytest.mark.parametrize("seed", [int(_CHOSEN)] if _CHOSEN else range(400))
def test_every_run_holds(seed: int) -> None:
    run_seed(seed)


def test_a_seed_plays_the_same_run_each_time() -> None:
    assert run_seed(11).journal == run_seed(11).journal
