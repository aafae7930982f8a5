import re

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.http1.request import RequestHead, read_request
from headgate.limits.keys import LONGEST, PARTS, Seal, client_ip, split
from headgate.model.config import Heads, Jwt, JwtKey, Limit, Rate
from headgate.model.snapshot import LimitState
from headgate.worker.keys import Key, Keys

ADDRESS = "192.0.2.1"
CLIENT = b"192.0.2.1"


def head(target: bytes = b"/", *fields: bytes, host: bytes = b"a", method: bytes = b"GET") -> RequestHead:
    lines = b"".join(field + b"\r\n" for field in fields)
    found = read_request(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, target, host, lines), Heads())
    assert found is not None
    return found


def key(text: str, *, private: bool = False, secret: bytes = b"secret") -> Key:
    return Keys(secret).of(Limit("a", Rate(1, 1.0), key=text, private=private), b"shop/api")


def read(text: str, request: RequestHead, address: str = ADDRESS, *, private: bool = False) -> bytes:
    return key(text, private=private).read(request, client_ip(address), address)


@pytest.mark.parametrize(
    ("text", "request_head", "found"),
    [
        ("client_ip", head(), CLIENT),
        ("client_ip/24", head(), b"192.0.2.0/24"),
        ("client_ip/24,method", head(), b"12:192.0.2.0/24,4:=GET"),
        ("header:x-api-key", head(b"/", b"X-API-Key:  abc "), b"=abc"),
        ("header:x-api-key", head(b"/", b"x-api-key: a", b"X-Api-Key: a"), b"=a"),
        ("header:x-api-key", head(b"/", b"X-API-Keys: abc"), b"@" + CLIENT),
        ("header:x-api-key", head(b"/", b"X-API-Key:"), b"@" + CLIENT),
        ("header:host", head(host=b"shop"), b"=shop"),
        ("cookie:sid", head(b"/", b"Cookie: a=1; sid=xyz; b=2"), b"=xyz"),
        ("cookie:sid", head(b"/", b"Cookie: a=1", b"Cookie: sid=xyz"), b"=xyz"),
        ("cookie:sid", head(b"/", b"Cookie: xsid=1; Sid=2"), b"@" + CLIENT),
        ("query:token", head(b"/?a=1&token=x%2Fy+z&b"), b"=x/y z"),
        ("query:token", head(b"/?%74oken=7"), b"=7"),
        ("query:token", head(b"/token=7"), b"@" + CLIENT),
        ("path", head(b"/a//b/../c?q"), b"=/a/c"),
        ("path", head(b"/%61/c"), b"=/a/c"),
        ("path", head(b"/?q"), b"=/"),
        ("path", head(b"*", method=b"OPTIONS"), b"=/"),
        ("host", head(host=b"Shop.Example.:80"), b"=shop.example"),
        ("method", head(method=b"PUT"), b"=PUT"),
        ("method", head(method=b"Put"), b"=PUT"),  # some servers take it for that
        ("route", head(), b"=shop/api"),
        ("constant", head(), b"=*"),
        ("client_ip,method", head(), b"9:192.0.2.1,4:=GET"),
    ],
)
def test_a_key_is_read_from_the_request(text: str, request_head: RequestHead, found: bytes) -> None:
    assert read(text, request_head) == found


@pytest.mark.parametrize("target", [b"/", b"//", b"/.", b"/%2e/", b"/a/..", b"/b/..?q", b"/\\", b"/a//../../"])
def test_no_spelling_of_the_root_counts_apart(target: bytes) -> None:
    assert read("path", head(target)) == b"=/"


@pytest.mark.parametrize(
    "target", [b"/login", b"/a//../login", b"/b//../login/", b"/c/%2f..//login", b"/d//.%2e/login?q"]
)
def test_a_path_with_two_normal_forms_counts_as_the_one_with_slashes_merged(target: bytes) -> None:
    assert read("path", head(target)) == b"=/login"


@pytest.mark.parametrize(
    ("text", "request_head"),
    [
        ("header:x-api-key", head(b"/", b"X-API-Key: good", b"X-API-Key: other")),
        ("header:x-api-key", head(b"/", b"X-API-Key: other", b"x-api-key: good")),
        ("header:x-api-key", head(b"/", b"X-API-Key: good", b"X-API-Key:")),
        ("api_key:x-api-key", head(b"/", b"X-API-Key: good", b"X-API-Key: other")),
        ("api_key", head(b"/", b"Authorization: Bearer good", b"Authorization: Bearer other")),
        ("api_key", head(b"/", b"Authorization: Bearer good", b"Authorization: Basic x", b"X-API-Key: other")),
        ("cookie:sid", head(b"/", b"Cookie: sid=good; sid=other")),
        ("cookie:sid", head(b"/", b"Cookie: sid=other; sid =good")),
        ("cookie:sid", head(b"/", b"Cookie: sid=other", b"Cookie: sid=good")),
        ("query:token", head(b"/?token=good&token=other")),
        ("query:token", head(b"/?token=other&a&%74oken=good")),
        ("query:token", head(b"/?token=good&token")),
    ],
)
def test_who_says_two_things_says_nothing_for_servers_may_believe_either(text: str, request_head: RequestHead) -> None:
    assert read(text, request_head) == b"@" + CLIENT


