"""The keep-alive race against the servers that people run: requests at the very time when a server closes its idle
connections, none of which can be sent twice. Not one may fail.

Each client has an upstream of its own, all of the same server, so that each of its requests finds the connection of the
one before. HEADGATE_RACE_SECONDS says how long; with a margin that is too small a minute finds some failures.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.kit.client import fetch
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.waiting import wait_for
from tests.ports import free_port

Make = Callable[..., Headgate]

SECONDS = float(os.environ.get("HEADGATE_RACE_SECONDS", "8"))
CLIENTS = 24
pytestmark = pytest.mark.timeout(SECONDS + 120)
KEEP_ALIVE = 1  # seconds, of both servers: the shortest that they can be told

ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""
WSGI = """
def app(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
SERVERS = {
    "uvicorn": (ASGI, "uvicorn app:app --port {port} --timeout-keep-alive {keep} --log-level error"),
    "gunicorn": (WSGI, "gunicorn app:app --bind 127.0.0.1:{port} --keep-alive {keep} --threads 32 --log-level error"),
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a real server that closes idle connections soon."""
    source, command = SERVERS[request.param]
    (tmp_path / "app.py").write_text(source)
    port = free_port()
    arguments = command.format(port=port, keep=KEEP_ALIVE).split()
    process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=tmp_path)
    try:
        wait_for(lambda: answers(port), f"{request.param} to listen")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    """Whether the server is there."""
    try:
        return fetch(("127.0.0.1", port), "/").status == 200
    except OSError:
        return False


def test_no_request_meets_a_connection_that_its_server_closes(make: Make, server: str) -> None:
    config = settings([server])
    config["upstreams"] = {f"u{number}": {"servers": [server]} for number in range(CLIENTS)}
    config["routes"] = [{"match": {"path": f"/{number}"}, "upstream": f"u{number}"} for number in range(CLIENTS)]
    headgate = make(config).start()
    seed = random.randrange(1 << 32)
    end = time.monotonic() + SECONDS
    failures: list[str] = []
    numbers = [0] * CLIENTS

    def play(number: int) -> None:
        chance = random.Random(seed + number)
        while (now := time.monotonic()) < end:
            time.sleep(min(chance.choice((0.01, chance.uniform(0.99, 1.01), chance.uniform(0.9, 1.1))), end - now))
            response = fetch(headgate.address, f"/{number}", "POST", body=b"x" * chance.randrange(20))
            numbers[number] += 1
            if response.status != 200:
                failures.append(f"{response.status} {response.body!r}")

    clients = [threading.Thread(target=play, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not failures, f"{failures} of {sum(numbers)} (seed {seed})\n{headgate.log}"
    assert all(numbers)
    assert headgate.metric("headgate_server_connects_total") > CLIENTS  # or there was no race
