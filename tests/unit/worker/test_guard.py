"""How many connections of one address there are."""

import pytest

from headgate.worker.guard import Guard


def test_without_a_limit_all_come_in_and_are_counted() -> None:
    guard = Guard()
    assert all(guard.enters("a") for _ in range(1000))
    guard.most = 1000
    assert not guard.enters("a")
    assert guard.enters("b")


def test_one_that_leaves_makes_room_for_one() -> None:
    guard = Guard()
    guard.most = 2
    assert [guard.enters("a") for _ in range(3)] == [True, True, False]
    guard.leaves("a")
    assert [guard.enters("a") for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
    ],
)
def test_who_has_a_network_of_ipv6_is_one_client(first: str, second: str, are_one: bool) -> None:
    guard = Guard()
    guard.most = 1
    assert guard.enters(first)
    assert guard.enters(second) is not are_one
    guard.leaves(first)
    assert guard.enters(first if are_one else "other")


def test_nothing_is_kept_of_addresses_that_have_left() -> None:
    guard = Guard()
    for name in "abc":
        guard.enters(name)
        guard.enters(name)
    for name in "abc":
        guard.leaves(name)
        guard.leaves(name)
    assert len(guard) == 0
