"""Telling systemd how far we are (sd_notify(3)): one datagram to the socket that it names; nothing without one."""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Sends a state such as READY=1. A missing or broken systemd is no error: it is told, not asked."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(state.encode(), path.replace("@", "\0", 1) if path[0] == "@" else path)
