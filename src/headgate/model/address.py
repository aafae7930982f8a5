"""Where something listens: a host and a port, or the path of a Unix socket."""

from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on or to connect to. `path` is set for a Unix socket and then host and port mean nothing.

    Its text form is `127.0.0.1:8000`, `[::1]:8000`, `example.org:80` or `unix:/run/headgate.sock`.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """The address that the text names. Raises ValueError, with what was expected, when it names none."""
        if text.startswith("unix:"):
            if not text[5:].startswith("/"):
                raise ValueError(
                    f'"{text}" is not an address: a Unix socket needs an absolute path, as in unix:/run/a.sock'
                )
            return cls(path=text[5:])
        if "://" in text:
            raise ValueError(
                f'"{text}" is not an address: it is a URL (expected host:port, without {text.split("//")[0]}//)'
            )
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f'"{text}" is not an address: an IPv6 host stands in brackets, as in [::1]:8000')
        if not colon or not host or not (port.isascii() and port.isdigit() and len(port) <= 5) or int(port) > 65535:
            raise ValueError(f'"{text}" is not an address (expected host:port or unix:/path)')
        if any(c <= " " or c in "/?#@" for c in host):
            raise ValueError(f'"{text}" is not an address: "{host}" is not a host')
        return cls(host, int(port))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name, even one like 127.example.org, can lead anywhere
            return False
