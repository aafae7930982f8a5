from headgate.limits.refusals import refusals
from headgate.model.config import Ban, Limit, Rate
from headgate.model.snapshot import LimitState


def test_refusals_are_counted_by_the_same_keys_as_often_as_the_ban_says() -> None:
    one = Limit("a", Rate(3, 60.0), "path", on_store_error="allow", ban=Ban(5, 10.0, 3600.0), algorithm="gcra")
    counter = refusals(LimitState(one, 7))
    assert counter == LimitState(Limit("a!refusals", Rate(5, 10.0), "path", on_store_error="allow"), 7)


def test_a_limit_that_bans_nobody_has_none() -> None:
    assert refusals(LimitState(Limit("a", Rate(3, 60.0)), 0)) is None
