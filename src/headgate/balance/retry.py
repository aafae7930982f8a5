"""When a request may be sent again, as one rule (RFC 9110 section 9.2.2).

Nothing that a server may have acted on is sent twice unless its method is idempotent, and nothing is sent again once
the client has seen a byte of a response. Within that a route says for which failures, and how often.
"""

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})


def may_send_again(method: bytes, *, sends: int, most: int, replayable: bool) -> bool:
    """Whether a request that failed before any byte of a response reached the client may go out once more.

    sends: how often it was sent so far, 0 when no connection could be made: that costs a server nothing and is not
    counted. most: how often it is sent at all. replayable: whether all bytes that were sent are still here (a body that
    was only passed through is not).
    """
    if sends == 0:
        return True
    return replayable and sends < most and method in IDEMPOTENT
