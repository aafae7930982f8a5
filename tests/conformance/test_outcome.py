from dataclasses import replace

import pytest

from tests.conformance.cases import Case, Wanted
from tests.conformance.outcome import Outcome, Verdict, is_expected, most_harmful, outcome_of
from tests.conformance.played import Played
from tests.conformance.transcript import Message

WANTED = Wanted(b"GET / HTTP/1.1", b"a", ((b"x", b"v"),), b"")
SOUND = Case("g", "sound", "s", b"GET / HTTP/1.1\r\nX: v\r\n\r\n", None, (200,), (WANTED,))
ODD = Case("g", "odd", "s", b"GET / HTTP/1.1\r\nX : v\r\n\r\n", None, (400,))
ODD_LENGTH = replace(ODD, sends=b"POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\n")
UNFINISHED = replace(ODD, statuses=(0,))
SEEN = Message(b"GET / HTTP/1.1", ((b"host", b"a"), (b"x", b"v"), (b"via", b"p")), "no body", b"", True)
OK = Message(b"HTTP/1.1 200 OK", ((b"content-length", b"2"),), "length 2", b"ok", True)
REFUSAL = replace(OK, line=b"HTTP/1.1 400 Bad Request")
NOTHING = Played((), (), b"", "closed", True)


def played(**changes: object) -> Played:
    return replace(NOTHING, **changes)  # type: ignore[arg-type]


REQUESTS: dict[str, tuple[Case, Played, Outcome]] = {
    "refused": (ODD, played(answers=(REFUSAL,)), Outcome(Verdict.REFUSED, "400")),
    "closed without a word": (ODD, NOTHING, Outcome(Verdict.REFUSED, "closed")),
    "reached in part": (
        ODD,
        played(answers=(REFUSAL,), unfinished=b"GET"),
        Outcome(Verdict.REACHED, "400", ("its head reached the server",)),
    ),
    "reached and refused": (
        ODD,
        played(answers=(REFUSAL,), seen=(SEEN,)),
        Outcome(Verdict.REACHED, "400", ("it reached the server",)),
    ),
    "let in": (ODD, played(answers=(OK,), seen=(SEEN,)), Outcome(Verdict.PASSED, "200", ("`x: v`",))),
    "repaired": (
        ODD,
        played(answers=(OK,), seen=(replace(SEEN, fields=SEEN.fields[:1]),)),
        Outcome(Verdict.PASSED, "200", ("repaired",)),
    ),
    "let in with its framing": (
        ODD_LENGTH,
        played(answers=(OK,), seen=(replace(SEEN, fields=(), framing="chunked"),)),
        Outcome(Verdict.PASSED, "200", ("chunked", "Host left out")),
    ),
    "two for one": (
        ODD,
        played(answers=(OK, OK), seen=(SEEN, replace(SEEN, line=b"GET /b HTTP/1.1"))),
        Outcome(Verdict.PASSED, "200, 200", ("2 requests", "`x: v`", "`GET /b HTTP/1.1`", "…")),
    ),
    "answered without a head": (
        ODD,
        played(seen=(SEEN,), loose=b"ok"),
        Outcome(Verdict.PASSED, "raw", ("`x: v`",)),
    ),
    "passed": (SOUND, played(answers=(OK,), seen=(SEEN,)), Outcome(Verdict.PASSED, "200")),
    "passed with another version": (
        SOUND,
        played(answers=(OK,), seen=(replace(SEEN, line=b"GET / HTTP/1.0"),)),
        Outcome(Verdict.PASSED, "200"),
    ),
    "passed otherwise": (
        SOUND,
        played(answers=(OK,), seen=(Message(b"GET /b HTTP/1.1", ((b"y", b"w"),), "no body", b"c", True),)),
        Outcome(Verdict.PASSED, "200", ("`GET /b HTTP/1.1`", "Host left out", "no `x: v`", "…")),
    ),
    "passed, and out of step": (
        SOUND,
        played(answers=(OK,), seen=(SEEN,), in_step=False),
        Outcome(Verdict.PASSED, "200", ("the next request is lost",)),
    ),
    "waited for": (UNFINISHED, played(end="waits", unfinished=b"GET"), Outcome(Verdict.WAITED, "waits")),
}


