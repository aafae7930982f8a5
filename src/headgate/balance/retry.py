"""When a request may be sent again, as one rule (RFC 9110 section 9.2.2).

Nothing that a server may have acted on is sent twice unless its method is idempotent, and nothing is sent again once
the client has seen a byte of a response.
"""

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})

# How often one request is sent at the most, not counting connections that were refused: those cost a server nothing.
MAX_SENDS = 3


def may_send_again(method: bytes, *, sends: int, replayable: bool) -> bool:
    """Whether a request whose sending failed before any byte of a response may go out once more.

    sends: how often it was sent so far, 0 when the connection failed first. replayable: whether all bytes that were
    sent are still here (a body that was only passed through is not).
    """
    if sends == 0:
        return True
    return replayable and sends < MAX_SENDS and method in IDEMPOTENT
