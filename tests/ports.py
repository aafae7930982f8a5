"""Ports for what a test starts later, or never: nobody else is given them meanwhile."""

import socket
from collections import deque

_MOST = 300
_held: deque[socket.socket] = deque()  # the latest; many more than one test asks for


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens until a server of the test does.

    A socket stays bound to it, so the system gives the port to nobody who asks for any. A server that asks for this
    one, with SO_REUSEADDR as servers do, gets it; until then who connects is refused.
    """
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    _held.append(holder)
    if len(_held) > _MOST:
        _held.popleft().close()
    return int(holder.getsockname()[1])


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """So many of them, no two the same."""
    return [free_port(host) for _ in range(count)]
