import pytest

from headgate.errors import BadRequest
from headgate.ext import Request, Response
from headgate.testing.requests import request, response


def test_a_request_tells_what_was_asked() -> None:
    asked = request("POST /a//b%20c/../d%C3%A9/?x=%31&y", host="Example.ORG:8000", client="192.0.2.7", route="/a")
    assert (asked.method, asked.target) == ("POST", "/a//b%20c/../d%C3%A9/?x=%31&y")
    assert (asked.path, asked.query) == ("/a/dé", "x=%31&y")
    assert (asked.host, asked.client, asked.route) == ("example.org", "192.0.2.7", "/a")
    assert repr(asked) == "<Request: POST /a//b%20c/../d%C3%A9/?x=%31&y of 192.0.2.7>"


@pytest.mark.parametrize(
    ("target", "path"),
    [("/", "/"), ("/?a", "/"), ("*", "/"), ("/a/", "/a"), ("/a//../b?c", "/b"), ("/%ff", "/\udcff")],
)
def test_a_path_is_the_one_that_routes_are_compared_by(target: str, path: str) -> None:
    asked = request(f"{'OPTIONS' if target == '*' else 'GET'} {target}")
    assert (asked.path, asked.query) == (path, target.partition("?")[2])


def test_fields_are_found_by_any_spelling_of_their_name() -> None:
    asked = request(headers=[("X-Key", " a "), ("x-key", "b"), ("X-Empty", ""), ("X-Keys", "\xe9")])
    assert asked.header("X-KEY") == "a, b"
    assert asked.header("x-empty") == ""
    assert asked.header("x-ke.") is None
    assert asked.headers == (
        ("Host", "example.org"),
        ("X-Key", "a"),
        ("x-key", "b"),
        ("X-Empty", ""),
        ("X-Keys", "\xe9"),
    )


def test_what_a_stranger_claims_is_not_there() -> None:
    asked = request(headers={"X-Forwarded-For": "192.0.2.9", "Connection": "close", "Cookie": "a=1"})
    assert [name for name, _ in asked.headers] == ["Host", "Cookie"]


def test_cookies_are_told_by_name_and_the_first_counts() -> None:
    asked = request(headers=[("Cookie", "a=1; b=2=3;a=4"), ("Cookie", 'c="x"; bare; d=5,a=6')])
    assert asked.cookies == {"a": "1", "b": "2=3", "c": '"x"', "d": "5,a=6"}
    assert request().cookies == {}


def test_what_a_view_returns_can_be_changed_without_harm() -> None:
    asked = request(headers={"Cookie": "a=1"})
    asked.cookies["a"] = "2"  # type: ignore[index]  # it is a mapping that promises nothing
    assert asked.cookies == {"a": "1"}
    with pytest.raises(AttributeError):
        asked.method = "PUT"  # type: ignore[misc]


def test_a_response_tells_what_became_of_a_request() -> None:
    got = response(201, {"X-Tokens-Used": "70"}, sent=312)
    assert (got.status, got.sent, got.flag) == (201, 312, "-")
    assert got.header("x-tokens-used") == "70"
    assert got.headers == (("X-Tokens-Used", "70"),)
    assert repr(got) == "<Response: 201, 312 bytes, ->"


def test_an_answer_of_headgate_has_no_fields() -> None:
    got = Response(502, 100, "UC")
    assert (got.header("x-tokens-used"), got.headers) == (None, ())


def test_a_request_that_headgate_would_refuse_cannot_be_made() -> None:
    assert isinstance(request("PURGE /"), Request)
    with pytest.raises(BadRequest):
        request("GET /a b")
