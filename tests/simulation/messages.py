"""What the simulated clients and servers say, each with a mark of its own in everything that can hold one.

A request has its number in its target and all through its body, an answer in a field and all through its content, so
that a byte which comes to the wrong one is seen. The contents also look like framing, for whoever loses count.
"""

import re
from dataclasses import dataclass, field

from tests.simulation.draws import Draws

NUMBER = re.compile(rb"q(\d+)")
POISON = b"poison"  # in whatever must never be passed on
_UNIT = b"<%b>0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nGET /%b HTTP/1.1\r\n\r\n"
IDEMPOTENT = (b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS")


def content(mark: bytes, size: int) -> bytes:
    """So many bytes that are like no other content's."""
    unit = _UNIT % (mark, mark)
    return (unit * (size // len(unit) + 1))[:size]


def chunks(draws: Draws, data: bytes) -> bytes:
    """The data as a chunked body, with extensions and trailer fields now and then."""
    out = bytearray()
    for piece in draws.cut(data) if data else ():
        extension = draws.pick([b"", b"", b"", b";x", b';x="y"'])
        out += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
    return bytes(out) + draws.pick([b"0\r\n\r\n", b"0\r\n\r\n", b"000\r\nX-Trailer: v\r\n\r\n"])


@dataclass(eq=False)
class Request:
    """A request and what became of it.

    flaw: "" for a sound one; "head" or "body" for what is malformed in it; "short" for one whose body does not come.
    wire: all of its bytes; head_size: how many are its head. sent: how many the client has sent so far.
    """

    number: int
    method: bytes
    minor: int
    route: int
    wire: bytes
    head_size: int
    content: bytes
    flaw: str = ""
    expects: bool = False
    upgrades: bool = False
    sent: int = 0
    since: float = 0.0  # when its first byte was sent
    faults_before: int = 0  # of all servers, as far as Headgate can have known of them then
    answers: "list[Answer]" = field(default_factory=list)  # one for each time that its head came to a server
    troubles: list[str] = field(default_factory=list)  # whatever excuses that it is not answered by a server
    outcome: str = ""  # "answered" or "broken"
    status: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it is sound and all of it was sent."""
        return not self.flaw and self.sent == len(self.wire)

    @property
    def mark(self) -> bytes:
        """What all of its bytes are marked with."""
        return b"q%d" % self.number


@dataclass(eq=False)
class Answer:
    """What a server says to a request that came to it.

    wire: all of its bytes, of which body_at are before the content. after: "head" or "body" of the request.
    fault, at: what goes wrong after so many bytes; "" for nothing. ends: whether the server closes after it.
    """

    number: int
    request: Request
    status: int
    wire: bytes
    body_at: int
    content: bytes
    framing: str  # "none", "sized", "chunked", "close"
    ends: bool = False
    after: str = "body"
    fault: str = ""
    at: int = 0
    leftover: bytes = b""
    sent: int = 0
    upgrades: bool = False
    body_came: int = 0
    request_ended: bool = False


_BAD_HEADS = (
    b"GET /poison HTTP/1.1\r\n\r\n",
    b"GET  /poison HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /poison HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /poison HTTP/1.1\nHost: a\n\n",
    b"GET /poison HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    b"GET /poison HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    b"GET /poison HTTP/2.0\r\nHost: a\r\n\r\n",
    b"CONNECT poison:80 HTTP/1.1\r\nHost: poison:80\r\n\r\n",
    b"POST /poison HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /poison HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /poison HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    b"POST /poison HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /poison HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /poison HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /poison HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    b"\x16\x03\x01\x02\x00poison\r\n\r\n",
    b"GET /poison HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 120 + b"\r\n",
    b"GET /poison" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
)
_BAD_CHUNKS = (b"zz\r\npoison\r\n", b"-1\r\npoison\r\n", b"6 \r\npoison\r\n", b"0\r\nA b: poison\r\n\r\n")


def draw_request(draws: Draws, number: int, *, sizes: tuple[int, ...], routes: int, calm: bool) -> Request:
    """Any request; a sound one, when calm."""
    if not calm and draws.chance(4):
        wire = draws.pick(_BAD_HEADS)
        return Request(number, b"GET", 1, 0, wire, len(wire), b"", "head")
    method = draws.pick((b"GET", b"GET", b"GET", b"HEAD", b"POST", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))
    minor = 0 if draws.chance(15) else 1
    route = draws.below(routes + 1) if draws.chance(5) else draws.below(routes)  # the last is no route
    upgrades = minor == 1 and method == b"GET" and draws.chance(15)
    framing = "none"
    if method in (b"POST", b"PUT", b"PATCH") or (method != b"HEAD" and draws.chance(5)):
        framing = draws.pick(("sized", "chunked") if minor == 1 and not upgrades else ("sized", "none"))
    data = content(b"q%d" % number, draws.pick(sizes)) if framing != "none" else b""
    expects = minor == 1 and bool(data) and draws.chance(30)
    fields = [b"Host: a\r\n", b"X-Number: q%d\r\n" % number]
    if draws.chance(10):
        fields.append(
            draws.pick((b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"X-Forwarded-For: spoof\r\n"))
        )
    if upgrades:
        fields = [*fields[:2], b"Connection: upgrade\r\n", b"Upgrade: sim\r\n"]
        data, framing = b"", "none"
    if expects:
        fields.append(b"Expect: 100-continue\r\n")
    body = data
    if framing == "sized":
        fields.append(b"Content-Length: %d\r\n" % len(data))
    elif framing == "chunked":
        fields.append(b"Transfer-Encoding: chunked\r\n")
        body = chunks(draws, data)
    flaw = "" if calm or not body or not draws.chance(8) else "short"
    if framing == "chunked" and flaw:
        flaw = "body"
        head, _, _ = body.rpartition(b"0\r\n")
        body = (head if draws.chance(50) and head.endswith(b"\r\n") else b"") + draws.pick(_BAD_CHUNKS)
    target = b"/r%d/q%d" % (route, number) if route < routes else b"/none/q%d" % number
    head = b"%b %b HTTP/1.%d\r\n%b\r\n" % (method, target, minor, b"".join(fields))
    if draws.chance(3):
        head = b"\r\n" + head
    wire = head + body
    if flaw == "short":
        wire = wire[: len(head) + draws.below(len(body))]
    return Request(number, method, minor, route, wire, len(head), data, flaw, expects and not flaw, upgrades)


_BAD_ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\nX-Poison: 1\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\nX-Poison: 1\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nX-Poison: 1\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\nX-Poison: 1\r\n\r\n",
    b"SSH-2.0-poison\r\n\r\n",
    b"HTTP/1.1 200 OK\nX-Poison: 1\n\n",
    b"HTTP/1.1 20 OK\r\nX-Poison: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Poison : 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Poison: \0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Poison: 1\r\n folded\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nX-Poison: 1\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\npoison",
    b"HTTP/1.1 101 Switching Protocols\r\nX-Poison: 1\r\n\r\npoison",
    b"HTTP/1.1 200 OK\r\n" + b"X-Poison: 1\r\n" * 300 + b"\r\n",
)
LEFTOVER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Poison: 1\r\n\r\npoison"
HINT = b"HTTP/1.1 %d Hint\r\nX-Hint: %d\r\n\r\n"


def draw_answer(
    draws: Draws, number: int, request: Request, *, sizes: tuple[int, ...], calm: bool, upgradable: bool
) -> Answer:
    """Any answer to the request; one without a fault, when calm. upgradable: whether it may be 101."""
    hints = b"".join(HINT % (draws.pick((102, 103)), number) for _ in range(draws.below(3)) if draws.chance(20))
    if request.expects and draws.chance(80):
        hints = HINT % (100, number) + hints
    if upgradable and draws.chance(60):
        head = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: sim\r\nX-Answer: %d\r\n\r\n" % number
        data = content(b"a%d" % number, draws.pick(sizes))
        return Answer(number, request, 101, hints + head, len(hints) + len(head), data, "close", upgrades=True)
    status = draws.pick((200, 200, 200, 200, 201, 206, 204, 304, 404, 500, 503))
    bodiless = request.method == b"HEAD" or status in (204, 304)
    data = b"" if bodiless else content(b"a%d" % number, draws.pick(sizes))
    framing = draws.pick(("sized", "sized", "chunked", "close"))
    version = b"1.0" if framing != "chunked" and draws.chance(10) else b"1.1"
    ends = framing == "close" or draws.chance(10)
    lines = [b"HTTP/%b %d X\r\n" % (version, status), b"X-Answer: %d\r\n" % number]
    if framing == "sized" and status != 204:
        lines.append(b"Content-Length: %d\r\n" % len(data))
    elif framing == "chunked" and status != 204:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if framing == "close" and bodiless:
        ends = draws.chance(30)
    if (ends and draws.chance(60)) or (version == b"1.0" and not ends and draws.chance(30)):
        lines.append(b"Connection: close\r\n" if ends else b"Connection: keep-alive\r\n")
    if draws.chance(10):
        lines.append(b"Keep-Alive: timeout=%d\r\n" % draws.pick((1, 2, 5, 60)))
    head = hints + b"".join(lines) + b"\r\n"
    body = chunks(draws, data) if framing == "chunked" and not bodiless else data
    if bodiless:
        framing = "none"
    answer = Answer(number, request, status, head + body, len(head), data, framing, ends)
    if request.content and draws.chance(15):
        answer.after = "head"
    if not calm and draws.chance(30):
        _spoil(draws, answer)
    return answer


def _spoil(draws: Draws, answer: Answer) -> None:
    """Lets something go wrong."""
    kind = draws.pick(("reset", "close", "hang", "head", "chunk", "leftover"))
    answer.at = draws.below(len(answer.wire)) if draws.chance(60) else 0
    if kind == "head":
        answer.wire, answer.fault, answer.at = draws.pick(_BAD_ANSWERS), "malformed", 0
        answer.content, answer.leftover = b"", b""
        answer.body_at = len(answer.wire)
    elif kind == "chunk":
        if answer.framing == "chunked":
            answer.wire = answer.wire[: answer.body_at] + draws.pick(_BAD_CHUNKS)
            answer.fault, answer.ends = "malformed", False
    elif kind == "leftover":
        if answer.framing != "close" and not answer.ends:
            answer.leftover = LEFTOVER * 2
    else:
        answer.fault = kind
