"""The admin API as the commands call it: one request on one connection, over TCP or a Unix socket.

Every failure becomes an `AdminFailed` with one clear line. Standard library only: a command should start fast.
"""

import http.client
import json
import os
import socket
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

import click

from headgate.errors import AdminFailed
from headgate.model.address import Address

DEFAULT = "127.0.0.1:9000"
TIMEOUT = 30.0  # a write answers when every worker has taken it over, which takes a moment on a busy machine
P = ParamSpec("P")
R = TypeVar("R")
Json = dict[str, object]


class Admin:
    """The admin API at one address."""

    def __init__(self, address: Address, token: str = "") -> None:
        self.address = address
        self._token = token

    def ask(self, method: str, path: str, body: Json | None = None, *, patience: float | None = None) -> Json:
        """The answer's JSON object. Raises AdminFailed when there is none or when the answer is an error.

        patience: seconds without a byte of it; None for what is enough for most.
        """
        content = None if body is None else json.dumps(body).encode()
        status, content = self._exchange(method, path, content, TIMEOUT if patience is None else patience)
        try:
            answer = json.loads(content) if content else {}
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise AdminFailed(f"what answers at {self.address} is no admin API of Headgate (status {status})")
        if status >= 400:
            raise AdminFailed(_complaint(status, answer))
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None, timeout: float) -> tuple[int, bytes]:
        connection = _Connection(self.address, timeout)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise AdminFailed(
                f"no admin API at {self.address} (is headgate running? --admin names another address)"
            ) from error
        except TimeoutError as error:
            raise AdminFailed(f"the admin API at {self.address} did not answer within {timeout:g} s") from error
        except OSError as error:
            raise AdminFailed(f"the admin API at {self.address}: {error.strerror or error}") from error
        except http.client.HTTPException as error:
            raise AdminFailed(f"what answers at {self.address} does not speak HTTP") from error
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """A connection to either kind of address."""

    def __init__(self, address: Address, timeout: float) -> None:
        super().__init__(address.host or "localhost", address.port or None, timeout=timeout)
        self._path = address.path

    def connect(self) -> None:
        """Connects, to the Unix socket if that is what the address is."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def with_admin(function: Callable[Concatenate[Admin, P], R]) -> Callable[P, R]:
    """Gives a command the options --admin and --token-file, and the `Admin` that they mean as its first argument."""

    @click.option("--admin", metavar="ADDRESS", envvar="HEADGATE_ADMIN", default=DEFAULT, show_default=True)
    @click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="A file with the API's token.")
    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        admin, token_file = kwargs.pop("admin"), kwargs.pop("token_file")
        assert isinstance(admin, str)
        assert token_file is None or isinstance(token_file, Path)
        return function(Admin(_address(admin), _token(token_file)), *args, **kwargs)

    return wrapped


def servers_path(upstream: str, address: str | None = None) -> str:
    """The path of an upstream's servers, or of one of them."""
    path = f"/api/v1/upstreams/{quote(upstream, safe='')}/servers"
    return path if address is None else f"{path}/{quote(address, safe='')}"


def full_address(text: str) -> str:
    """The address, with 127.0.0.1 for a bare port. Raises click.UsageError when it is none."""
    try:
        return str(Address.parse(f"127.0.0.1:{text}" if text.isascii() and text.isdigit() else text))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _address(text: str) -> Address:
    return Address.parse(full_address(text))


def _token(file: Path | None) -> str:
    if file is None:
        token = os.environ.get("HEADGATE_ADMIN_TOKEN", "")
    else:
        try:
            token = file.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise click.UsageError(f"--token-file: {file} cannot be read: {reason}") from error
    if not token.isascii() or not (token + " ").isprintable():
        raise click.UsageError("the token has characters that a token cannot have")
    return token


def _complaint(status: int, answer: Json) -> str:
    problems = answer.get("problems")
    if isinstance(problems, list) and problems:
        return "\n".join(str(line) for line in problems)
    detail = str(answer.get("detail") or answer.get("title") or f"the admin API answered {status}")
    if status == 401:
        return f"{detail} (set HEADGATE_ADMIN_TOKEN or give --token-file)"
    return detail
