"""The claims of bearer tokens (JSON Web Tokens, RFC 7519) that limits count by.

To verify a token costs more than all else that is done for its request, so what came of it is kept: of a token whose
signature is right the claims that are asked for, and from when until when it is good; of any other that it is bad. The
two are kept apart, so that invented tokens drive no good one out, and by their hashes, so that memory has no tokens.

A token that is not good says nothing. Only workers with a limit by `jwt:` import this module: PyJWT and cryptography
cost each of them 30 ms and 9 MB.
"""

import json
import math
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import jwt

from headgate.model.config import Jwt

T = TypeVar("T")

_LONGEST = 8192  # bytes of a token; longer ones are not looked at
_GOOD, _BAD = 4096, 1024  # tokens that are remembered

_FOREVER = float("inf")


class _Known(NamedTuple):
    """What is known of a token whose signature is right.

    begins, ends: when the token is good. values: of the claims that are asked for, empty where it has none.
    """

    begins: float
    ends: float
    values: tuple[bytes, ...]


class Verifier:
    """What tokens say, as far as they are good by these settings."""

    def __init__(self, settings: Jwt, claims: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        """claims: names of those that are asked for, with dots where one is in another. clock: seconds since 1970."""
        self._names = tuple(claims)
        self._nothing = (b"",) * len(self._names)
        self._settings = settings
        self._clock = clock
        self._keys: dict[str, list[jwt.PyJWK]] = {}
        for key in settings.keys:
            for algorithm in key.algorithms:
                self._keys.setdefault(algorithm, []).append(jwt.PyJWK.from_json(key.jwk, algorithm))
        self._good: dict[bytes, _Known] = {}
        self._bad: dict[bytes, None] = {}

    def claims(self, token: bytes) -> tuple[bytes, ...]:
        """The claims of a token, in the order in which they were asked for; empty where it has none, or is not good."""
        if not token or len(token) > _LONGEST:
            return self._nothing
        digest = blake2b(token, digest_size=32).digest()
        known = self._good.get(digest)
        if known is None and (digest in self._bad or (known := self._look_at(token, digest)) is None):
            return self._nothing
        return known.values if known.begins <= self._clock() < known.ends else self._nothing

    def _look_at(self, token: bytes, digest: bytes) -> _Known | None:
        """What is known of a token from now on; None: it is bad."""
        try:
            known = self._read(self._verified(token))
        except Exception:  # two libraries read what a stranger wrote: whatever they make of it, the request goes on
            _keep(self._bad, digest, None, _BAD)
            return None
        _keep(self._good, digest, known, _GOOD)
        return known

    def _verified(self, token: bytes) -> Mapping[str, object]:
        """All claims of a token whose signature, issuer and audience are right. Raises for any other."""
        algorithm, name = _signed_with(token)
        signed, _, signature = token.rpartition(b".")
        for key in self._keys.get(algorithm, ()):
            # PyJWT looks at each byte of a token before its signature: 400 us, which anybody could have us spend.
            if name in ("", key.key_id or name) and key.Algorithm.verify(signed, key.key, _decoded(signature)):
                return self._checked(token, algorithm, key)
        raise jwt.InvalidSignatureError

    def _checked(self, token: bytes, algorithm: str, key: jwt.PyJWK) -> Mapping[str, object]:
        settings = self._settings
        claims: Mapping[str, object] = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            audience=settings.audience or None,
            issuer=settings.issuer or None,
            options={
                "verify_aud": bool(settings.audience),
                "verify_iss": bool(settings.issuer),
                # Times are looked at with each request, here.
                "verify_exp": False,
                "verify_nbf": False,
                # Servers may take tokens in which PyJWT is strict about these.
                "verify_iat": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
        return claims

    def _read(self, claims: Mapping[str, object]) -> _Known:
        leeway = self._settings.leeway
        values = tuple(_text(_claim(claims, name)) for name in self._names)
        return _Known(_time(claims, "nbf", -_FOREVER) - leeway, _time(claims, "exp", _FOREVER) + leeway, values)


@lru_cache(1)
def verifier_of(settings: Jwt, claims: tuple[str, ...]) -> Verifier:
    """The verifier by these settings; the one that was there before, with what it knows, when nothing has changed."""
    return Verifier(settings, claims)


def _keep(known: dict[bytes, T], digest: bytes, what: T, most: int) -> None:
    """Adds what is known of a token; the oldest goes when there are too many."""
    if len(known) >= most:
        del known[next(iter(known))]
    known[digest] = what


def _signed_with(token: bytes) -> tuple[str, str]:
    """The algorithm and the name of the key ("" for none) that a token says it was signed with."""
    header = json.loads(_decoded(token.partition(b".")[0]))
    algorithm, name = header["alg"], header.get("kid", "")
    if not isinstance(algorithm, str) or not isinstance(name, str):
        raise TypeError
    return algorithm, name


def _decoded(text: bytes) -> bytes:
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _claim(claims: Mapping[str, object], name: str) -> object:
    """The claim of this name or, where there is none, that within others which its dots tell."""
    if name in claims:
        return claims[name]
    found: object = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _text(value: object) -> bytes:
    """What a claim counts as; nothing for what is no text, whole number or truth value."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return json.dumps(value).encode() if isinstance(value, int) else b""


def _time(claims: Mapping[str, object], name: str, default: float) -> float:
    """Seconds since 1970. Raises ValueError, TypeError or OverflowError for what is no time."""
    if name not in claims:
        return default
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)
