import logging

import pytest

from headgate.store.foreign import Finds, is_foreign
from tests.unit.store.limits import limit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WRONGTYPE Operation against a key holding the wrong kind of value", True),
        ("ERR Error running script (call to f_1): @user_script:4: WRONGTYPE Operation against a key", True),
        ("ERR value is not an integer or out of range", True),
        ("ERR increment or decrement would overflow", True),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
    ],
)
def test_what_redis_says_of_such_a_value_in_any_version(text: str, expected: bool) -> None:
    assert is_foreign(text) is expected


def test_keys_are_told_as_people_write_them_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "headgate.store")
    finds = Finds()
    one, other = limit(3), limit(5, "other")
    finds.add([(one, b"192.0.2.7", 1)], 0.0)
    finds.add([(other, b"=x", 1)], 59.9)
    finds.add([(one, b"192.0.2.7", 1), (other, b"=\xff", 1)], 60.0)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    rest = " is no count; on_store_error decides until it is removed (headgate limit reset)"
    assert caplog.messages == [
        f"what Redis holds of 192.0.2.7 (limit per_ip){rest}",
        f"what Redis holds of 192.0.2.7 (limit per_ip) or =\\xff (limit other){rest}",
    ]
