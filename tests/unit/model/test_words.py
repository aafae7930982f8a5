"""Numbers in what people read."""

import pytest

from headgate.model.words import counted


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (11, "11 keys")],
    ids=["none", "one", "two", "many"],
)
def test_a_number_has_its_noun(number: int, text: str) -> None:
    assert counted(number, "key") == text
