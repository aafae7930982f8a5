import itertools

import pytest

from headgate.store.breaker import Breaker, Event, State


def after(*events: Event) -> Breaker:
    breaker = Breaker()
    for event in events:
        breaker.note(event, 0.0)
    return breaker


OK, F, C = Event.OPENED, Event.FAILED, Event.CLOSE


@pytest.mark.parametrize(
    ("events", "state", "accepts"),
    [
        ([], State.OPENING, True),
        ([OK], State.READY, True),
        ([F], State.DOWN, False),
        ([OK, F], State.DOWN, False),
        ([F, F], State.DOWN, False),
        ([F, OK], State.READY, True),
        ([C], State.CLOSED, False),
        ([OK, C], State.CLOSED, False),
        ([F, C, C], State.CLOSED, False),
    ],
)
def test_the_states(events: list[Event], state: State, accepts: bool) -> None:
    breaker = after(*events)
    assert breaker.state is state
    assert breaker.accepts is accepts


@pytest.mark.parametrize("event", [OK, F])
def test_nothing_comes_after_the_end(event: Event) -> None:
    with pytest.raises(KeyError):
        after(C).note(event, 0.0)


def test_the_pauses_grow_from_fifty_milliseconds_to_two_seconds() -> None:
    breaker = Breaker()
    pauses = []
    for _ in range(20):
        breaker.note(F, 0.0)
        pauses.append(breaker.delay(1.0))
    assert pauses[:6] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]
    assert set(pauses[6:]) == {2.0}


def test_half_of_a_pause_is_chance() -> None:
    breaker = after(F)
    assert [breaker.delay(chance) for chance in (0.0, 0.5, 1.0)] == pytest.approx([0.025, 0.0375, 0.05])


def test_a_connection_that_breaks_again_and_again_is_tried_less_and_less() -> None:
    breaker = Breaker()
    pauses = []
    for now in range(4):
        breaker.note(OK, now)
        breaker.note(F, now + 0.5)
        pauses.append(breaker.delay(1.0))
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(pauses))


def test_after_two_good_seconds_the_next_failure_is_the_first() -> None:
    breaker = after(F, F, F, F)
    breaker.note(OK, 10.0)
    breaker.note(F, 12.0)
    assert breaker.delay(1.0) == 0.05
