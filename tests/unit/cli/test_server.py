import json

import pytest

from tests.unit.cli.conftest import Headgate
from tests.unit.cli.fake_admin import LATE, SERVER, STATUS, FakeAdmin

WEB = "/api/v1/upstreams/web/servers"
ONE = f"{WEB}/127.0.0.1%3A5000"
TWO_UPSTREAMS = STATUS | {
    "upstreams": [
        {"name": "web", "policy": "round_robin", "health_check": True, "servers": [SERVER]},
        {"name": "api", "policy": "round_robin", "health_check": True, "servers": []},
    ]
}


def test_the_servers_of_the_only_upstream_are_listed(headgate: Headgate, admin: FakeAdmin) -> None:
    code, out, _ = headgate("server", "list")
    assert code == 0
    assert [line.split()[0] for line in out] == ["ADDRESS", "127.0.0.1:5000", "[::1]:5001"]


def test_the_servers_of_all_upstreams_are_listed_under_their_names(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers["GET /api/v1/status"] = (200, TWO_UPSTREAMS)
    _, out, _ = headgate("server", "list")
    assert [line.partition("  ")[0] for line in out] == [
        "upstream web",
        "ADDRESS",
        "127.0.0.1:5000",
        "",
        "upstream api",
        "no servers",
    ]


def test_the_servers_of_one_upstream_are_listed(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"GET {WEB}"] = (200, {"servers": [LATE]})
    _, out, _ = headgate("server", "list", "web")
    assert [line.split()[0] for line in out] == ["ADDRESS", "[::1]:5001"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["web"], {"servers": [LATE]}), ([], {"upstreams": STATUS["upstreams"]})],
    ids=["one", "all"],
)
def test_a_list_as_json_is_the_answer_itself(
    headgate: Headgate, admin: FakeAdmin, arguments: list[str], expected: object
) -> None:
    admin.answers[f"GET {WEB}"] = (200, {"servers": [LATE]})
    _, out, _ = headgate("server", "list", "--json", *arguments)
    assert json.loads("\n".join(out)) == expected


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body", "answer", "line"),
    [
        (["add", "5000"], "POST", WEB, {"address": "127.0.0.1:5000"}, (201, SERVER), "is in web now, with weight 1"),
        (
            ["add", "[::1]:5001", "--weight", "10"],
            "POST",
            WEB,
            {"address": "[::1]:5001", "weight": 10},
            (201, LATE),
            "[::1]:5001 is in web now, with weight 10",
        ),
        (["remove", "5000"], "DELETE", ONE, None, (202, {"state": "removing"}), "leaves web when its requests are don"),
        (["remove", "--drain", "2.5", "5000"], "DELETE", f"{ONE}?drain=2.5", None, (202, {}), "leaves web"),
        (["drain", "5000"], "PATCH", ONE, {"mode": "drain"}, (200, SERVER), "5000 of web takes nothing new"),
        (["maint", "5000"], "PATCH", ONE, {"mode": "maint"}, (200, SERVER), "takes nothing new and is not probed"),
        (["ready", "5000"], "PATCH", ONE, {"mode": "ready"}, (200, SERVER), "127.0.0.1:5000 of web takes requests"),
        (["weight", "5000", "7"], "PATCH", ONE, {"weight": 7}, (200, SERVER), "127.0.0.1:5000 of web has weight 7"),
        (["ready", "unix:/a"], "PATCH", f"{WEB}/unix%3A%2Fa", {"mode": "ready"}, (200, SERVER), "takes requests"),
    ],
    ids=["add", "add weight", "remove", "remove drain", "drain", "maint", "ready", "weight", "unix"],
)
@pytest.mark.parametrize("named", [False, True], ids=["upstream left out", "upstream named"])
def test_a_change_is_one_request_and_one_line(
    headgate: Headgate,
    admin: FakeAdmin,
    arguments: list[str],
    method: str,
    path: str,
    body: object,
    answer: tuple[int, object],
    line: str,
    named: bool,
) -> None:
    admin.answers[f"{method} {path}"] = answer
    command, *rest = arguments
    if named:
        at = 2 if rest[0] == "--drain" else 0
        rest.insert(at, "web")
    code, out, err = headgate("server", command, *rest)
    assert (code, len(out), err) == (0, 1, [])
    assert line in out[0]
    asked = admin.asked[-1]
    assert (asked.method, asked.path, asked.body) == (method, path, body)
    assert len(admin.asked) == (1 if named else 2)


def test_among_several_upstreams_one_must_be_named(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers["GET /api/v1/status"] = (200, TWO_UPSTREAMS)
    code, _, err = headgate("server", "drain", "5000")
    assert (code, err) == (2, ["headgate: which upstream? (known: web, api) (see headgate server drain --help)"])
    assert [asked.method for asked in admin.asked] == ["GET"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drain", "a", "b", "5000"], "expected [UPSTREAM] ADDRESS, found a b 5000"),
        (["drain", "nonsense"], '"nonsense" is not an address'),
        (["weight", "5000", "257"], "257 is not in the range"),
        (["remove", "5000", "--drain", "-1"], "-1"),
    ],
)
def test_a_call_that_means_nothing_asks_nothing(
    headgate: Headgate, admin: FakeAdmin, arguments: list[str], message: str
) -> None:
    code, _, err = headgate("server", *arguments)
    assert (code, len(err), admin.asked) == (2, 1, [])
    assert message in err[0]
