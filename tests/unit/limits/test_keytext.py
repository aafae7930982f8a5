import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.keys import Seal, compose, said
from headgate.limits.keytext import counted, read, shown, written

HASH = "#" + "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"192.0.2.7", "192.0.2.7"),
        (b"2001:db8::/64", "2001:db8::/64"),
        (b"=abc", "=abc"),
        (b"9:192.0.2.7,6:=/path", "192.0.2.7, =/path"),
        (b"=a, b", r"=a\, b"),
        (b"3:=a,,3:=\\b", r"=a\,, =\\b"),
        (b"=caf\xc3\xa9", "=café"),
        (b"=caf\xe9", r"=caf\xe9"),
        (b"=\x00\n\x7f", r"=\x00\x0a\x7f"),
        ("=\u202e\u00a0".encode(), r"=\xe2\x80\xae\xc2\xa0"),
        (b" a b  ", r"\x20a b\x20\x20"),
        (b"  ", r"\x20\x20"),
        (b"", ""),
        (b"0:,0:", ", "),
        (b"3:=ab", "3:=ab"),
        (b"03:=ab,1:x", r"03:=ab\,1:x"),
        (b"3:=ab,2:x", r"3:=ab\,2:x"),
        (b"3:=ab,x", r"3:=ab\,x"),
        (b"3:=ab.1:x", "3:=ab.1:x"),
    ],
)
def test_a_key_has_a_text_and_the_text_is_the_key(key: bytes, text: str) -> None:
    assert shown(key) == text
    assert read(text) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("abc", b"abc"),
        ("", b""),
        ("café", b"caf\xc3\xa9"),
        ("caf\xc3\xa9", b"caf\xc3\xa9"),
        ("caf\udce9", b"caf\xe9"),
        ("\u20ac\xc3\xa9", b"\xe2\x82\xac\xc3\x83\xc2\xa9"),
    ],
)
def test_a_programs_text_is_the_same_key_however_its_bytes_were_read(text: str, key: bytes) -> None:
    assert counted(text) == key
    assert read(shown(b"=" + key)) == b"=" + key


@given(st.text().filter(lambda text: text == text.encode("utf-8", "replace").decode()))
def test_what_people_write_is_what_a_function_reads_in_a_field(text: str) -> None:
    assert counted(text.encode().decode("latin-1")) == text.encode()


def test_half_a_character_is_no_key() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        counted("\ud800")


@given(st.binary() | st.lists(st.binary(), min_size=2).map(compose))
def test_any_bytes_have_a_printable_text_of_their_own(key: bytes) -> None:
    assert shown(key).isprintable()
    assert read(shown(key)) == key


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        key = read(text)
    except ValueError:
        return
    assert read(shown(key)) == key


@pytest.mark.parametrize("text", ["a\\", "\\n", r"\x4", "\\ ,b", "\ud800"])
def test_a_text_that_is_no_keys_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"backslash|half a character"):
        read(text)


@pytest.mark.parametrize(
    ("kinds", "text", "key"),
    [
        ("client_ip", " 192.0.2.7 ", b"192.0.2.7"),
        ("client_ip", "2001:DB8::7", b"2001:db8::/64"),
        ("client_ip", "2001:db8::/64", b"2001:db8::/64"),
        ("client_ip", "::ffff:192.0.2.7", b"192.0.2.7"),
        ("client_ip", "192.0.2.7/32", b"192.0.2.7"),
        ("client_ip/24/56", "192.0.2.7", b"192.0.2.0/24"),
        ("client_ip/24/56", "192.0.2.0/24", b"192.0.2.0/24"),
        ("client_ip/24/56", "2001:db8::/56", b"2001:db8::/56"),
        ("header:x", "abc", b"=abc"),
        ("header:x", "=abc", b"=abc"),
        ("header:x", "==abc", b"==abc"),
        ("header:x", "=@192.0.2.7", b"=@192.0.2.7"),
        ("header:x", "@2001:db8::7", b"@2001:db8::/64"),
        ("header:x", "a, b", b"=a, b"),
        ("header:x", r"a\, b", b"=a, b"),
        ("header:x", HASH, HASH.encode()),
        ("header:x", "v" * 200, said(b"v" * 200, b"")),
        ("client_ip,path", "192.0.2.7, /path", b"9:192.0.2.7,6:=/path"),
        ("client_ip,path", "192.0.2.7,=/path", b"9:192.0.2.7,6:=/path"),
    ],
)
def test_a_person_writes_what_he_knows(kinds: str, text: str, key: bytes) -> None:
    assert written(text, kinds) == key


def test_what_a_person_knows_of_a_private_key_is_hidden_as_the_key_is() -> None:
    seal = Seal(b"secret")
    parts = [seal(b"192.0.2.7"), seal(b"=abc")]
    for text in ("192.0.2.7, abc", f"192.0.2.7, {parts[1].decode()}", shown(compose(parts))):
        assert written(text, "client_ip,header:x", seal, private=True) == compose(parts)
    assert written(shown(parts[0]), "client_ip", private=True) == parts[0]
    with pytest.raises(ValueError, match=r"a key that is hashed \(expected ~ and 32"):
        written("192.0.2.7", "client_ip", private=True)


def test_an_api_key_is_hidden_and_the_address_in_its_place_is_not() -> None:
    seal = Seal(b"secret")
    assert written("abc", "api_key", seal) == seal(b"=abc")
    assert written("@192.0.2.7", "api_key") == b"@192.0.2.7"
    assert written("@192.0.2.7", "api_key", seal, private=True) == seal(b"@192.0.2.7")
    assert written("/a, abc", "path,api_key:x-token", seal) == compose([b"=/a", seal(b"=abc")])
    with pytest.raises(ValueError, match="a key that is hashed"):
        written("abc", "api_key")


@given(st.binary(min_size=1), st.ip_addresses().map(str), st.booleans())
def test_the_text_of_a_part_is_what_a_person_may_write(value: bytes, address: str, silent: bool) -> None:
    client = written(address, "client_ip")
    part = said(b"" if silent else value, client)
    assert written(shown(part), "header:x") == part
    assert written(shown(compose([client, part])), "client_ip,header:x") == compose([client, part])


@pytest.mark.parametrize(
    ("kinds", "text", "problem"),
    [
        ("client_ip", "shop", '"shop" is not an address'),
        ("client_ip", "", '"" is not an address'),
        ("client_ip/24", "192.0.0.0/16", r'"192.0.0.0/16" does not count as one \(.* network like 192.0.0.0/24\)'),
        ("client_ip", "192.0.2.0/24", r"does not count as one \(expected an address\)"),
        ("constant", "x", r'"x" is not the key of constant \(expected \*: all requests have the same\)'),
        ("constant", "@192.0.2.7", '"@192.0.2.7" is not the key of constant'),
        ("path,constant", "/a, ", '"" is not the key of constant'),
        ("header:x", "", "nothing for header:x"),
        ("header:x", "=", "nothing for header:x"),
        ("header:x", "@shop", '"shop" is not an address'),
        ("header:x", "#shop", r'"#shop" is no hash \(expected # and 32 hex'),
        ("header:x", "~shop", r'"~shop" is no hash \(expected ~ and 32 hex'),
        ("client_ip,path", "192.0.2.7", r"1 part \(expected 2: client_ip, path\)"),
        ("client_ip,path", "192.0.2.7, /, x", r"3 parts \(expected 2: client_ip, path\)"),
    ],
)
def test_what_is_no_key_of_the_limit_is_refused(kinds: str, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        written(text, kinds)
