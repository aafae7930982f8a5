"""What an exchange waits for, which decides what its deadline means."""

from enum import Enum


class Phase(Enum):
    """What is awaited. The value is the name of the timeout, where it has one."""

    STORE = "store"
    QUEUE = "queue"
    CONNECT = "connect"
    REQUEST_BODY = "request_body"
    RESPONSE_HEAD = "response_head"
    RESPONSE_BODY = "response_body"
    TUNNEL = "tunnel"
    OVER = "over"


# Looking a member up in its class costs more than all else that is done with it (Python 3.11).
STORE, QUEUE, CONNECT, REQUEST_BODY, RESPONSE_HEAD, RESPONSE_BODY, TUNNEL, OVER = Phase
WAITS = (REQUEST_BODY, RESPONSE_HEAD, RESPONSE_BODY, TUNNEL)  # whose timeout has their name
ANSWERS = (CONNECT, RESPONSE_HEAD, RESPONSE_BODY)  # all that is awaited is the server's
