import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from headgate.control.guard import MAX_BODY, Guard
from tests.unit.control.planes import Answer, call

JSON = {"content-type": "application/json"}
PATH = "/api/v1/reload"


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("inside")(scope, receive, send)


def asked(
    method: str,
    path: str = PATH,
    *,
    token: str = "",
    on_network: bool = True,
    body: bytes | None = None,
    more: dict[str, str] | None = None,
    **headers: str,
) -> Answer:
    """What one request brings; in the names of `headers` and `more` a _ is a -."""
    guard = Guard(inner, lambda: token, on_network)
    fields = {name.replace("_", "-"): value for name, value in (headers | (more or {})).items()}
    return asyncio.run(call(guard, method, path, body, fields))


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9000", "127.0.0.1", "127.8.9.1:1", "[::1]", "[::1]:9000"],
)
def test_without_a_token_this_machines_names_are_let_in(host: str) -> None:
    assert asked("GET", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.1",
        "127.0.0.1:80:80",
        "[::2]",
        "",
        "::1",
        "0.0.0.0",
    ],
)
def test_without_a_token_other_hosts_are_refused(host: str) -> None:
    answer = asked("GET", host=host)
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == 403


def test_on_a_unix_socket_any_host_is_let_in() -> None:
    assert asked("GET", host="headgate", on_network=False).status == 200


def test_with_a_token_any_host_is_let_in() -> None:
    assert asked("GET", token="s3cret", host="lb.example", authorization="Bearer s3cret").status == 200


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretx", "Basic s3cret", "s3cret", "Bearer s3cr\xe9t"],
)
def test_a_wrong_token_is_refused(given: str) -> None:
    answer = asked("GET", token="s3cret", authorization=given)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert b"s3cret" not in answer.body


def test_the_token_is_the_one_wanted_now() -> None:
    tokens = ["old"]
    guard = Guard(inner, lambda: tokens[0], True)
    header = {"authorization": "Bearer old"}
    assert asyncio.run(call(guard, "GET", PATH, headers=header)).status == 200
    tokens[0] = "new"
    assert asyncio.run(call(guard, "GET", PATH, headers=header)).status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_health_of_headgate_is_open_to_all(path: str) -> None:
    assert asked("GET", path, token="s3cret", host="10.1.2.3:9000").status == 200


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/status", "/healthz/", "/readyz/../api/v1/status"])
def test_everything_else_needs_the_token(path: str) -> None:
    assert asked("GET", path, token="s3cret").status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:9000"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:8000"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_web_page_cannot_write(method: str, headers: dict[str, str], status: int) -> None:
    assert asked(method, more=headers).status == status
    assert asked(method, token="t", authorization="Bearer t", more=headers).status == status


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
def test_a_body_is_json(kind: str, status: int) -> None:
    assert asked("POST", body=b"{}", content_type=kind).status == status


def test_a_chunked_body_is_json_too() -> None:
    assert asked("POST", transfer_encoding="chunked").status == 415


def test_no_body_needs_no_kind() -> None:
    assert asked("POST").status == 200
    assert asked("POST", body=b"").status == 200


def test_a_long_body_is_refused_before_it_is_read() -> None:
    assert asked("POST", body=b"x" * (MAX_BODY + 1), content_type="application/json").status == 413


def test_a_body_that_hides_its_length_is_cut_off() -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        await PlainTextResponse(message["type"])(scope, receive, send)

    body = b"x" * (MAX_BODY + 1)
    headers = {"content-length": "", "transfer-encoding": "chunked", **JSON}
    answer = asyncio.run(call(Guard(reading, lambda: "", True), "POST", PATH, body, headers))
    assert answer.body == b"http.disconnect"


def test_answers_are_neither_kept_nor_sniffed() -> None:
    headers = asked("GET").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
