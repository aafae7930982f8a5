"""The address of a Redis, of the Sentinels that know it, or of a Cluster, read from its URL.

    redis://[[user]:password@]host[:port][/db]     rediss://... with TLS     unix://[[user]:password@]/path[?db=0]
    redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service[/db][?sentinel_user=...&sentinel_password=...]
    redis+cluster://[[user]:password@]host[:port][,host[:port]...]

User and password are percent-decoded. The text form leaves passwords out, so it may stand in logs and messages.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

_TCP = ("redis", "rediss")
_UNIX = ("unix", "redis+unix")
_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_CLUSTER = ("redis+cluster", "rediss+cluster")
_PORT = 6379
_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a Redis is and how one logs in. `path` is set for a Unix socket; host and port mean nothing then."""

    host: str = ""
    port: int = _PORT
    path: str = ""
    db: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """The endpoint that the URL names. Raises ValueError, with what was expected and without the password."""
        parts = urlsplit(url)
        if parts.scheme not in _TCP + _UNIX:
            raise ValueError("expected redis://host:port/db, rediss://host:port/db or unix:///path")
        try:
            port = parts.port or _PORT
        except ValueError:
            raise ValueError("expected a port from 1 to 65535") from None
        is_unix = parts.scheme in _UNIX
        if is_unix and (parts.hostname or not parts.path.startswith("/")):
            raise ValueError("a Unix socket needs an absolute path, as in unix:///run/redis.sock")
        db = _parameters(parts, "db").get("db", "" if is_unix else parts.path.strip("/"))
        return cls(
            host="" if is_unix else parts.hostname or "127.0.0.1",
            port=port,
            path=unquote(parts.path) if is_unix else "",
            db=_db(db),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            tls=parts.scheme == "rediss",
        )

    @property
    def at(self) -> str:
        """Host and port, as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        if self.path:
            return f"unix://{user}{self.path}?db={self.db}"
        return f"{'rediss' if self.tls else 'redis'}://{user}{self.at}/{self.db}"


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The Sentinels that know a master by the name of its service. master: how one logs in to it, wherever it is."""

    sentinels: tuple[Endpoint, ...]
    service: str
    master: Endpoint

    @classmethod
    def parse(cls, url: str) -> "Sentinels":
        """The Sentinels that the URL names. Raises ValueError, with what was expected and without any password."""
        parts, places = _split(url, _SENTINEL_PORT)
        service, _, db = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("expected the name of the service, as in redis+sentinel://host:26379/mymaster")
        known = _parameters(parts, "sentinel_user", "sentinel_password")
        tls = parts.scheme == "rediss+sentinel"
        user, password = known.get("sentinel_user", ""), known.get("sentinel_password", "")
        return cls(
            tuple(Endpoint(host, port, user=user, password=password, tls=tls) for host, port in places),
            unquote(service),
            Endpoint(db=_db(db), user=unquote(parts.username or ""), password=unquote(parts.password or ""), tls=tls),
        )

    def __str__(self) -> str:
        scheme = "rediss+sentinel" if self.master.tls else "redis+sentinel"
        user = f"{self.master.user}@" if self.master.user else ""
        return f"{scheme}://{user}{','.join(one.at for one in self.sentinels)}/{self.service}/{self.master.db}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes of a Cluster, with how one logs in to them; they know the others."""

    nodes: tuple[Endpoint, ...]

    @classmethod
    def parse(cls, url: str) -> "Cluster":
        """The nodes that the URL names. Raises ValueError, with what was expected and without the password."""
        parts, places = _split(url, _PORT)
        _parameters(parts)
        if parts.path.strip("/") not in ("", "0"):
            raise ValueError("a Cluster has no databases but 0")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        tls = parts.scheme == "rediss+cluster"
        return cls(tuple(Endpoint(host, port, user=user, password=password, tls=tls) for host, port in places))

    def __str__(self) -> str:
        first = self.nodes[0]
        user = f"{first.user}@" if first.user else ""
        return f"{'rediss' if first.tls else 'redis'}+cluster://{user}{','.join(one.at for one in self.nodes)}"


def parse(url: str) -> Endpoint | Sentinels | Cluster:
    """What the URL names. Raises ValueError, with what was expected and without any password."""
    scheme = url.partition(":")[0].lower()
    if scheme in _CLUSTER:
        return Cluster.parse(url)
    return Sentinels.parse(url) if scheme in _SENTINEL else Endpoint.parse(url)


def _split(url: str, usual: int) -> tuple[SplitResult, list[tuple[str, int]]]:
    """A URL without its hosts, and these with their ports: of a list of them, urlsplit would refuse one in brackets."""
    scheme, sign, rest = url.partition("://")
    place, *path = re.split("(?=[/?#])", rest, maxsplit=1)
    user, at, hosts = place.rpartition("@")
    parts = urlsplit("".join((scheme, sign, user, at, *path)))
    return parts, [_place(text, usual) for text in hosts.split(",")]


def _place(text: str, usual: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("expected host:port, with a port from 1 to 65535") from None
    if not host:
        raise ValueError("expected host:port, or several with commas")
    return host, port or usual


def _parameters(parts: SplitResult, *known: str) -> dict[str, str]:
    found = {}
    for pair in filter(None, parts.query.split("&")):
        name, _, value = pair.partition("=")
        if name not in known:
            raise ValueError(f'"{name}" is not a parameter (known: {", ".join(known) or "none"})')
        found[name] = unquote(value)
    return found


def _db(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f'"{text}" is not a database (expected a number)')
    return int(text or 0)
