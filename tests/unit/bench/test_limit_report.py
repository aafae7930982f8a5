"""The table of the limits: all CPU counts, ratios are of one round, and errors are seen."""

import pytest
from benchmarks import limit_report, scenarios
from benchmarks.measure import Round
from benchmarks.report import Results, limits, markdown, table
from benchmarks.scenarios import DEFAULT, GROUPS, SCENARIOS, Scenario, chosen

BY_NAME = {each.name: each for each in SCENARIOS}


def round_of(cpu: float, store: float = 0.0, refused: int = 0) -> Round:
    return Round(cpu, 0.98, 50_000.0, 900.0, 1500.0, 100_000, refused, 0, store, 1.0 if store else 0.0)


def cells(scenario: Scenario, rounds: dict[str, list[Round]]) -> dict[str, str]:
    return dict(zip(limit_report.head(), limit_report.row(scenario, rounds), strict=True))


def test_redis_belongs_to_what_a_limit_costs() -> None:
    rounds = {"nginx": [round_of(20, 20), round_of(30, 20)], "headgate": [round_of(20, 10), round_of(20, 5)]}
    row = cells(BY_NAME["redis-gcra"], rounds)
    assert (row["nginx"], row["Headgate"], row["HAProxy"]) == ("45.0", "27.5", "-")
    assert row["to nginx"] == "0.62"  # the median of 0.75 and 0.5, not 27.5 / 45
    assert (row["to no limits"], row["target"], row["Redis asked"]) == ("-", "0.80 to nginx", "1.00")


def test_a_limit_here_is_held_against_none() -> None:
    row = cells(BY_NAME["here-gcra"], {"headgate": [round_of(21)], "headgate-unlimited": [round_of(20)]})
    assert (row["to nginx"], row["to no limits"], row["target"]) == ("-", "1.05", "1.05 to no limits")
    assert row["Redis asked"] == "-"


def test_from_four_rounds_on_one_sees_how_far_they_lie_apart() -> None:
    rounds = {"headgate": list(map(round_of, (20, 21, 21, 22))), "headgate-unlimited": [round_of(20)] * 4}
    assert cells(BY_NAME["here-gcra"], rounds)["to no limits"] == "1.05 (1.01-1.09)"


def test_what_was_not_refused_or_refused_by_mistake_is_seen() -> None:
    row = limit_report.row(BY_NAME["refused-redis"], {"headgate": [round_of(20, refused=3)]})
    assert row[0] == "all refused, Redis !3 errors"
    assert "0.50 to nginx" in row
    assert cells(BY_NAME["refused-here"], {})["target"] == "-"


def test_each_group_has_its_own_table() -> None:
    rounds = {"nginx": [round_of(10)], "headgate": [round_of(20)]}
    titles = {"nginx": "nginx 1.22", "headgate": "Headgate 0.1"}
    alone = Results(titles, [], [(BY_NAME["here-fixed"], rounds)], {})
    assert table(alone) == ""
    assert "fixed window, here" in limits(alone)
    both = Results(titles, [], [(BY_NAME["small"], rounds), (BY_NAME["here-fixed"], rounds)], {})
    assert "fixed window, here" not in table(both)
    assert limits(both) in markdown(both)
    assert limits(Results(titles, [], [(BY_NAME["small"], rounds)], {})) == ""


def test_a_group_stands_for_its_scenarios_and_is_measured_only_when_asked_for() -> None:
    assert chosen(()) == list(DEFAULT)
    assert chosen(["small", "limits"]) == ["small", *GROUPS["limits"]]
    assert not set(DEFAULT) & set(GROUPS["limits"])


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each.limits > 1], ids=lambda each: each.name)
def test_several_limits_are_several_quotas(scenario: Scenario) -> None:
    assert len(set(scenario.quotas)) == scenario.limits == 3
    assert BY_NAME["refused-redis"].quotas == [scenarios.PROOF]
