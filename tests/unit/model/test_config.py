import pytest

from headgate.model.config import Limit, Rate


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Rate(1, 1.0), "1/second"),
        (Rate(100, 60.0), "100/minute"),
        (Rate(5, 3600.0), "5/hour"),
        (Rate(5, 86400.0), "5/day"),
        (Rate(5, 10.0), "5/10s"),
        (Rate(5, 0.5), "5/0.5s"),
    ],
)
def test_a_rate_reads_as_it_is_written_in_the_configuration(rate: Rate, text: str) -> None:
    assert str(rate) == text


def test_a_limit_lets_pass_its_burst_at_once_or_its_rate() -> None:
    assert Limit("a", Rate(7, 60.0)).at_once == 7
    assert Limit("a", Rate(7, 60.0), algorithm="gcra", burst=3).at_once == 3


def test_a_limit_knows_the_functions_that_it_asks() -> None:
    assert Limit("a", Rate(1, 1.0), settle="free:5xx").functions == {}
    asking = Limit("a", Rate(1, 1.0), "python:m:key", exempt_by="python:m.n:free", cost=3)
    assert asking.functions == {"exempt": "m.n:free", "key": "m:key"}
    assert asking.keys == ("python:m:key", "", "client_ip")
