"""A master with a replica and three Sentinels, for tests: real processes that one may kill, pause and start again."""

import socket
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from headgate.store.resp import command
from tests.e2e.kit.waiting import wait_for
from tests.ports import free_ports
from tests.redis_server import RedisServer, binary

_PATIENCE = 30.0  # seconds for a failover on a busy machine
SERVICE = "main"


class Sentinel:
    """One Sentinel, which takes a master for gone after 300 ms of silence. tls_port: 0 without a certificate."""

    def __init__(self, directory: Path, master: int, tls: dict[str, str], *settings: str) -> None:
        """master: the port of its master. tls: settings of Redis, when all is to go over TLS."""
        directory.mkdir()
        self.port, other = free_ports(2)
        self.tls_port = other if tls else 0
        file = directory / "sentinel.conf"
        watch = f"sentinel monitor {SERVICE} 127.0.0.1 {master} 2\n"
        for line in ("down-after-milliseconds 300", "failover-timeout 1500", *settings):
            name, _, value = line.partition(" ")
            watch += f"sentinel {name} {SERVICE} {value}\n"
        if tls:
            watch = f"tls-port {self.tls_port}\ntls-replication yes\n{watch}"
            watch = "".join(f"{name.replace('_', '-')} {value}\n" for name, value in tls.items()) + watch
        file.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {directory}\nlogfile {directory}/log\n{watch}")
        self._process = subprocess.Popen([binary(), str(file), "--sentinel"], stdout=subprocess.DEVNULL)

    def command(self, *parts: str) -> bytes:
        """Runs one command; its reply as it came."""
        with socket.create_connection(("127.0.0.1", self.port), _PATIENCE) as connection:
            connection.sendall(command(*parts))
            return connection.recv(65536)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Watched:
    """Two Redis, one the replica of the other, and three Sentinels, all of which agree when it is entered."""

    def __init__(self, directory: Path, *, password: str = "", tls: dict[str, str] | None = None) -> None:
        """password: of both Redis. tls: settings of Redis with a certificate, when all is to go over TLS."""
        self._stack = ExitStack()
        self._directory = directory
        self._tls = tls or {}
        settings = {"repl_diskless_sync_delay": "0", **({"masterauth": password} if password else {}), **self._tls}
        self.master, self.replica = (RedisServer(tcp=True, password=password, **settings) for _ in range(2))
        self._auth = (f"auth-pass {password}",) if password else ()
        self.sentinels: list[Sentinel] = []

    @property
    def places(self) -> str:
        """Where the Sentinels are."""
        return ",".join(f"127.0.0.1:{one.tls_port or one.port}" for one in self.sentinels)

    @property
    def url(self) -> str:
        login = f":{self.master.password}@" if self.master.password else ""
        return f"{'rediss' if self._tls else 'redis'}+sentinel://{login}{self.places}/{SERVICE}"

    def __enter__(self) -> Self:
        self._stack.callback(self.master.close)
        self._stack.callback(self.replica.close)
        if self._tls:
            port, _ = self.master.serve_tls(), self.replica.serve_tls()
            for server in (self.master, self.replica):
                server.command("CONFIG", "SET", "tls-replication", "yes")
        else:
            port = self.master.start().port
            self.replica.start()
        self.replica.command("REPLICAOF", "127.0.0.1", str(port))
        wait_for(
            lambda: b"master_link_status:up" in self.replica.command("INFO", "replication"),
            "the replica's copy",
            _PATIENCE,
        )
        for number in range(3):
            sentinel = Sentinel(self._directory / f"sentinel-{number}", port, self._tls, *self._auth)
            self.sentinels.append(sentinel)
            self._stack.callback(sentinel.kill)
        for sentinel in self.sentinels:
            wait_for(partial(_knows_all, sentinel), "a Sentinel to know the others", _PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def hold_failover(self) -> None:
        """From now on no failover begins, whatever becomes of the master, until `let_failover`."""
        self._set_quorum(4)

    def let_failover(self) -> None:
        """The opposite."""
        self._set_quorum(2)

    def _set_quorum(self, number: int) -> None:
        for sentinel in self.sentinels:
            assert sentinel.command("SENTINEL", "SET", SERVICE, "quorum", str(number)) == b"+OK\r\n"

    def await_copy(self) -> None:
        """Waits until the replica has all that the master has."""
        wait_for(
            lambda: _offset(self.replica, "slave_repl_offset") == _offset(self.master, "master_repl_offset"),
            "the replica to have everything",
        )

    def await_master(self, server: RedisServer) -> None:
        """Waits until this one is the master by its own word."""
        wait_for(lambda: _is_master(server), "a new master", _PATIENCE)


def _offset(server: RedisServer, name: str) -> bytes:
    return server.command("INFO", "replication").partition(f"{name}:".encode())[2].split()[0]


def _is_master(server: RedisServer) -> bool:
    try:
        return b"role:master" in server.command("INFO", "replication")
    except ConnectionError:  # a Sentinel ends all of a server's connections when it changes its role
        return False


def _knows_all(sentinel: Sentinel) -> bool:
    try:
        reply = sentinel.command("SENTINEL", "MASTER", SERVICE)
    except OSError:
        return False
    fields = reply.split(b"\r\n")
    known = dict(zip(fields[2::4], fields[4::4], strict=False))
    return known.get(b"num-other-sentinels") == b"2" and known.get(b"num-slaves") == b"1"
