"""Reloads that cannot be: the files that a configuration names are broken, and what serves goes on as it was."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from jwt.algorithms import HMACAlgorithm

from tests.e2e.kit.backend import Backend
from tests.e2e.kit.headgate import Headgate, Settings
from tests.e2e.kit.load import Load

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

OLD, NEW = (letter.encode() * 32 for letter in "on")
RULES = """
def user(request):
    return request.header("x-user")

def rate(request):
    return "{rate}"
"""
LOADED = b"GET /load HTTP/1.1\r\nHost: load\r\n\r\n"


class Installation:
    """A Headgate with two workers, whose limits depend on a file of keys and on a module."""

    def __init__(self, make: Make, server: str) -> None:
        self.headgate: Headgate = make(self.config(server))
        self.keys = self.headgate.directory / "keys.json"
        self.rules = self.headgate.directory / "rules.py"
        self.has(OLD, "4/hour")
        self.headgate.start()

    @staticmethod
    def config(server: str) -> Settings:
        # One line each, in this order, from line 4 on.
        return {
            "workers": 2,
            "admin": {"listen": "127.0.0.1:0"},
            "listeners": [{"address": "127.0.0.1:0"}],
            "jwt": {"algorithms": ["HS256"], "key_files": ["keys.json"]},
            "limits": {
                "per_token": {"rate": "4/hour", "key": "jwt:sub"},
                "per_user": {"rate": "1/hour", "key": "python:rules:user", "limit": "python:rules:rate"},
                "all": {"rate": "1000000/hour", "key": "constant"},
            },
            "upstreams": {"web": {"servers": [server]}},
            "routes": [
                {"match": {"path": "/tokens"}, "upstream": "web", "limits": ["per_token"]},
                {"match": {"path": "/users"}, "upstream": "web", "limits": ["per_user"]},
                {"match": {"path": "/load"}, "upstream": "web", "limits": ["all"]},
            ],
        }

    def has(self, key: bytes, rate: str) -> None:
        """What its files say from now on, when somebody reads them."""
        jwk = json.loads(HMACAlgorithm.to_jwk(key))
        self.keys.write_text(json.dumps({"keys": [jwk]}))
        self.rules.write_text(RULES.format(rate=rate))

    def of_token(self, name: str, count: int, key: bytes = OLD) -> list[int]:
        """The statuses of so many requests with a token."""
        token = jwt.encode({"sub": name}, key, "HS256")
        return [self.headgate.get("/tokens", Authorization=f"Bearer {token}").status for _ in range(count)]

    def of_user(self, name: str, count: int) -> list[int]:
        """The same of one whom the functions know."""
        return [self.headgate.get("/users", X_User=name).status for _ in range(count)]


def says(text: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(text)


NOT_KEYS = "headgate.toml:4: jwt.key_files[0]: {file}: "
NOT_RULES = 'headgate.toml:5: limits.per_user.key: module "rules" '
NO_IMPORT = f"{NOT_RULES}cannot be imported: "
# What becomes of which file, and what an operator is told.
MISTAKES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no keys": ("keys", Path.unlink, f"{NOT_KEYS}cannot be read: No such file or directory"),
    "keys cut off": ("keys", says('{"keys": ['), f"{NOT_KEYS}not JSON (expected a JSON Web Key Set)"),
    "no key": ("keys", says('{"keys": []}'), f"{NOT_KEYS}no key for HS256"),
    "no module": ("rules", Path.unlink, f"{NO_IMPORT}ModuleNotFoundError: No module named 'rules'"),
    "no Python": ("rules", says("def user(request:\n"), f"{NO_IMPORT}SyntaxError: '(' was never closed"),
    "raises": ("rules", says("1 / 0\n"), f"{NO_IMPORT}ZeroDivisionError: division by zero"),
    "exits": ("rules", says("raise SystemExit(3)\n"), f"{NO_IMPORT}SystemExit: 3"),
    "dies": ("rules", says("import os\nos._exit(3)\n"), "headgate.toml:5: limits: the modules of its functions cannot"),
    "no function": ("rules", says("rate = print\n"), f'{NOT_RULES}({{file}}) has no "user"'),
}


@pytest.mark.parametrize(
    ("mistake", "by"), [*((mistake, "command") for mistake in MISTAKES), ("no keys", "signal"), ("raises", "signal")]
)
def test_a_reload_with_broken_files_changes_nothing_and_a_good_one_follows(
    make: Make, backend: Start, mistake: str, by: str
) -> None:
    one = Installation(make, backend().address)
    headgate = one.headgate
    assert one.of_token("ann", 2) + one.of_user("bob", 2) == [200] * 4
    before = headgate.status()["snapshot"]

    one.has(NEW, "6/hour")  # neither may count before the other is good
    which, breaks, words = MISTAKES[mistake]
    file = getattr(one, which)
    breaks(file)
    with Load(headgate.address, request=LOADED) as load:
        load.more()
        if by == "command":
            refused = headgate.cli("reload")
            assert refused.returncode == 69
            said = refused.stderr
        else:
            headgate.signal(signal.SIGHUP)
            headgate.await_log("not reloaded: ")
            said = headgate.log
        assert words.format(file=file) in said
        load.more()
        assert one.of_token("ann", 3) == [200, 200, 429], "her count went on"
        assert one.of_user("bob", 3) == [200, 200, 429], "his too"
        assert headgate.status()["snapshot"] == before

        one.has(NEW, "6/hour")
        assert headgate.cli("reload").returncode == 0
        load.more()
    assert load.failures == []
    assert one.of_user("bob", 7) == [200] * 6 + [429]
    assert one.of_token("ann", 1, NEW) == [429], "she has what she had"
    assert one.of_token("ann", 5, OLD) == [200] * 4 + [429], "by her address: the key is good no more"
    assert headgate.metric("headgate_limit_function_errors_total") == 0


def test_a_worker_that_comes_up_among_broken_files_is_whole_again_when_they_are_mended(
    make: Make, backend: Start
) -> None:
    one = Installation(make, backend().address)
    headgate = one.headgate
    headgate.has_failing_functions = True
    assert one.of_token("ann", 2) + one.of_user("bob", 2) == [200] * 4
    one.keys.unlink()
    one.rules.write_text("1 / 0\n")
    assert headgate.cli("reload").returncode == 69
    headgate.kill_worker(0)
    headgate.kill_worker(1)
    assert one.of_token("ann", 3) == [200, 200, 429], "keys are with the configuration that is in force"
    assert one.of_user("bob", 2) == [200, 429], "the limit's own rate, by his address"
    one.has(OLD, "4/hour")
    assert headgate.cli("reload").returncode == 0
    assert one.of_user("bob", 3) == [200, 200, 429]
