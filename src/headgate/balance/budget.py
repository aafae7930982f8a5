"""How much may be tried again: a share of the requests of the last seconds, so that retries cannot bury what is slow.

A server that dies takes some requests with it, and each of them may go to another one. When all servers fail, every
retry is one more request for nothing. So retries are counted against requests over the last ten seconds: a burst is
let through, a steady stream of failures is not. A few a second always are, for upstreams with little traffic.
The idea is Finagle's retry budget, with two half windows in place of its token bucket.
"""

WINDOW = 10.0  # seconds
FLOOR = 3.0  # retries in a second that are always allowed


class Budget:
    """The requests and retries of one upstream. `requests` is counted up by who chooses servers for them."""

    __slots__ = ("_before", "_half_until", "_retries", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self._retries = 0
        self._before = (0, 0)  # requests and retries of the half window before
        self._half_until = 0.0

    def turn(self, now: float) -> None:
        """Forgets what is too old. now: seconds; called every now and then."""
        if now < self._half_until:
            return
        is_next = now < self._half_until + WINDOW / 2
        self._before = (self.requests, self._retries) if is_next else (0, 0)
        self.requests = self._retries = 0
        self._half_until = now + WINDOW / 2

    def take(self, percent: int) -> bool:
        """Whether one more may be tried again; it counts as tried then. percent: of the requests."""
        requests, retries = self._before
        if retries + self._retries >= (requests + self.requests) * percent / 100 + FLOOR * WINDOW:
            return False
        self._retries += 1
        return True
