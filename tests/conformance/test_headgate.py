"""Headgate's own column of docs/conformance.md: it does with every case what the case says."""

import asyncio
from pathlib import Path

import pytest

from tests.conformance.backend import Backend
from tests.conformance.cases import Case, request_cases, response_cases
from tests.conformance.exchanges import request_exchanges, response_exchanges
from tests.conformance.outcome import outcome_of
from tests.conformance.play import play
from tests.conformance.report import Row, mistakes
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.waiting import PATIENCE

pytestmark = pytest.mark.e2e

CASES = {
    "requests": [*request_cases(), *request_exchanges()],
    "responses": [*response_cases(), *response_exchanges()],
}


@pytest.mark.parametrize("cases", CASES.values(), ids=CASES)
def test_headgate_does_what_every_case_says(cases: list[Case], tmp_path: Path) -> None:
    assert mistakes(asyncio.run(_play_all(cases, tmp_path))) == []


async def _play_all(cases: list[Case], directory: Path) -> list[Row]:
    backend = Backend(patience=0.02)
    headgate = Headgate(directory / "headgate", settings([f"127.0.0.1:{await backend.start()}"]))
    try:
        port = headgate.start(ready=False).port
        rows = []
        for case in cases:
            # Only where waiting is right does the length of the silence decide anything.
            silence = 0.1 if case.statuses == (0,) else PATIENCE
            rows.append(Row(case, [outcome_of(case, await play(case, port, backend, silence=silence))]))
        return rows
    finally:
        headgate.close()
        await backend.stop()


def test_there_are_hundreds_of_cases_with_names_of_their_own() -> None:
    for cases, least in ((CASES["requests"], 600), (CASES["responses"], 350)):
        names = [case.name for case in cases]
        assert len(set(names)) == len(names) >= least
