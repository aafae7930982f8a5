import pytest

from headgate.limits.decision import Decision
from headgate.store.base import settle, undecided
from tests.unit.store.limits import limit


def test_a_request_passes_when_every_limit_allows_it() -> None:
    decisions = [Decision(True, limit(), 2, 1), Decision(True, limit(), 0, 1)]
    assert settle(decisions, [(decision.limit, b"k", 2) for decision in decisions])
    assert [decision.remaining for decision in decisions] == [2, 0]


def test_what_was_put_aside_for_a_refused_request_is_free_again() -> None:
    decisions = [Decision(True, limit(), 2, 1), Decision(False, limit(), 0, 1)]
    assert not settle(decisions, [(decision.limit, b"k", 2) for decision in decisions])
    assert [decision.remaining for decision in decisions] == [4, 0]


def test_where_refused_requests_count_nothing_is_free_again() -> None:
    decisions = [Decision(True, limit(count_refused=True), 2, 1), Decision(False, limit(), 0, 1)]
    assert not settle(decisions, [(decision.limit, b"k", 1) for decision in decisions])
    assert [decision.remaining for decision in decisions] == [2, 0]


@pytest.mark.parametrize(("on_store_error", "allowed"), [("allow", True), ("deny", False), ("local", True)])
def test_without_a_store_the_limit_says_what_happens(on_store_error: str, allowed: bool) -> None:
    decision = undecided(limit(on_store_error=on_store_error))
    assert decision.allowed is allowed
    assert decision.unavailable is not allowed
