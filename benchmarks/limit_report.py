"""The table of the group `limits`: what a limit costs, Redis included, beside nginx's and beside none."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.measure import Round
from benchmarks.scenarios import Scenario

HEAD = ["limits: CPU microseconds per request, Redis included"]
COLUMNS = ["nginx", "haproxy", "headgate", "headgate-unlimited"]
TITLES = ["nginx", "HAProxy", "Headgate", "without limits"]
RATIOS = ["to nginx", "to no limits", "target", "Redis asked"]


def head() -> list[str]:
    """The first row."""
    return [*HEAD, *TITLES, *RATIOS]


def row(scenario: Scenario, rounds: Mapping[str, Sequence[Round]]) -> list[str]:
    """The row of a scenario: medians, ratios of Headgate within each round with quartiles, how often it asked Redis."""
    cells = [f"{statistics.median(map(_total, rounds[name])):.1f}" if name in rounds else "-" for name in COLUMNS]
    ratios = [_ratio(rounds, "nginx"), _ratio(rounds, "headgate-unlimited")]
    asked = "-"
    if scenario.limit == "redis" and "headgate" in rounds:
        asked = f"{statistics.median(each.asked for each in rounds['headgate']):.2f}"
    errors = sum(each.refused + each.failed for done in rounds.values() for each in done)
    title = scenario.title + (f" !{errors} errors" if errors else "")
    return [title, *cells, *ratios, target(scenario), asked]


def target(scenario: Scenario) -> str:
    """What Headgate's ratio is to be at most, and to what."""
    if scenario.limit == "redis":
        return "0.50 to nginx" if scenario.refused else "0.80 to nginx"
    return "-" if scenario.refused else "1.05 to no limits"


def _total(each: Round) -> float:
    return each.cpu + each.store


def _ratio(rounds: Mapping[str, Sequence[Round]], base: str) -> str:
    if base not in rounds or "headgate" not in rounds:
        return "-"
    pairs = zip(rounds["headgate"], rounds[base], strict=True)
    ratios = [_total(mine) / _total(theirs) for mine, theirs in pairs]
    median = f"{statistics.median(ratios):.2f}"
    if len(ratios) < 4:
        return median
    low, _, high = statistics.quantiles(ratios)
    return f"{median} ({low:.2f}-{high:.2f})"
