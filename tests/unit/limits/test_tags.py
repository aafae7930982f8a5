from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limits.keys import client_ip, compose, network_of, prefixes, said
from headgate.limits.tags import meetings, tag, tags
from headgate.model.address import Address
from headgate.model.config import Config, Limit, Listener, Rate, Route, Upstream
from headgate.model.snapshot import LimitState, Tag

RATE = Rate(1, 1.0)


def one(name: str, key: str = "client_ip", *, dry_run: bool = False) -> Limit:
    return Limit(name, RATE, key=key, dry_run=dry_run)


def test_limits_meet_on_their_routes_and_tried_ones_apart() -> None:
    a, b, c, tried = one("a"), one("b"), one("c"), one("t", dry_run=True)
    config = Config(
        listeners=(),
        upstreams=(Upstream("web", ()), Upstream("api", (), limits=("c",))),
        routes=(
            Route("web", limits=("a", "b", "t")),
            Route("web"),
            Route("api", limits=("c",)),
            Route("api", limits=("a",)),
        ),
        limits=(a, b, c, tried),
    )
    assert [group for group in meetings(config) if group] == [[a, b], [tried], [a, c], [c]]


def test_limits_of_a_listener_meet_those_of_each_route() -> None:
    a, b, c = one("a"), one("b"), one("c")
    config = Config(
        listeners=(Listener(Address("h", 1), limits=("c",)), Listener(Address("h", 2))),
        upstreams=(Upstream("web", ()),),
        routes=(Route("web", limits=("a",)), Route("web", limits=("b", "c"))),
        limits=(a, b, c),
    )
    assert [group for group in meetings(config) if group] == [[a], [b, c], [c, a], [c, b]]


def test_a_limit_that_meets_none_has_no_tag() -> None:
    assert tags([[one("a")], [one("b")], [one("a"), one("a")], []]) == {}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([[one("a"), one("b", "client_ip,path")]], {"a": ((0, None),), "b": ((0, None),)}),
        ([[one("a"), one("b", "path,client_ip")]], {"a": ((0, None),), "b": ((1, None),)}),
        ([[one("a", "path,host"), one("b", "host,path")]], {"a": ((1, None), (0, None)), "b": ((0, None), (1, None))}),
        ([[one("a"), one("b", "path")]], {"a": "a", "b": "a"}),
        ([[one("a", "python:users:user"), one("b", "python:users:user")]], {"a": "a", "b": "a"}),
        (
            [[one("a"), one("b", "client_ip,path")], [one("b", "client_ip,path"), one("c", "path")]],
            {"a": "a", "b": "a", "c": "a"},
        ),
        (
            [[one("a", "path"), one("b")], [one("c", "host"), one("d", "host,path")]],
            {"a": "a", "b": "a", "c": ((0, None),), "d": ((0, None),)},
        ),
        (
            [
                [one("c", "path,host")],
                [one("a", "path"), one("b", "path,host")],
                [one("c", "path,host"), one("a", "path")],
            ],
            {"a": ((0, None),), "b": ((0, None),), "c": ((0, None),)},
        ),
        ([[one("a"), one("b", "client_ip/32/64")]], {"a": ((0, None),), "b": ((0, None),)}),
        (
            [[one("a"), one("b", "path,client_ip/24"), one("c", "client_ip/28/56")]],
            {"a": ((0, (24, 56)),), "b": ((1, (24, 56)),), "c": ((0, (24, 56)),)},
        ),
        ([[one("a"), one("b", "client_ip/24/56")]], {"a": ((0, (24, 56)),), "b": ((0, None),)}),
    ],
)
def test_what_limits_that_meet_have_in_common(groups: list[list[Limit]], expected: dict[str, object]) -> None:
    found = {name: one.name or one.parts for name, one in tags(groups).items()}
    assert found == expected


KEYS = ["client_ip", "client_ip/24", "client_ip/32/128", "path", "header:a", "client_ip,path", "path,header:a"]
KEYS += ["header:a,client_ip/16/48", "path,client_ip,header:a"]
LIMITS = [one(f"l{number}", key) for number, key in enumerate(KEYS)]
GROUPS = st.lists(st.lists(st.sampled_from(LIMITS), max_size=4), max_size=5)
ADDRESSES = st.one_of(st.ip_addresses().map(str), st.sampled_from(["", "unix:", "::ffff:192.0.2.1", "fe80::1%eth0"]))


@given(groups=GROUPS, address=ADDRESSES, path=st.binary(max_size=200), header=st.binary(max_size=200))
def test_the_keys_of_one_decision_have_one_tag(
    groups: list[list[Limit]], address: str, path: bytes, header: bytes
) -> None:
    client = client_ip(address)
    told = {"path": said(path, client), "header:a": said(header, client)}

    def key(limit: Limit) -> bytes:
        parts = limit.key.split(",")
        return compose(
            [told[part] if part in told else network_of(address, prefixes(part) or (0, 0)) for part in parts]
        )

    known = tags(groups)
    for group in groups:
        states = [LimitState(limit, 0, known.get(limit.name)) for limit in group]
        found = {tag(state, key(state.limit)) for state in states}
        assert len(found) <= 1
        assert all(len(one) == 4 and one.isalnum() for one in found)


def test_clients_are_spread_and_their_paths_lie_together() -> None:
    known = tags([[one("a"), one("b", "client_ip,path")]])
    a, b = (LimitState(one(name, key), 0, known[name]) for name, key in (("a", "client_ip"), ("b", "client_ip,path")))
    clients = [b"192.0.%d.%d" % (high, low) for high in range(16) for low in range(256)]
    assert len({tag(a, client) for client in clients}) > 3500
    assert {tag(b, compose([clients[0], said(b"/%d" % n, b"")])) for n in range(100)} == {tag(a, clients[0])}
    thirds = Counter(int(tag(a, client), 16) % 3 for client in clients)
    assert min(thirds.values()) > 1200


def test_a_key_alone_is_its_own_tag_and_a_name_is_one_for_all() -> None:
    alone = LimitState(one("a"), 0)
    named = LimitState(one("a"), 0, Tag(name="n"))
    assert tag(alone, b"x") != tag(alone, b"y")
    assert tag(named, b"x") == tag(named, b"y") != tag(alone, b"x")
