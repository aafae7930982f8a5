"""The table `jwt`: which bearer tokens are good.

Keys are read here, once, from the secret, from PEM files and from JSON Web Key Sets, and become JSON Web Keys in the
configuration: workers read no file, and what does not fit or is too weak is said before anything starts. An algorithm
is good only where it is listed, and a key only for the algorithms of its kind: whoever knows a public key must not be
able to use it as a secret.
"""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

from headgate.control import values
from headgate.control.report import Place, Said
from headgate.control.secret import from_file
from headgate.control.values import Kind, Kinds
from headgate.model.config import Jwt, JwtKey
from headgate.model.words import counted

_HMAC = ("HS256", "HS384", "HS512")
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# What each kind of key signs with, by its `kty` and `crv` (RFC 7518 section 6, RFC 8037).
_SIGNS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("oct", ""): _HMAC,
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
ALGORITHMS = (*_HMAC, *_RSA, "ES256", "ES384", "ES512", "EdDSA")
_MEMBERS = ("kty", "kid", "crv", "k", "n", "e", "x", "y")  # of a key, without what is private or no part of it
_MOST_KEYS = 16  # each may have to be tried for a token that names none
_LARGEST = 1 << 20  # bytes of a file
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_INSTALL = 'pip install "headgate[jwt]"'


def _texts(place: Place, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (values.TEXT.read(place, value),)
    found = values.many(values.TEXT, "list of texts", same=str).read(place, value)
    if not found:
        raise ValueError("expected at least one (leave it out where it may be anything)")
    return found


TEXTS: Kind[tuple[str, ...]] = Kind("text or list of such", _texts)
JWT: Kinds = {
    "algorithms": values.many(values.choice("an algorithm", *ALGORITHMS), "list of algorithms", same=str),
    "secret": values.TEXT,
    "secret_file": values.TEXT,
    "key_files": values.many(values.TEXT, "list of files", same=str),
    "issuer": TEXTS,
    "audience": TEXTS,
    "leeway": values.duration(zero=True),
}


def read(place: Place, value: object, folder: Path) -> Jwt:
    """The settings that the table says. folder: where relative paths start. Reports every problem, then raises Said."""
    given = values.table(place, value, JWT, "a setting of tokens", ["algorithms"])
    from_file(place, given, "secret", values.TEXT, folder)
    secret, files, algorithms = given.pop("secret", None), given.pop("key_files", ()), given["algorithms"]
    assert isinstance(files, tuple)
    assert isinstance(algorithms, tuple)
    _check_algorithms(algorithms)
    said = place.report.count
    keys: list[JwtKey] = []
    if isinstance(secret, str):
        with (place / "secret").reporting():
            keys.append(_of_secret(secret, algorithms))
    for index, file in enumerate(files):
        with (place / "key_files" / index).reporting():
            keys += _of_file(folder / file, algorithms)
    if place.report.count > said:
        raise Said
    if not 1 <= len(keys) <= _MOST_KEYS:
        raise ValueError(
            f"{len(keys)} keys for {', '.join(algorithms)} (expected 1 to {_MOST_KEYS}: secret or key_files)"
        )
    return Jwt(**given, keys=tuple(keys))  # type: ignore[arg-type]


def _check_algorithms(algorithms: tuple[str, ...]) -> None:
    """Raises ValueError when these cannot be had, or not together."""
    if not algorithms:
        raise ValueError(f"algorithms: expected at least one of {', '.join(ALGORITHMS)}")
    public = [algorithm for algorithm in algorithms if algorithm not in _HMAC]
    if public and len(public) < len(algorithms):
        raise ValueError(
            "algorithms: those with a secret (HS...) and those with public keys do not go together (expected one kind)"
        )
    try:
        from jwt.algorithms import has_crypto  # late: who reads no tokens needs no PyJWT
    except ImportError:
        raise ValueError(f"tokens are read with PyJWT, which is not installed ({_INSTALL})") from None
    if public and not has_crypto:
        raise ValueError(f"{public[0]} needs cryptography, which is not installed ({_INSTALL})")


def _of_secret(secret: str, algorithms: tuple[str, ...]) -> JwtKey:
    encoded = urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    key = _of_jwk({"kty": "oct", "k": encoded}, algorithms)
    if key is None:
        raise ValueError(f"a secret is for {', '.join(_HMAC)}, and algorithms has none of these")
    return key


def _of_file(path: Path, algorithms: tuple[str, ...]) -> list[JwtKey]:
    text = _text(path)
    jwks = list(_of_set(path, text) if text.startswith("{") else _of_pem(path, text))
    keys: list[JwtKey] = []
    for number, jwk in enumerate(jwks, 1):
        try:
            keys += [key] if (key := _of_jwk(jwk, algorithms)) else []
        except ValueError as error:
            raise ValueError(f"{path}: key {number}: {error}") from None
    if not keys:
        raise ValueError(f"{path}: no key for {', '.join(algorithms)}, of {counted(len(jwks), 'key')}")
    return keys


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 (expected PEM or a JSON Web Key Set)") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _of_set(path: Path, text: str) -> Iterator[Mapping[str, object]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: not JSON (expected a JSON Web Key Set)") from None
    keys = found.get("keys", [found])
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError(f'{path}: "keys" is no list of keys (expected a JSON Web Key Set)')
    return iter(keys)


