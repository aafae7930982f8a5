"""The document: a summary, then for each group a table of what differs and, folded away, one of what does not. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.conformance.cases import Case
from tests.conformance.outcome import Outcome, Verdict, is_expected
from tests.conformance.remarks import AFTER, BEFORE


@dataclass(frozen=True, slots=True)
class Row:
    """A case and what came of it at each proxy, Headgate first."""

    case: Case
    outcomes: Sequence[Outcome]

    @property
    def is_alike(self) -> bool:
        """Whether all proxies did the same, the number of a refusal aside."""
        return len({outcome.verdict for outcome in self.outcomes}) == 1 and not any(
            outcome.details for outcome in self.outcomes
        )

    @property
    def is_response(self) -> bool:
        """Whether the case is about what a server answers."""
        return self.case.answer is not None


_ARRIVED = (Verdict.PASSED, Verdict.REACHED)


def mistakes(rows: Sequence[Row]) -> list[str]:
    """Where Headgate did not do what the case says, a line for each."""
    return [
        f"{row.case.group}: {row.case.name}: {row.outcomes[0]}, not {row.case.statuses}"
        for row in rows
        if not is_expected(row.case, row.outcomes[0])
    ]


def document(titles: Sequence[str], rows: Sequence[Row]) -> str:
    """The whole of docs/conformance.md."""
    return "\n".join([BEFORE, *summary(titles, rows), AFTER, *_tables(titles, rows), ""])


def summary(titles: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """A table that counts, by group: who lets arrive what Headgate refuses, and who refuses what Headgate passes."""
    peers = titles[1:]
    let_in = [f"of these let in by {peer}" for peer in peers]
    refused = [f"of these refused by {peer}" for peer in peers]
    yield _line("", "cases", "Headgate refuses", *let_in, "Headgate passes", *refused)
    yield _line("---", *["---:"] * (3 + 2 * len(peers)))
    for is_response, name in ((False, "Requests"), (True, "Responses")):
        half = [row for row in rows if row.is_response is is_response]
        for group, members in groupby(half, lambda row: row.case.group):
            yield _line(f"{name}: {group}", *_counts(list(members)))
        yield _line(f"**{name}**", *(f"**{count}**" for count in _counts(half)))


def _counts(rows: Sequence[Row]) -> list[int]:
    refused = [row for row in rows if row.outcomes[0].verdict is Verdict.REFUSED]
    passed = [row for row in rows if row.outcomes[0].verdict is Verdict.PASSED]
    peers = range(1, len(rows[0].outcomes))
    return [
        len(rows),
        len(refused),
        *(sum(row.outcomes[at].verdict in _ARRIVED for row in refused) for at in peers),
        len(passed),
        *(sum(row.outcomes[at].verdict not in _ARRIVED for row in passed) for at in peers),
    ]


def _tables(titles: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    for is_response, name in ((False, "Requests"), (True, "Responses")):
        half = [row for row in rows if row.is_response is is_response]
        for group, members in groupby(half, lambda row: row.case.group):
            yield f"\n## {name}: {group}\n"
            both = list(members)
            yield from _table(titles, [row for row in both if not row.is_alike])
            if alike := [row for row in both if row.is_alike]:
                yield f"\n<details><summary>{len(alike)} more, in which all three do the same</summary>\n"
                yield from _table(titles, alike)
                yield "\n</details>"


def _table(titles: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield _line("case", "RFC", *titles)
    yield _line(*["---"] * (2 + len(titles)))
    for row in rows:
        first = row.outcomes[0]
        yield _line(row.case.name, row.case.section, *(_cell(outcome, first) for outcome in row.outcomes))


def _cell(outcome: Outcome, headgate: Outcome) -> str:
    status = outcome.status
    if headgate.verdict is Verdict.REFUSED and outcome.verdict in _ARRIVED:
        status = f"**{status}**"
    elif headgate.verdict is Verdict.PASSED and outcome.verdict not in _ARRIVED:
        status = f"*{status}*"
    return f"{status}: {'; '.join(outcome.details)}" if outcome.details else status


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
