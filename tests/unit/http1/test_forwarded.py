from headgate.http1.forwarded import believed_fields, forwarding_fields
from headgate.http1.request import read_request
from headgate.model.config import Heads
from tests.unit.http1.reading import split_fields


def test_a_server_is_told_of_the_client_of_its_own() -> None:
    assert forwarding_fields(b"203.0.113.7", b"a:80", b"http") == (
        b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a:80\r\nVia: 1.1 headgate\r\n"
    )


def test_what_a_trusted_proxy_said_is_completed() -> None:
    claims = {b"x-forwarded-for": b"203.0.113.7, 10.0.0.2", b"x-forwarded-proto": b"https", b"x-request-id": b"7"}
    assert dict(split_fields(b"\r\n" + believed_fields(b"10.0.0.1", b"a", b"http", claims))[1]) == {
        b"x-forwarded-for": b"203.0.113.7, 10.0.0.2, 10.0.0.1",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"a",
        b"via": b"1.1 headgate",
    }


def test_a_trusted_proxy_that_says_nothing_of_the_client_is_the_first_hop() -> None:
    lines = believed_fields(b"10.0.0.1", b"a", b"http", {b"x-real-ip": b"1.1.1.1", b"forwarded": b"for=1.1.1.1"})
    fields = dict(split_fields(b"\r\n" + lines)[1])
    assert fields[b"x-forwarded-for"] == b"10.0.0.1"
    assert (fields[b"x-real-ip"], fields[b"forwarded"]) == (b"1.1.1.1", b"for=1.1.1.1")


def test_the_added_fields_belong_to_a_head_that_is_accepted() -> None:
    added = forwarding_fields(b"2001:db8::1", b"a", b"http")
    head = read_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + added + b"\r\n", Heads(), True)
    assert head is not None
    assert head.claims is not None
    assert head.claims[b"x-forwarded-for"] == b"2001:db8::1"
