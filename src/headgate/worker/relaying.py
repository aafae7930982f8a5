"""The chapter of the story in which the response goes to the client: its beginning and its end.

What comes in between passes by way of `passage.py`.
"""

from headgate.errors import ClientGone
from headgate.http1.response import UNTIL_CLOSE, ResponseHead
from headgate.worker.absent import Absent
from headgate.worker.answers import CLOSE, KEEP_ALIVE, limit_fields
from headgate.worker.course import NEVER
from headgate.worker.passage import SMALL, Passage
from headgate.worker.phase import OVER, RESPONSE_BODY, TUNNEL
from headgate.worker.server import Server
from headgate.worker.tunnel import UPGRADE, Tunnel
from headgate.worker.upstream import ServerConnection

_LAST_CHUNK = b"0\r\n\r\n"


class Relaying(Passage):
    """An exchange and its response."""

    __slots__ = ()

    def _relay_head(self, connection: ServerConnection, response: ResponseHead) -> bool:
        """Passes the response's head on, with what is there of its body. Returns whether that is all of it."""
        client, head = self.client, self.head
        length = response.length
        extra = b""
        if length == UNTIL_CLOSE and head.minor == 1:
            self._framing = True
            extra = b"Transfer-Encoding: chunked\r\n"
        if (
            head.close
            or (self._upload is not None and self._is_uploading())
            or (length < 0 and head.minor == 0)
            or client.draining
        ):
            head.close = True
            extra += CLOSE
        elif head.minor == 0:
            extra += KEEP_ALIVE
        if self.decisions:
            extra += limit_fields(self.decisions)
        body, complete = connection.begin_body(response, head.minor == 1)
        if self._framing and body:
            body = b"%x\r\n%b\r\n" % (len(body), bytes(body))
        self.status = response.status
        if complete and (leave := self.leave) is not None:
            self.leave = None  # `_give_back`, without the call
            leave()
        if len(body) <= SMALL:
            out = b"".join((response.lines, extra, b"\r\n", body))
            self.sent = len(out)
            client.write(out)
        else:
            out = b"%b%b\r\n" % (response.lines, extra)
            self.sent = len(out) + len(body)
            client.write(out)
            client.write(body)
        if not complete:
            self._phase = RESPONSE_BODY
            self._allow(self._route.timeouts.response_body)
            if client.paused:
                connection.pause_reading()
        return complete

    def _open_tunnel(self, response: ResponseHead) -> None:
        """The server agreed to speak something else: from here on both connections are one."""
        connection, client = self.connection, self.client
        assert connection is not None
        if isinstance(client, Absent):
            raise ClientGone
        first, _ = connection.begin_body(response, True)
        out = b"%b%b\r\n%b" % (response.lines, UPGRADE % response.upgrade, bytes(first))
        self.head.close = True
        self.status = response.status
        self.sent = len(out)
        client.write(out)
        self._until = NEVER
        self._tunnel = Tunnel(client, connection)
        self._phase = TUNNEL
        self.goes_on()
        if early := client.take_ahead():
            connection.write(early)
        if client.has_ended:  # before there was a tunnel: nobody will say so again
            self.client_ended()
        client.update_reading()
        if client.paused:
            connection.pause_reading()

    def _finish(self, connection: ServerConnection, server: Server, response: ResponseHead) -> None:
        """The response is complete: gives the connection back and lets the client go on."""
        if self._framing:
            self.client.write(_LAST_CHUNK)
            self.sent += len(_LAST_CHUNK)
        uploading = self._upload is not None and self._is_uploading()
        self.connection = None
        self._leave()
        if response.keeps is not None:
            server.keeps(response.keeps)
        timeouts = self._route.timeouts
        keep_for = timeouts.server_idle
        connection.release(self._worker.now, keep_for, reuse=not response.close and not uploading and server.admitted)
        self._phase = OVER
        if timeouts.response_min_rate:
            self._worker.paces.answered(self)
        if uploading:
            self.client.linger()
