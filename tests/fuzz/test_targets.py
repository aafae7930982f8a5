"""The targets of the coverage-guided fuzzer hold on what it begins with."""

import pytest

from tests.fuzz.targets import TARGETS, corpus


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_holds_on_what_the_fuzzer_begins_with(target: str) -> None:
    for data in corpus(target):
        TARGETS[target](data)