@pytest.mark.parametrize(("case", "played", "outcome"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_judged_by_what_reached_the_server(case: Case, played: Played, outcome: Outcome) -> None:
    assert outcome_of(case, played) == outcome


ANSWER = Case("g", "n", "s", b"", b"HTTP/1.1 200 OK\r\n\r\n", (200,), (Wanted(b"HTTP/1.1 200", None, (), b"ok"),))
BAD_ANSWER = replace(ANSWER, answer=b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", arrives=(), statuses=(502,))
BAD_BODY = replace(BAD_ANSWER, may_cut=True)
BAD_GATEWAY = replace(OK, line=b"HTTP/1.1 502 Bad Gateway")
RESPONSES: dict[str, tuple[Case, Played, Outcome]] = {
    "refused": (BAD_ANSWER, played(answers=(BAD_GATEWAY,)), Outcome(Verdict.REFUSED, "502")),
    "nothing": (BAD_ANSWER, NOTHING, Outcome(Verdict.REFUSED, "closed")),
    "cut": (BAD_ANSWER, played(answers=(replace(OK, is_whole=False),)), Outcome(Verdict.REFUSED, "cut")),
    "raw": (BAD_ANSWER, played(loose=b"x"), Outcome(Verdict.PASSED, "raw", ("the server's bytes without a head",))),
    "raw without an end": (
        BAD_ANSWER,
        played(answers=(replace(OK, framing="until close", is_whole=False),), end="waits"),
        Outcome(Verdict.PASSED, "raw", ("the server's bytes, and no end",)),
    ),
    "let in": (BAD_ANSWER, played(answers=(OK,)), Outcome(Verdict.PASSED, "200", ("length 2", "body `ok`"))),
    "passed": (ANSWER, played(answers=(OK,)), Outcome(Verdict.PASSED, "200")),
    "passed with another length": (
        ANSWER,
        played(answers=(replace(OK, fields=((b"content-length", b"02"),), framing="length 02"),)),
        Outcome(Verdict.PASSED, "200", ("length 02",)),
    ),
    "passed otherwise": (
        ANSWER,
        played(answers=(replace(OK, line=b"HTTP/1.1 201 -", content=b"`|"),)),
        Outcome(Verdict.PASSED, "201", ("`HTTP/1.1 201 -`", "body `'¦`")),
    ),
    "passed, and out of step": (
        ANSWER,
        played(answers=(OK,), in_step=False),
        Outcome(Verdict.PASSED, "200", ("**the next answer is wrong**",)),
    ),
}


@pytest.mark.parametrize(("case", "played", "outcome"), RESPONSES.values(), ids=RESPONSES)
def test_a_response_is_judged_by_what_the_client_got(case: Case, played: Played, outcome: Outcome) -> None:
    assert outcome_of(case, played) == outcome


EXPECTED = [
    (SOUND, Outcome(Verdict.PASSED, "200"), True),
    (SOUND, Outcome(Verdict.PASSED, "200", ("x",)), False),
    (SOUND, Outcome(Verdict.REFUSED, "400"), False),
    (ODD, Outcome(Verdict.REFUSED, "400"), True),
    (ODD, Outcome(Verdict.REFUSED, "501"), False),
    (ODD, Outcome(Verdict.REACHED, "400"), False),
    (UNFINISHED, Outcome(Verdict.WAITED, "waits"), True),
    (UNFINISHED, Outcome(Verdict.REFUSED, "400"), False),
    (BAD_ANSWER, Outcome(Verdict.REFUSED, "cut"), False),
    (BAD_BODY, Outcome(Verdict.REFUSED, "cut"), True),
    (BAD_BODY, Outcome(Verdict.REFUSED, "502"), True),
]


@pytest.mark.parametrize(("case", "outcome", "expected"), EXPECTED)
def test_headgate_is_held_to_the_status_and_to_nothing_having_arrived(
    case: Case, outcome: Outcome, expected: bool
) -> None:
    assert is_expected(case, outcome) is expected


def test_of_several_starts_the_one_counts_in_which_the_most_arrived() -> None:
    refused, reached, passed = (Outcome(verdict, "") for verdict in (Verdict.REFUSED, Verdict.REACHED, Verdict.PASSED))
    assert most_harmful([refused, passed, reached]) is passed
    assert most_harmful([refused, refused]) is refused
