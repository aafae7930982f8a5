"""How long a server keeps idle connections, learned."""

import pytest

from headgate.http1.reuse import IdleTime


def test_at_first_a_connection_is_used_again_for_as_long_as_every_server_we_know_keeps_it() -> None:
    assert IdleTime().reusable_for == 0.25


@pytest.mark.parametrize(("seconds", "reusable"), [(5, 4), (2, 1), (1, 0.25), (0, 0.25), (75, 67.5), (10, 9)])
def test_what_a_server_says_is_believed_less_a_margin(seconds: float, reusable: float) -> None:
    idle = IdleTime()
    idle.announced(seconds)
    assert idle.reusable_for == reusable


def test_a_close_that_is_seen_is_believed_more_than_what_was_said() -> None:
    idle = IdleTime()
    idle.announced(75)
    idle.closed(5)
    idle.announced(75)
    assert idle.reusable_for == 4


def test_a_server_that_says_something_else_is_believed_anew() -> None:
    idle = IdleTime()
    idle.announced(75)
    idle.closed(5)
    idle.announced(60)
    assert idle.reusable_for == 54


def test_a_connection_that_stays_open_shows_that_the_server_keeps_it() -> None:
    idle = IdleTime()
    for age in (1.0, 3.0, 5.0):
        idle.survived(age)
    assert idle.reusable_for == 4
    idle.closed(5.25)
    assert idle.reusable_for == 4


def test_one_early_close_is_mended_by_the_next_connection_that_stays() -> None:
    idle = IdleTime()
    idle.survived(5)
    idle.closed(0.1)
    assert idle.reusable_for == 0.25
    idle.survived(4)
    assert idle.reusable_for == 3


def test_what_stays_open_beyond_what_the_server_says_proves_nothing() -> None:
    idle = IdleTime()
    idle.announced(5)
    idle.survived(20)
    assert idle.reusable_for == 4
