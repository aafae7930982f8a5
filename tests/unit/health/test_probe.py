import itertools

import pytest

from headgate.health.probe import TRANSITIONS, Event, Health, State
from headgate.model.server import Probe


def fed(results: str, rise: int = 2, fall: int = 3) -> tuple[Health, list[bool]]:
    """A Health that saw these results ("+" passed, "-" failed), and whether each changed its verdict."""
    health = Health()
    return health, [health.observe(result == "+", rise, fall) for result in results]


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        pytest.param("", "", id="nothing seen"),
        pytest.param("+", "U", id="the first pass decides"),
        pytest.param("-", "D", id="the first failure decides"),
        pytest.param("+--+", "UUUU", id="fewer failures than fall change nothing"),
        pytest.param("+---", "UUUD", id="as many failures as fall take it down"),
        pytest.param("+--+--+---", "UUUUUUUUUD", id="a pass begins the row of failures anew"),
        pytest.param("-+-+", "DDDD", id="fewer passes than rise do not bring it back"),
        pytest.param("-++", "DDU", id="as many passes as rise bring it back"),
        pytest.param("-+-++", "DDDDU", id="a failure begins the row of passes anew"),
        pytest.param("-++--+", "DDUUUU", id="once back it takes fall failures again"),
        pytest.param("--++---", "DDDUUUD", id="failures while down do not count after the return"),
    ],
)
def test_rows_of_results_give_the_verdict(results: str, verdicts: str) -> None:
    for end in range(len(results)):
        health, changed = fed(results[: end + 1])
        assert health.verdict.value[0].upper() == verdicts[end]
        before = verdicts[end - 1] if end else "?"
        assert changed[-1] is (verdicts[end] != before)


def test_rise_and_fall_of_one_follow_every_result() -> None:
    health, changed = fed("+-+-", rise=1, fall=1)
    assert changed == [True] * 4
    assert health.verdict is Probe.DOWN


def test_a_server_that_nobody_probed_is_unknown() -> None:
    assert Health().verdict is Probe.UNKNOWN


def test_forgetting_makes_the_next_result_the_first() -> None:
    health, _ = fed("+---")
    assert health.forget()
    assert health.verdict.value == "unknown"
    assert not health.forget()
    assert health.observe(True, 2, 3)
    assert health.verdict.value == "up"


def test_the_row_counts_results_that_end_alike() -> None:
    assert fed("+---")[0].row == 3
    assert fed("+---+")[0].row == 1
    assert fed("-")[0].row == 1


def test_the_table_names_a_successor_for_every_state_and_event() -> None:
    assert set(TRANSITIONS) == set(itertools.product(State, Event))


def test_every_state_is_reached_from_the_start() -> None:
    seen = {State.UNKNOWN}
    while more := {after for (before, _), after in TRANSITIONS.items() if before in seen} - seen:
        seen |= more
    assert seen == set(State)
