"""What an idle client costs: thousands of connections that each made one request and then stay, and the growth of the
proxy's memory divided by their number.

Memory is the proportional set size of the whole process tree. What the kernel keeps for a socket is not in it, and is
the same for all; nor is what a proxy sets aside for its connections when it starts (nginx does).
"""

import contextlib
import resource
import select
import socket
import time
from collections.abc import Sequence

from benchmarks import cpu
from benchmarks.load import LoadFailed
from benchmarks.measure import start
from benchmarks.nginx import SMALL
from benchmarks.proxies import Proxy
from benchmarks.scenarios import SCENARIOS, Case
from benchmarks.stage import Stage, free_ports

REQUEST = b"GET /items/%d HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\n\r\n"
SPARE = 200  # descriptors that a proxy and this process need for all the rest
ENOUGH = 32768
WARM = 100
SETTLE = 1.0


def lift_limit() -> int:
    """How many descriptors this process and its children now may have: what the system allows, up to ENOUGH.

    Not more: HAProxy sets memory aside for as many connections as it may have.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit


def per_connection(stage: Stage, proxy: Proxy, servers: Sequence[int], connections: int) -> float:
    """The bytes of memory that one idle client connection costs the proxy. Raises LoadFailed when it closes one."""
    with Stage(stage.cores) as own, contextlib.ExitStack() as held:
        running = start(own, proxy, Case(free_ports(1)[0], servers, SCENARIOS[0]))
        for number in range(WARM):
            _visit(running.case.port, number).close()
        time.sleep(SETTLE)
        before = cpu.memory(running.process.pid)
        clients = [held.enter_context(_visit(running.case.port, number)) for number in range(connections)]
        time.sleep(SETTLE)
        grown = cpu.memory(running.process.pid) - before
        if closed := _closed(clients):
            raise LoadFailed(f"{proxy.title} closed {closed} of {connections} idle connections")
        return grown / connections


def _visit(port: int, number: int) -> socket.socket:
    """A connection that has made one request and got its answer."""
    client = socket.create_connection(("127.0.0.1", port), 5)
    client.sendall(REQUEST % number)
    answer = b""
    while not answer.endswith(SMALL.encode()):
        part = client.recv(65536)
        if not part:
            client.close()
            raise LoadFailed(f"request {number} was not answered: {answer[:200]!r}")
        answer += part
    return client


def _closed(clients: Sequence[socket.socket]) -> int:
    poll = select.poll()
    for client in clients:
        poll.register(client, select.POLLIN)
    return len(poll.poll(0))
