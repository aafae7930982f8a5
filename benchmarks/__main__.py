"""`python -m benchmarks`: what to measure is asked here, the order of things is decided here, and its end reported.

Exits with 0; 1 when a request failed or something could not be measured; 69 when a program is missing.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cpu, idle, nginx, proxies, report
from benchmarks.load import LoadFailed
from benchmarks.measure import NotAlike, Plan, Redis, measure
from benchmarks.proxies import PROXIES, Proxy
from benchmarks.scenarios import GROUPS, IDLE, NAMES, SCENARIOS, SERVERS, Scenario, chosen
from benchmarks.stage import Stage, StartFailed, free_ports

UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
RESULTS = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    plan: Plan
    names: Sequence[str]
    proxies: Sequence[Proxy]
    file: Path
    idle_connections: int


def main() -> int:
    """The exit code."""
    # Debian keeps servers in /usr/sbin, which the PATH of a user often lacks.
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/usr/local/sbin"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = ask()
    if missing := proxies.missing_programs({proxy.name for proxy in options.proxies}):
        say(f"make bench needs {' and '.join(missing)} (Debian, Ubuntu: sudo apt-get install {' '.join(missing)})")
        return UNAVAILABLE
    try:
        results = run(options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(json.dumps(report.as_json(results), indent=2) + "\n")
    print(report.markdown(results))
    say(f"written to {options.file}")
    if results.errors:
        say(f"{results.errors} requests failed or were refused")
    return 1 if results.errors or results.problems else 0


def run(options: Options) -> report.Results:
    """All that was asked for, measured."""
    cores = cpu.find_cores()
    plan = options.plan
    columns = {proxy.name: f"{proxy.title} {proxies.version(proxy)}".strip() for proxy in options.proxies}
    results = report.Results(columns, report.notes(cores, plan.rounds, plan.seconds))
    connections = min(options.idle_connections, idle.lift_limit() - idle.SPARE)
    with Stage(cores) as stage:
        servers = free_ports(SERVERS)
        stage.start("backend", nginx.backend(stage, servers), servers, cores=cores.load)
        for scenario in (each for each in SCENARIOS if each.name in options.names):
            with _problems(results, scenario.title):
                able = [proxy for proxy in options.proxies if scenario.name in proxy.scenarios]
                if able and _can(scenario):
                    with Stage(cores) as own:
                        store = _redis(own) if scenario.limit == "redis" else None
                        results.scenarios.append((scenario, measure(own, scenario, able, servers, store, plan)))
        for proxy in (each for each in options.proxies if IDLE in each.scenarios and IDLE in options.names):
            plan.progress(f"  memory of {connections} idle connections: {proxy.title}")
            with _problems(results, f"memory of {proxy.title}"):
                results.idle[proxy.name] = idle.per_connection(stage, proxy, servers, connections)
    return results


@contextlib.contextmanager
def _problems(results: report.Results, title: str) -> Iterator[None]:
    """What goes wrong inside is noted, and the rest is measured all the same."""
    try:
        yield
    except (StartFailed, NotAlike, LoadFailed, cpu.TreeChanged) as error:
        results.problems.append(f"{title}: {error}")
        say(f"  {title}: {error}")


def _can(scenario: Scenario) -> bool:
    """Whether what the scenario needs is there; says what is missing."""
    missing = proxies.missing_for_redis() if scenario.limit == "redis" else []
    if missing:
        say(f"skipped {scenario.title}: it needs {', '.join(missing)}")
    return not missing


def _redis(stage: Stage) -> Redis:
    """A new Redis."""
    (port,) = free_ports(1)
    return Redis(port, stage.start("redis", proxies.redis(stage, port), [port], cores=stage.cores.load).pid)


def ask() -> Options:
    """The command line's options. Exits with 2 when they make no sense."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Headgate measured beside nginx and HAProxy.")
    parser.add_argument("--rounds", type=_positive, default=5, help="of each scenario (default: 5)")
    parser.add_argument("--seconds", type=_positive, default=2, help="of load for a proxy in a round (default: 2)")
    parser.add_argument("--quick", action="store_true", help="one round of one second: does everything work?")
    names = (*NAMES, *GROUPS)
    parser.add_argument("--only", nargs="+", action="extend", choices=names, metavar="NAME", help=", ".join(names))
    known = {proxy.name: proxy for proxy in PROXIES}
    parser.add_argument("--proxies", default=",".join(known), help="default: %(default)s")
    parser.add_argument("--spike", type=Path, metavar="PATH", help="a yardstick in Python, measured as one more proxy")
    parser.add_argument("--spike-python", default=sys.executable, metavar="PATH", help="what runs it")
    parser.add_argument("--idle-connections", type=_positive, default=5000, help="for memory (default: 5000)")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="default: %(default)s")
    it = parser.parse_args()
    if unknown := set(it.proxies.split(",")) - set(known):
        parser.error(f"--proxies: {', '.join(sorted(unknown))} is not a proxy (known: {', '.join(known)})")
    able = [known[name] for name in known if name in it.proxies.split(",")]
    if it.spike:
        able.append(proxies.spike(it.spike.resolve(), it.spike_python))
    plan = Plan(1, 1, say) if it.quick else Plan(it.rounds, it.seconds, say)
    return Options(plan, chosen(it.only or ()), able, it.json, it.idle_connections)


def say(line: str) -> None:
    """Tells what is going on, apart from the tables on standard output."""
    print(line, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
