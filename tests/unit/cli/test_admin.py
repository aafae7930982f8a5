import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.cli import admin as module
from tests.unit.cli.conftest import Headgate
from tests.unit.cli.fake_admin import STATUS, FakeAdmin, serving

RELOAD = "POST /api/v1/reload"


@pytest.fixture
def talker() -> Iterator[tuple[str, list[bytes]]]:
    """The address of something that answers each connection with bytes of the test's choice, and those bytes."""
    says: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"".join(says))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", says
        thread.join()


def test_where_nobody_listens_is_one_line(headgate: Headgate) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        line = f"headgate: no admin API at 127.0.0.1:{port} (is headgate running? --admin names another address)"
        assert headgate("status", "--admin", str(port)) == (69, [], [line])


def test_a_socket_that_is_not_there_is_one_line(headgate: Headgate, tmp_path: Path) -> None:
    code, _, err = headgate("status", "--admin", f"unix:{tmp_path}/none")
    assert (code, len(err)) == (69, 1)
    assert f"no admin API at unix:{tmp_path}/none" in err[0]


def test_the_api_is_reached_over_a_unix_socket(headgate: Headgate, tmp_path: Path) -> None:
    with serving(tmp_path / "s") as fake:
        code, out, _ = headgate("status", "--admin", fake.address)
    assert (code, out[0]) == (0, "headgate 0.1.0, pid 42, up 2h 3m, snapshot 5")
    assert fake.asked[0].host == "localhost"


@pytest.mark.parametrize("way", ["environment", "file"])
def test_the_token_travels_in_its_header(
    headgate: Headgate, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    options: list[str] = []
    monkeypatch.setenv("HEADGATE_ADMIN_TOKEN", "secret" if way == "environment" else "another")
    if way == "file":
        (tmp_path / "token").write_text("secret\n")
        options = ["--token-file", str(tmp_path / "token")]
    headgate("status", *options)
    assert admin.asked[0].token == "Bearer secret"


def test_without_a_token_there_is_no_header(headgate: Headgate, admin: FakeAdmin) -> None:
    headgate("status")
    assert admin.asked[0].token == ""


def test_a_refused_token_says_how_to_give_one(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[RELOAD] = (401, {"title": "Unauthorized", "detail": "a token is needed"})
    line = "headgate: a token is needed (set HEADGATE_ADMIN_TOKEN or give --token-file)"
    assert headgate("reload") == (69, [], [line])


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file or directory"), (b"\xff", "not UTF-8"), (b"a\nb", "characters that a tok")],
)
def test_a_bad_token_file_is_one_line(headgate: Headgate, tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    code, _, err = headgate("status", "--token-file", str(file))
    assert (code, len(err)) == (2, 1)
    assert message in err[0]


def test_a_bad_address_is_one_line(headgate: Headgate) -> None:
    code, _, err = headgate("status", "--admin", "here")
    assert (code, len(err)) == (2, 1)
    assert '"here" is not an address' in err[0]


@pytest.mark.parametrize(
    ("status", "answer", "lines"),
    [
        (422, {"detail": "no", "problems": ["a.toml:1: x", "a.toml:2: y"]}, ["a.toml:1: x", "a.toml:2: y"]),
        (404, {"detail": 'no upstream "x" (known: web)'}, ['no upstream "x" (known: web)']),
        (503, {"title": "Service Unavailable"}, ["Service Unavailable"]),
        (500, {}, ["the admin API answered 500"]),
    ],
)
def test_an_error_of_the_api_is_told_in_its_words(
    headgate: Headgate, admin: FakeAdmin, status: int, answer: object, lines: list[str]
) -> None:
    admin.answers[RELOAD] = (status, answer)
    assert headgate("reload") == (69, [], [f"headgate: {line}" for line in lines])


@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b"\xff", b"3"])
def test_what_is_no_admin_api_is_told_so(headgate: Headgate, admin: FakeAdmin, answer: bytes) -> None:
    admin.answers[RELOAD] = (200, answer)
    line = f"headgate: what answers at {admin.address} is no admin API of Headgate (status 200)"
    assert headgate("reload") == (69, [], [line])


@pytest.mark.parametrize("answer", [{}, STATUS | {"pid": "x"}, STATUS | {"upstreams": None}])
def test_an_answer_of_another_form_is_one_line(headgate: Headgate, admin: FakeAdmin, answer: object) -> None:
    admin.answers["GET /api/v1/status"] = (200, answer)
    code, _, err = headgate("status")
    assert (code, len(err)) == (69, 1)
    assert "an answer of the admin API that this version does not understand" in err[0]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"", ": Remote end closed connection without response"),
        (b"hello\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "does not speak HTTP"),
    ],
    ids=["nothing", "no HTTP", "half an answer"],
)
def test_what_does_not_speak_http_is_one_line(
    headgate: Headgate, talker: tuple[str, list[bytes]], said: bytes, message: str
) -> None:
    address, says = talker
    says.append(said)
    code, _, err = headgate("status", "--admin", address)
    assert (code, len(err)) == (69, 1)
    assert message in err[0]


def test_an_api_that_does_not_answer_is_given_up(headgate: Headgate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        line = f"headgate: the admin API at {address} did not answer within 0.01 s"
        assert headgate("status", "--admin", address) == (69, [], [line])


@pytest.mark.parametrize(
    ("changed", "line"), [(True, "snapshot 6 is served now"), (False, "nothing has changed")], ids=["changed", "same"]
)
def test_a_reload_says_what_became_of_it(headgate: Headgate, admin: FakeAdmin, changed: bool, line: str) -> None:
    admin.answers[RELOAD] = (200, {"snapshot": 6, "changed": changed})
    assert headgate("reload") == (0, [line], [])


def test_a_reload_says_what_needs_a_restart(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[RELOAD] = (200, {"snapshot": 6, "changed": False, "restart_needed": ["workers", "admin.listen"]})
    notice = "a restart is needed for the new workers and admin.listen"
    assert headgate("reload") == (0, ["nothing has changed"], [notice])


def test_an_upgrade_says_who_serves_now(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers["POST /api/v1/upgrade"] = (200, {"version": "9.1", "pid": 77})
    line = "headgate 9.1 (pid 77) serves now; the old one finishes what it has"
    assert headgate("upgrade") == (0, [line], [])


def test_an_upgrade_that_fails_says_why(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers["POST /api/v1/upgrade"] = (500, {"detail": "headgate 9.1 cannot take over: headgate.toml: not TOML"})
    line = "headgate: headgate 9.1 cannot take over: headgate.toml: not TOML"
    assert headgate("upgrade") == (69, [], [line])
