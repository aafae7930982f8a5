"""A Redis Cluster for tests: real processes that one may kill and pause, and slots that one may move."""

import random
import re
import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from headgate.store.resp import Reader, Reply, command
from headgate.store.topology import SLOTS
from tests.e2e.kit.waiting import wait_for
from tests.redis_server import RedisServer

_PATIENCE = 30.0  # seconds for a failover on a busy machine
_ATTEMPTS = 5


class Cluster:
    """Masters that share the slots, each with so many replicas."""

    def __init__(
        self, masters: int = 3, *, replicas: int = 0, password: str = "", tls: dict[str, str] | None = None
    ) -> None:
        """password: of each node. tls: settings of Redis with a certificate, when all is to go over TLS."""
        self._counts = masters, replicas
        self._password = password
        self._is_tls = bool(tls)
        self._settings = {
            "cluster_enabled": "yes",
            "cluster_node_timeout": "1000",
            "repl_diskless_sync_delay": "0",
            "repl_ping_replica_period": "1",  # a replica is known of when it has heard something of its master
            **({"masterauth": password} if password else {}),
            **({"tls_cluster": "yes", "tls_replication": "yes", **tls} if tls else {}),
        }
        self._stack = ExitStack()
        self.nodes: list[RedisServer] = []
        self.ports: list[int] = []

    @property
    def url(self) -> str:
        """Its URL, with all nodes."""
        scheme = "rediss" if self._is_tls else "redis"
        login = f":{self._password}@" if self._password else ""
        return f"{scheme}+cluster://{login}{','.join(f'127.0.0.1:{port}' for port in self.ports)}"

    def __enter__(self) -> Self:
        masters, replicas = self._counts
        for number in range(masters * (1 + replicas)):
            self._start(number)
        for port in self.ports[1:]:
            self.call(0, "CLUSTER", "MEET", "127.0.0.1", str(port), str(port + 10_000))
        for number in range(masters):
            first, end = number * SLOTS // masters, (number + 1) * SLOTS // masters
            self.call(number, "CLUSTER", "ADDSLOTS", *map(str, range(first, end)))
        for number in range(masters, len(self.nodes)):
            master = self.id(number % masters)
            wait_for(lambda number=number, master=master: self._knows(number, master), "a node to know its master")  # type: ignore[misc]
            self.call(number, "CLUSTER", "REPLICATE", master)
        wait_for(self._is_whole, "the Cluster to be whole", _PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def call(self, number: int, *parts: str) -> Reply:
        """Runs one command on a node; an error is returned."""
        server = self.nodes[number]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(server._socket))
            reader = Reader()
            connection.sendall((command("AUTH", self._password) if self._password else b"") + command(*parts))
            replies: list[Reply] = []
            while len(replies) < 1 + bool(self._password):
                replies += reader.feed(connection.recv(1 << 20))
            return replies[-1]

    def text(self, number: int, *parts: str) -> str:
        """The same for a reply that is text."""
        reply = self.call(number, *parts)
        assert isinstance(reply, bytes), reply
        return reply.decode()

    def id(self, number: int) -> str:
        return self.text(number, "CLUSTER", "MYID")

    def is_master(self, number: int) -> bool:
        return "role:master" in self.text(number, "INFO", "replication")

    def migrate(self, slot: int, source: int, target: int) -> None:
        """Lets a slot begin to move."""
        for number, word, other in ((target, "IMPORTING", source), (source, "MIGRATING", target)):
            reply = self.call(number, "CLUSTER", "SETSLOT", str(slot), word, self.id(other))
            assert reply == b"OK", (reply, slot, source, target)

    def move_keys(self, slot: int, source: int, target: int) -> int:
        """Moves the keys of a slot that moves; how many."""
        keys = self.call(source, "CLUSTER", "GETKEYSINSLOT", str(slot), "1000")
        assert isinstance(keys, list)
        names = [key.decode() for key in keys if isinstance(key, bytes)]
        if names:
            auth = ("AUTH", self._password) if self._password else ()
            port = str(self.ports[target])
            moved = self.call(source, "MIGRATE", "127.0.0.1", port, "", "0", "5000", *auth, "KEYS", *names)
            assert moved == b"OK", moved
        return len(names)

    def settle(self, slot: int, source: int, target: int) -> None:
        """Ends the move of a slot, when all nodes know it."""
        self.move_keys(slot, source, target)
        others = [number for number in range(len(self.nodes)) if number not in (source, target)]
        for number in (target, source, *filter(self.is_master, others)):
            assert self.call(number, "CLUSTER", "SETSLOT", str(slot), "NODE", self.id(target)) == b"OK"
        numbers = range(len(self.nodes))
        wait_for(
            lambda: all(self.server_of(slot, number) == target for number in numbers), "all nodes to know", _PATIENCE
        )

    def keys(self, slot: int, number: int) -> int:
        """How many keys of a slot a node has."""
        count = self.call(number, "CLUSTER", "COUNTKEYSINSLOT", str(slot))
        assert isinstance(count, int)
        return count

    def asked(self, number: int) -> int:
        """How often a node was asked for what had just come to it (ASKING)."""
        found = re.search(r"cmdstat_asking:calls=(\d+)", self.text(number, "INFO", "commandstats"))
        return int(found[1]) if found else 0

    def move(self, slot: int, source: int, target: int) -> None:
        """Moves a slot."""
        self.migrate(slot, source, target)
        self.settle(slot, source, target)

    def server_of(self, slot: int, number: int = 0) -> int:
        """The number of the node that serves a slot, by one node's word."""
        reply = self.call(number, "CLUSTER", "SLOTS")
        assert isinstance(reply, list)
        for first, last, master, *_ in reply:  # type: ignore[misc]
            if first <= slot <= last:  # type: ignore[operator]
                return self.ports.index(master[1])  # type: ignore[index, arg-type]
        raise AssertionError(f"slot {slot} is served by nobody")

    def _start(self, number: int) -> None:
        """Starts a node on a port whose bus, 10,000 ports on, is free as well."""
        for _ in range(_ATTEMPTS):
            # Below those that systems give to outgoing connections, the bus too.
            port = random.randrange(11_000, 22_000)
            if not (_is_free(port) and _is_free(port + 10_000)):
                continue
            server = RedisServer(password=self._password, tcp=False, **self._settings)
            if self._is_tls:
                server._settings["tls_port"] = str(port)
            else:
                server.port = port
            server._settings["cluster_config_file"] = f"nodes-{number}.conf"
            try:
                server.start()
            except RuntimeError:  # somebody took the port meanwhile
                server.close()
                continue
            self._stack.callback(server.close)
            self.nodes.append(server)
            self.ports.append(port)
            return
        raise RuntimeError("no node of a Cluster could be started")

    def _knows(self, number: int, node: str) -> bool:
        return node in self.text(number, "CLUSTER", "NODES")

    def _is_whole(self) -> bool:
        masters, replicas = self._counts
        for number in range(len(self.nodes)):
            info = self.text(number, "CLUSTER", "INFO")
            if "cluster_state:ok" not in info or f"cluster_known_nodes:{len(self.nodes)}" not in info:
                return False
            if number >= masters and "master_link_status:up" not in self.text(number, "INFO", "replication"):
                return False
        return all(
            len(entry) == 3 + replicas  # type: ignore[arg-type]
            for number in range(len(self.nodes))
            for entry in self.call(number, "CLUSTER", "SLOTS")  # type: ignore[union-attr]
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
