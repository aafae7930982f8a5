import json
import time

import pytest

from headgate.cli.main import INTERRUPTED
from tests.unit.cli.conftest import Headgate
from tests.unit.cli.fake_admin import FakeAdmin

DOWN: dict[str, object] = {
    "number": 7,
    "time": "2026-01-01T00:00:00.000Z",
    "kind": "store_down",
    "text": "the limits' store is down: \x1b[2J",
    "fields": {"worker": 1},
}
BACK = DOWN | {"number": 8, "kind": "store_back", "text": "it is back"}
DOWN_LINE = "7 2026-01-01T00:00:00.000Z store_down: the limits' store is down: ?[2J"
BACK_LINE = "8 2026-01-01T00:00:00.000Z store_back: it is back"
PATH = "GET /api/v1/events?since="


def answer(*found: object, last: int = 8, misses: bool = False, started: float = 1.0) -> tuple[int, object]:
    return 200, {"events": list(found), "last": last, "misses": misses, "started": started}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch, admin: FakeAdmin) -> list[dict[str, tuple[int, object]]]:
    """What the API answers after each pause; after the last of them comes Ctrl-C."""
    changes: list[dict[str, tuple[int, object]]] = []

    def pause(seconds: float) -> None:
        if not changes:
            raise KeyboardInterrupt
        admin.answers |= changes.pop(0)

    monkeypatch.setattr(time, "sleep", pause)
    return changes


def test_each_event_is_a_line(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"{PATH}0"] = answer(DOWN, BACK, misses=True)
    assert headgate("events") == (0, [DOWN_LINE, BACK_LINE], [])


def test_only_what_is_new_is_asked_for(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"{PATH}7"] = answer(BACK, misses=True)
    assert headgate("events", "--since", "7") == (0, [BACK_LINE], ["some events are missing: they are in the log"])


def test_json_is_a_line_for_each(headgate: Headgate, admin: FakeAdmin) -> None:
    admin.answers[f"{PATH}0"] = answer(DOWN, BACK)
    _, out, _ = headgate("events", "--json")
    assert [json.loads(line) for line in out] == [DOWN, BACK]


def test_what_happens_is_followed(
    headgate: Headgate, admin: FakeAdmin, pauses: list[dict[str, tuple[int, object]]]
) -> None:
    admin.answers[f"{PATH}0"] = answer(DOWN, last=7)
    pauses += [{f"{PATH}7": answer(last=7)}, {f"{PATH}7": answer(BACK)}, {f"{PATH}8": answer()}]
    assert headgate("events", "--follow")[:2] == (INTERRUPTED, [DOWN_LINE, BACK_LINE])


def test_a_process_that_takes_over_is_followed_from_its_beginning(
    headgate: Headgate, admin: FakeAdmin, pauses: list[dict[str, tuple[int, object]]]
) -> None:
    admin.answers[f"{PATH}0"] = answer(BACK)
    new = BACK | {"number": 1, "text": "another"}
    pauses += [{f"{PATH}8": answer(last=9, started=2.0), f"{PATH}0": answer(new, last=9, started=2.0)}]
    assert headgate("events", "-f")[1] == [BACK_LINE, "1 2026-01-01T00:00:00.000Z store_back: another"]