@pytest.mark.parametrize("text", ["header:x-api-key", "header:x_api_key", "api_key", "api_key:x-api-key"])
def test_a_field_with_underscores_that_may_pass_counts_as_what_some_servers_take_it_for(text: str) -> None:
    def found(*fields: bytes) -> bytes:
        lines = b"".join(field + b"\r\n" for field in fields)
        request = read_request(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines, Heads(underscores="pass"))
        assert request is not None
        return read(text, request)

    assert found(b"X_Api-KEY: good") == found(b"X-Api-Key: good") != found(b"X_Api_Key: other")
    assert found(b"X_Api_Key: good", b"X-API-Key: other") == found() == b"@" + CLIENT


@pytest.mark.parametrize("text", ["header:x", "api_key", "api_key:x", "cookie:x", "query:x"])
def test_for_answers_of_functions_two_things_are_another_thing(text: str) -> None:
    fields = (b"X: %b", b"Authorization: Bearer %b", b"Cookie: x=%b")
    many = [
        head(b"/?x=1&x=" + more, *(field % value for field in fields for value in (b"1", more)))
        for more in (b"1", b"2", b"3")
    ]
    by = Keys(b"").of(Limit("a", Rate(1, 1.0), key=text), b"", apart=True)
    assert len({by.read(request, CLIENT, ADDRESS) for request in [*many, head()]}) == 4


@pytest.mark.parametrize(
    "fields",
    [
        [b'Cookie: sid="a/b"'],
        [b"Cookie: sid=a%2Fb"],
        [b"Cookie: sid=%61%2fb ; x"],
        [b'Cookie: sid="\\141\\/b"'],
        [b"Cookie: sid\t= a/b"],
        [b"Cookie: x=1,sid=other; sid=a/b"],
        [b'Cookie: x="1; sid=a/b; y="'],
        [b"Cookie: sid=a/b; sid=a%2fb", b'Cookie: sid="a/b"'],
    ],
)
def test_no_spelling_of_a_cookie_counts_apart(fields: list[bytes]) -> None:
    assert read("cookie:sid", head(b"/", *fields)) == b"=a/b"


def test_who_leaves_something_out_is_counted_by_address_and_nobody_can_pretend_to_be_that() -> None:
    silent = read("header:x-api-key", head())
    for value in (CLIENT, b"@" + CLIENT, b"=" + CLIENT):
        assert read("header:x-api-key", head(b"/", b"X-API-Key: " + value), "198.51.100.7") != silent


def test_parts_never_run_into_each_other() -> None:
    one = read("query:a,query:b", head(b"/?a=1,2:=2&b=3"))
    other = read("query:a,query:b", head(b"/?a=1&b=2,2:=3"))
    assert one != other


def test_a_long_part_is_hashed_by_itself_and_the_same_in_every_key() -> None:
    request = head(b"/a", b"X: " + b"v" * 5000)
    alone = read("header:x", request)
    assert len(alone) == 33
    assert split(read("path,header:x,client_ip", request)) == [b"=/a", alone, CLIENT]


def test_a_key_of_many_long_parts_is_bounded() -> None:
    request = head(b"/", *(b"X%d: %b" % (at, b"v" * (LONGEST - 1)) for at in range(PARTS)))
    longest = read(",".join(f"header:x{at}" for at in range(PARTS)), request)
    assert len(longest) == PARTS * (LONGEST + len("128:,")) - 1


def test_ipv6_clients_count_by_as_much_as_is_asked_for() -> None:
    address = "2001:db8:1:2ab::7"
    keys = {text: read(text, head(), address) for text in ("client_ip", "client_ip/24", "client_ip/32/56")}
    assert keys == {
        "client_ip": b"2001:db8:1:2ab::/64",
        "client_ip/24": b"2001:db8:1:2ab::/64",
        "client_ip/32/56": b"2001:db8:1:200::/56",
    }


def test_a_key_is_known_to_be_the_same_for_all_requests_of_a_client_on_a_route() -> None:
    same = ("client_ip", "client_ip/24/48", "constant", "client_ip,route")
    others = ("client_ip,path", "path", "header:x", "api_key", "client_ip,method")
    assert all(key(text).is_address for text in same)
    assert not any(key(text).is_address for text in others)


@pytest.mark.parametrize("text", ["client_ip", "client_ip/24", "header:x", "header:y", "path,client_ip,header:x"])
def test_the_key_of_a_private_limit_shows_nothing_of_the_request(text: str) -> None:
    request = head(b"/abc", b"X: abc")
    parts, open_parts = split(read(text, request, private=True)), split(read(text, request))
    assert all(re.fullmatch(rb"~[0-9a-f]{32}", part) for part in parts)
    assert parts == [Seal(b"secret")(part) for part in open_parts]