def _of_pem(path: Path, text: str) -> Iterator[Mapping[str, object]]:
    """The public keys, and those of the certificates, of a PEM file."""
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, has_crypto

    blocks = list(_PEM.finditer(text))
    if not blocks or not has_crypto:
        raise ValueError(f"{path}: no public key in it (expected PEM or a JSON Web Key Set)")
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    for block in blocks:
        if "PRIVATE" in block[1]:
            raise ValueError(f"{path}: a private key (expected public ones: only the issuer should have the other)")
        pem = block[0].encode()
        try:
            key = load_pem_x509_certificate(pem).public_key() if block[1] == "CERTIFICATE" else load_pem_public_key(pem)
            if isinstance(key, rsa.RSAPublicKey):
                yield json.loads(RSAAlgorithm.to_jwk(key))
            elif isinstance(key, ec.EllipticCurvePublicKey):
                yield json.loads(ECAlgorithm.to_jwk(key))
            elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
                yield json.loads(OKPAlgorithm.to_jwk(key))
            else:
                yield {}  # of a kind that signs no tokens
        except Exception as error:
            raise ValueError(f"{path}: {block[1]} cannot be read: {error}") from error


def _of_jwk(jwk: Mapping[str, object], algorithms: tuple[str, ...]) -> JwtKey | None:
    """The key, None where it is for other algorithms. Raises ValueError, without the key."""
    import jwt

    kind = str(jwk.get("kty"))
    signs = _SIGNS.get((kind, str(jwk.get("crv")) if kind in ("EC", "OKP") else ""), ())
    usable = tuple(name for name in algorithms if name in signs and jwk.get("alg", name) == name)
    if not usable or jwk.get("use", "sig") != "sig":
        return None
    if not isinstance(jwk.get("kid", ""), str):
        raise ValueError("its kid is no text")
    if "d" in jwk:
        raise ValueError("a private key (expected public ones: only the issuer should have the other)")
    text = json.dumps({member: jwk[member] for member in _MEMBERS if member in jwk})
    try:
        key = jwt.PyJWK.from_json(text, usable[0]).key
    except Exception:  # its message may have the key
        raise ValueError(f"no key of type {kind}") from None
    if kind == "RSA" and key.key_size < 2048:
        raise ValueError(f"{key.key_size} bits are too few (expected 2048)")
    if kind == "oct":
        # RFC 7518 section 3.2.
        least = max(int(algorithm[2:]) for algorithm in usable) // 8
        if len(key) < least:
            raise ValueError(
                f"{counted(len(key), 'byte')}: too few for {usable[-1]} (expected {least}: openssl rand -hex {least})"
            )
    return JwtKey(text, usable)
