import pytest

from headgate.model.config import Rate


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
