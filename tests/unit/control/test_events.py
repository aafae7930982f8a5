import logging

import pytest

from headgate.control.events import ROOM, Event, Events


def numbers(events: Events, since: int) -> list[int]:
    return [event.number for event in events.since(since)[0]]


def test_an_event_says_what_changed_and_when() -> None:
    events = Events(lambda: 1_767_225_600.25)
    events.add("key_reset", "a key was reset", limit="per_ip", key="a")
    assert events.since(0) == (
        [Event(1, "2026-01-01T00:00:00.250Z", "key_reset", "a key was reset", {"limit": "per_ip", "key": "a"})],
        False,
    )


def test_who_asks_is_told_what_is_new() -> None:
    events = Events()
    assert events.since(0) == ([], False)
    for number in range(5):
        events.add("kind", str(number))
    assert numbers(events, 0) == [1, 2, 3, 4, 5]
    assert numbers(events, 3) == [4, 5]
    assert numbers(events, 5) == []
    assert events.last == 5


def test_who_knows_a_number_of_a_process_before_is_told_all() -> None:
    events = Events()
    events.add("kind", "first")
    assert numbers(events, 700) == [1]


def test_old_ones_go_and_who_missed_them_is_told_so() -> None:
    events = Events()
    for number in range(ROOM + 2):
        events.add("kind", str(number))
    assert len(numbers(events, 0)) == ROOM
    assert events.since(0)[1]
    assert events.since(1)[1]
    assert not events.since(2)[1]


def test_what_strangers_cause_drives_out_nothing_else() -> None:
    events = Events()
    events.add("server_added", "a server")
    for number in range(ROOM + 1):
        events.add_by_strangers("key_banned", str(number), key="k")
    events.add("server_removed", "a server")
    found, misses = events.since(0)
    assert [event.kind for event in found] == ["server_added", *["key_banned"] * ROOM, "server_removed"]
    assert [event.number for event in found] == [1, *range(3, ROOM + 4)]
    assert found[1].fields == {"key": "k"}
    assert misses
    assert not events.since(2)[1]


def test_what_is_told_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    events.tell(logging.getLogger("headgate.x").warning, "kind", "100 % of it", a=1)
    assert caplog.messages == ["100 % of it"]
    assert events.since(0)[0][0].text == "100 % of it"
