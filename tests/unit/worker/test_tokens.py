import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from headgate.model.config import Jwt, JwtKey
from headgate.worker import tokens
from headgate.worker.tokens import Verifier, verifier_of

NOW = 1_800_000_000.0
SECRET = b"a secret of thirty-two bytes, yes"
OCT = jwt.algorithms.HMACAlgorithm.to_jwk(SECRET)
RSA = rsa.generate_private_key(65537, 2048)
RSA_PUBLIC = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def settings(*keys: str, algorithm: str = "HS256", **others: Any) -> Jwt:
    return Jwt((algorithm,), tuple(JwtKey(key, (algorithm,)) for key in keys or (OCT,)), **others)


def verifier(given: Jwt | None = None, *claims: str, clock: Clock | None = None) -> Verifier:
    return Verifier(given or settings(), claims or ("sub",), clock or Clock())


def token(
    claims: Mapping[str, object] | None = None, key: Any = SECRET, algorithm: str = "HS256", **header: Any
) -> bytes:
    claims = {"sub": "me", "exp": NOW + 60} if claims is None else claims
    return jwt.encode(dict(claims), key, algorithm, headers=header).encode()


def encoded(part: object) -> bytes:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def signed_by_hand(header: object, claims: object, secret: bytes = SECRET) -> bytes:
    text = encoded(header) + b"." + encoded(claims)
    return text + b"." + encoded(hmac.digest(secret, text, "sha256"))


def named(jwk: str, name: str) -> str:
    return json.dumps(json.loads(jwk) | {"kid": name})


@pytest.mark.parametrize(
    ("public", "private", "algorithm"),
    [
        (OCT, SECRET, "HS256"),
        (RSA_PUBLIC, RSA, "RS256"),
        (RSA_PUBLIC, RSA, "PS256"),
        (jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key()), EC, "ES256"),
        (jwt.algorithms.OKPAlgorithm.to_jwk(ED.public_key()), ED, "EdDSA"),
    ],
    ids=["HS256", "RS256", "PS256", "ES256", "EdDSA"],
)
def test_a_good_token_says_what_it_claims_and_a_forged_one_nothing(public: str, private: Any, algorithm: str) -> None:
    one = verifier(settings(public, algorithm=algorithm))
    good = token(key=private, algorithm=algorithm)
    assert one.claims(good) == one.claims(good) == (b"me",)
    head, body, signature = good.split(b".")
    forged = b".".join([head, encoded({"sub": "you", "exp": NOW + 60}), signature])
    assert one.claims(forged) == one.claims(forged) == (b"",)
    assert one.claims(b".".join([head, body, signature[:-4] + b"AAAA"])) == (b"",)
    assert one.claims(b".".join([head, body, b""])) == (b"",)


def test_a_token_that_is_not_signed_says_nothing() -> None:
    claims = {"sub": "you"}
    for alg in ("none", "None", "NONE", ""):
        assert verifier().claims(encoded({"alg": alg}) + b"." + encoded(claims) + b".") == (b"",)
        assert verifier().claims(signed_by_hand({"alg": alg}, claims)) == (b"",)


def test_a_public_key_is_no_secret() -> None:
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    one = verifier(settings(RSA_PUBLIC, algorithm="RS256"))
    for secret in (pem, pem.strip(), RSA_PUBLIC.encode()):
        assert one.claims(signed_by_hand({"alg": "HS256"}, {"sub": "you"}, secret)) == (b"",)
        assert one.claims(signed_by_hand({"alg": "RS256"}, {"sub": "you"}, secret)) == (b"",)


def test_only_the_algorithms_that_are_listed_are_good() -> None:
    assert verifier(settings(algorithm="HS512")).claims(token()) == (b"",)
    assert verifier(settings(RSA_PUBLIC, algorithm="PS256")).claims(token(key=RSA, algorithm="RS256")) == (b"",)


def test_a_token_that_expires_while_it_is_known_says_nothing_any_more() -> None:
    clock = Clock()
    one, good = verifier(settings(leeway=5.0), clock=clock), token()
    assert one.claims(good) == (b"me",)
    clock.now += 64.9
    assert one.claims(good) == (b"me",)
    clock.now += 0.1
    assert one.claims(good) == (b"",)
    assert verifier(settings(leeway=5.0), clock=clock).claims(good) == (b"",)


def test_a_token_that_comes_too_early_is_good_later() -> None:
    clock = Clock()
    one, early = verifier(settings(leeway=5.0), clock=clock), token({"sub": "me", "nbf": NOW + 10})
    assert one.claims(early) == (b"",)
    clock.now += 5
    assert one.claims(early) == (b"me",)


def test_a_token_without_times_is_good_and_one_with_odd_times_is_not() -> None:
    assert verifier().claims(token({"sub": "me"})) == (b"me",)
    for odd in ('"soon"', "true", "null", "[]", "NaN", "Infinity", "1" + "0" * 400):
        for name in ("exp", "nbf"):
            claims = f'{{"sub": "me", "{name}": {odd}}}'.encode()
            assert verifier().claims(signed_by_hand({"alg": "HS256"}, claims)) == (b"",), claims


