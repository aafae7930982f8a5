import json

import pytest

from tests.unit.cli.conftest import Headgate
from tests.unit.cli.fake_admin import FakeAdmin

LIMITS = "/api/v1/limits"
ONE = f"{LIMITS}/per_ip"
KEY = f"{ONE}/keys/192.0.2.7"
COUNTERS = {
    "allowed": 900,
    "refused": 12,
    "dry_run_refused": 0,
    "near": 5,
    "delayed": 0,
    "banned": 2,
    "store_errors": 1,
}
PER_IP: dict[str, object] = {
    "name": "per_ip",
    "rate": "100/minute",
    "key": "client_ip",
    "algorithm": "fixed_window",
    "dry_run": False,
    "on_store_error": "local",
    "counters": COUNTERS,
    "top": {"refused": 0, "unlisted_at_most": 0, "keys": []},
}
TOP: dict[str, object] = {
    "refused": 75,
    "unlisted_at_most": 3,
    "keys": [
        {"key": "192.0.2.7", "refused": 60, "at_least": 59},
        {"key": "192.0.2.8", "refused": 12, "at_least": 9},
    ],
}
TRIAL = PER_IP | {"name": "trial", "key": "path", "dry_run": True, "counters": COUNTERS | {"dry_run_refused": 112}}
LOCAL = {"kind": "local", "down": 0}
STANDING: dict[str, object] = {
    "limit": "per_ip",
    "key": "192.0.2.7",
    "remaining": 0,
    "reset_after": 41.2,
    "retry_after": 40.3,
    "banned_until": None,
}
BANNED = STANDING | {"reset_after": 3600.0, "retry_after": 3600.0, "banned_until": "2026-01-01T01:00:00Z"}


@pytest.fixture
def limits(admin: FakeAdmin) -> FakeAdmin:
    """An admin API with one limit."""
    admin.answers[f"GET {LIMITS}"] = (200, {"limits": [PER_IP], "store": LOCAL})
    admin.answers[f"GET {ONE}"] = (200, PER_IP | {"store": LOCAL})
    admin.answers[f"GET {KEY}"] = (200, STANDING)
    return admin


def test_limits_are_listed_with_what_they_decided(headgate: Headgate, limits: FakeAdmin) -> None:
    limits.answers[f"GET {LIMITS}"] = (200, {"limits": [PER_IP, TRIAL], "store": {"kind": "redis", "down": 2}})
    code, out, _ = headgate("limit", "list")
    assert code == 0
    assert [line.split() for line in out[1:3]] == [
        ["per_ip", "100/minute", "client_ip", "fixed_window", "on", "900", "12", "5", "0", "2", "1"],
        ["trial", "100/minute", "path", "fixed_window", "dry", "run", "900", "112", "5", "0", "2", "1"],
    ]
    assert out[3] == "limits are counted in Redis (out of reach of 2 workers: on_store_error decides)"
    limits.answers[f"GET {LIMITS}"] = (200, {"limits": [PER_IP], "store": {"kind": "redis", "down": 1}})
    assert "out of reach of 1 worker:" in headgate("limit", "list")[1][-1]


def test_errors_of_functions_are_listed_where_there_are_some(headgate: Headgate, limits: FakeAdmin) -> None:
    failing = PER_IP | {"name": "per_plan", "counters": COUNTERS | {"function_errors": 3}}
    limits.answers[f"GET {LIMITS}"] = (200, {"limits": [PER_IP, failing], "store": LOCAL})
    limits.answers[f"GET {LIMITS}/per_plan"] = (200, failing | {"store": LOCAL})
    heads, fine, bad, _ = headgate("limit", "list")[1]
    assert heads.endswith("STORE ERRORS  FUNCTION ERRORS")
    assert fine.split()[-2:] == ["2", "1"]
    assert bad.split()[-2:] == ["1", "3"]
    assert headgate("limit", "show", "per_plan")[1][1].split()[-2:] == ["1", "3"]
    assert "FUNCTION" not in headgate("limit", "show", "per_ip")[1][0]


def test_a_headgate_without_limits_says_so(headgate: Headgate, limits: FakeAdmin) -> None:
    limits.answers[f"GET {LIMITS}"] = (200, {"limits": [], "store": LOCAL})
    _, out, _ = headgate("limit", "list")
    assert out == ["no limits", "limits are counted on this machine"]


@pytest.mark.parametrize("arguments", [["per_ip"], []], ids=["named", "left out"])
def test_one_limit_is_shown(headgate: Headgate, limits: FakeAdmin, arguments: list[str]) -> None:
    _, out, _ = headgate("limit", "show", *arguments)
    assert out[0].split()[0] == "NAME"
    assert out[1].split()[0] == "per_ip"
    assert out[2] == "limits are counted on this machine"


