"""From rounds to what one reads: medians, ratios to nginx, Markdown tables, and the same as JSON."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import limit_report
from benchmarks.cpu import Cores
from benchmarks.measure import Round
from benchmarks.scenarios import Scenario

BASE = "nginx"
Rounds = Mapping[str, Sequence[Round]]


@dataclass(frozen=True, slots=True)
class Summary:
    """One proxy in one scenario: medians over its rounds, sums of its errors.

    ratio: the median over the rounds of its CPU to nginx's in the same round; None where nginx was not measured.
    """

    cpu: float
    ratio: float | None
    busy: float
    rate: float
    p50: float
    p99: float
    refused: int
    failed: int

    @property
    def errors(self) -> int:
        """The requests that were not answered well."""
        return self.refused + self.failed


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured.

    columns: name and title with version of each proxy, in order; idle: bytes of memory for each; problems: why some of
    what was asked for is not here.
    """

    columns: Mapping[str, str]
    notes: Sequence[str]
    scenarios: list[tuple[Scenario, Rounds]] = field(default_factory=list)
    idle: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """The requests of all rounds that were not answered well."""
        return sum(
            each.refused + each.failed for _, rounds in self.scenarios for done in rounds.values() for each in done
        )


def summarise(rounds: Rounds, name: str) -> Summary:
    """The rounds of the proxy of that name in one scenario, summed up."""
    own, base = rounds[name], rounds.get(BASE)
    ratios = [mine.cpu / theirs.cpu for mine, theirs in zip(own, base, strict=True)] if base else []
    return Summary(
        cpu=statistics.median(each.cpu for each in own),
        ratio=statistics.median(ratios) if ratios else None,
        busy=statistics.median(each.busy for each in own),
        rate=statistics.median(each.rate for each in own),
        p50=statistics.median(each.p50 for each in own),
        p99=statistics.median(each.p99 for each in own),
        refused=sum(each.refused for each in own),
        failed=sum(each.failed for each in own),
    )


def markdown(results: Results) -> str:
    """The tables and the notes."""
    lines = [*(f"NOT MEASURED: {problem}" for problem in results.problems), *results.notes]
    tables = [table(results), limits(results), details(results)]
    return "\n\n".join([*filter(None, tables), "\n".join(f"- {line}" for line in lines)])


def table(results: Results) -> str:
    """The table for the README: CPU per request, and in parentheses the ratio to nginx. Empty without a row."""
    main = [(scenario, rounds) for scenario, rounds in results.scenarios if scenario.group == "main"]
    if not main and not results.idle:
        return ""
    names = [name for name in results.columns if name != "headgate-unlimited"]
    rows = [["CPU microseconds per request (ratio to nginx)", *(results.columns[name] for name in names)]]
    for scenario, rounds in main:
        rows.append([scenario.title, *(_cell(rounds, name) for name in names)])
    if results.idle:
        cells = (f"{results.idle[name] / 1024:.1f} KiB" if name in results.idle else "-" for name in names)
        rows.append(["memory per idle connection", *cells])
    return _grid(rows)


def limits(results: Results) -> str:
    """The table of the group `limits`. Empty without a row."""
    rows = [limit_report.row(scenario, rounds) for scenario, rounds in results.scenarios if scenario.group == "limits"]
    return _grid([limit_report.head(), *rows]) if rows else ""


def details(results: Results) -> str:
    """The table of everything else that was seen in the rounds."""
    rows = [["scenario", "proxy", "CPU us", "ratio", "core busy", "requests/s", "p50 ms", "p99 ms", "errors"]]
    for scenario, rounds in results.scenarios:
        for name in (name for name in results.columns if name in rounds):
            it = summarise(rounds, name)
            ratio = f"{it.ratio:.2f}" if it.ratio is not None else "-"
            times = [f"{it.p50 / 1e3:.2f}", f"{it.p99 / 1e3:.2f}"]
            rows.append(
                [
                    scenario.name,
                    name,
                    f"{it.cpu:.1f}",
                    ratio,
                    f"{it.busy:.0%}",
                    f"{it.rate:,.0f}",
                    *times,
                    str(it.errors),
                ]
            )
    return _grid(rows)


def as_json(results: Results) -> dict[str, object]:
    """The whole of it, every round too, in plain types."""
    return {
        "machine": machine(),
        "proxies": dict(results.columns),
        "notes": list(results.notes),
        "problems": results.problems,
        "scenarios": {
            scenario.name: {
                "title": scenario.title,
                "connections": scenario.connections,
                "proxies": {
                    name: asdict(summarise(rounds, name)) | {"rounds": [asdict(each) for each in done]}
                    for name, done in rounds.items()
                },
            }
            for scenario, rounds in results.scenarios
        },
        "idle_bytes_per_connection": results.idle,
    }


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def notes(cores: Cores, rounds: int, seconds: int) -> list[str]:
    """What a reader must know to judge the figures."""
    it = machine()
    load = "wrk, the backend (nginx) and Redis on " + _cores(cores.load)
    if not cores.apart:
        load += ": the SAME, for want of a second core, so that rates and latencies mean little"
    return [
        f"{it['cpu']}, {it['cores']} cores, Linux {it['kernel']}, CPython {it['python']}; medians of {rounds} "
        f"interleaved rounds of {seconds} s; only ratios carry over to another machine.",
        f"Each proxy, one worker, on {_cores(cores.proxy)}; {load}.",
        "CPU: the kernel's account (nanoseconds) of the proxy's whole process tree; Redis is counted in the "
        "table of limits alone.",
        "All: keep-alive on both sides, round robin over three servers, X-Forwarded-For, -Proto, -Host, Via and a "
        "request id added, access log to /dev/null (nginx buffered; HAProxy one write a line, the cheapest it has).",
        "100 kB bodies: nginx with the buffers that cost it least (proxy_buffering off, proxy_buffer_size 64k, "
        "client_body_buffer_size 128k), and once more with those it has by default; HAProxy's defaults are its best.",
    ]


def _cell(rounds: Rounds, name: str) -> str:
    if name not in rounds:
        return "-"
    it = summarise(rounds, name)
    ratio = f" ({it.ratio:.2f})" if it.ratio is not None and name != BASE else ""
    return f"{it.cpu:.1f}{ratio}" + (f" !{it.errors} errors" if it.errors else "")


def _grid(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cores(cores: frozenset[int]) -> str:
    return f"core{'s' if len(cores) > 1 else ''} {', '.join(map(str, sorted(cores)))}"
