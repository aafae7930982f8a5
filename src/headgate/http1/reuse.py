"""How long a server keeps an idle connection, learned from what it does. Pure.

Every server closes idle connections some time, and a request that is sent at that moment is lost: a 502 now and then
that nobody finds. Python's servers close early (gunicorn after 2 s, uvicorn after 5), and few say so. So it is
learned: a close that is seen says that it keeps them no longer than that, and one connection that is left alone, being
the oldest of the idle ones, says that it keeps them for so long at least. A `Keep-Alive: timeout=5` is believed.
A connection is used again only while it is younger than that by a margin.

Closes for another reason, as of a server that restarts, teach too short a time; the next connection that is left alone
mends it by and by.
"""

_START = 1.0  # seconds; what is taken for granted until something is known: the shortest that uvicorn can be told
_MARGIN = 1.0  # seconds, or a tenth: the clock of connections is a quarter of a second coarse, and a server can be slow
_LEAST = 0.25  # seconds for which a connection may be used again whatever was seen


class IdleTime:
    """What is known of one server. Ages are seconds since a connection was used last."""

    __slots__ = ("_announced", "keeps")

    def __init__(self) -> None:
        self.keeps = _START
        self._announced = float("inf")

    @property
    def reusable_for(self) -> float:
        """How old an idle connection may be to be used again, in seconds."""
        return max(_LEAST, self.keeps - max(_MARGIN, self.keeps / 10))

    def announced(self, seconds: float) -> None:
        """The server says for how long it keeps idle connections."""
        if seconds != self._announced:  # it says so in each response; only the first is news
            self.keeps = self._announced = seconds

    def survived(self, age: float) -> None:
        """A connection of this age is still open."""
        if self.keeps < age <= self._announced:
            self.keeps = age

    def closed(self, age: float) -> None:
        """The server closed an idle connection of this age."""
        if age < self.keeps:
            self.keeps = age
