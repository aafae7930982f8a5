import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.model.address import Address
from headgate.model.config import AccessLog, Ejection, Jwt, JwtKey, Limit, Listener, Rate, Route, Store, Timeouts
from headgate.model.server import Mode, Probe, ServerState
from headgate.model.snapshot import LimitState, Snapshot, UpstreamState
from headgate.wire.messages import (
    Adopt,
    Adopted,
    Drain,
    Drained,
    Ejected,
    Forget,
    KeyBanned,
    Launch,
    Message,
    Reader,
    ReopenLog,
    StoreChanged,
    Top,
    Tops,
    encode,
)

SNAPSHOT = Snapshot(
    version=7,
    listeners=(Listener(Address("::1", 8000)), Listener(Address(path="/run/a.sock"), Timeouts(idle=0.5))),
    upstreams=(
        UpstreamState(
            "web",
            (
                ServerState(Address("10.0.0.1", 80), 4095, 256, Mode.DRAIN, Probe.DOWN),
                ServerState(Address("b.example", 81), 0),
            ),
            "round_robin",
            Ejection(0, 2.5),
            Timeouts(),
        ),
    ),
    routes=(Route("web", host="example.org", path="/ü", limits=("per_ip",)),),
    limits=(LimitState(Limit("per_ip", Rate(100, 60.0)), 3),),
    store=Store("redis://:s3cret@h/0"),
    jwt=Jwt(("RS256",), (JwtKey('{"kty": "RSA"}', ("RS256",)),), ("a",), ("b", "c"), 5.0),
    access_log=AccessLog("json", "-"),
    trusted_proxies=("10.0.0.0/8",),
)
MESSAGES: list[Message] = [
    Adopt(SNAPSHOT, ("[::1]:8000",)),
    Adopt(Snapshot(0, (), (), ())),
    Drain(2.5),
    ReopenLog(),
    Forget("per_ip", b"\xff"),
    Adopted(1 << 40),
    StoreChanged(True, "refused"),
    KeyBanned("per_ip", b"\xff", 3600.0, 5),
    Ejected("web", "10.0.0.1:80", 10.0),
    Tops((Top("per_ip", 5, 1, ((b"\xff\x00", 3, 1),)), Top("other"))),
    Drained(),
]
STREAM = b"".join(encode(message) for message in MESSAGES)


def test_what_is_read_is_what_was_sent() -> None:
    assert Reader().feed(STREAM) == MESSAGES


def test_one_byte_at_a_time_reads_the_same() -> None:
    reader = Reader()
    assert [message for k in range(len(STREAM)) for message in reader.feed(STREAM[k : k + 1])] == MESSAGES


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_split_reads_the_same(cuts: list[int]) -> None:
    reader = Reader()
    edges = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert [message for part in parts for message in reader.feed(part)] == MESSAGES


def test_a_message_is_not_read_before_its_last_byte() -> None:
    one = encode(Adopted(5))
    reader = Reader()
    assert reader.feed(one[:-1]) == []
    assert reader.feed(one[-1:]) == [Adopted(5)]


@pytest.mark.parametrize(
    "body", [b"\xc1", b"\x80", b"\x81\xa4type\xa4Evil", b""], ids=["no msgpack", "no tag", "unknown", "empty"]
)
def test_bytes_that_are_no_message_raise(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        Reader().feed(len(body).to_bytes(4, "big") + body)


def test_a_launch_survives_the_command_line() -> None:
    launch = Launch(index=1, workers=4, control=7, cells=8, limits=9)
    assert msgspec.json.decode(msgspec.json.encode(launch), type=Launch) == launch
