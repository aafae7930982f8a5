"""From rounds to tables: medians, ratios within a round, and what the tables and the JSON say."""

import json

from benchmarks.cpu import Cores
from benchmarks.measure import Round
from benchmarks.report import Results, Rounds, as_json, details, markdown, notes, summarise, table
from benchmarks.scenarios import SCENARIOS


def round_of(cpu: float, refused: int = 0, failed: int = 0) -> Round:
    return Round(cpu, 0.98, 50_000.0, 900.0, 1500.0, 100_000, refused, failed)


def results(rounds: Rounds, idle: dict[str, float] | None = None) -> Results:
    return Results(
        {"nginx": "nginx 1.22", "headgate": "Headgate 0.1"}, ["a note"], [(SCENARIOS[0], rounds)], idle or {}
    )


def test_the_ratio_is_taken_within_each_round_and_then_the_median() -> None:
    rounds = {
        "nginx": [round_of(10), round_of(20), round_of(10)],
        "headgate": [round_of(15), round_of(22), round_of(11)],
    }
    summary = summarise(rounds, "headgate")
    assert summary.cpu == 15
    assert summary.ratio == 1.1  # of 1.5, 1.1 and 1.1, not 15 / 10


def test_without_nginx_there_is_no_ratio() -> None:
    assert summarise({"headgate": [round_of(15)]}, "headgate").ratio is None
    assert "| 15.0 " in table(results({"headgate": [round_of(15)]}))


def test_the_table_has_a_dash_where_a_proxy_was_not_measured() -> None:
    lines = table(results({"nginx": [round_of(10)]}, {"headgate": 2048.0})).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["small response", "10.0", "-"]
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == ["memory per idle connection", "-", "2.0 KiB"]


def test_errors_of_all_rounds_are_counted_and_seen_in_both_tables() -> None:
    it = results({"nginx": [round_of(10), round_of(10)], "headgate": [round_of(15, refused=2), round_of(15, failed=1)]})
    assert it.errors == 3
    assert "15.0 (1.50) !3 errors" in table(it)
    assert details(it).splitlines()[3].rstrip(" |").endswith("| 3")


def test_every_row_of_a_table_is_as_wide_as_the_others() -> None:
    lines = table(results({"nginx": [round_of(10)], "headgate": [round_of(15)]}, {"nginx": 512.0})).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_the_json_holds_every_round_and_survives_a_round_trip() -> None:
    it = as_json(results({"nginx": [round_of(10), round_of(12)], "headgate": [round_of(15), round_of(18)]}))
    headgate = json.loads(json.dumps(it))["scenarios"]["small"]["proxies"]["headgate"]
    assert [each["cpu"] for each in headgate["rounds"]] == [15, 18]
    assert headgate["ratio"] == 1.5


def test_the_notes_say_when_the_load_had_no_core_of_its_own() -> None:
    assert not any("SAME" in note for note in notes(Cores(frozenset({0}), frozenset({1})), 5, 2))
    assert any("SAME" in note for note in notes(Cores(frozenset({0}), frozenset({0})), 5, 2))


def test_the_report_ends_with_the_notes() -> None:
    assert markdown(results({"nginx": [round_of(10)]})).endswith("\n\n- a note")
