"""The body of a request on its way to a server."""

from headgate.errors import BadRequest
from headgate.http1.body import Chunked
from headgate.http1.request import CHUNKED


class Upload:
    """What came of a request's body and what is still to come. A request without a body has none.

    is_complete: whether all of it came. backlog: what came before there was a server to send it to.
    received: bytes that came since there was one. is_whole: whether the backlog still is all that any server was sent,
    so that another server can be sent the same.
    """

    __slots__ = ("_chunked", "_left", "backlog", "is_complete", "is_whole", "received")

    def __init__(self, length: int) -> None:
        """length: of the body, or CHUNKED."""
        self._left = length
        self._chunked = Chunked(True, BadRequest) if length == CHUNKED else None
        self.backlog: bytes | memoryview = b""
        self.is_complete = False
        self.is_whole = True
        self.received = 0

    def take(self, data: bytes | memoryview) -> tuple[bytes | memoryview, bytes | memoryview]:
        """The part of the data that belongs to the body, checked, and what belongs to later requests.

        Raises BadRequest for what is no chunked body.
        """
        if self._chunked is not None:
            passed = self._chunked.feed(bytes(data))
            self.is_complete = self._chunked.done
            return passed, self._chunked.rest
        part, rest = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
        self._left -= len(part)
        self.is_complete = self._left == 0
        return part, rest

    def keep(self, part: bytes | memoryview) -> None:
        """Adds a part of the body to the backlog. The first one is kept as it is: a body in one piece is not copied."""
        self.backlog = b"%b%b" % (self.backlog, part) if self.backlog else part  # type: ignore[str-format]
