"""What the connections tell an exchange, and ask of it, while its story waits.

Bodies do not go through the story: they pass from connection to connection by way of this, as do interim responses and
all that goes through a tunnel. And one of the two may have gone.
"""

from headgate.errors import BadRequest, ClientGone
from headgate.http1.response import ResponseHead
from headgate.worker.absent import Absent
from headgate.worker.course import Course
from headgate.worker.phase import ANSWERS, REQUEST_BODY, RESPONSE_HEAD, TUNNEL
from headgate.worker.tunnel import require_agreement

SMALL = 16384  # bytes of a body up to which copying it behind the head is cheaper than a second buffer


class Passage(Course):
    """An exchange as its two connections know it."""

    __slots__ = ()

    # The client's.

    def uploaded(self, data: bytes) -> None:
        """More of the request's body came, or of requests after it, or for the tunnel."""
        if self._phase is TUNNEL:
            assert self.connection is not None
            self.connection.write(data)
            return self.goes_on()
        try:
            self._take(data)
        except BadRequest as error:
            self.fail(error)
        return None

    def _take(self, data: bytes | memoryview) -> None:
        """Sends what belongs to the request's body on its way, and keeps the rest for its turn."""
        upload = self._upload
        if upload is None or upload.is_complete:
            self.client.ahead(data)
            return
        part, rest = upload.take(data)
        if rest:
            self.client.ahead(rest)
        if self.connection is None:
            upload.keep(part)
            return
        upload.is_whole = False
        self.connection.write(part)
        upload.received += len(data)
        if self._phase is REQUEST_BODY:
            timeouts = self._route.timeouts
            if self._is_uploading():
                wait = timeouts.request_body
            else:
                self._phase = RESPONSE_HEAD
                wait = timeouts.response_head
            self._allow(wait)

    def received(self) -> int:
        """Bytes that came of the request's body after its first read, as long as all that is awaited is the rest."""
        if self._phase is not REQUEST_BODY or not self.takes_body():
            return 0
        return 0 if self._upload is None else self._upload.received

    def takes_body(self) -> bool:
        """Whether what the client sends now can be used."""
        if self.connection is None:
            return not self._is_uploading()
        return not self.connection.paused

    def _is_uploading(self) -> bool:
        return self._upload is not None and not self._upload.is_complete

    def client_ended(self) -> bool:
        """The client sends no more. Whether its connection stays open, for what the server still sends: in a tunnel, or
        where the route says that a request is finished although its client may have gone.
        """
        if self._tunnel is None or self._phase is not TUNNEL:
            return self._is_finished_anyway()
        self._tunnel.client_ended()
        self.goes_on()
        return True

    def goes_on_alone(self) -> bool:
        """The client is gone. Whether the request goes on, for the server's sake."""
        if not self._is_finished_anyway():
            return False
        self.flag = ClientGone.flag
        client = self.client
        self.client = Absent(self._worker, self, client.address, min(client.deadline, self._until))
        self._worker.absent(self.client)
        if self.connection is not None:
            self.connection.resume_reading()
        return True

    def _is_finished_anyway(self) -> bool:
        """Whether the route has it that the server answers to the end; from now on within the time that it says."""
        if self._phase not in ANSWERS or self._is_uploading() or not self._route.on_client_gone:
            return False
        self._until = min(self._until, self._worker.now + self._route.on_client_gone)
        return True

    # The server's.

    def interim(self, response: ResponseHead) -> None:
        """Passes a 1xx response on; an HTTP/1.0 client does not know them (RFC 9110 section 15.2)."""
        if self.head.minor == 1:
            self.client.write(response.lines + b"\r\n")

    def require_upgrade(self, response: ResponseHead) -> None:
        """Raises BadResponse for a 101 that nobody asked for."""
        require_agreement(self._asked, response.upgrade)

    def relay(self, data: bytes) -> None:
        """Passes on a piece of the response's body, or of what comes through the tunnel."""
        if self._framing:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.sent += len(data)
        self.client.write(data)
        if self._phase is TUNNEL:
            self.goes_on()
        else:
            self._allow(self._route.timeouts.response_body)

    def relay_last(self, data: bytes) -> None:
        """Passes on the last of the response's body, or of the tunnel, if any is left, and goes on with the story."""
        if self.leave is not None:
            self._give_back()
        if data:
            self.relay(data)
        self.resume(None)

    def server_ended(self) -> bool:
        """The server sends no more. Whether its connection stays open: in a tunnel, for what the client still sends."""
        if self._tunnel is None or self._phase is not TUNNEL:
            return False
        self._tunnel.server_ended()
        self.goes_on()
        return True
