import pytest

from headgate.control.limit_values import KEY
from headgate.control.report import Place, Report
from headgate.limits.keys import PARTS


def read(text: str) -> str:
    return KEY.read(Place(Report()), text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("client_ip", "client_ip"),
        (" client_ip ,path", "client_ip,path"),
        ("header:X-API-Key, cookie:Sid", "header:x-api-key,cookie:Sid"),
        ("api_key, api_key:X-Token", "api_key,api_key:x-token"),
        ("jwt:sub, jwt:https://a.example/Tier", "jwt:sub,jwt:https://a.example/Tier"),
        ("client_ip/24", "client_ip/24"),
        ("client_ip/24/64", "client_ip/24"),
        ("client_ip/024/56", "client_ip/24/56"),
        ("client_ip/32", "client_ip"),
        ("client_ip/32/64", "client_ip"),
        ("client_ip/32/56", "client_ip/32/56"),
        ("client_ip/1/128", "client_ip/1/128"),
    ],
)
def test_two_ways_to_write_a_key_are_one(text: str, key: str) -> None:
    assert read(text) == key


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ip", '"ip" is nothing to count by (known: client_ip, '),
        ("headr:x-tenant", '; several with commas); did you mean "header:x-tenant"?'),
        ("header: X-Tenant", 'did you mean "header:X-Tenant"?'),
        ("client-ip", 'did you mean "client_ip"?'),
        ("header:", '"header:" is nothing to count by'),
        ("jwt", '"jwt" is nothing to count by'),
        ("jwt:", '"jwt:" is nothing to count by'),
        ("jwt:a b", '"jwt:a b" is nothing to count by'),
        ("path:x", '"path:x" is nothing to count by'),
        ("client_ip/", '"client_ip/" is no network of a client (expected client_ip/24 or client_ip/24/56'),
        ("client_ip/0", '"client_ip/0" is no network'),
        ("client_ip/33", '"client_ip/33" is no network'),
        ("client_ip/24/0", '"client_ip/24/0" is no network'),
        ("client_ip/24/129", '"client_ip/24/129" is no network'),
        ("client_ip/24/56/1", '"client_ip/24/56/1" is no network'),
        ("client_ip/32, client_ip", "names something twice"),
        (",".join(f"query:{at}" for at in range(PARTS + 1)), "names 9 things (expected at most 8)"),
    ],
)
def test_what_is_nothing_to_count_by_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(text)
    assert problem in str(caught.value)
