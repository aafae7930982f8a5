import pytest

from headgate.balance.retry import may_send_again

MOST = 3

RULES = [
    # what happened, method, sends, replayable, again
    ("nothing was sent", b"GET", 0, True, True),
    ("nothing of a POST was sent", b"POST", 0, True, True),
    ("nothing was sent and the body is gone", b"POST", 0, False, True),
    ("a GET was sent", b"GET", 1, True, True),
    ("a HEAD was sent", b"HEAD", 1, True, True),
    ("an OPTIONS was sent", b"OPTIONS", 1, True, True),
    ("a PUT was sent", b"PUT", 1, True, True),
    ("a DELETE was sent", b"DELETE", 1, True, True),
    ("a PUT was sent and its body is gone", b"PUT", 1, False, False),
    ("a POST was sent", b"POST", 1, True, False),
    ("a PATCH was sent", b"PATCH", 1, True, False),
    ("an unknown method was sent", b"BREW", 1, True, False),
    ("a get is not a GET", b"get", 1, True, False),
    ("a GET was sent for the last time", b"GET", MOST, True, False),
    ("a GET was sent once before the last time", b"GET", MOST - 1, True, True),
]


@pytest.mark.parametrize(("method", "sends", "replayable", "again"), [r[1:] for r in RULES], ids=[r[0] for r in RULES])
def test_a_request_may_be_sent_again_when(method: bytes, sends: int, replayable: bool, again: bool) -> None:
    assert may_send_again(method, sends=sends, most=MOST, replayable=replayable) is again
