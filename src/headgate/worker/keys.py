"""What a request is counted by, read from the request itself. `limits/keys.py` says what the bytes look like.

A part that the request lacks is the client's address instead: a client must not get around a limit by leaving
something out. So does one that is there twice and says two things: some servers believe the first, some the last, and
a client could invent the other for each request. A path and a host count in the form that routes compare, a cookie and
a parameter decoded, so no spelling of them counts apart.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from headgate.http1.fields import reader_of
from headgate.http1.request import RequestHead
from headgate.limits.keys import PREFIXES, Seal, compose, decoded, is_secret, network_of, prefixes, said
from headgate.model.config import Jwt, Limit
from headgate.model.snapshot import LimitState
from headgate.routing.router import counted_path, host_name
from headgate.worker.hiding import Hide, hiding

_FIXED = ("route", "constant")  # what is the same for all requests of a route
_REMEMBERED = 2048  # networks of clients: that of an address costs microseconds

_ESCAPED = re.compile(rb"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)  # in a quoted cookie, as `http.cookies` reads it
_BEARER = re.compile(rb"bearer[ \t]+([^ \t].*)", re.IGNORECASE | re.DOTALL)  # also with tabs: some servers take them

# The part of the key of a request. Arguments: the request's head, the key of its client's address, the address.
Part = Callable[[RequestHead, bytes, str], bytes]
Read = Callable[[RequestHead], bytes]
One = Callable[[Sequence[bytes]], bytes]


class Keys:
    """What makes the keys of the limits of a plan."""

    def __init__(self, secret: bytes, jwt: Jwt | None = None, limits: Iterable[LimitState] = ()) -> None:
        """secret: what is to be seen nowhere else is hashed with it. limits: all that count by claims of tokens."""
        self._seal = Seal(secret)
        parts = {part for state in limits for text in state.limit.keys for part in text.split(",")}
        self._claims = tuple(sorted(part.removeprefix("jwt:") for part in parts if part.startswith("jwt:")))
        self._jwt = jwt

    def of(self, limit: Limit, route: bytes, *, apart: bool = False) -> "Key":
        """The key of a limit. route: what names the route.

        apart: whether a request that says two things is one of its own. That is for the answers of functions, which see
        all that it says.
        """
        names = limit.key.split(",")
        parts = [
            self._claim(name)
            if name.startswith("jwt:")
            else _part(name, route, self._seal, b", ".join if apart else _agreed)
            for name in names
        ]
        if limit.private:
            parts = [_hidden(part, self._seal) for part in parts]
        is_address = all(prefixes(name) is not None or name in _FIXED for name in names)
        return Key(parts, is_address, limit.key == "client_ip" and not limit.private)

    def hiding(self, limits: Iterable[Limit]) -> Hide | None:
        """What hides from the access log the parameters of a query that private ones of these limits count by."""
        return hiding(limits, self._seal)

    def told(self, limit: Limit) -> Callable[[bytes, bytes], bytes]:
        """What makes the key of what a function says, if anything, and of the key of its client's address."""
        if not limit.private:
            return said
        return lambda value, client: self._seal(said(value, client))

    def _claim(self, text: str) -> Part:
        from headgate.worker.tokens import verifier_of  # late: who has no such limit loads no PyJWT

        assert self._jwt is not None
        verifier = verifier_of(self._jwt, self._claims)
        at, authorization = self._claims.index(text.removeprefix("jwt:")), _header("authorization", _agreed)
        return lambda head, client, address: said(verifier.claims(_bearer(authorization(head)))[at], client)


class Key:
    """The key of a limit: one part, or several that count together.

    is_address: whether it is the same for all requests of a client on its route.
    """

    def __init__(self, parts: Sequence[Part], is_address: bool, is_plain: bool) -> None:
        """is_plain: the client's address as it usually counts, and nothing else."""
        self._parts = parts
        self._is_plain = is_plain
        self.is_address = is_address

    def read(self, head: RequestHead, client: bytes, address: str) -> bytes:
        """The key of a request. client: the key of its client's address."""
        if self._is_plain:
            return client
        return compose([part(head, client, address) for part in self._parts])


