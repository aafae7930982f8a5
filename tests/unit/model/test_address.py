import pytest

from headgate.model.address import Address

GOOD = [
    ("127.0.0.1:8000", Address("127.0.0.1", 8000)),
    ("[::1]:8000", Address("::1", 8000)),
    ("example.org:80", Address("example.org", 80)),
    ("localhost:0", Address("localhost", 0)),
    ("0.0.0.0:65535", Address("0.0.0.0", 65535)),
    ("unix:/run/headgate.sock", Address(path="/run/headgate.sock")),
]


@pytest.mark.parametrize(("text", "address"), GOOD, ids=[text for text, _ in GOOD])
def test_an_address_reads_back_as_it_was_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", ":80", "a:", "a:b", "a:-1", "a:65536", "a:8 0", "a:\u0663", "a:" + "9" * 5000),
        *("::1:80", "[::1]", "[]:80", "a/b:80", "a b:80", "http://a:80", "u@a:80", "unix:", "unix:run/a.sock"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_address_is_an_error_that_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        (Address("127.0.0.1", 1), True),
        (Address("127.9.9.9", 1), True),
        (Address("::1", 1), True),
        (Address("localhost", 1), True),
        (Address(path="/run/a"), True),
        (Address("0.0.0.0", 1), False),
        (Address("::", 1), False),
        (Address("10.0.0.1", 1), False),
        (Address("127.example.org", 1), False),
        (Address("localhost.example.org", 1), False),
    ],
    ids=str,
)
def test_only_this_machine_reaches_a_loopback_address(address: Address, loopback: bool) -> None:
    assert address.is_loopback is loopback
