"""What functions of users may say, and what becomes of the rest."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.ext import Request
from headgate.limits.keytext import written
from headgate.limits.settle import MOST
from headgate.model.config import Limit, OnError, Python, Rate, Tier
from headgate.model.snapshot import LimitState, Snapshot
from headgate.routing.client import Networks
from headgate.store.base import Check
from headgate.testing.requests import request
from headgate.worker.functions import Asks, Functions, Library, Saying, ask
from headgate.worker.keys import Keys
from headgate.worker.plan import LiveLimit

LIMIT = Limit("l", Rate(10, 60.0), key="python:m:f", limit="python:m:f", cost_of="python:m:f", exempt_by="python:m:f")
LIMIT = replace(LIMIT, settle="python:m:f")
STATE = LimitState(LIMIT, 3)
TIERS = {"gold": Tier(Rate(50, 1.0), burst=7), "all": Tier(None), "held": Tier(Rate(20, 0.0))}
SETTINGS = ("exempt", "key", "limit", "cost", "settle")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """One limit whose functions the test gives."""

    def __init__(self, state: LimitState = STATE, **calls: Callable[..., object]) -> None:
        self.clock = Clock()
        self.failed: list[LimitState] = []
        self.functions = Functions(state, calls, self.failed.append, self.clock, TIERS)

    def says(self, setting: str, by: bytes = b"") -> object:
        """What the function's answer means."""
        function = getattr(self.functions, "rate" if setting == "limit" else setting)
        return said(function.ask(by, request()))


def said(saying: Saying[object]) -> object:
    """What is said at once."""
    with pytest.raises(StopIteration) as end:
        next(saying)
    return end.value.value


@pytest.mark.parametrize(
    ("setting", "answer", "meant"),
    [
        ("key", "u1", b"u1"),
        ("key", "\xe9\udcff", b"\xc3\xa9\xff"),
        ("key", "\xc3\xa9", b"\xc3\xa9"),
        ("key", b"\x00", b"\x00"),
        ("key", 7, b"7"),
        ("key", None, b""),
        ("cost", 0, 0),
        ("cost", MOST, MOST),
        ("exempt", True, True),
        ("exempt", False, False),
        ("settle", 7, 7),
        ("settle", None, None),
        ("limit", None, STATE),
        ("limit", "5/10s", LimitState(replace(LIMIT, rate=Rate(5, 10.0)), 3)),
        ("limit", "gold", LimitState(replace(LIMIT, rate=Rate(50, 1.0)), 3)),
        ("limit", "all", None),
        ("limit", "unlimited", None),
    ],
)
def test_what_a_function_may_say(setting: str, answer: object, meant: object) -> None:
    bench = Bench(STATE, **{setting: lambda request: answer})
    assert bench.says(setting) == meant
    assert not bench.failed


@pytest.mark.parametrize(
    ("setting", "answers"),
    [
        ("key", [True, 1.5, [], object()]),
        ("cost", [-1, MOST + 1, True, 1.5, "1", None]),
        ("exempt", [None, 0, 1, "yes"]),
        ("settle", [-1, "1", True]),
        ("limit", ["100", "", "0/s", 100, Rate(1, 1.0), b"1/s"]),
    ],
)
def test_nonsense_is_replaced_and_counted(setting: str, answers: list[object]) -> None:
    for answer in answers:
        bench = Bench(STATE, **{setting: lambda request, answer=answer: answer})
        meant = {"key": None, "cost": 1, "exempt": False, "settle": None, "limit": STATE}[setting]
        assert bench.says(setting) == meant
        assert bench.failed == [STATE]


def test_what_is_used_in_the_place_of_a_failure_can_be_set() -> None:
    on_error = OnError(key="path", limit=Rate(1, 1.0), cost=5, exempt=True)
    state = LimitState(replace(LIMIT, cost=5, python=Python(on_error=on_error)), 3)

    def fails(request: Request) -> object:
        raise SystemExit("no")

    bench = Bench(state, **dict.fromkeys(SETTINGS, fails))
    assert bench.says("cost") == 5
    assert bench.says("exempt") is True
    assert bench.says("limit") == LimitState(replace(state.limit, rate=Rate(1, 1.0)), 3)
    assert len(bench.failed) == 3


