"""A simulated client: sends what it drew in pieces, and reads the answers with h11 as a client would.

It holds Headgate to what a client can see: answers in the order of the requests, each whole or visibly broken off, each
one that a server gave to this very request or one of Headgate's own for which there is a reason.
"""

from typing import TYPE_CHECKING

import h11

from tests.exchange.kit import Client
from tests.simulation.judge import judge_break, judge_end_of_tunnel, judge_own_answer, judge_silence
from tests.simulation.messages import POISON, Answer, Request, content

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_KERNEL = 200_000  # bytes that wait unread before a client can send no more
_FLAWED = (400, 414, 431, 501, 505)


class SimulatedClient:
    """One client. faulty: why it may be treated badly; "" for nothing."""

    def __init__(self, sim: "Simulation", peer: Client, requests: list[Request]) -> None:
        self._sim = sim
        self._draws = sim.draws
        self.peer = peer
        self.requests = requests
        self.faulty = ""
        self.is_done = False  # it sends no more
        self.answered = 0
        self.touched = self._connected = sim.now  # touched: when it connected or had its last answer
        self.tunnel: Answer | None = None
        self.tunnel_came = 0
        self.stream = bytearray()  # all that it sent
        self._tunnel_left = b""
        self._pipelines = sim.draws.chance(50)
        self._is_lazy = sim.is_large and sim.draws.chance(40)  # takes something now and then only
        self.takes_slowly = self._is_lazy or sim.draws.chance(15)
        self._index = 0
        self._may_send_body = False
        self._reader: h11.Connection | None = None
        self._unread = b""
        self._answer: Answer | None = None
        self._came = 0
        self._status = 0
        self._closes_after = False  # what is being read says that it is the last
        self.says_close = False  # the last answer has come
        self._is_over = False  # nothing more can be read
        peer.transport.stalled = self.takes_slowly

    # What it does.

    @property
    def is_connected(self) -> bool:
        """Whether it still has a connection."""
        return self.peer.end in ("", "eof")

    def can_act(self) -> bool:
        """Whether there is anything that it would do."""
        return self.is_connected and (
            self._can_send() or self.peer.transport.get_write_buffer_size() > 0 or not self.is_done
        )

    def act(self, *, calm: bool) -> None:
        """Does one thing. calm: nothing that Headgate would be to blame for otherwise."""
        transport = self.peer.transport
        if not calm and self._draws.chance(4):
            return self._misbehave()
        if transport.get_write_buffer_size() and self._draws.chance(5 if self._is_lazy else 70):
            return self._take()
        if self._can_send():
            return self._send()
        if not self.is_done and self._wants_to_close():
            self._sim.note(f"{self} closes")
            self.is_done = True
            transport.finish()
        return None

    def hurry(self) -> None:
        """Takes everything from now on."""
        self.peer.transport.stalled = False
        self.peer.transport.drain()

    def _take(self) -> None:
        if self._draws.chance(20):
            self.hurry()
        else:
            self.takes_slowly = self.peer.transport.stalled = True
            self.peer.transport.drain(self._draws.between(1, 70000))

    def _misbehave(self) -> None:
        what = self._draws.pick(("reset", "half-close", "half-close", "stall", "vanish"))
        self._sim.note(f"{self}: {what}")
        transport = self.peer.transport
        if what == "stall":
            self.takes_slowly = transport.stalled = True
            return
        self.faulty = self.faulty or what
        if what == "half-close":
            if not self.is_done:
                transport.finish()
        elif what == "vanish":
            transport.vanished = True
        else:
            transport.break_off()
        self.is_done = self.is_done or what != "vanish"

    def _can_send(self) -> bool:
        if self.is_done or not self.is_connected or self.peer.transport.unread > _KERNEL:
            return False
        if self.tunnel is not None:
            return bool(self._tunnel_left)
        if self.says_close or self._index >= len(self.requests):
            return False
        request = self.requests[self._index]
        if request.sent == 0:
            if self._index and self.requests[self._index - 1].upgrades and self.answered < self._index:
                return self._pipelines and self._draws.chance(50)
            return self._pipelines or self.answered == self._index
        if request.expects and request.sent == request.head_size and not self._may_send_body:
            return self._draws.chance(10) or self.answered > self._index
        return True

    def _send(self) -> None:
        if self.tunnel is not None:
            size = self._draws.between(1, max(1, min(len(self._tunnel_left), 65536)))
            piece, self._tunnel_left = self._tunnel_left[:size], self._tunnel_left[size:]
            self._arrive(piece)
            return
        piece = self._next_piece()
        while self._pipelines and len(piece) < 4000 and self._draws.chance(60) and self._goes_on():
            piece += self._next_piece()
        self._arrive(piece)

    def _goes_on(self) -> bool:
        """Whether the next request may begin in the same piece."""
        if not 0 < self._index < len(self.requests) or self.requests[self._index].sent:
            return False
        before = self.requests[self._index - 1]
        return before.sent == len(before.wire) and not before.upgrades

    def _next_piece(self) -> bytes:
        request = self.requests[self._index]
        if request.sent == 0:
            # The first head is awaited from the accept on.
            request.faults_before = self._sim.quiet_faults
            request.since = self._sim.now if self._index else self._connected
            self._may_send_body = False
        end = len(request.wire)
        if request.expects and request.sent < request.head_size:
            end = request.head_size
        left = min(end - request.sent, 65536)
        size = left if self._draws.chance(40) else self._draws.between(1, left)
        piece = request.wire[request.sent : request.sent + size]
        request.sent += size
        if request.sent == len(request.wire):
            self._index += 1
            if request.flaw == "short":
                self._index = len(self.requests)
        return piece

    def _arrive(self, piece: bytes) -> None:
        self._sim.note(f"{self} sends {len(piece)}: {piece[:40]!r}")
        self.stream += piece
        self.peer.transport.arrive(piece)

    def sent_after(self, request: Request) -> memoryview:
        """What it sent after a request that became a tunnel."""
        first = self.requests.index(request) + 1
        return memoryview(self.stream)[sum(len(each.wire) for each in self.requests[:first]) :]

    def _wants_to_close(self) -> bool:
        if self.tunnel is not None:
            return not self._tunnel_left and self._draws.chance(30)
        if self.says_close:
            return self._draws.chance(30)
        return self.answered == len(self.requests) and self._draws.chance(20)

    # What it reads.

    def read(self) -> None:
        """Reads what came since it last did, and the end of the connection."""
        new = self.peer.new()
        if self.tunnel is not None:
            self._read_tunnel(new)
        elif new:
            assert not self._is_over, f"{self}: {new[:60]!r} after the end"
            self._read_http(new)
        if self.peer.end and not self._is_over and (self.tunnel is None or self.peer.end != "eof"):
            self._read_end()

    def _read_http(self, new: bytes) -> None:
        self._unread += new
        while self._unread and self.tunnel is None:
            assert not self.says_close, f"{self}: {self._unread[:60]!r} after Connection: close"
            assert self.answered < len(self.requests), f"{self}: an answer to nothing: {self._unread[:60]!r}"
            if self._reader is None:
                self._begin(self._unread)
            assert self._reader is not None
            data, self._unread = self._unread, b""
            self._reader.receive_data(data)
            if not self._read_events():
                return

    def _begin(self, data: bytes) -> None:
        request = self.requests[self.answered]
        assert request.sent, f"{self}: an answer to {request.mark!r}, which was not sent"
        self._reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=100_000)
        fields = [("Host", "a")]
        if request.upgrades:
            fields += [("Connection", "upgrade"), ("Upgrade", "sim")]
        # The answer to a head that did not come whole has a body, for its method was not read.
        method = request.method if b"HTTP/1.1 408"[: len(data)] != data[:12] else b"GET"
        self._reader.send(h11.Request(method=method, target="/", headers=fields))
        self._reader.send(h11.EndOfMessage())
        self._answer, self._came, self._status = None, 0, 0

    def _read_events(self) -> bool:
        """Whether the response is complete."""
        reader = self._reader
        assert reader is not None
        request = self.requests[self.answered]
        while True:
            event = reader.next_event()
            if isinstance(event, h11.InformationalResponse):
                self._read_interim(request, event)
                if event.status_code == 101:
                    self._open_tunnel(request, bytes(reader.trailing_data[0]))
                    return False
            elif isinstance(event, h11.Response):
                self._read_head(request, event)
            elif isinstance(event, h11.Data):
                self._read_body(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._unread = bytes(reader.trailing_data[0])
                self._complete(request)
                return True
            else:
                return False

    def _read_interim(self, request: Request, event: h11.InformationalResponse) -> None:
        fields = dict(event.headers)
        mark = b"x-answer" if event.status_code == 101 else b"x-hint"
        answer = self._sim.answers[int(fields[mark])]
        assert answer.request is request, f"{self}: an interim answer of {answer.request.mark!r} to {request.mark!r}"
        assert request.minor == 1, f"{self}: an interim answer to HTTP/1.0"
        if event.status_code == 100:
            self._may_send_body = True

    def _read_head(self, request: Request, event: h11.Response) -> None:
        fields = dict(event.headers)
        assert b"x-poison" not in fields, f"{self}: got poison"
        self._status = event.status_code
        if b"x-answer" in fields:
            answer = self._answer = self._sim.answers[int(fields[b"x-answer"])]
            assert answer.request is request, f"{self}: the answer to {answer.request.mark!r} came to {request.mark!r}"
            assert answer.status == event.status_code
        else:
            judge_own_answer(self._sim, self, request, event.status_code)
        options = fields.get(b"connection", b"").lower()
        self._closes_after = b"close" in options or (request.minor == 0 and b"keep-alive" not in options)

    def _read_body(self, data: bytes) -> None:
        if self._answer is None:
            assert POISON not in data, f"{self}: got poison"
        else:
            expected = self._answer.content[self._came : self._came + len(data)]
            assert data == expected, f"{self}: {data[:60]!r} in the place of {expected[:60]!r}"
        self._came += len(data)

    def _complete(self, request: Request) -> None:
        answer = self._answer
        if answer is not None:
            assert self._came == len(answer.content), (
                f"{self}: {self._came} bytes of {len(answer.content)} seem to be all of it: {request.mark!r}"
            )
            assert answer.sent >= answer.body_at
        self._sim.note(f"{self} has its {self._status} to {request.mark!r}")
        request.outcome, request.status = "answered", self._status
        self.says_close = self._closes_after
        self.answered += 1
        self.touched = self._sim.now
        self._reader = None

    def _open_tunnel(self, request: Request, first: bytes) -> None:
        self._sim.note(f"{self} has a tunnel")
        answer = self._sim.answers[request.answers[-1].number]
        request.outcome, request.status = "answered", 101
        self.answered += 1
        self.tunnel, self._reader, self._unread = answer, None, b""
        self._tunnel_left = content(b"c%d" % request.number, self._draws.pick(self._sim.sizes))
        self._read_tunnel(first)

    def _read_tunnel(self, data: bytes) -> None:
        assert self.tunnel is not None
        expected = self.tunnel.content[self.tunnel_came : self.tunnel_came + len(data)]
        assert data == expected, f"{self}: {data[:60]!r} in the tunnel in the place of {expected[:60]!r}"
        self.tunnel_came += len(data)

    def _read_end(self) -> None:
        self._is_over = True
        self._sim.note(f"{self} sees the end: {self.peer.end}")
        if self.tunnel is not None:
            return judge_end_of_tunnel(self._sim, self)
        in_order = self.peer.end in ("eof", "closed")
        request = self.requests[self.answered] if self.answered < len(self.requests) else None
        if self._reader is not None and request is not None:
            reads_to_end = False
            if in_order:
                try:
                    self._reader.receive_data(b"")
                    reads_to_end = self._read_events()
                except h11.RemoteProtocolError:
                    reads_to_end = False
            if reads_to_end:
                return None
            request.outcome = "broken"
            return judge_break(self._sim, self, request, self._answer)
        if request is not None and not self.says_close:
            judge_silence(self._sim, self, request)
        return None

    def __str__(self) -> str:
        return f"client {self._sim.clients.index(self) if self in self._sim.clients else '?'}"
