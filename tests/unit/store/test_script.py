import hashlib
from typing import cast

import pytest

from headgate.model.config import Rate
from headgate.store import script
from headgate.store.resp import Reader
from headgate.store.script import Rule
from tests.unit.store.limits import limit

SHA = hashlib.sha1(script.SOURCE).hexdigest().encode()


def parts(command: bytes) -> list[bytes]:
    """A command has the form of a reply, so the reader takes it apart."""
    (reply,) = Reader().feed(command)
    return cast("list[bytes]", reply)


def test_one_limit_is_asked_for_by_the_scripts_hash() -> None:
    rule = Rule(limit(100, "per_ip", 60.0), "headgate")
    name = b"headgate:per_ip:client_ip:fixed_window:100/60000000:192.0.2.1"
    assert parts(rule.ask(b"192.0.2.1")) == [b"EVALSHA", SHA, b"1", name, b"100", b"60000"]


def test_several_limits_are_asked_for_at_once() -> None:
    rules = [Rule(limit(2, "a", 1.0), "p"), Rule(limit(3, "b", 2.0), "p")]
    keys = [b"p:a:client_ip:fixed_window:2/1000000:x\r\n", b"p:b:client_ip:fixed_window:3/2000000:"]
    expected = [b"EVALSHA", SHA, b"2", *keys, b"2", b"1000", b"3", b"2000"]
    assert parts(script.ask(rules, [(rules[0].limit, b"x\r\n", 1), (rules[1].limit, b"", 1)])) == expected


def test_the_two_forms_of_one_question_are_the_same() -> None:
    rule = Rule(limit(), "p")
    assert rule.ask(b"k") == script.ask([rule], [(rule.limit, b"k", 1)])


@pytest.mark.parametrize(
    "line", [b"1", b"1 2 3 4", b"5 1 1", b"1 -1 1", b"1 1 -1", b"1 x 1", b"1 1 9999999999999999999"]
)
def test_what_is_no_verdict_on_one_limit_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        script.decisions(line, [(limit(3, algorithm="gcra"), b"k", 1)])


def test_the_script_itself_goes_along_when_asked_to() -> None:
    rule = Rule(limit(), "p")
    in_full = parts(script.ask([rule], [(rule.limit, b"k", 1)], script.WITH_TEXT))
    assert in_full[:2] == [b"EVAL", script.SOURCE]
    assert in_full[2:] == parts(rule.ask(b"k"))[2:]


def test_the_probe_runs_the_script() -> None:
    assert parts(script.probe(b"p"))[:4] == [b"EVAL", script.SOURCE, b"1", b"p:probe"]


def test_the_answer_on_one_limit() -> None:
    one = limit(3)
    for line, expected in ((b"1 60000", "allowed, 2"), (b"3 60000", "allowed, 0"), (b"4 60000", "refused, 0")):
        (decision,) = script.decisions(line, [(one, b"k", 1)])
        assert repr(decision) == f"<per_ip: {expected} left, 60000000 us>"
        assert decision.limit is one


def test_the_answer_on_several_limits() -> None:
    checks = [(limit(5, "a"), b"k", 1), (limit(1, "b"), b"k", 1)]
    decisions = script.decisions(b"1 60 2 59", checks)
    assert [repr(decision) for decision in decisions] == [
        "<a: allowed, 5 left, 60000 us>",
        "<b: refused, 0 left, 59000 us>",
    ]


@pytest.mark.parametrize(
    "line",
    [b"", b"OK", b"1", b"1 x", b"5 2 3", b"1 2 3 x", b"1 0", b"1 -5", b"1 %b" % (b"9" * 400), b"%b 60" % (b"9" * 400)],
)
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_no_answer_is_refused(line: bytes, count: int) -> None:
    with pytest.raises(ValueError):
        script.decisions(line, [(limit(), b"k", 1)] * count)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(60.0, 60_000), (1.0, 1000), (0.0015, 2), (0.0021, 3), (0.001, 2)]
)
def test_a_period_is_whole_milliseconds_and_never_shorter_than_it_says(seconds: float, milliseconds: int) -> None:
    assert script.period_ms(Rate(1, seconds)) == milliseconds