def test_what_is_set_besides_is_shown(headgate: Headgate, limits: FakeAdmin) -> None:
    usual = {"burst": 0, "exempt": [], "headers": "refused", "cost": 1, "lease": 1, "settle": "", "ban": None}
    limits.answers[f"GET {ONE}"] = (200, PER_IP | usual | {"python": {"timeout": 0.05}, "store": LOCAL})
    assert headgate("limit", "show")[1][2:] == ["limits are counted on this machine"]
    ban = {"refusals": 3, "within": 10.0, "period": 5.0}
    said = {"burst": 5, "on_store_error": "deny", "cost": "python:m:f", "private": True, "ban": ban, "overrides": 2}
    limits.answers[f"GET {ONE}"] = (200, PER_IP | usual | said | {"store": LOCAL})
    assert headgate("limit", "show")[1][2] == (
        'set besides: on_store_error = "deny", burst = 5, cost = "python:m:f", '
        'ban = {"refusals": 3, "within": 10.0, "period": 5.0}, private = true, overrides = 2'
    )


TABLE = [
    "KEY        REFUSED  AT LEAST",
    "192.0.2.7       60        59",
    "192.0.2.8       12         9",
    "75 requests refused in all; each other key at most 3 times",
]


def test_one_is_one(headgate: Headgate, limits: FakeAdmin) -> None:
    keys = [{"key": "192.0.2.7", "refused": 1, "at_least": 1}]
    limits.answers[f"GET {ONE}/top?count=20"] = (200, {"refused": 1, "unlisted_at_most": 0, "keys": keys})
    assert headgate("limit", "top")[1][-1] == "1 request refused in all"
    limits.answers[f"GET {ONE}/top?count=20"] = (200, {"refused": 2, "unlisted_at_most": 1, "keys": keys})
    assert headgate("limit", "top")[1][-1] == "2 requests refused in all; each other key at most once"


@pytest.mark.parametrize("arguments", [["per_ip"], []], ids=["named", "left out"])
def test_who_is_refused_most_is_shown(headgate: Headgate, limits: FakeAdmin, arguments: list[str]) -> None:
    limits.answers[f"GET {ONE}/top?count=5"] = (200, {"limit": "per_ip"} | TOP)
    assert headgate("limit", "top", "--count", "5", *arguments) == (0, TABLE, [])


def test_nobody_who_is_refused_is_said_too(headgate: Headgate, limits: FakeAdmin) -> None:
    limits.answers[f"GET {ONE}/top?count=20"] = (200, {"refused": 0, "unlisted_at_most": 0, "keys": []})
    assert headgate("limit", "top")[1] == ["nobody was refused in the last minute or two"]


def test_a_limit_is_shown_with_whom_it_refuses_most(headgate: Headgate, limits: FakeAdmin) -> None:
    limits.answers[f"GET {ONE}"] = (200, PER_IP | {"store": LOCAL, "top": TOP})
    limits.answers[f"GET {LIMITS}"] = (200, {"limits": [PER_IP | {"top": TOP}], "store": LOCAL})
    assert headgate("limit", "show")[1][-4:] == TABLE
    assert headgate("limit", "list")[1][1].split()[-1] == "192.0.2.7"


@pytest.mark.parametrize("arguments", [["per_ip", "192.0.2.7"], ["192.0.2.7"]], ids=["named", "left out"])
@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            STANDING,
            "192.0.2.7 has 0 left under per_ip, a request passes in 41s, all of it is there again in 42s",
        ),
        (
            STANDING | {"remaining": 7, "retry_after": 0.0},
            "192.0.2.7 has 7 left under per_ip, all of it is there again in 42s",
        ),
        (
            STANDING | {"remaining": 9, "retry_after": 0.0, "reset_after": 0.0},
            "192.0.2.7 has 9 left under per_ip",
        ),
        (BANNED, "192.0.2.7 is banned under per_ip until 2026-01-01T01:00:00Z (1h 0m)"),
    ],
    ids=["used up", "used", "unused", "banned"],
)
def test_a_key_is_shown_in_a_line(
    headgate: Headgate, limits: FakeAdmin, arguments: list[str], answer: dict[str, object], line: str
) -> None:
    limits.answers[f"GET {KEY}"] = (200, answer)
    assert headgate("limit", "show", *arguments) == (0, [line], [])