@pytest.mark.parametrize(
    ("who", "claims", "is_good"),
    [
        ({"issuer": ("a", "b")}, {"iss": "b"}, True),
        ({"issuer": ("a", "b")}, {"iss": "c"}, False),
        ({"issuer": ("ab",)}, {"iss": "a"}, False),
        ({"issuer": ("a",)}, {}, False),
        ({"issuer": ("a",)}, {"iss": ["a"]}, False),
        ({"audience": ("a", "b")}, {"aud": "b"}, True),
        ({"audience": ("a",)}, {"aud": ["c", "a"]}, True),
        ({"audience": ("a",)}, {"aud": "c"}, False),
        ({"audience": ("a",)}, {}, False),
        ({}, {"iss": "c", "aud": "c", "iat": NOW + 1e6, "jti": 7}, True),
    ],
)
def test_a_token_is_good_from_whom_and_for_whom_it_should_be(
    who: dict[str, Any], claims: dict[str, object], is_good: bool
) -> None:
    one = verifier(settings(**who))
    assert one.claims(signed_by_hand({"alg": "HS256"}, claims | {"sub": "me"})) == (b"me" if is_good else b"",)


@pytest.mark.parametrize(
    ("value", "counts_as"),
    [
        ("me", b"me"),
        ("é", "é".encode()),
        ("\ud800", b"\xed\xa0\x80"),
        (7, b"7"),
        (True, b"true"),
        ("", b""),
        (None, b""),
        (7.5, b""),
        (["me"], b""),
        ({"me": "me"}, b""),
    ],
)
def test_texts_numbers_and_truth_values_count(value: object, counts_as: bytes) -> None:
    assert verifier().claims(signed_by_hand({"alg": "HS256"}, {"sub": value})) == (counts_as,)


def test_claims_are_found_within_others_and_by_names_with_dots() -> None:
    claims = {"org": {"tier": {"name": "gold"}, "a.b": "x"}, "https://example.com/tier": "silver", "org.id": "7"}
    names = ["org.tier.name", "https://example.com/tier", "org.id", "org.a.b", "org.tier", "org.tier.name.x", "sub"]
    found = verifier(settings(), *names).claims(token(claims))
    assert found == (b"gold", b"silver", b"7", b"", b"", b"", b"")


def test_a_name_of_a_key_says_which_is_meant() -> None:
    other = jwt.algorithms.HMACAlgorithm.to_jwk(b"another secret of the same length")
    both = settings(named(other, "new"), named(OCT, "old"))
    assert verifier(both).claims(token(kid="old")) == (b"me",)
    assert verifier(both).claims(token()) == (b"me",)
    assert verifier(both).claims(token(kid="new")) == (b"",)
    assert verifier(both).claims(token(kid="other")) == (b"",)
    assert verifier(settings(other, OCT)).claims(token(kid="other")) == (b"me",)


def test_a_huge_token_is_not_looked_at() -> None:
    assert verifier().claims(token({"sub": "me", "x": "y" * 5000})) == (b"me",)
    assert verifier().claims(token({"sub": "me", "x": "y" * 6200})) == (b"",)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b".",
        b"..",
        b"a.b.c",
        b"\xff.\xff.\xff",
        encoded(b"[" * 4000) + b".e30.",
        signed_by_hand([], {}),
        signed_by_hand({}, {}),
        signed_by_hand({"alg": ["HS256"]}, {}),
        signed_by_hand({"alg": "HS256", "kid": 7}, {}),
        signed_by_hand({"alg": "HS256", "crit": ["x"], "x": 1}, {"sub": "me"}),
        signed_by_hand({"alg": "HS256", "b64": False, "crit": ["b64"]}, {"sub": "me"}),
        signed_by_hand({"alg": "HS256"}, []),
        signed_by_hand({"alg": "HS256"}, b"\xff"),
        signed_by_hand({"alg": "HS256"}, b"[" * 4000),
    ],
)
def test_an_odd_token_says_nothing(odd: bytes) -> None:
    assert verifier().claims(odd) == (b"",)


@given(st.binary() | st.lists(st.sampled_from([b".", b"=", *(token().split(b"."))])).map(b"".join))
def test_no_token_is_too_odd(odd: bytes) -> None:
    assert verifier().claims(odd) in ((b"",), (b"me",))


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    looks: list[bytes] = []
    look = Verifier._verified

    def watched(self: Verifier, token: bytes) -> Mapping[str, object]:
        looks.append(token)
        return look(self, token)

    monkeypatch.setattr(Verifier, "_verified", watched)
    return looks


def test_each_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count_looks(monkeypatch)
    clock = Clock()
    one, good, bad, old = verifier(clock=clock), token(), token(key=b"x" * 32), token({"exp": NOW - 1})
    for _ in range(3):
        for each in (good, bad, old):
            one.claims(each)
    clock.now += 3600
    one.claims(good)
    assert looks == [good, bad, old]


def test_what_is_remembered_is_bounded_and_invented_tokens_drive_no_good_one_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "_GOOD", 3)
    monkeypatch.setattr(tokens, "_BAD", 3)
    looks = count_looks(monkeypatch)
    one = verifier()
    good = [token({"sub": f"{at}"}) for at in range(4)]
    for each in good[:3]:
        one.claims(each)
    for at in range(10):
        one.claims(token({"sub": f"{at}"}, key=b"x" * 32))
    looks.clear()
    for each in good[:3]:
        one.claims(each)
    assert looks == []
    assert one.claims(good[3]) == (b"3",)
    assert (len(one._good), len(one._bad)) == (3, 3)
    one.claims(good[0])
    assert looks == [good[3], good[0]]


def test_the_memory_has_no_token() -> None:
    one = verifier()
    one.claims(token())
    assert SECRET not in repr(settings()).encode()
    assert token() not in repr(one._good).encode()


def test_a_reload_that_changes_nothing_forgets_nothing() -> None:
    assert verifier_of(settings(), ("sub",)) is verifier_of(settings(), ("sub",))
    assert verifier_of(settings(), ("sub",)) is not verifier_of(settings(leeway=1.0), ("sub",))
