"""Who may speak to the admin API: one ASGI layer in front of all of it.

With a token every request must carry it. Without one the API trusts whoever can reach its address, which is of this
machine alone, so what must be kept out is the web page in a local browser: it can send requests to 127.0.0.1 (a foreign
Origin, refused), and by DNS rebinding it can even read the answers (a Host that is not this machine's, refused).
Health endpoints are open: what asks for them has no token and learns nothing worth hiding.
"""

import hmac
import ipaddress
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headgate.control.problems import problem

OPEN = ("/healthz", "/readyz")
MAX_BODY = 65536

_READS = ("GET", "HEAD")


class Guard:
    """Passes on the requests that may be made and refuses the others."""

    def __init__(self, app: ASGIApp, token: Callable[[], str], on_network: bool) -> None:
        """token: the one wanted now, "" for none. on_network: a TCP address, which browsers can reach."""
        self._app = app
        self._token = token
        self._on_network = on_network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = None if scope["path"] in OPEN else self._refusal(scope["method"], Headers(scope=scope))
        if refusal:
            headers = {"WWW-Authenticate": "Bearer"} if refusal[0] == 401 else None
            await problem(*refusal, headers=headers)(scope, receive, send)
            return
        await self._app(scope, _capped(receive), _with_headers(send))

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        token = self._token()
        if token and not _carries(headers, token):
            return 401, "a token is needed: Authorization: Bearer TOKEN"
        if not token and self._on_network and not _is_this_machine(headers.get("host", "")):
            return 403, "without a token the API answers only to Host localhost or a loopback address"
        if method not in _READS:
            return _refusal_of_write(headers)
        return None


def _refusal_of_write(headers: Headers) -> tuple[int, str] | None:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host", ""):
        return 403, "requests of foreign web pages are refused"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return 403, "requests of foreign web pages are refused"
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY:
        return 413, f"a body has {MAX_BODY} bytes at most"
    has_body = length != "0" or "transfer-encoding" in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json":
        return 415, "a body must have Content-Type: application/json"
    return None


def _carries(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    # Bytes, because compare_digest takes no other than ASCII texts.
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _is_this_machine(host: str) -> bool:
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    if port and not port.isdigit():
        return False
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _capped(receive: Receive) -> Receive:
    """The request, cut off when its body is longer than it may be; its reader finds JSON that does not end."""
    left = MAX_BODY

    async def capped() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                return {"type": "http.disconnect"}
        return message

    return capped


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            fixed = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": [*message.get("headers", []), *fixed]}
        await send(message)

    return sending