def _part(text: str, route: bytes, seal: Seal, one: One) -> Part:
    lengths = prefixes(text)
    if lengths == PREFIXES:
        return lambda head, client, address: client
    if lengths is not None:
        return lambda head, client, address: _network_of(address, lengths)
    read = _read(text, route, one)
    if is_secret(text):
        return _secret(read, seal)
    return lambda head, client, address: said(read(head), client)


def _hidden(part: Part, seal: Seal) -> Part:
    return lambda head, client, address: seal(part(head, client, address))


def _secret(read: Read, seal: Seal) -> Part:
    def part(head: RequestHead, client: bytes, address: str) -> bytes:
        value = read(head)
        return seal(said(value, client)) if value else said(value, client)

    return part


_network_of = lru_cache(_REMEMBERED)(network_of)


def _read(text: str, route: bytes, one: One) -> Read:
    """What reads from a request what it says; nothing where it does not. one: what it says that says several things."""
    kind, _, name = text.partition(":")
    if kind == "header":
        return _header(name, one)
    if kind == "cookie":
        return _cookie(name, one)
    if kind == "query":
        return _query(name, one)
    if kind == "api_key":
        return _api_key(name, one)
    return {
        "path": lambda head: counted_path(head.target),
        "host": lambda head: host_name(head.host),
        "method": lambda head: head.method.upper(),
        "route": lambda head: route,
        "constant": lambda head: b"*",
    }[kind]


def _header(name: str, one: One) -> Read:
    values = reader_of(name, twins=True)
    return lambda head: one(values(head.lines))


def _agreed(values: Sequence[bytes]) -> bytes:
    """What all of these say; nothing where they disagree, or there are none."""
    if len(values) == 1:
        return values[0]
    return values[0] if values and values.count(values[0]) == len(values) else b""


def _cookie(name: str, one: One) -> Read:
    fields = reader_of("cookie")
    pattern = re.compile(rb"(?:^|;)[ \t]*" + re.escape(name.encode()) + rb"[ \t]*=([^;]*)")
    return lambda head: one([_value(value) for field in fields(head.lines) for value in pattern.findall(field)])


def _value(text: bytes) -> bytes:
    """What a cookie's value means to servers: those in Python take it out of its quotes, others decode it."""
    value = text.strip(b" \t")
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = _ESCAPED.sub(_character, value[1:-1])
    return decoded(value)


def _character(escaped: re.Match[bytes]) -> bytes:
    octal = escaped[1]
    return bytes([int(octal, 8)]) if octal else escaped[2]


def _query(name: str, one: One) -> Read:
    wanted = name.encode()

    def read(head: RequestHead) -> bytes:
        pairs = [pair.partition(b"=") for pair in head.target.partition(b"?")[2].split(b"&")]
        return one([decoded(value) for key, _, value in pairs if decoded(key) == wanted])

    return read


def _api_key(name: str, one: One) -> Read:
    """What names the caller: what the field has or, where no field is named, a bearer token or else X-API-Key."""
    if name:
        field, other = _header(name, one), _credentials if name == "authorization" else bytes
        return lambda head: _bearer(value := field(head)) or other(value)
    authorizations, api_key = reader_of("authorization"), _header("x-api-key", one)

    def read(head: RequestHead) -> bytes:
        fields = authorizations(head.lines)
        authorization = one(fields)
        if fields and not authorization:  # one may be a good token, beside which X-API-Key could be anything
            return b""
        return _bearer(authorization) or api_key(head)

    return read


def _bearer(value: bytes) -> bytes:
    """The token of an Authorization field (RFC 6750 section 2.1); nothing where it has none."""
    found = _BEARER.match(value)
    return found[1] if found else b""


def _credentials(value: bytes) -> bytes:
    """Those of another scheme, of which neither case nor white space count (RFC 9110 section 11.4)."""
    scheme, _, token = value.replace(b"\t", b" ").partition(b" ")
    return b"%b %b" % (scheme.capitalize(), token.lstrip()) if token else value
