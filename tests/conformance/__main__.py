"""`python -m tests.conformance`: plays every case against every proxy and writes the table.

Exits with 0; 1 when Headgate does not do what a case says; 69 when a program is missing.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.proxies import HAPROXY, Proxy, missing_programs

from tests.conformance import report
from tests.conformance.backend import Backend
from tests.conformance.cases import Case, request_cases, response_cases
from tests.conformance.exchanges import request_exchanges, response_exchanges
from tests.conformance.outcome import Outcome, most_harmful, outcome_of
from tests.conformance.peers import COLUMNS, running, title
from tests.conformance.play import play

UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
FILE = Path(__file__).parents[2] / "docs" / "conformance.md"
_STARTS = {HAPROXY.name: 8}  # 2.6 judges some trailers in one way in half of its starts, in another in the rest
_SILENCE = 0.7  # seconds after which a proxy counts as waiting: each answers in a few milliseconds
_SETTLE = 0.02  # seconds in which what a proxy has sent on arrives at the server, although the client has its answer


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description="Headgate beside nginx and HAProxy.")
    parser.add_argument("--file", type=Path, default=FILE, help="where to write the table (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose group or name has the text; no file")
    options = parser.parse_args()
    # Debian keeps servers in /usr/sbin, which the PATH of a user often lacks.
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/usr/local/sbin"
    if missing := [each for each in missing_programs({proxy.name for proxy in COLUMNS}) if each != "wrk"]:
        print(f"needed: sudo apt-get install {' '.join(missing)}", file=sys.stderr)
        return UNAVAILABLE
    requests = [*request_cases(), *request_exchanges()]
    responses = [*response_cases(), *response_exchanges()]
    wanted = [case for case in (*requests, *responses) if options.only in f"{case.group} {case.name}"]
    titles = [title(proxy) for proxy in COLUMNS]
    rows = asyncio.run(compare(wanted))
    text = report.document(titles, rows)
    if options.only:
        print(text)
    else:
        options.file.write_text(text)
    mistakes = report.mistakes(rows)
    for line in mistakes:
        print(line, file=sys.stderr)
    return 1 if mistakes else 0


async def compare(cases: Sequence[Case]) -> list[report.Row]:
    """What came of each case at each proxy."""
    async with AsyncExitStack() as stack:
        started = [await _started(stack, proxy) for proxy in COLUMNS]  # before anything is played: it holds the loop up
        columns = await asyncio.gather(*(_column(cases, starts) for starts in started))
    return [report.Row(case, outcomes) for case, *outcomes in zip(cases, *columns, strict=True)]


async def _started(stack: AsyncExitStack, proxy: Proxy) -> list[tuple[int, Backend]]:
    """The ports of the proxy's starts, and the server behind each."""
    backends = [Backend() for _ in range(_STARTS.get(proxy.name, 1))]
    servers = [await backend.start() for backend in backends]
    for backend in backends:
        stack.push_async_callback(backend.stop)
    return list(zip(stack.enter_context(running(proxy, servers)), backends, strict=True))


async def _column(cases: Sequence[Case], starts: Sequence[tuple[int, Backend]]) -> list[Outcome]:
    outcomes = await asyncio.gather(*(_play_all(cases, *start) for start in starts))
    return [most_harmful(each) for each in zip(*outcomes, strict=True)]


async def _play_all(cases: Sequence[Case], port: int, backend: Backend) -> list[Outcome]:
    played = [await play(case, port, backend, silence=_SILENCE, settle=_SETTLE) for case in cases]
    return [outcome_of(*each) for each in zip(cases, played, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
