import pytest

from headgate.routing.client import TrustedProxies, plain_address

TRUSTED = TrustedProxies(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:cb00:7107", "203.0.113.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_has_one_usual_form(text: str, address: str) -> None:
    assert plain_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "unknown", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "::g", "1.2.3.4/8", "1"]
)
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        plain_address(text)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("2001:db8::7", True),
        ("::1", False),
        ("no", False),
    ],
)
def test_an_address_is_trusted_by_its_network(address: str, trusted: bool) -> None:
    assert (address in TRUSTED) is trusted


def test_nobody_is_trusted_by_default() -> None:
    nobody = TrustedProxies([])
    assert "127.0.0.1" not in nobody
    assert nobody.client("127.0.0.1", b"203.0.113.7") == "127.0.0.1"


CLIENTS = [
    ("said nothing", "10.0.0.1", None, "10.0.0.1"),
    ("stranger's word", "203.0.113.9", b"203.0.113.7", "203.0.113.9"),
    ("one proxy", "10.0.0.1", b"203.0.113.7", "203.0.113.7"),
    ("forged before", "10.0.0.1", b"1.1.1.1, 10.0.0.9, 203.0.113.7", "203.0.113.7"),
    ("two proxies", "10.0.0.1", b"203.0.113.7, 10.0.0.2", "203.0.113.7"),
    ("three proxies of both families", "10.0.0.1", b"203.0.113.7,2001:db8::1,192.0.2.1", "203.0.113.7"),
    ("only proxies", "10.0.0.1", b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ("no address", "10.0.0.1", b"unknown", "10.0.0.1"),
    ("no address before a proxy", "10.0.0.1", b"203.0.113.7, unknown, 10.0.0.2", "10.0.0.2"),
    ("empty", "10.0.0.1", b"", "10.0.0.1"),
    ("empty entry", "10.0.0.1", b"203.0.113.7, ", "10.0.0.1"),
    ("not text", "10.0.0.1", b"203.0.113.7, \xb2", "10.0.0.1"),
    ("foreign digits", "10.0.0.1", b"203.0.113.\xb2", "10.0.0.1"),
    ("port", "10.0.0.1", b"203.0.113.7:4711", "203.0.113.7"),
    ("bracketed", "10.0.0.1", b"[2a00::1]", "2a00::1"),
    ("bracketed with port", "10.0.0.1", b"[2a00::1]:4711", "2a00::1"),
    ("bare IPv6", "10.0.0.1", b"2A00:0::1", "2a00::1"),
    ("IPv4 in IPv6 is the same client", "10.0.0.1", b"::ffff:203.0.113.7", "203.0.113.7"),
    ("trusted IPv4 in IPv6", "10.0.0.1", b"203.0.113.7, ::ffff:10.0.0.5", "203.0.113.7"),
    ("white space", "10.0.0.1", b"\t203.0.113.7 \t", "203.0.113.7"),
    ("other white space", "10.0.0.1", b"\xa0203.0.113.7", "10.0.0.1"),
    ("endless entry", "10.0.0.1", b"203.0.113.7, " + b" " * 70 + b"203.0.113.8", "10.0.0.1"),
    ("IPv6 peer", "2001:db8::1", b"203.0.113.7", "203.0.113.7"),
]


@pytest.mark.parametrize(("peer", "said", "client"), [case[1:] for case in CLIENTS], ids=[case[0] for case in CLIENTS])
def test_the_client_is_the_last_address_that_is_not_a_trusted_proxy(peer: str, said: bytes | None, client: str) -> None:
    for _ in range(2):  # the second time from memory
        assert TRUSTED.client(peer, said) == client


def test_two_sets_of_proxies_do_not_share_what_they_remember() -> None:
    assert "203.0.113.7" not in TRUSTED
    assert "203.0.113.7" in TrustedProxies(["203.0.113.0/24"])
    assert "203.0.113.7" not in TRUSTED
