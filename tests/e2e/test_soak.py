"""Mixed traffic while servers are killed and brought back at random: nothing is lost, doubled or left behind.

Every request has a target of its own and every answer repeats it, so an answer that is another's is seen. A GET must be
answered with 200, unless its server is killed in the middle of the answer: another server can always do so. A POST may
fail when its server is killed under it, and must never arrive at two servers. HEADGATE_SOAK_SECONDS says how long; an
hour is what shows a slow leak.
"""

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.kit.client import Broken, Response, Stream, fetch
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.waiting import wait_for
from tests.ports import free_port

Make = Callable[..., Headgate]

SECONDS = float(os.environ.get("HEADGATE_SOAK_SECONDS", "8"))
CLIENTS = 24
pytestmark = pytest.mark.timeout(SECONDS + 120)


APP = """
import asyncio, os, random
received = os.open(os.environ["RECEIVED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    os.write(received, f"{scope['method']} {scope['path']}\\n".encode())
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer, how = scope["path"].encode() + b" " + body, random.random()
    if how < 0.2:
        await asyncio.sleep(random.random() * 0.01)
    length = [(b"content-length", b"%d" % len(answer))] if how < 0.6 else []
    await send({"type": "http.response.start", "status": 200, "headers": length})
    cut = random.randrange(len(answer))
    await send({"type": "http.response.body", "body": answer[:cut], "more_body": True})
    if how > 0.9:
        await asyncio.sleep(0.001)
    await send({"type": "http.response.body", "body": answer[cut:]})
"""


class Server:
    """A real server in a process of its own, that is killed and started again at its address."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = f"uvicorn app:app --port {self.port} --timeout-keep-alive 1 --log-level error"
        environ = {**os.environ, "RECEIVED": str(self._directory / "received")}
        self._process = subprocess.Popen([sys.executable, "-m", *command.split()], cwd=self._directory, env=environ)
        wait_for(self._answers, "a server to answer")

    def kill(self) -> None:
        """Ends it as nothing else does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def _answers(self) -> bool:
        try:
            return fetch(("127.0.0.1", self.port), "/health").status == 200
        except OSError:
            return False


@dataclass
class Played:
    """What came of all requests."""

    answered: int = 0
    failed_posts: int = 0
    cut: int = 0
    faults: list[str] = field(default_factory=list)


def request(method: str, target: str, chance: random.Random) -> tuple[bytes, bytes]:
    """A request and what its answer must be."""
    body = bytes(chance.choices(b"abcdefgh", k=chance.choice((0, 1, 100, 40_000)))) if method != "GET" else b""
    head = f"{method} {target} HTTP/1.1\r\nHost: soak\r\n"
    if method != "GET" and chance.random() < 0.5:
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:7], body[7:]) if p) + b"0\r\n\r\n"
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks, target.encode() + b" " + body
    length = f"Content-Length: {len(body)}\r\n" if method != "GET" else ""
    return f"{head}{length}\r\n".encode() + body, target.encode() + b" " + body


async def play(headgate: Headgate, until: float, number: int, seed: int, played: Played) -> None:
    """One client after the other, each with a connection for some requests."""
    chance = random.Random(f"{seed} {number}")
    serial = 0
    while time.monotonic() < until:
        stream = await Stream.open(headgate.address)
        for _ in range(chance.randrange(1, 40)):
            serial += 1
            method = chance.choice(("GET", "GET", "PUT", "POST"))
            target = f"/{method}/{number}/{serial}"
            data, expected = request(method, target, chance)
            try:
                stream.send(data)
                response = await stream.response()
            except Broken as error:
                if stream.begun:  # its server was killed in the middle of it, and the client sees that it is not whole
                    played.cut += 1
                else:
                    played.faults.append(f"{target}: {error}")
                break
            played.answered += 1
            if not judge(method, target, response, expected, played) or chance.random() < 0.02:
                break
            if response.fields.get("connection") == "close":
                break
            await asyncio.sleep(chance.random() * 0.01)
        stream.close()


def judge(method: str, target: str, response: Response, expected: bytes, played: Played) -> bool:
    """Whether the answer is as it must be; else it is a fault, or the failure of what must not be done twice."""
    if response.status == 200:
        if response.body == expected:
            return True
        played.faults.append(f"{target}: answered with {response.body[:60]!r}")
    elif response.status == 502 and method != "GET":
        played.failed_posts += 1  # a PUT too, whose body had left already
    else:
        played.faults.append(f"{target}: {response.status}")
    return False


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Three servers."""
    (tmp_path / "app.py").write_text(APP)
    servers = [Server(tmp_path) for _ in range(3)]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.start()
        yield servers


def test_nothing_is_lost_doubled_or_left_behind_while_servers_come_and_go(
    make: Make, servers: list[Server], tmp_path: Path
) -> None:
    config = settings(
        [f"127.0.0.1:{server.port}" for server in servers],
        workers=2,
        upstream={"health_check": {"path": "/health", "interval": "200ms"}, "ejection": {"base": "300ms"}},
    )
    headgate = make(config).start()
    before = [open_files(pid) for pid in workers(headgate)]
    seed, played = random.randrange(1 << 32), Played()
    until = time.monotonic() + SECONDS

    async def clients() -> None:
        await asyncio.gather(*(play(headgate, until, number, seed, played) for number in range(CLIENTS)))

    thread = threading.Thread(target=asyncio.run, args=(clients(),))
    thread.start()
    chance = random.Random(seed)
    outages = 0
    while thread.is_alive():
        server = chance.choice(servers)  # one at a time: the others can answer for it
        server.kill()
        time.sleep(chance.random() * 0.2)
        server.start()
        outages += 1
        wait_for(lambda: all_are_up(headgate) or not thread.is_alive(), "all servers to be back")
    thread.join()

    assert not played.faults, f"seed {seed}: {played.faults[:5]} of {played.answered}\n{headgate.log}"
    delivered = Counter((tmp_path / "received").read_text().splitlines())
    assert [line for line, count in delivered.items() if count > 1 and line.startswith("POST ")] == []
    assert outages > 3
    assert played.answered > 100 * SECONDS / 8
    assert played.failed_posts + played.cut < played.answered / 10
    wait_for(lambda: headgate.metric("headgate_connections") == 0, "connections to be gone")
    assert headgate.metric("headgate_in_flight") == headgate.metric("headgate_requests_in_flight") == 0
    wait_for(
        lambda: all(open_files(pid) <= was + 8 for pid, was in zip(workers(headgate), before, strict=True)),
        "descriptors to be closed",  # but for idle connections to three servers
    )


def all_are_up(headgate: Headgate) -> bool:
    """Whether every server gets requests from every worker."""
    return headgate.metric("headgate_server_available") == 3


def workers(headgate: Headgate) -> list[int]:
    """The workers' processes."""
    return [headgate.worker_pid(index) for index in range(2)]


def open_files(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))
