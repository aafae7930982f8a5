import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from headgate.model.config import Jwt
from headgate.worker.tokens import Verifier
from tests.unit.control.loading import problems, read

LIMITED = 'limits.a = { rate = "1/s", key = "jwt:sub" }\n[[routes]]\nupstream = "web"\nlimits = ["a"]'
REST = f'upstreams.web.servers = ["127.0.0.1:5000"]\n{LIMITED}'
LONG = "a secret of thirty-two bytes, yes"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def table(text: str) -> str:
    return f"jwt = {{ {text} }}\n{REST}"


def found(folder: Path, text: str) -> Jwt:
    jwt = read(folder, table(text)).jwt
    assert jwt is not None
    return jwt


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def jwk(key: Any, **more: object) -> dict[str, object]:
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **more}


def certificate(key: Any) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    begin = datetime(2026, 1, 1)
    made = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=1)).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def subject(settings: Jwt, key: Any, algorithm: str, **header: Any) -> bytes:
    token = jwt.encode({"sub": "me", "iss": "a", "aud": "b"}, key, algorithm, headers=header)
    return Verifier(settings, ("sub",)).claims(token.encode())[0]


def test_a_secret_is_the_key_that_its_tokens_are_signed_with(tmp_path: Path) -> None:
    settings = found(
        tmp_path, f'algorithms = ["HS256"], secret = "{LONG}", issuer = "a", audience = ["b", "c"], leeway = 5'
    )
    assert (settings.issuer, settings.audience, settings.leeway) == (("a",), ("b", "c"), 5.0)
    assert subject(settings, LONG, "HS256") == b"me"
    (tmp_path / "secret").write_text(f"{LONG}\n")
    other = found(tmp_path, 'algorithms = ["HS256"], secret_file = "secret"')
    assert other.keys == settings.keys
    assert LONG not in repr(read(tmp_path, table(f'algorithms = ["HS256"], secret = "{LONG}"')))


@pytest.mark.parametrize(
    ("text", "key", "algorithm"),
    [
        (pem(RSA), RSA, "RS256"),
        (pem(EC), EC, "ES256"),
        (pem(ED), ED, "EdDSA"),
        (certificate(EC), EC, "ES256"),
        ("Subject: somebody\n" + pem(RSA) + "\n" + pem(EC), EC, "ES256"),
        (json.dumps(jwk(RSA)), RSA, "PS512"),
        (json.dumps({"keys": [jwk(EC, kid="1"), jwk(RSA, use="enc"), {"kty": "new"}]}), EC, "ES256"),
        (json.dumps({"keys": [jwk(RSA, alg="RS512")]}), RSA, "RS512"),
        (json.dumps({"kty": "oct", "k": "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcywgeWVz"}), LONG, "HS256"),
    ],
    ids=["rsa", "ec", "ed25519", "certificate", "several", "jwk", "set", "alg", "oct"],
)
def test_keys_come_from_files(tmp_path: Path, text: str, key: Any, algorithm: str) -> None:
    (tmp_path / "keys").write_text(text)
    settings = found(tmp_path, f'algorithms = ["{algorithm}"], key_files = ["keys"]')
    assert subject(settings, key, algorithm, kid="1") == b"me"
    assert all(each.algorithms == (algorithm,) for each in settings.keys)


