from dataclasses import replace

from tests.conformance.cases import Case, Wanted
from tests.conformance.outcome import Outcome, Verdict
from tests.conformance.report import Row, document, mistakes, summary

ODD = Case("Host", "host-odd", "9112 3.2", b"", None, (400,))
SOUND = Case("Host", "host-sound", "9110 7.2", b"", None, (200,), (Wanted(b"GET / HTTP/1.1", b"a", (), b""),))
ANSWER = Case("Framing", "length-odd", "9110 8.6", b"", b"x", (502,))
REFUSED = Outcome(Verdict.REFUSED, "400")
PASSED = Outcome(Verdict.PASSED, "200")
LET_IN = Outcome(Verdict.PASSED, "200", ("chunked",))
BAD_GATEWAY = Outcome(Verdict.REFUSED, "502")
TITLES = ["Headgate", "nginx", "HAProxy"]
ROWS = [
    Row(ODD, [REFUSED, REFUSED, LET_IN]),
    Row(replace(ODD, name="host-odder"), [REFUSED, REFUSED, replace(REFUSED, status="501")]),
    Row(SOUND, [PASSED, REFUSED, PASSED]),
    Row(ANSWER, [BAD_GATEWAY, LET_IN, BAD_GATEWAY]),
]


def test_the_summary_counts_who_lets_in_what_headgate_refuses_and_refuses_what_it_passes() -> None:
    assert list(summary(TITLES, ROWS))[2:] == [
        "| Requests: Host | 3 | 2 | 0 | 1 | 1 | 1 | 0 |",
        "| **Requests** | **3** | **2** | **0** | **1** | **1** | **1** | **0** |",
        "| Responses: Framing | 1 | 1 | 1 | 0 | 0 | 0 | 0 |",
        "| **Responses** | **1** | **1** | **1** | **0** | **0** | **0** | **0** |",
    ]


def test_a_case_has_a_row_that_stresses_where_a_peer_differs() -> None:
    lines = document(TITLES, ROWS).splitlines()
    assert "| host-odd | 9112 3.2 | 400 | 400 | **200**: chunked |" in lines
    assert "| host-sound | 9110 7.2 | 200 | *400* | 200 |" in lines
    assert "| length-odd | 9110 8.6 | 502 | **200**: chunked | 502 |" in lines


def test_what_all_do_alike_is_folded_away() -> None:
    text = document(TITLES, ROWS)
    folded = text[text.index("<details>") : text.index("</details>")]
    assert "1 more, in which all three do the same" in folded
    assert "| host-odder | 9112 3.2 | 400 | 400 | 501 |" in folded
    assert "host-sound" not in folded
    assert text.count("<details>") == 1


def test_a_mistake_of_headgate_is_named_and_one_of_a_peer_is_not() -> None:
    assert mistakes(ROWS) == []
    (line,) = mistakes([Row(ODD, [LET_IN, REFUSED, REFUSED])])
    assert line.startswith("Host: host-odd: ")
