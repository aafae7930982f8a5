import pytest

from headgate.limits.decision import Beyond, Decision
from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState

LIMIT = LimitState(Limit("per_ip", Rate(100, 60.0)), slot=0)


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (Decision(True, LIMIT, 99, 60_000_000), "<per_ip: allowed, 99 left, 60000000 us>"),
        (Decision(False, LIMIT, 0, 5), "<per_ip: refused, 0 left, 5 us>"),
        (Beyond(LIMIT, 7), "<per_ip: refused, 7 left, 0 us>"),
        (Decision(False, LIMIT, 0, 0, unavailable=True), "<per_ip: unavailable, 0 left, 0 us>"),
    ],
)
def test_a_decision_reads_as_what_it_says(decision: Decision, text: str) -> None:
    assert repr(decision) == text


def test_a_decision_is_small() -> None:
    assert not hasattr(Decision(True, LIMIT, 1, 1), "__dict__")