def test_a_key_is_for_the_algorithms_of_its_kind_alone(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(json.dumps({"keys": [jwk(RSA), jwk(EC), jwk(RSA, alg="PS256")]}))
    keys = found(tmp_path, 'algorithms = ["RS256", "ES256", "PS256"], key_files = ["keys"]').keys
    assert [key.algorithms for key in keys] == [("RS256", "PS256"), ("ES256",), ("PS256",)]


PRIVATE = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
WEAK = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("text", "file", "place", "problem"),
    [
        ("", "", "jwt", '"algorithms" is missing'),
        ("algorithms = []", "", "jwt", "expected at least one of HS256, "),
        ('algorithms = ["none"]', "", "jwt.algorithms[0]", '"none" is not an algorithm (known: HS256, '),
        (f'algorithms = ["HS256", "RS256"], secret = "{LONG}"', "", "jwt", "do not go together (expected one kind)"),
        (f'algorithms = ["RS256"], secret = "{LONG}"', "", "jwt.secret", "a secret is for HS256, HS384, HS512"),
        ('algorithms = ["HS256"]', "", "jwt", "0 keys for HS256 (expected 1 to 16: secret or key_files)"),
        (
            'algorithms = ["HS256"], secret = "short"',
            "",
            "jwt.secret",
            "5 bytes: too few for HS256 (expected 32: openssl",
        ),
        (f'algorithms = ["HS256", "HS512"], secret = "{LONG}"', "", "jwt.secret", "33 bytes: too few for HS512"),
        (
            f'algorithms = ["HS256"], secret = "{LONG}", secret_file = "x"',
            "",
            "jwt.secret_file",
            "there is a secret too",
        ),
        ('algorithms = ["RS256"], key_files = ["none"]', "", "jwt.key_files[0]", "cannot be read: No such file"),
        ('algorithms = ["RS256"], key_files = ["keys"]', b"\xff", "jwt.key_files[0]", "not UTF-8"),
        ('algorithms = ["RS256"], key_files = ["keys"]', "{", "jwt.key_files[0]", "not JSON"),
        ('algorithms = ["RS256"], key_files = ["keys"]', '{"a":' * 2000, "jwt.key_files[0]", "not JSON"),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            '{"keys": 1}',
            "jwt.key_files[0]",
            '"keys" is no list of keys',
        ),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            '{"keys": [1]}',
            "jwt.key_files[0]",
            '"keys" is no list of keys',
        ),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            '{"kty": ["RSA"]}',
            "jwt.key_files[0]",
            "no key for RS256, of 1",
        ),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            '{"kty": "RSA"}',
            "jwt.key_files[0]",
            "key 1: no key of type RSA",
        ),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            json.dumps(jwk(RSA, d="x")),
            "jwt.key_files[0]",
            "a private key",
        ),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            json.dumps(jwk(RSA, kid=7)),
            "jwt.key_files[0]",
            "its kid is no text",
        ),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            json.dumps(jwk(RSA, use="enc")),
            "jwt.key_files[0]",
            "no key for RS",
        ),
        ('algorithms = ["RS256"], key_files = ["keys"]', PRIVATE, "jwt.key_files[0]", "a private key"),
        ('algorithms = ["RS256"], key_files = ["keys"]', pem(WEAK), "jwt.key_files[0]", "1024 bits are too few"),
        ('algorithms = ["RS256"], key_files = ["keys"]', pem(EC), "jwt.key_files[0]", "no key for RS256, of 1 key"),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            pem(dsa.generate_private_key(2048)),
            "jwt.key_files[0]",
            "no key for",
        ),
        ('algorithms = ["RS256"], key_files = ["keys"]', "shop", "jwt.key_files[0]", "no public key in it"),
        (
            'algorithms = ["RS256"], key_files = ["keys"]',
            "-----BEGIN PUBLIC KEY-----\nshop\n-----END PUBLIC KEY-----",
            "jwt.key_files[0]",
            "PUBLIC KEY cannot be read",
        ),
        ('algorithms = ["RS256"], key_files = ["keys"]', pem(RSA) * 17, "jwt", "17 keys for RS256 (expected 1 to 16"),
        (
            f'algorithms = ["HS256"], secret = "{LONG}", issuer = []',
            "",
            "jwt.issuer",
            "expected at least one (leave it out",
        ),
    ],
)
def test_what_makes_no_token_good_is_refused(
    tmp_path: Path, text: str, file: str | bytes, place: str, problem: str
) -> None:
    (tmp_path / "keys").write_bytes(file if isinstance(file, bytes) else file.encode())
    (said,) = problems(tmp_path, table(text))
    assert said.startswith(f"headgate.toml:1: {place}: ")
    assert problem in said
    assert LONG not in said


def test_claims_need_to_know_which_tokens_are_good(tmp_path: Path) -> None:
    assert problems(tmp_path, REST) == [
        "headgate.toml:2: limits.a.key: jwt:sub needs the table [jwt], which says what tokens are good"
    ]


@pytest.mark.parametrize(
    ("missing", "algorithm", "problem"),
    [
        ("jwt", "HS256", "tokens are read with PyJWT, which is not installed"),
        ("cryptography", "RS256", "RS256 needs cryptography, which is not installed"),
    ],
)
def test_what_is_not_installed_is_named(tmp_path: Path, missing: str, algorithm: str, problem: str) -> None:
    file = tmp_path / "headgate.toml"
    (tmp_path / "keys").write_text(pem(RSA))
    source = 'key_files = ["keys"]' if algorithm == "RS256" else f'secret = "{LONG}"'
    file.write_text(table(f'algorithms = ["{algorithm}"], {source}'))
    script = f"import sys; sys.modules[{missing!r}] = None; from headgate.cli.main import main; main()"
    checked = subprocess.run([sys.executable, "-c", script, "check", file], capture_output=True, text=True)
    assert checked.returncode != 0
    assert f'jwt: {problem} (pip install "headgate[jwt]")' in checked.stderr


def test_a_secret_needs_no_cryptography(tmp_path: Path) -> None:
    file = tmp_path / "headgate.toml"
    file.write_text(table(f'algorithms = ["HS256"], secret = "{LONG}"'))
    script = "import sys; sys.modules['cryptography'] = None; from headgate.cli.main import main; main()"
    checked = subprocess.run([sys.executable, "-c", script, "check", file], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
