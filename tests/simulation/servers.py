"""A simulated server's side of one connection: reads requests with h11 as a server would, and answers as it drew.

It holds Headgate to what a server can see: whole requests only, each with its own bytes and nothing else's, one at a
time, nothing of what was refused, and none twice that must not be.
"""

from typing import TYPE_CHECKING

import h11

from tests.exchange.kit import ServerPeer
from tests.simulation.judge import judge_admission
from tests.simulation.messages import IDEMPOTENT, LEFTOVER, NUMBER, POISON, Answer, Request, draw_answer

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_KERNEL = 200_000  # bytes that wait unread before a server can send no more
_BREAKS = ("reset", "close", "hang")


class SimulatedServer:
    """One connection of one server. faulty: what it did of itself; "" for nothing."""

    def __init__(self, sim: "Simulation", peer: ServerPeer) -> None:
        self._sim = sim
        self._draws = sim.draws
        self.peer = peer
        self.faulty = ""
        self.answer: Answer | None = None
        self._latest: Answer | None = None  # which may still be on its way when the next request is awaited
        self.tunnel_came = 0
        self.in_tunnel = False
        self.is_done = False  # it sends no more
        self._tunnel_at = 0
        self._closes_late = False
        self._leftover = b""
        self._is_lazy = sim.is_large and sim.draws.chance(40)  # takes something now and then only
        self._reader: h11.Connection | None = None
        peer.transport.stalled = self._is_lazy or sim.draws.chance(10)

    # What it does.

    @property
    def is_connected(self) -> bool:
        """Whether it still has a connection."""
        return self.peer.end in ("", "eof")

    @property
    def is_idle(self) -> bool:
        """Whether nothing was asked of it, for all it knows."""
        return self.answer is None and self._reader is None

    def can_act(self) -> bool:
        """Whether there is anything that it would do."""
        if not self.is_connected:
            return False
        return self.peer.transport.get_write_buffer_size() > 0 or self._has_more_to_do()

    def _has_more_to_do(self) -> bool:
        answer = self.answer
        if self._closes_late or self._leftover:
            return True
        if self.is_done or answer is None:
            return False
        if self.in_tunnel:
            return True
        if answer.fault == "hang" and self.faulty:
            return self._sim.is_finishing
        return answer.sent < self._stop(answer) or (answer.sent == answer.at and answer.fault in _BREAKS)

    def act(self, *, calm: bool) -> None:
        """Does one thing. calm: nothing that is not in its answer."""
        transport = self.peer.transport
        if transport.get_write_buffer_size() and self._draws.chance(5 if self._is_lazy else 60):
            if self._draws.chance(25):
                transport.stalled = False
                transport.drain()
            else:
                transport.drain(self._draws.between(1, 90000))
            return
        if not calm and self._draws.chance(3):
            return self.misbehave()
        if self._closes_late:
            self._closes_late = False
            self._sim.note(f"{self} closes at last")
            transport.finish()
        elif self._leftover and self._draws.chance(50):
            piece, self._leftover = self._leftover, b""
            self._sim.note(f"{self} sends the rest of what nobody asked for")
            transport.arrive(piece)
        elif self.in_tunnel:
            self._act_in_tunnel()
        elif self.answer is not None and not self.is_done and transport.unread < _KERNEL:
            self._act_on(self.answer)

    def misbehave(self) -> None:
        """Closes or resets the connection, whatever it is about, or takes nothing for a while."""
        what = self._draws.pick(("reset", "close", "stall"))
        if what == "stall":
            self.peer.transport.stalled = True
        elif what == "reset":
            self.breaks()
        elif not self.is_done:
            self._ends(fault=True)

    def bothers(self) -> None:
        """Says something that nobody asked for on an idle connection, and it is read before the next request goes out.

        Else the two cross, and it is the answer to that request for all that anybody can tell.
        """
        self._sim.note(f"{self} speaks unasked")
        self.faulty = self.faulty or "unasked"
        self.is_done = True
        self.peer.transport.arrive(LEFTOVER)
        self._sim.world.loop.run()

    def breaks(self) -> None:
        """Resets the connection."""
        self._sim.note(f"{self} resets")
        self._blame("reset")
        self.is_done = True
        self.peer.transport.break_off()

    def _ends(self, *, fault: bool) -> None:
        self._closes_late, self._leftover = False, b""
        self._sim.note(f"{self} closes{' out of turn' if fault else ''}")
        answer = self.answer
        if answer is not None and answer.framing == "close" and answer.sent >= answer.body_at and not self.in_tunnel:
            answer.content = answer.content[: answer.sent - answer.body_at]  # for all that anybody can know
        elif fault:
            self._blame("close")
        self.is_done = True
        self.peer.transport.finish()

    def _blame(self, fault: str) -> None:
        self.faulty = self.faulty or fault
        self._sim.faults += 1
        if self._latest is not None and (self.answer is not None or self.peer.transport.unread):
            self._latest.request.troubles.append(fault)

    def _act_on(self, answer: Answer) -> None:
        stop = self._stop(answer)
        if answer.sent < stop:
            self._send_piece(answer, stop)
        elif answer.fault in _BREAKS and answer.sent == answer.at:
            self._execute(answer)

    @staticmethod
    def _stop(answer: Answer) -> int:
        """How much of the answer may be sent by now: before the body has come only interim ones, if it waits for it."""
        stop = len(answer.wire)
        if answer.after == "body" and not answer.request_ended:
            hint = answer.wire.rfind(b"X-Hint: ")
            stop = answer.wire.find(b"\r\n\r\n", hint) + 4 if hint >= 0 else 0
        return min(stop, answer.at) if answer.fault in _BREAKS else stop

    def _execute(self, answer: Answer) -> None:
        """What was to go wrong does."""
        if answer.fault == "reset":
            self.breaks()
        elif answer.fault == "close":
            self._ends(fault=True)
        else:
            self._blame("hang")
            if self._sim.is_finishing:  # there is no time in which it could be given up
                self.breaks()

    def _send_piece(self, answer: Answer, stop: int) -> None:
        left = min(stop - answer.sent, 65536)
        size = left if self._draws.chance(40) else self._draws.between(max(1, left // 20), left)
        piece = answer.wire[answer.sent : answer.sent + size]
        answer.sent += size
        if answer.fault == "malformed":
            self._blame("malformed")
        elif answer.leftover and answer.sent == len(answer.wire):
            at = self._draws.pick((len(LEFTOVER), self._draws.between(1, len(answer.leftover))))
            piece += answer.leftover[:at]  # the rest comes at any time, should the connection still be used
            self._leftover = answer.leftover[at:]
            self._blame("leftover")
        self._sim.note(f"{self} sends {len(piece)}: {piece[:40]!r}")
        self.peer.transport.arrive(piece)
        if answer.sent == len(answer.wire) and answer.fault != "malformed":
            self._complete(answer)

    def _complete(self, answer: Answer) -> None:
        if answer.upgrades:
            self.in_tunnel = True
        elif answer.fault == "malformed":
            self.is_done = True  # it waits to be left
        elif (
            answer.ends and answer.framing != "close" and b"Connection: close" in answer.wire and self._draws.chance(60)
        ):
            self.is_done = self._closes_late = True  # what comes meanwhile is lost
        elif answer.ends:
            self._ends(fault=False)
        elif answer.request_ended:
            self.answer = self._reader = None

    def _act_in_tunnel(self) -> None:
        answer = self.answer
        assert answer is not None
        if self.is_done:
            return
        if self._tunnel_at < len(answer.content) and self.peer.transport.unread < _KERNEL:
            left = min(len(answer.content) - self._tunnel_at, 65536)
            size = self._draws.between(1, left)
            self.peer.transport.arrive(answer.content[self._tunnel_at : self._tunnel_at + size])
            self._tunnel_at += size
        elif self._tunnel_at == len(answer.content) and self._draws.chance(30):
            self._ends(fault=False)

    @property
    def tunnel_sent(self) -> int:
        """How many bytes it sent through the tunnel."""
        return self._tunnel_at

    # What it reads.

    def read(self) -> None:
        """Reads what came since it last did."""
        new = self.peer.new()
        if not new:
            return
        if self.in_tunnel:
            return self._read_tunnel(new)
        if not self.is_done:  # whoever has closed reads no more
            self._read_http(new)
        return None

    def _read_http(self, new: bytes) -> None:
        if not new:
            return
        if self._reader is None:
            self._reader = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
        answer = self.answer
        assert answer is None or not answer.request_ended, f"{self}: {new[:60]!r} while it answers"
        self._reader.receive_data(new)
        self._read_events()

    def _read_events(self) -> None:
        reader = self._reader
        assert reader is not None
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                self._read_head(event)
            elif isinstance(event, h11.Data):
                self._read_body(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                answer = self.answer
                assert answer is not None
                request = answer.request
                assert not request.flaw, f"{self}: {request.mark!r} is whole here, and never was"
                assert answer.body_came == len(request.content), f"{self}: the body of {request.mark!r} is not whole"
                answer.request_ended = True
                rest = bytes(reader.trailing_data[0])
                if answer.sent == len(answer.wire) and not answer.ends and not answer.fault and not answer.upgrades:
                    self.answer = self._reader = None  # it was answered before it was whole
                    return self._read_http(rest)
                assert not rest, f"{self}: {rest[:60]!r} after {request.mark!r}"
                return None
            else:
                return None

    def _read_head(self, event: h11.Request) -> None:
        sim = self._sim
        numbers = NUMBER.findall(event.target)
        assert len(numbers) == 1, f"{self}: {event.target!r} is nothing that was asked"
        request = sim.requests[int(numbers[0])]
        self._check_head(request, event)
        judge_admission(sim, request)
        answer = self.answer = self._latest = draw_answer(
            self._draws,
            len(sim.answers),
            request,
            sizes=sim.sizes,
            calm=sim.is_calm,
            upgradable=b"upgrade" in dict(event.headers),
        )
        sim.answers.append(answer)
        request.answers.append(answer)
        sim.note(
            f"{self} has the head of {request.mark!r}, will answer {answer.number}: {answer.status} {answer.fault}"
        )

    def _check_head(self, request: Request, event: h11.Request) -> None:
        fields = [(bytes(name), bytes(value)) for name, value in event.headers]
        names = [name for name, _ in fields]
        assert not [1 for _, value in fields if POISON in value], f"{self}: got poison"
        assert request.flaw != "head", f"{self}: {request.mark!r} was to be refused"
        assert request.sent >= request.head_size, f"{self}: {request.mark!r} was not sent"
        assert event.method == request.method
        assert event.target.startswith(b"/r%d/q" % request.route)
        assert dict(fields)[b"x-number"] == request.mark, f"{self}: the fields of another in {request.mark!r}"
        assert names.count(b"x-forwarded-for") == names.count(b"x-request-id") == names.count(b"host") == 1
        assert dict(fields)[b"x-forwarded-for"] == self._sim.client_of(request).peer.protocol.address
        upgrade = [value for name, value in fields if name in (b"connection", b"upgrade")]
        asks = request.upgrades and self._sim.world.snapshot.routes[request.route].upgrades == ("*",)
        assert upgrade == ([b"upgrade", b"sim"] if asks else []), f"{self}: {upgrade}"
        again = len(request.answers)
        assert not again or request.method in IDEMPOTENT, f"{self}: {request.method!r} {request.mark!r} comes again"
        assert again <= self._sim.most_sends, f"{self}: {request.mark!r} comes {again + 1} times"

    def _read_body(self, data: bytes) -> None:
        answer = self.answer
        assert answer is not None
        request = answer.request
        if request.flaw != "body":
            expected = request.content[answer.body_came : answer.body_came + len(data)]
            assert data == expected, f"{self}: {data[:60]!r} in {request.mark!r} in the place of {expected[:60]!r}"
        answer.body_came += len(data)

    def _read_tunnel(self, data: bytes) -> None:
        answer = self.answer
        assert answer is not None
        out = self._sim.client_of(answer.request).sent_after(answer.request)
        expected = bytes(out[self.tunnel_came : self.tunnel_came + len(data)])
        assert data == expected, f"{self}: {data[:60]!r} in the tunnel in the place of {expected[:60]!r}"
        self.tunnel_came += len(data)

    def __str__(self) -> str:
        return f"server {self._sim.servers.index(self) if self in self._sim.servers else '?'} ({self.peer.name})"