@pytest.mark.parametrize(
    ("arguments", "path"), [(["list"], LIMITS), (["show"], ONE), (["show", "per_ip", "192.0.2.7"], KEY)]
)
def test_json_is_the_answer_itself(headgate: Headgate, limits: FakeAdmin, arguments: list[str], path: str) -> None:
    _, out, _ = headgate("limit", *arguments, "--json")
    assert json.loads("\n".join(out)) == limits.answers[f"GET {path}"][1]


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body", "answer", "line"),
    [
        (["reset"], "DELETE", KEY, None, {"reset": True}, "192.0.2.7 begins anew under per_ip"),
        (["reset"], "DELETE", KEY, None, {"reset": False}, "192.0.2.7 had nothing counted under per_ip"),
        (
            ["ban"],
            "PUT",
            f"{KEY}/ban",
            {},
            BANNED,
            "192.0.2.7 is banned under per_ip until 2026-01-01T01:00:00Z (1h 0m)",
        ),
        (
            ["ban", "--for", "1h"],
            "PUT",
            f"{KEY}/ban",
            {"for": "1h"},
            BANNED,
            "192.0.2.7 is banned under per_ip until 2026-01-01T01:00:00Z (1h 0m)",
        ),
        (["unban"], "DELETE", f"{KEY}/ban", None, {"unbanned": True}, "192.0.2.7 is banned no more under per_ip"),
        (["unban"], "DELETE", f"{KEY}/ban", None, {"unbanned": False}, "192.0.2.7 was not banned under per_ip"),
    ],
    ids=["reset", "reset of nothing", "ban", "ban for a time", "unban", "unban of nobody"],
)
@pytest.mark.parametrize("named", [False, True], ids=["limit left out", "limit named"])
def test_a_change_is_one_request_and_one_line(
    headgate: Headgate,
    limits: FakeAdmin,
    arguments: list[str],
    method: str,
    path: str,
    body: object,
    answer: dict[str, object],
    line: str,
    named: bool,
) -> None:
    limits.answers[f"{method} {path}"] = (200, {"limit": "per_ip", "key": "192.0.2.7"} | answer)
    names = ["per_ip", "192.0.2.7"] if named else ["192.0.2.7"]
    assert headgate("limit", *arguments, *names) == (0, [line], [])
    assert (limits.asked[-1].method, limits.asked[-1].path, limits.asked[-1].body) == (method, path, body)
    assert len(limits.asked) == (1 if named else 2)


@pytest.mark.parametrize(
    ("command", "method", "part", "answer"),
    [
        ("show", "GET", "", STANDING),
        ("reset", "DELETE", "", {"limit": "per_ip", "key": "x", "reset": True}),
        ("ban", "PUT", "/ban", BANNED),
        ("unban", "DELETE", "/ban", {"limit": "per_ip", "key": "x", "unbanned": True}),
    ],
)
def test_a_rate_that_a_function_says_may_be_named(
    headgate: Headgate, limits: FakeAdmin, command: str, method: str, part: str, answer: dict[str, object]
) -> None:
    limits.answers[f"{method} {KEY}{part}?rate=20%2Fminute"] = (200, answer)
    assert headgate("limit", command, "per_ip", "192.0.2.7", "--rate", "20/minute")[0] == 0


def test_a_key_travels_with_all_that_is_in_it(headgate: Headgate, limits: FakeAdmin) -> None:
    path = f"{ONE}/keys/%2Fa%3Fb%25%2C%20%C3%A4%FF"
    limits.answers[f"DELETE {path}"] = (200, {"limit": "per_ip", "key": "x", "reset": True})
    assert headgate("limit", "reset", "per_ip", "/a?b%, \u00e4\udcff")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["reset", "192.0.2.7"], "which limit? (known: per_ip, trial)"),
        (["show"], "which limit? (known: per_ip, trial)"),
        (["reset", "a", "b", "c"], "expected [LIMIT] KEY, found a b c"),
        (["show", "a", "b", "c"], "expected [LIMIT] KEY, found a b c"),
    ],
)
def test_what_is_not_clear_is_asked_back(
    headgate: Headgate, limits: FakeAdmin, arguments: list[str], complaint: str
) -> None:
    limits.answers[f"GET {LIMITS}"] = (200, {"limits": [PER_IP, TRIAL], "store": LOCAL})
    code, _, err = headgate("limit", *arguments)
    assert code == 2
    assert complaint in err[0]


def test_a_single_word_is_a_limit_where_there_are_several(headgate: Headgate, limits: FakeAdmin) -> None:
    limits.answers[f"GET {LIMITS}"] = (200, {"limits": [PER_IP, TRIAL], "store": LOCAL})
    code, _, err = headgate("limit", "show", "192.0.2.7")
    assert code == 69
    assert err == ["headgate: no such thing"]
