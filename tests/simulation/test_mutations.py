"""The simulation can fail: it notices each of these mistakes in the product."""

import pytest

from tests.simulation.__main__ import first_to_notice
from tests.simulation.mutations import MUTATIONS, Mutation, planted


def test_a_mutation_whose_place_has_changed_says_so() -> None:
    gone = Mutation("gone", "worker.guard:Guard.leaves", "no such piece", "")
    with pytest.raises(AssertionError, match="has not one 'no such piece'"), planted(gone):
        pass


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_simulation_notices(mutation: Mutation) -> None:
    assert first_to_notice(mutation) is not None
