"""How h11 and httptools read the same bytes: two parsers that servers behind Headgate are built on."""

from dataclasses import dataclass, field

import h11
import httptools

Fields = tuple[tuple[bytes, bytes], ...]
NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"


@dataclass
class Message:
    """A message as an oracle understood it. `start` is method and target, or the status."""

    start: tuple[bytes, ...]
    fields: Fields
    body: bytes = b""
    complete: bool = False
    rest: bytes = b""


def h11_request(data: bytes) -> Message | None:
    """The request as h11 reads it, with what follows it as rest; None when it refuses or wants more of the head."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    return _h11_message(connection, data)


def h11_response(data: bytes, method: bytes = b"GET") -> Message | None:
    """The response as h11 reads it; an interim response stands for itself."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return _h11_message(connection, data)


def _h11_message(connection: h11.Connection, data: bytes) -> Message | None:
    try:
        connection.receive_data(data)
        head = connection.next_event()
        if isinstance(head, h11.Request):
            message = Message((head.method, head.target), tuple(head.headers))
        elif isinstance(head, h11.Response | h11.InformationalResponse):
            message = Message((b"%d" % head.status_code,), tuple(head.headers))
            if isinstance(head, h11.InformationalResponse):
                message.complete = True
                return message
        else:
            return None
        while isinstance(event := connection.next_event(), h11.Data):
            message.body += bytes(event.data)
    except h11.RemoteProtocolError:
        return None
    message.complete = isinstance(event, h11.EndOfMessage)
    message.rest = bytes(connection.trailing_data[0])
    return message


@dataclass
class _Heard:
    """What httptools calls back."""

    messages: list[Message] = field(default_factory=list)
    url: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    parser: "httptools.HttpRequestParser | httptools.HttpResponseParser | None" = None

    def on_message_begin(self) -> None:
        self.url, self.fields = b"", []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self.parser
        if isinstance(parser, httptools.HttpRequestParser):
            start: tuple[bytes, ...] = (parser.get_method(), self.url)
        else:
            assert parser is not None
            start = (b"%d" % parser.get_status_code(),)
        self.messages.append(Message(start, tuple(self.fields)))

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].complete = True


def httptools_messages(data: bytes, response: bool = False) -> list[Message] | None:
    """The messages that httptools reads; None when it refuses any of them."""
    heard = _Heard()
    parser = httptools.HttpResponseParser(heard) if response else httptools.HttpRequestParser(heard)
    heard.parser = parser
    try:
        parser.feed_data(data)
    except httptools.HttpParserError:
        return None
    except httptools.HttpParserUpgrade:  # it stops there: what follows is another protocol
        return heard.messages
    finally:
        heard.parser = None  # each refers to the other
    return heard.messages
