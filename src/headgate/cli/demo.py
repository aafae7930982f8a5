"""`headgate demo`: three small backends with Headgate in front of them, and what to try with them.

The parts are ordinary `headgate` commands in processes of their own, bound to this one (see `bound`), so that they can
be killed, drained and brought back like real ones, and none stays behind. They have a process group of their own:
Ctrl-C reaches the demo alone, which stops Headgate before the backends.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from headgate.cli.admin import Admin
from headgate.errors import AdminFailed, ListenFailed, UserError
from headgate.model.address import Address

_HOST = "127.0.0.1"
_PORT, _ADMIN_PORT, _BACKEND_PORTS = 8000, 9000, (5001, 5002, 5003)
_START = 15.0  # seconds that the start may take before something is wrong

_FILE = """\
workers = 2
[admin]
listen = "127.0.0.1:{admin}"
[[listeners]]
address = "127.0.0.1:{port}"
[upstreams.web]
servers = [{servers}]
health_check = {{ path = "/health", interval = "1s", timeout = "500ms" }}
[limits.per_ip]
rate = "{limit}"
[[routes]]
upstream = "web"
limits = ["per_ip"]
"""

_HINTS = """
Headgate balances http://127.0.0.1:{port} over three backends and lets each client address make {limit}.
Try in another terminal:

  the round robin    for i in 1 2 3 4 5 6; do curl -s http://127.0.0.1:{port}/ | head -n 1; done
  the limit          for i in $(seq 30); do curl -s -o /dev/null -w '%{{http_code}}\\n' http://127.0.0.1:{port}/; done
  who is there       {headgate} server list{option}
  kill a backend     kill -9 {pid}          ({first}; see `server list` again)
  bring it back      {headgate} backend --port {first}
  drain one          {headgate} server drain {second}{option}
  take it back       {headgate} server ready {second}{option}
  at a glance        {headgate} status{option}
  the metrics        curl -s http://127.0.0.1:{admin}/metrics
  the configuration  {file}
                     (change it, then: {headgate} reload{option})

Ctrl-C stops everything.
"""


@click.command
@click.option("--port", type=click.IntRange(1, 65535), help="Where Headgate listens (8000, or a free one).")
@click.option("--limit", default="20/30s", show_default=True, metavar="RATE", help="For each client address.")
def demo(port: int | None, limit: str) -> int:
    """Run three small backends and Headgate in front of them, with health checks and a limit."""
    if port is not None and not _isfree_port(port):
        raise ListenFailed(f"cannot listen on {_HOST}:{port}: it is in use")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    front, admin = port or free_port(_PORT), free_port(_ADMIN_PORT)
    ports = [free_port(preferred) for preferred in _BACKEND_PORTS]
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="headgate-demo-") as folder:
        file = Path(folder) / "headgate.toml"
        servers = ", ".join(f'"{_HOST}:{backend}"' for backend in ports)
        file.write_text(_FILE.format(admin=admin, port=front, servers=servers, limit=limit))
        return _run(file, front, admin, ports, limit)
    return 0


def _run(file: Path, front: int, admin: int, ports: list[int], limit: str) -> int:
    with contextlib.ExitStack() as stack:
        first, *_ = [stack.enter_context(_part("backend", "--port", str(port), quiet=True)) for port in ports]
        headgate = stack.enter_context(_part("run", str(file)))
        if not _is_ready(headgate, Admin(Address(_HOST, admin))):
            return headgate.wait()
        text = _HINTS.format(
            port=front,
            limit=limit.replace("/", " requests in ") if limit[-1:] == "s" else limit,
            headgate=_own_name(),
            option="" if admin == _ADMIN_PORT else f" --admin {admin}",
            pid=first.pid,
            first=ports[0],
            second=ports[1],
            admin=admin,
            file=file,
        )
        click.echo(text)
        return headgate.wait()


@contextlib.contextmanager
def _part(*arguments: str, quiet: bool = False) -> Iterator["subprocess.Popen[bytes]"]:
    """A `headgate` command as a process that ends with the block, or with this process at the latest."""
    command = [sys.executable, "-m", "headgate.cli.bound", str(os.getpid()), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL if quiet else None, process_group=0)
    try:
        yield process
    finally:
        while process.poll() is None:
            process.terminate()
            # A second Ctrl-C sends a second SIGTERM, which stops Headgate without waiting for requests in flight.
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()


def _is_ready(headgate: "subprocess.Popen[bytes]", admin: Admin) -> bool:
    """Waits until Headgate serves; False when it ended instead, having said why."""
    deadline = time.monotonic() + _START
    while headgate.poll() is None:
        with contextlib.suppress(AdminFailed):
            admin.ask("GET", "/readyz")
            return True
        if time.monotonic() > deadline:
            raise UserError(f"the demo was not ready within {_START:g} s")
        time.sleep(0.05)
    return False


def free_port(preferred: int) -> int:
    """The preferred port, or one that is free when it is taken."""
    if _isfree_port(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = int(probe.getsockname()[1])
    click.echo(f"port {preferred} is in use: taking {port} instead")
    return port


def _isfree_port(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _own_name() -> str:
    """How this command is called from the same place."""
    called = sys.argv[0]
    if shutil.which("headgate") or os.path.basename(called) != "headgate":
        return "headgate"
    return os.path.relpath(called)
