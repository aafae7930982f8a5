from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.keys import (
    LONGEST,
    PREFIXES,
    Seal,
    client_ip,
    compose,
    decoded,
    is_hashed,
    limit_identity,
    network_of,
    prefixes,
    said,
    split,
)
from headgate.model.config import Limit, Rate


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", b"192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", b"2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", b"2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002::1", b"2001:db8:1:2::/64"),
        ("::1", b"::/64"),
        ("::ffff:192.0.2.1", b"192.0.2.1"),
        ("::FFFF:c000:0201", b"192.0.2.1"),
        ("fe80::1%eth0", b"fe80::/64"),
        ("", b""),
        ("not:an:address", b"not:an:address"),
        ("\udcff:", b"\xff:"),
    ],
)
def test_the_key_of_a_client(address: str, key: bytes) -> None:
    assert client_ip(address) == key


def test_neighbouring_networks_are_apart() -> None:
    assert client_ip("2001:db8:1:2::1") != client_ip("2001:db8:1:3::1")


@pytest.mark.parametrize(
    ("address", "lengths", "key"),
    [
        ("192.0.2.201", (24, 64), b"192.0.2.0/24"),
        ("192.0.2.201", (31, 64), b"192.0.2.200/31"),
        ("192.0.2.201", (32, 64), b"192.0.2.201"),
        ("::ffff:192.0.2.201", (24, 64), b"192.0.2.0/24"),
        ("2001:db8:1:2ab::7", (24, 56), b"2001:db8:1:200::/56"),
        ("2001:db8:1:2ab::7", (24, 1), b"::/1"),
        ("2001:db8:1:2ab::7", (24, 128), b"2001:db8:1:2ab::7"),
        ("fe80::1%eth0", (24, 128), b"fe80::1"),
        ("shop", (24, 56), b"shop"),
    ],
)
def test_the_key_of_a_network(address: str, lengths: tuple[int, int], key: bytes) -> None:
    assert network_of(address, lengths) == key


@given(st.ip_addresses().map(str) | st.text())
def test_the_usual_network_is_what_counts_as_one_client(address: str) -> None:
    assert network_of(address, PREFIXES) == client_ip(address)


@pytest.mark.parametrize(
    ("part", "lengths"),
    [
        ("client_ip", (32, 64)),
        ("client_ip/24", (24, 64)),
        ("client_ip/24/56", (24, 56)),
        ("header:client_ip/24", None),
        ("path", None),
    ],
)
def test_a_part_says_how_much_of_an_address_counts(part: str, lengths: tuple[int, int] | None) -> None:
    assert prefixes(part) == lengths


@pytest.mark.parametrize(
    ("text", "meant"), [(b"plain", b"plain"), (b"a+b%2Bc", b"a b+c"), (b"%ff%0", b"\xff%0"), (b"", b"")]
)
def test_what_stands_in_a_query_is_decoded(text: bytes, meant: bytes) -> None:
    assert decoded(text) == meant


def test_what_a_request_lacks_is_its_clients_address() -> None:
    assert said(b"abc", b"192.0.2.1") == b"=abc"
    assert said(b"", b"192.0.2.1") == b"@192.0.2.1"
    assert said(b"@192.0.2.1", b"") != said(b"", b"192.0.2.1") != said(b"192.0.2.1", b"")


def test_a_long_part_is_its_hash_and_any_other_its_own() -> None:
    longest = b"v" * (LONGEST - 1)
    assert said(longest, b"") == b"=" + longest
    long = {said(longest + end, b"") for end in (b"1", b"2")} | {said(b"", longest + b"1")}
    assert len(long) == 3
    assert all(len(part) == 33 and part.startswith(b"#") for part in long)


def test_what_is_hidden_depends_on_the_secret_and_is_hidden_once() -> None:
    seal = Seal(b"one secret")
    hidden = seal(b"=abc")
    assert hidden == Seal(b"one secret")(b"=abc") == seal(hidden)
    assert hidden == b"~" + blake2b(b"=abc", key=blake2b(b"one secret").digest(), digest_size=16).hexdigest().encode()
    assert len({hidden, seal(b"@abc"), seal(b"=abd"), Seal(b"another")(b"=abc"), Seal(b"")(b"=abc")}) == 5


@pytest.mark.parametrize(
    ("key", "private", "hashed"),
    [
        ("client_ip", False, False),
        ("client_ip", True, True),
        ("header:api_key", False, False),
        ("api_key", False, True),
        ("path,api_key:x-token", False, True),
    ],
)
def test_keys_of_private_limits_and_api_keys_are_hashed(key: str, private: bool, hashed: bool) -> None:
    assert is_hashed(Limit("a", Rate(1, 1.0), key=key, private=private)) is hashed


@given(st.lists(st.binary(), min_size=2))
def test_the_parts_of_a_key_are_those_that_it_was_made_of(parts: list[bytes]) -> None:
    assert split(compose(parts)) == parts


@pytest.mark.parametrize("key", [b"", b"=a", b"2:=a", b"2:=a.2:=b", b"2:=a,", b"2:=a,2=b", b"2:=a,02:=b", b"2:=a,3:=b"])
def test_what_is_not_several_parts_is_one(key: bytes) -> None:
    assert split(key) == [key]


@given(st.lists(st.sampled_from([b"0", b"1", b"2", b":", b",", b"x"])).map(b"".join))
def test_every_key_has_its_parts(key: bytes) -> None:
    assert compose(split(key)) == key


def test_the_identity_of_a_limit_is_readable() -> None:
    assert limit_identity(Limit("per_ip", Rate(100, 60.0))) == "per_ip:client_ip:fixed_window:100/60000000"


def test_whatever_changes_the_meaning_of_a_count_changes_the_identity() -> None:
    limits = [
        Limit("a", Rate(1, 1.0)),
        Limit("b", Rate(1, 1.0)),
        Limit("a", Rate(2, 1.0)),
        Limit("a", Rate(1, 1.000001)),
        Limit("a", Rate(1, 1.0), key="header:x"),
        Limit("a", Rate(1, 1.0), algorithm="gcra"),
    ]
    assert len({limit_identity(limit) for limit in limits}) == len(limits)


def test_what_to_do_without_a_store_does_not_change_the_identity() -> None:
    assert limit_identity(Limit("a", Rate(1, 1.0))) == limit_identity(Limit("a", Rate(1, 1.0), on_store_error="deny"))