def test_a_private_address_is_read_once_for_a_connection_as_an_open_one_is() -> None:
    assert key("client_ip", private=True).is_address


@pytest.mark.parametrize(
    ("text", "fields", "value"),
    [
        ("api_key", [b"Authorization: Bearer abc"], b"abc"),
        ("api_key", [b"authorization: bearer  abc "], b"abc"),
        ("api_key", [b"Authorization: Bearer\tabc"], b"abc"),
        ("api_key", [b"Authorization: BEARER \t abc"], b"abc"),
        ("api_key", [b"X-API-Key: abc"], b"abc"),
        ("api_key", [b"X-API-Key: abc", b"Authorization: Bearers other"], b"abc"),
        ("api_key", [b"X-API-Key: other", b"Authorization: Bearer abc"], b"abc"),
        ("api_key", [b"X-API-Key: abc", b"Authorization: Basic eDp5"], b"abc"),
        ("api_key", [b"X-API-Key: abc", b"Authorization: Bearer"], b"abc"),
        ("api_key", [b"Authorization: Basic eDp5"], b""),
        ("api_key", [b"Authorization: Bearer "], b""),
        ("api_key", [], b""),
        ("api_key:x-token", [b"X-Token: abc", b"X-API-Key: other"], b"abc"),
        ("api_key:x-token", [b"X-API-Key: other"], b""),
        ("api_key:authorization", [b"Authorization: Bearer abc"], b"abc"),
        ("api_key:authorization", [b"Authorization: bearer\tabc"], b"abc"),
        ("api_key:authorization", [b"Authorization: Basic eDp5"], b"Basic eDp5"),
        ("api_key:authorization", [b"Authorization: token \t abc"], b"Token abc"),
        ("api_key:authorization", [b"Authorization: abc"], b"abc"),
        ("api_key:x-token", [b"X-Token: a  b"], b"a  b"),
    ],
)
def test_an_api_key_is_where_callers_put_it_and_always_hidden(text: str, fields: list[bytes], value: bytes) -> None:
    hidden = Seal(b"secret")(b"=" + value) if value else b"@" + CLIENT
    assert read(text, head(b"/", *fields)) == hidden
    assert read(text, head(b"/", *fields), private=True) == Seal(b"secret")(hidden)


def test_a_claim_of_a_good_token_counts_and_what_is_lacking_is_the_address() -> None:
    public = jwt.algorithms.HMACAlgorithm.to_jwk(b"x" * 32)
    token = jwt.encode({"sub": "me", "org": {"tier": 7}}, b"x" * 32, "HS256").encode()
    limits = [Limit("a", Rate(1, 1.0), key="jwt:sub"), Limit("b", Rate(1, 1.0), key="path,jwt:org.tier,jwt:x")]
    keys = Keys(b"", Jwt(("HS256",), (JwtKey(public, ("HS256",)),)), [LimitState(limit, 0) for limit in limits])
    subject, several = (keys.of(limit, b"") for limit in limits)
    good, forged = head(b"/", b"Authorization: Bearer " + token), head(b"/", b"Authorization: Bearer " + token[:-4])
    assert subject.read(good, CLIENT, ADDRESS) == b"=me"
    assert split(several.read(good, CLIENT, ADDRESS)) == [b"=/", b"=7", b"@" + CLIENT]
    for bad in (forged, head(), head(b"/", b"Authorization: " + token), head(b"/", b"Authorization: Basic " + token)):
        assert subject.read(bad, CLIENT, ADDRESS) == b"@" + CLIENT


KINDS = ["client_ip", "client_ip/24/40", "header:x", "cookie:x", "query:x", "api_key", "api_key:authorization"]
KINDS += ["path", "host", "method", "route", "constant"]
TARGETS = st.lists(st.sampled_from([*b"/%.?&=+;:@*x0\xc3\xff ", 0x61])).map(bytes)
VALUES = st.lists(st.sampled_from([*b'Bearer bearer x=;,."\t\\ \x80\xff\x00'])).map(bytes)
FIELDS = st.tuples(st.sampled_from([b"X", b"Cookie", b"Authorization", b"x-api-key"]), VALUES)


@given(st.sampled_from(KINDS), TARGETS, VALUES, st.lists(FIELDS), st.ip_addresses().map(str), st.booleans())
def test_no_request_is_too_odd_to_be_counted(
    kind: str, target: bytes, host: bytes, fields: list[tuple[bytes, bytes]], address: str, private: bool
) -> None:
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    request = RequestHead(b"GET", target, host, 0, False, b"GET %b HTTP/1.1\r\n%b" % (target, lines), 0)
    found = read(f"{kind},header:y", request, address, private=private)
    first, second = split(found)
    assert 0 < len(first) <= LONGEST
    assert first[:1] in (b"~" if private else b"=@#~0123456789abcdef:")
    assert (second == b"@" + client_ip(address)) is not private
    assert read(kind, request, address, private=private) == first
