"""What came of a case: a verdict, and what the table tells beside it. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from tests.conformance.cases import OF_PROXIES, Case, Wanted, marks_a_body
from tests.conformance.played import Played
from tests.conformance.transcript import Message

_LONGEST = 40  # characters of a piece that is shown
_MOST = 3  # pieces that are shown
_OWN_ANSWERS = frozenset({500, 502, 503, 504})  # a proxy's own, for a response that it does not pass on


class Verdict(Enum):
    """Of a request: what of it reached the server. Of a response: what of it reached the client."""

    REFUSED = "refused"  # nothing, or a response that was visibly cut off
    REACHED = "reached"  # refused, or waited for, when some of it had reached the server
    PASSED = "passed"  # all of it, as it came or repaired
    WAITED = "waited"  # more is waited for, as it should be


@dataclass(frozen=True, slots=True)
class Outcome:
    """status: what the client got, in a word. details: how what arrived differs from what should have.

    For a case that nothing may arrive of, the details are what did.
    """

    verdict: Verdict
    status: str
    details: tuple[str, ...] = ()


def outcome_of(case: Case, played: Played) -> Outcome:
    """What came of the case."""
    return _of_request(case, played) if case.answer is None else _of_response(case, played)


_BY_HARM = (Verdict.WAITED, Verdict.REFUSED, Verdict.REACHED, Verdict.PASSED)


def most_harmful(outcomes: Iterable[Outcome]) -> Outcome:
    """Of what came of a case at several starts of a proxy, the one in which the most arrived."""
    return max(outcomes, key=lambda outcome: _BY_HARM.index(outcome.verdict))


def is_expected(case: Case, outcome: Outcome) -> bool:
    """Whether it is what the case says of Headgate."""
    if case.statuses == (0,):
        return outcome.verdict is Verdict.WAITED
    if not case.is_refused:
        return outcome == Outcome(Verdict.PASSED, ", ".join(map(str, case.statuses)))
    return outcome.verdict is Verdict.REFUSED and outcome.status in (
        ", ".join(map(str, case.statuses)),
        "cut" if case.may_cut else "",
    )


def _of_request(case: Case, played: Played) -> Outcome:
    status = _status(played)
    if case.statuses == (0,) and played.end == "waits":
        return Outcome(Verdict.WAITED, status)
    if not played.seen:
        if played.unfinished:
            return Outcome(Verdict.REACHED, status, ("its head reached the server",))
        return Outcome(Verdict.REFUSED, status)
    if not played.loose and not any(answer.status == 200 for answer in played.answers):
        return Outcome(Verdict.REACHED, status, ("it reached the server",))
    details: list[str] = []
    if len(played.seen) != max(len(case.arrives), 1):
        details.append(f"{len(played.seen)} requests")
    if case.is_refused:
        found = [piece for message in played.seen for piece in _request_pieces(case, message)]
        details += found or ["repaired"]
    else:
        for message, wanted in zip(played.seen, case.arrives, strict=False):
            details += _differences(message, wanted)
        details += [] if played.in_step else ["the next request is lost"]
    return Outcome(Verdict.PASSED, status, _cut(details))


def _of_response(case: Case, played: Played) -> Outcome:
    if not played.answers:
        if played.loose:
            return Outcome(Verdict.PASSED, "raw", ("the server's bytes without a head",))
        return Outcome(Verdict.REFUSED, _status(played))
    answer = played.answers[0]
    if not answer.is_whole:
        if played.end == "waits" and answer.framing == "until close":
            return Outcome(Verdict.PASSED, "raw", ("the server's bytes, and no end",))
        return Outcome(Verdict.REFUSED, "cut")
    if answer.status in _OWN_ANSWERS:
        return Outcome(Verdict.REFUSED, str(answer.status))
    if case.is_refused:
        details = _response_pieces(case, answer) or ["repaired"]
    else:
        details = _differences(answer, case.arrives[0])
    details += [] if played.in_step else ["**the next answer is wrong**"]
    return Outcome(Verdict.PASSED, str(answer.status), _cut(details))


def _status(played: Played) -> str:
    if not played.answers:
        return "raw" if played.loose else played.end
    return ", ".join(str(answer.status) if answer.is_whole else "cut" for answer in played.answers)


def _differences(message: Message, wanted: Wanted) -> list[str]:
    """How a message that arrived differs from the one that should have, but for its version."""
    found: list[str] = []
    if wanted.is_response:
        if message.line[8:12] != wanted.line[8:12]:
            found.append(_code(message.line))
    else:
        if message.line[:-1] != wanted.line[:-1]:
            found.append(_code(message.line))
        # Where the codec has no host to write, the worker writes the address that the client came to.
        hosts = message.values(b"host")
        if hosts != (wanted.host,) and (wanted.host or len(hosts) != 1):
            found.append(_hosts(hosts))
    fields = _own(message)
    for field in wanted.fields:
        if field in fields:
            fields.remove(field)
        else:
            found.append(f"no {_code(b': '.join(field))}")
    found += [_code(b": ".join(field)) for field in fields]
    if message.content != wanted.content:
        found.append(f"body {_code(message.content)}")
    elif message.content and message.values(b"content-length") not in ((), (b"%d" % len(message.content),)):
        found.append(message.framing)
    return found


def _request_pieces(case: Case, message: Message) -> list[str]:
    """What is to be told of a request that should not have arrived."""
    pieces = [message.framing] if message.framing != "no body" or marks_a_body(case.sends) else []
    if not re.fullmatch(rb"(GET|POST|HEAD|OPTIONS) / HTTP/1\.1", message.line):
        pieces.append(_code(message.line))
    if (hosts := message.values(b"host")) != (b"a",):
        pieces.append(_hosts(hosts))
    return pieces + [_code(b": ".join(field)) for field in _own(message)]


def _response_pieces(case: Case, message: Message) -> list[str]:
    """What is to be told of a response that should not have arrived."""
    sent = case.answer or b""
    pieces = [] if message.line[8:12] == sent[8:12] else [_code(message.line)]
    if marks_a_body(sent):
        pieces.append(message.framing)
    if message.content:
        pieces.append(f"body {_code(message.content)}")
    return pieces + [_code(b": ".join(field)) for field in _own(message)]


def _hosts(hosts: tuple[bytes, ...]) -> str:
    return "Host " + (", ".join(map(_code, hosts)) or "left out")


def _own(message: Message) -> list[tuple[bytes, bytes]]:
    """Its fields but those that every proxy writes in its own way."""
    return sorted(field for field in message.fields if field[0] not in OF_PROXIES)


def _cut(pieces: list[str]) -> tuple[str, ...]:
    return tuple(pieces if len(pieces) <= _MOST else [*pieces[:_MOST], "…"])


def _code(value: bytes) -> str:
    text = repr(value)[2:-1].replace("\\\\", "\\").replace("|", "¦").replace("`", "'") or " "
    return f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`"
