"""The listening sockets: bound in the supervisor, before any worker runs, and kept there while they are wanted.

A TCP listener has one socket for each worker, all on one port by SO_REUSEPORT: the kernel shares new connections out
among them, and since the supervisor holds them too, a worker that dies loses none that waits in its queue. A Unix
socket has no such sharing, so its one socket goes to every worker.
SO_REUSEPORT would let two Headgates of one user share a port without either knowing, so each port is first bound
without it: what somebody else listens on is then refused as it should be.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from headgate.errors import ListenFailed
from headgate.model.address import Address

BACKLOG = 4096  # the kernel takes net.core.somaxconn when that is less
MOST = 250  # listeners: so many descriptors fit in one message (SCM_MAX_FD is 253)


@dataclass(slots=True)
class Bound:
    """A listener's sockets, one for each worker.

    actual: the address that clients connect to, with the port that the system chose when 0 was asked for.
    file: device and inode of a Unix socket's file that goes with it; None where there is none, or it is another's.
    """

    actual: Address
    sockets: tuple[socket.socket, ...]
    file: tuple[int, int] | None = None

    def own(self) -> None:
        """A Unix socket that was inherited is this process's from now on: its file goes with it."""
        if self.actual.path:
            self.file = _file(self.actual.path)

    def close(self) -> None:
        """Closes this process's share; workers that have theirs go on accepting."""
        if self.file is not None and self.file == _file(self.actual.path):
            with contextlib.suppress(OSError):
                os.unlink(self.actual.path)
        for sock in set(self.sockets):
            sock.close()


def bind_all(
    addresses: Iterable[Address],
    workers: int,
    inherited: Mapping[Address, Sequence[socket.socket]] = MappingProxyType({}),
) -> dict[Address, Bound]:
    """Sockets for each address. inherited: those that listen already, which are taken.

    Raises ListenFailed, with nothing left bound, when one cannot be had.
    """
    bound: dict[Address, Bound] = {}
    try:
        for address in addresses:
            if len(bound) == MOST:
                raise ListenFailed(f"there can be {MOST} listeners at most")
            bound[address] = bind(address, workers, inherited=inherited.get(address, ()))
    except ListenFailed:
        close_all(bound)
        raise
    return bound


def close_all(bound: dict[Address, Bound]) -> None:
    """Closes them and forgets them."""
    for listener in bound.values():
        listener.close()
    bound.clear()


def bind(address: Address, workers: int, *, mode: int = 0o666, inherited: Sequence[socket.socket] = ()) -> Bound:
    """Listening, non-blocking sockets for so many workers. mode: of the file, for a Unix socket.

    inherited: sockets that listen on the address already. More of them than there are workers are closed; who waits in
    those is taken in by the workers of whom they were inherited from, when these drain. A file stays theirs: see `own`.
    """
    try:
        if address.path:
            if inherited:
                return Bound(address, (inherited[0],) * workers)
            return Bound(address, (_bind_unix(address.path, mode),) * workers, _file(address.path))
        return _extend_tcp(address, workers, inherited) if inherited else _bind_tcp(address, workers)
    except (OSError, UnicodeError) as error:
        raise ListenFailed(f"cannot listen on {address}: {_explain(address, error)}") from error


def _bind_tcp(address: Address, workers: int) -> Bound:
    family, where = _resolve(address)
    with _tcp_socket(family) as alone:
        alone.bind(where)
        where = alone.getsockname()  # from here on the port is known, also when the system chose it
    return Bound(Address(address.host, where[1]), _open_tcp(family, where, workers))


def _extend_tcp(address: Address, workers: int, inherited: Sequence[socket.socket]) -> Bound:
    """The inherited sockets and as many more as are missing, or less the ones that are too many."""
    first = inherited[0]
    where = first.getsockname()
    added = _open_tcp(first.family, where, max(0, workers - len(inherited)))
    for sock in inherited[workers:]:
        sock.close()
    return Bound(Address(address.host, where[1]), (*inherited[:workers], *added))


def _open_tcp(family: int, where: tuple[str, int], count: int) -> tuple[socket.socket, ...]:
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            opened.append(sock := _tcp_socket(family))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(where)
        # Listening only when all are bound: a port taken in between must not leave a socket that accepts.
        for sock in opened:
            sock.listen(BACKLOG)
    except OSError:
        for sock in opened:
            sock.close()
        raise
    return tuple(opened)


def _tcp_socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # [::]:80 and 0.0.0.0:80 are two listeners
    return sock


def _resolve(address: Address) -> tuple[int, tuple[str, int]]:
    """The family and socket address to bind; of a name's addresses an IPv4 one is preferred, as 127.0.0.1 to ::1."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, where = found[0]
    return family, where  # type: ignore[return-value]  # longer for IPv6, and passed on whole


def _bind_unix(path: str, mode: int) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        os.chmod(path, mode)  # before listening: nobody can connect until then
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Removes a socket's file that nobody listens on; raises OSError when somebody does or it is another file."""
    try:
        kind = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EEXIST, "there is a file of this name that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(1)
        try:
            caller.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except BlockingIOError:  # its queue is full, so somebody listens
            pass
    raise OSError(errno.EADDRINUSE, "in use")


def _file(path: str) -> tuple[int, int] | None:
    """Which file the path names now: a successor's socket has the same path and is another file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _explain(address: Address, error: OSError | UnicodeError) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return f'the host name "{address.host}" is not known'
    if error.errno == errno.EADDRINUSE:
        return "it is in use, by another program or another Headgate"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address.host} is not an address of this machine"
    if error.errno in (errno.EACCES, errno.EPERM) and 0 < address.port < 1024:
        return (
            "ports below 1024 need a permission; take a higher port, or lower the bound "
            f"(sysctl net.ipv4.ip_unprivileged_port_start={address.port}), "
            "or give it to the interpreter (setcap cap_net_bind_service=+ep)"
        )
    return (error.strerror or str(error)).lower()
