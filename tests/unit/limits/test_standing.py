import pytest

from headgate.limits.meter import BANNED, Meter
from headgate.limits.standing import Standing, standing
from headgate.model.config import Limit, Rate

SECOND = 1_000_000
PLAIN = Limit("a", Rate(3, 60.0))
SLIDING = Limit("a", Rate(3, 60.0), algorithm="sliding_window")
GCRA = Limit("a", Rate(60, 60.0), algorithm="gcra", burst=3)
SLOW = Limit("a", Rate(60, 60.0), algorithm="gcra", burst=3, delay=2.0)
OWES = Limit("a", Rate(60, 60.0), algorithm="gcra", burst=3, count_refused=True)


@pytest.mark.parametrize(
    ("limit", "value", "left", "cost", "expected"),
    [
        (PLAIN, 0, 0, 1, Standing(3, 0, 0)),
        (PLAIN, 1, 40 * SECOND, 1, Standing(2, 40 * SECOND, 0)),
        (PLAIN, 3, 40 * SECOND, 1, Standing(0, 40 * SECOND, 40 * SECOND)),
        (PLAIN, 9, 40 * SECOND, 1, Standing(0, 40 * SECOND, 40 * SECOND)),
        (PLAIN, 3, -1, 1, Standing(3, 0, 0)),
        (PLAIN, 2, 40 * SECOND, 2, Standing(1, 40 * SECOND, 40 * SECOND)),
        (SLIDING, 3 << 32, 90 * SECOND, 1, Standing(0, 90 * SECOND, 50 * SECOND)),
        (GCRA, 0, 2 * SECOND, 1, Standing(1, 2 * SECOND, 0)),
        (GCRA, 0, 3 * SECOND, 1, Standing(0, 3 * SECOND, SECOND)),
        (SLOW, 0, 4 * SECOND, 1, Standing(0, 4 * SECOND, 0)),
        (SLOW, 0, 5 * SECOND, 1, Standing(0, 5 * SECOND, SECOND)),
        (OWES, 0, 5 * SECOND, 1, Standing(0, 5 * SECOND, 3 * SECOND)),
        (PLAIN, BANNED, 7 * SECOND, 1, Standing(0, 7 * SECOND, 7 * SECOND, is_banned=True)),
        (PLAIN, BANNED, 0, 1, Standing(3, 0, 0)),
    ],
    ids=[
        "never seen",
        "used",
        "used up",
        "over",
        "ended",
        "too little for the cost",
        "sliding",
        "gcra",
        "gcra used up",
        "would be held back",
        "would be held back for too long",
        "owes",
        "banned",
        "ban over",
    ],
)
def test_how_a_key_stands(limit: Limit, value: int, left: int, cost: int, expected: Standing) -> None:
    now = 1000 * SECOND
    assert standing(Meter(limit), value, now + left if left else 0, now, cost) == expected
