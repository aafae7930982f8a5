from dataclasses import dataclass

import pytest

from headgate.balance.choose import choose, is_available, usable

NOW = 100.0


@dataclass(eq=False)
class Server:
    name: str
    admitted: bool = True
    ejected_until: float = 0.0
    max_requests: int = 0
    has: int = 0

    def has_room(self) -> bool:
        return self.has < self.max_requests

    def __bool__(self) -> bool:
        return False  # what a server is must not depend on its truth


UP = Server("up")
ALSO_UP = Server("also up")
OUT = Server("out", admitted=False)
OUT_AND_EJECTED = Server("out and ejected", admitted=False, ejected_until=NOW + 1)
EJECTED = Server("ejected", ejected_until=NOW + 1)
ALSO_EJECTED = Server("also ejected", ejected_until=NOW + 2)
BACK = Server("back", ejected_until=NOW)
FULL = Server("full", max_requests=2, has=2)
ROOMY = Server("roomy", max_requests=2, has=1)
EJECTED_AND_FULL = Server("ejected and full", ejected_until=NOW + 1, max_requests=1, has=1)


@pytest.mark.parametrize(
    ("server", "available"), [(UP, True), (OUT, False), (EJECTED, False), (BACK, True), (OUT_AND_EJECTED, False)]
)
def test_a_server_is_available_when_admitted_and_not_ejected(server: Server, available: bool) -> None:
    assert is_available(server, NOW) is available


USABLE = [
    ("all", [UP, ALSO_UP], [UP, ALSO_UP]),
    ("no one out", [OUT, UP], [UP]),
    ("no ejected one", [EJECTED, UP], [UP]),
    ("one that is back", [BACK, EJECTED], [BACK]),
    ("every admitted one in panic", [OUT, EJECTED, OUT_AND_EJECTED, ALSO_EJECTED], [EJECTED, ALSO_EJECTED]),
    ("none where all are out", [OUT, OUT_AND_EJECTED], []),
    ("none of none", [], []),
]


@pytest.mark.parametrize(("servers", "expected"), [case[1:] for case in USABLE], ids=[case[0] for case in USABLE])
def test_requests_are_shared_among(servers: list[Server], expected: list[Server]) -> None:
    assert usable(servers, NOW) == expected


CHOICES = [
    ("the first", [UP, ALSO_UP], [], UP),
    ("the first that is available", [OUT, EJECTED, UP], [], UP),
    ("the next when one was tried", [UP, ALSO_UP], [UP], ALSO_UP),
    ("one that is back", [BACK], [], BACK),
    ("an ejected one rather than none", [OUT, EJECTED, ALSO_EJECTED], [], EJECTED),
    ("an ejected one rather than one that was tried", [UP, EJECTED], [UP], EJECTED),
    ("another ejected one", [EJECTED, ALSO_EJECTED], [EJECTED], ALSO_EJECTED),
    ("none when all were tried", [UP, EJECTED], [UP, EJECTED], None),
    ("none when all are out", [OUT, OUT_AND_EJECTED], [], None),
    ("none of none", [], [], None),
    ("one that has room", [FULL, ROOMY, UP], [], ROOMY),
    ("none while a full one is worth waiting for", [EJECTED, FULL], [], None),
    ("an ejected one that has room", [EJECTED_AND_FULL, EJECTED], [], EJECTED),
    ("an ejected one when the full one was tried", [FULL, EJECTED], [FULL], EJECTED),
    ("none twice", [UP, UP], [UP], None),
]


@pytest.mark.parametrize(("order", "tried", "expected"), [case[1:] for case in CHOICES], ids=[c[0] for c in CHOICES])
def test_choosing_gives(order: list[Server], tried: list[Server], expected: Server | None) -> None:
    assert choose(order, NOW, tried) is expected
    assert choose(iter(order), NOW, set(tried)) is expected


def test_choosing_asks_for_no_more_candidates_than_it_needs() -> None:
    order = iter([UP, ALSO_UP])
    assert choose(order, NOW) is UP
    assert list(order) == [ALSO_UP]
