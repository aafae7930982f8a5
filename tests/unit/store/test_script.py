import hashlib
import struct
from math import inf
from typing import Any, cast

import pytest

from headgate.model.config import Rate
from headgate.model.snapshot import LimitState
from headgate.store import plain, script
from headgate.store.resp import Reader
from headgate.store.script import Rule
from tests.unit.store.limits import limit

SHA = hashlib.sha1(plain.FIXED_WINDOW).hexdigest().encode()


def parts(command: bytes) -> list[bytes]:
    """A command has the form of a reply, so the reader takes it apart."""
    (reply,) = Reader().feed(command)
    return cast("list[bytes]", reply)


def numbers(*all_: float) -> bytes:
    return struct.pack(f"<{len(all_)}d", *all_)


def test_one_limit_is_asked_for_by_the_scripts_hash() -> None:
    rule = Rule(limit(100, "per_ip", 60.0), "headgate")
    name = b"headgate:per_ip:client_ip:fixed_window:100/60000000:192.0.2.1"
    assert parts(rule.ask(b"192.0.2.1")) == [b"EVALSHA", SHA, b"1", name, numbers(100, 60000, 79)]


def test_several_limits_are_asked_for_at_once() -> None:
    rules = [Rule(limit(2, "a", 1.0), "p"), Rule(limit(3, "b", 2.0), "p")]
    keys = [b"p:a:client_ip:fixed_window:2/1000000:x\r\n", b"p:b:client_ip:fixed_window:3/2000000:"]
    expected = [b"EVALSHA", SHA, b"2", *keys, numbers(2, 1000, 1), numbers(3, 2000, 2)]
    assert parts(script.ask(rules, [(rules[0].limit, b"x\r\n", 1), (rules[1].limit, b"", 1)])) == expected


@pytest.mark.parametrize(
    ("told", "far"),
    [
        ({"algorithm": "fixed_window"}, (100, 60_000, 79)),
        ({"algorithm": "gcra", "burst": 10}, (100, 60_000_000, 1, 600_000_000, 420_000_000)),
        ({"algorithm": "sliding_window"}, (100, 60_000_000, 1, 22 * 60_000_000)),
    ],
    ids=lambda told: str(told.get("algorithm")) if isinstance(told, dict) else None,
)
def test_a_limit_is_far_from_its_end_unless_clients_are_always_told(
    told: dict[str, Any], far: tuple[float, ...]
) -> None:
    never = inf if told["algorithm"] == "sliding_window" else -1
    assert parts(Rule(limit(100, **told), "p").ask(b"k"))[4] == numbers(*far)
    assert parts(Rule(limit(100, headers="always", **told), "p").ask(b"k"))[4] == numbers(*far[:-1], never)


@pytest.mark.parametrize(
    ("limits", "is_plain"),
    [
        ([limit(5, "a", algorithm="gcra"), limit(6, "b", algorithm="gcra")], True),
        ([limit(5, "a", algorithm="gcra"), limit(6, "b", algorithm="sliding_window")], False),
        ([limit(5, "a"), limit(6, "b", count_refused=True)], False),
        ([limit(5, "a"), limit(6, "b", settle="free:5xx")], False),
        ([limit(10**9, "a", 365 * 86400.0, algorithm="gcra")], True),
        ([limit(0, "a", algorithm="gcra")], False),
        ([limit(0, "a")], True),
    ],
)
def test_plain_limits_of_one_algorithm_have_a_script_of_their_own(limits: list[LimitState], is_plain: bool) -> None:
    rules = [Rule(one, "p") for one in limits]
    assert bool(script.plain_forms(rules, [(one, b"k", 1) for one in limits])) == is_plain
    assert not script.plain_forms(rules, [(one, b"k", 2) for one in limits])


@pytest.mark.parametrize(("algorithm", "is_plain"), [("fixed_window", True), ("gcra", False)])
def test_a_limit_that_stands_twice_is_plain_only_where_each_key_is_counted_as_it_is_read(
    algorithm: str, is_plain: bool
) -> None:
    one = limit(5, algorithm=algorithm)
    rule = Rule(one, "p")
    assert bool(script.plain_forms([rule, rule], [(one, b"k", 1), (one, b"k", 1)])) == is_plain


def test_the_two_forms_of_one_question_are_the_same() -> None:
    rule = Rule(limit(), "p")
    assert rule.ask(b"k") == script.ask([rule], [(rule.limit, b"k", 1)])


@pytest.mark.parametrize(
    "line", [b"1", b"1 2 3 4", b"5 1 1", b"1 -1 1", b"1 1 -1", b"1 x 1", b"1 1 9999999999999999999"]
)
def test_what_is_no_verdict_on_one_limit_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        script.decisions(line, [(limit(3, algorithm="gcra"), b"k", 1)])


def test_what_is_kept_ready_is_bounded() -> None:
    rule = Rule(limit(), "p")
    for number in range(3000):
        key = b"%d" % number
        assert rule.ask(key) == rule.asked[key]
        assert rule.name(key) == rule.key(key)
    assert len(rule.asked) <= 1024
    assert len(rule._names) <= 1024


def test_the_script_itself_goes_along_when_asked_to() -> None:
    rule = Rule(limit(), "p")
    in_full = parts(script.ask([rule], [(rule.limit, b"k", 1)], script.WITH_TEXT))
    assert in_full[:2] == [b"EVAL", plain.FIXED_WINDOW]
    assert in_full[2:] == parts(rule.ask(b"k"))[2:]


def test_the_probe_runs_the_script_as_a_request_that_two_windows_refuse() -> None:
    told = parts(script.probe(b"p"))
    assert told[:5] == [b"EVAL", plain.FIXED_WINDOW, b"2", b"p:probe", b"p:probe"]
    assert [struct.unpack("<ddd", one) for one in told[5:]] == [(0, 1000, -1)] * 2
    assert parts(script.probe(None)) == [b"EVAL", plain.FIXED_WINDOW, b"0", *told[5:]]


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