def test_a_limit_at_a_rate_stays_the_same_one() -> None:
    answers = iter(["1/s", "2/s", "1/s", *(f"{n}/m" for n in range(1, 300)), "1/s"])
    bench = Bench(limit=lambda request: next(answers))
    first, other, again = (bench.says("limit") for _ in range(3))
    assert first is again
    assert first is not other
    for _ in range(299):
        bench.says("limit")
    assert bench.says("limit") == first
    assert len(bench.functions._rates) <= 256


def test_the_burst_is_that_of_the_tier_where_the_algorithm_knows_one() -> None:
    state = LimitState(replace(LIMIT, algorithm="gcra", burst=3, lease=5), 3)
    bench = Bench(state, limit=lambda request: "gold")
    assert bench.says("limit") == LimitState(replace(state.limit, rate=Rate(50, 1.0), burst=7), 3)
    bench = Bench(state, limit=lambda request: "20/s")
    assert bench.says("limit") == LimitState(replace(state.limit, rate=Rate(20, 1.0), burst=3, lease=2), 3)


def test_a_rate_that_is_too_slow_for_the_burst_is_nonsense() -> None:
    state = LimitState(replace(LIMIT, algorithm="gcra", burst=1000), 3)
    bench = Bench(state, limit=lambda request: "1/365d")
    assert bench.says("limit") is state
    assert bench.failed


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("platinum", "ValueError: 'platinum' is not a rate (expected "),
        ("platinum", "), nor a tier (known: gold, "),
        ("held", 'ValueError: \'held\' is "20 in flight", which cannot stand for "10/minute"\n'),
    ],
)
def test_what_is_neither_a_tier_nor_a_rate_is_said(said: str, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    Bench(limit=lambda request: said).says("limit")
    assert problem in caplog.text


@pytest.mark.parametrize("algorithm", ["fixed_window", "sliding_window", "gcra"])
def test_a_tier_of_what_is_in_flight_is_nonsense_for_a_limit_on_a_time(algorithm: str) -> None:
    state = LimitState(replace(LIMIT, algorithm=algorithm), 3)
    bench = Bench(state, limit=lambda request: "held")
    assert bench.says("limit") is state
    assert bench.failed


def test_a_failure_is_logged_with_its_traceback_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(cost=lambda request: 1 // 0)
    for _ in range(3):
        bench.says("cost")
    bench.clock.now += 60
    bench.says("cost")
    assert [record.message for record in caplog.records] == [
        "limit l: its function for cost (m:f) failed; on_error is used"
    ] * 2
    assert "ZeroDivisionError" in caplog.text
    assert len(bench.failed) == 4


def test_a_plain_function_that_is_slow_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    def cost(request: Request) -> int:
        bench.clock.now += 0.0201
        return 1

    bench = Bench(cost=cost)
    assert [bench.says("cost") for _ in range(3)] == [1, 1, 1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "its function for cost (m:f) took 20 ms" in caplog.text


def test_what_was_said_is_used_again_for_the_same_requests_for_a_while() -> None:
    answers = iter(range(1, 100_000))
    state = LimitState(replace(LIMIT, python=Python(cache=10.0, cache_by="path")), 3)
    bench = Bench(state, cost=lambda request: next(answers), settle=lambda request: next(answers))
    assert [bench.says("cost", by) for by in (b"a", b"b", b"a")] == [1, 2, 1]
    assert [bench.says("settle", b"a") for _ in range(2)] == [3, 4]
    bench.clock.now += 9.9
    assert bench.says("cost", b"a") == 1
    bench.clock.now += 0.1
    assert bench.says("cost", b"a") == 5
    for number in range(10_000):
        bench.says("cost", b"%d" % number)
    assert bench.functions.cost is not None
    assert len(bench.functions.cost._known) <= 8192


def test_one_request_asks_anew_and_the_others_go_on_with_what_they_have() -> None:
    state = LimitState(replace(LIMIT, python=Python(timeout=0.2, cache=10.0, cache_by="path")), 3)
    waiting: list[object] = []

    class Answer:
        def __await__(self) -> Iterator[None]:
            raise AssertionError("nobody awaits it here")

    def cost(request: Request) -> object:
        waiting.append(Answer())
        return waiting[-1]

    bench = Bench(state, cost=cost)
    assert bench.functions.cost is not None
    first = bench.functions.cost.ask(b"a", request())
    next(first)
    with pytest.raises(StopIteration):
        first.send(7)
    bench.clock.now += 10
    again = bench.functions.cost.ask(b"a", request())
    next(again)
    assert [said(bench.functions.cost.ask(b"a", request())) for _ in range(3)] == [7, 7, 7]
    assert len(waiting) == 2
    again.close()  # its client has gone, and nobody hears the answer
    bench.clock.now += 0.2
    assert next(bench.functions.cost.ask(b"a", request()))[0] is waiting[-1]
    assert len(waiting) == 3
    # Nobody goes on with that any more: else who always goes away before the answer would keep an old one for ever.
    last = bench.functions.cost.ask(b"a", request())
    next(last)
    with pytest.raises(StopIteration):
        last.send(9)
    assert said(bench.functions.cost.ask(b"a", request())) == 9


def test_a_failure_is_remembered_for_a_second_where_answers_are() -> None:
    state = LimitState(replace(LIMIT, python=Python(cache=10.0, cache_by="path")), 3)
    bench = Bench(state, cost=lambda request: 1 // 0)
    for _ in range(5):
        bench.says("cost")
    assert len(bench.failed) == 1
    bench.clock.now += 1
    bench.says("cost")
    assert len(bench.failed) == 2


def test_an_async_function_says_what_to_wait_for() -> None:
    state = LimitState(replace(LIMIT, python=Python(timeout=0.2, cache=10.0, cache_by="path")), 3)

    async def cost(request: Request) -> int:
        raise AssertionError("nobody awaits it here")

    bench = Bench(state, cost=cost)
    assert bench.functions.cost is not None
    for end, meant in ((lambda saying: saying.send(7), 7), (lambda saying: saying.throw(TimeoutError()), 1)):
        saying = bench.functions.cost.ask(b"%d" % meant, request())
        awaitable, seconds = next(saying)
        awaitable.close()  # type: ignore[attr-defined]
        assert seconds == 0.2
        with pytest.raises(StopIteration) as stop:
            end(saying)  # type: ignore[no-untyped-call]
        assert stop.value.value == meant
        assert said(bench.functions.cost.ask(b"%d" % meant, request())) == meant


OVERRIDDEN = LimitState(replace(LIMIT, rate=Rate(99, 1.0)), 3)
OVERRIDES = {b"=special": OVERRIDDEN, b"=free": None}


def live(state: LimitState, **calls: Callable[..., object]) -> LiveLimit:
    keys = Keys(b"secret")
    asks = Asks(Bench(state, **calls).functions, None, keys.told(state.limit)) if calls else None
    key = keys.of(replace(state.limit, key="path"), b"/")
    return LiveLimit(state, key, Networks(state.limit.exempt), OVERRIDES, asks)


def checks(*limits: LiveLimit) -> list[Check]:
    head = request("GET /a")._head
    found = said(ask(limits, "192.0.2.1", head, "/"))
    assert isinstance(found, list)
    return found


def test_a_request_is_checked_by_what_its_functions_say() -> None:
    state = LimitState(replace(LIMIT, cost=2), 0)
    assert checks(live(state)) == [(state, b"=/a", 2)]
    assert checks(live(state, key=lambda request: f"{request.client} {request.path}")) == [(state, b"=192.0.2.1 /a", 2)]
    assert checks(live(state, key=lambda request: None)) == [(state, b"@192.0.2.1", 2)]
    assert checks(live(state, key=lambda request: 1 // 0), live(state)) == [(state, b"=/a", 2)] * 2
    assert checks(live(state, cost=lambda request: 7)) == [(state, b"=/a", 7)]
    assert checks(live(state, cost=lambda request: 0)) == []
    assert checks(live(state, exempt=lambda request: True, cost=lambda request: 1 // 0)) == []
    assert checks(live(state, exempt=lambda request: False)) == [(state, b"=/a", 2)]
    at = LimitState(replace(state.limit, rate=Rate(1, 1.0)), 0)
    assert checks(live(state, limit=lambda request: "1/s")) == [(at, b"=/a", 2)]
    assert checks(live(state, limit=lambda request: "all")) == []
    assert checks(live(LimitState(replace(state.limit, exempt=("192.0.2.0/24",)), 0))) == []


def test_a_key_with_a_rate_of_its_own_has_that_one_whatever_a_function_says() -> None:
    state = LimitState(replace(LIMIT, cost=2), 0)
    special = live(state, key=lambda request: "special", limit=lambda request: 1 // 0, cost=lambda request: 3)
    assert checks(special) == [(OVERRIDDEN, b"=special", 3)]
    assert checks(live(state, key=lambda request: "free")) == []


@pytest.mark.parametrize("sent", ["zo\xc3\xab", "zo\xeb"], ids=["UTF-8", "Latin-1"])
def test_a_field_beyond_ascii_is_the_key_that_an_operator_writes(sent: str) -> None:
    state = LimitState(LIMIT, 0)
    ((_, key, _),) = checks(live(state, key=lambda asked: request("GET /", {"X-User": sent}).header("x-user")))
    assert key == written("zoë", "header:x-user")


def test_what_a_function_says_of_a_private_limit_is_hidden() -> None:
    state = LimitState(replace(LIMIT, private=True), 0)
    ((_, shown, _),) = checks(live(state, key=lambda request: "somebody"))
    assert shown.startswith(b"~")
    assert b"somebody" not in shown


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("hg_functions", None)


def test_functions_stay_the_same_ones_until_their_module_or_their_limit_changes(folder: Path) -> None:
    (folder / "hg_functions.py").write_text("def cost(request): return 1")
    state = LimitState(Limit("l", Rate(1, 1.0), cost_of="python:hg_functions:cost"), 0)
    plain = LimitState(Limit("p", Rate(1, 1.0)), 1)
    library = Library(lambda limit: None)

    def adopted(limit: LimitState, version: str) -> Functions:
        library.adopt(
            Snapshot(1, (), (), (), (limit, plain), python_path=(str(folder),), modules=(("hg_functions", version),))
        )
        functions = library.of(limit)
        assert functions is not None
        return functions

    first = adopted(state, "1")
    assert adopted(state, "1") is first
    assert library.of(plain) is None
    other = adopted(LimitState(replace(state.limit, rate=Rate(2, 1.0)), 0), "1")
    assert other is not first
    assert adopted(state, "2").calls != first.calls
    library.adopt(
        Snapshot(
            2,
            (),
            (),
            (),
            (state,),
            tiers=TIERS,
            python_path=(str(folder),),
            modules=(("hg_functions", "2"),),
        )
    )
    known = library.of(state)
    assert known is not None
    assert known.tiers == TIERS
    library.adopt(Snapshot(2, (), (), ()))
    assert library.of(state) is None


def test_a_function_that_cannot_be_had_fails_each_time_and_stops_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = LimitState(Limit("l", Rate(1, 1.0), cost_of="python:hg_functions:cost"), 0)
    failed: list[LimitState] = []
    library = Library(failed.append)
    library.adopt(Snapshot(1, (), (), (), (state,), python_path=(str(folder),), modules=(("hg_functions", "1"),)))
    functions = library.of(state)
    assert functions is not None
    assert functions.cost is not None
    assert said(functions.cost.ask(b"", request())) == 1
    assert failed == [state]
    assert "hg_functions:cost cannot be had: No module named 'hg_functions'" in caplog.text
