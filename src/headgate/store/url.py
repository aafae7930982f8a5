"""The address of a Redis, read from its URL.

    redis://[[user]:password@]host[:port][/db]     rediss://... with TLS     unix://[[user]:password@]/path[?db=0]

User and password are percent-decoded. The text form leaves the password out, so it may stand in logs and messages.
"""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_TCP = ("redis", "rediss")
_UNIX = ("unix", "redis+unix")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a Redis is and how one logs in. `path` is set for a Unix socket; host and port mean nothing then."""

    host: str = ""
    port: int = 6379
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
            port = parts.port or 6379
        except ValueError:
            raise ValueError("expected a port from 1 to 65535") from None
        is_unix = parts.scheme in _UNIX
        if is_unix and (parts.hostname or not parts.path.startswith("/")):
            raise ValueError("a Unix socket needs an absolute path, as in unix:///run/redis.sock")
        return cls(
            host="" if is_unix else parts.hostname or "127.0.0.1",
            port=port,
            path=unquote(parts.path) if is_unix else "",
            db=_db(parts, "" if is_unix else parts.path.strip("/")),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            tls=parts.scheme == "rediss",
        )

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        if self.path:
            return f"unix://{user}{self.path}?db={self.db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{user}{host}:{self.port}/{self.db}"


def _db(parts: SplitResult, text: str) -> int:
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != "db":
            raise ValueError(f'"{name}" is not a parameter (known: db)')
        text = value
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f'"{text}" is not a database (expected a number)')
    return int(text or 0)
