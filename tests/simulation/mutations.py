"""Mistakes that the simulation must notice: changes to the product, each of which breaks one promise.

A mutation replaces a piece of one function's source. `test_mutations.py` plays runs under each until one fails, which
shows that the simulation can fail, and where it looks. When the product changes so that a piece is no longer there,
`planted` says so: then the mutation must be written anew. `scripts/simulate --mutations` says which run notices which.
"""

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A mistake in a function (`module:qualified name` below headgate): a piece of its source, and what replaces it."""

    name: str
    where: str
    old: str
    new: str
    seed: int = 0  # of a run that noticed it when this was written: the first to be tried


MUTATIONS = (
    # What is left of one exchange in the next.
    Mutation(
        "the buffer of a server's connection is not emptied",
        "worker.upstream:ServerConnection.data_received",
        'self._buffer = b""\n',
        "pass\n",
    ),
    Mutation(
        "a connection with bytes left over is kept",
        "worker.upstream:ServerConnection.release",
        "if not reuse or self.is_lost or (chunked.rest if chunked is not None else self._left):",
        "if not reuse or self.is_lost:",
        seed=8,
    ),
    Mutation(
        "a connection is kept although its server closes it",
        "worker.relaying:Relaying._finish",
        "reuse=not response.close and not uploading and server.admitted",
        "reuse=not uploading and server.admitted",
        seed=52,
    ),
    Mutation(
        "a connection is kept although its request is not whole",
        "worker.relaying:Relaying._finish",
        "reuse=not response.close and not uploading and server.admitted",
        "reuse=not response.close and server.admitted",
        seed=17,
    ),
    Mutation(
        "bytes that nobody asked for are ignored",
        "worker.upstream:ServerConnection.data_received",
        "return self._drop_idle()",
        "return None",
        seed=5,
    ),
    Mutation(
        "what follows a response in the same read is passed on",
        "worker.upstream:ServerConnection.begin_body",
        "return received[head.end : head.end + length], not self._in_body",
        "return received[head.end :], not self._in_body",
        seed=3,
    ),
    Mutation(
        "what follows a request's body goes to the server",
        "worker.upload:Upload.take",
        '(data, b"") if len(data) <= self._left',
        '(data, b"") if len(data) <= self._left + 40',
        seed=9,
    ),
    # Retries.
    Mutation(
        "every method is sent again",
        "worker.attempts:may_send_again",
        "return replayable and sends < most and method in IDEMPOTENT",
        "return replayable and sends < most",
        seed=11,
    ),
    Mutation(
        "a body that is not here any more is sent again",
        "worker.passage:Passage._take",
        "upload.is_whole = False",
        "upload.is_whole = True",
        seed=154,
    ),
    Mutation(
        "a request that cannot be sent twice goes out on a connection that is closed",
        "worker.server:Server.take",
        "or (sure and connection.has_news())",
        "",
        seed=235,
    ),
    Mutation(
        "retries have no end",
        "worker.attempts:may_send_again",
        "return replayable and sends < most and method in IDEMPOTENT",
        "return replayable and method in IDEMPOTENT",
        seed=336,
    ),
    # Counting.
    Mutation(
        "a failed request stays in flight",
        "worker.forwarding:Forwarding._let_go",
        "self._leave()",
        "pass",
        seed=2,
    ),
    Mutation(
        "a request stays in flight",
        "worker.relaying:Relaying._finish",
        "self._leave()",
        "pass",
    ),
    Mutation(
        "a connection is counted for ever",
        "worker.guard:Guard.leaves",
        "if count:",
        "if True:",
    ),
    Mutation(
        "a request that failed is not accounted",
        "worker.exchange:Exchange._account",
        "self._worker.account.ended(self)",
        "self.flag != '-' or self._worker.account.ended(self)",
    ),
    Mutation(
        "a limit lets one more through",
        "store.shared:SharedStore.hit",
        "if count < entry.most:",
        "if count <= entry.most:",
        seed=6,
    ),
    Mutation(
        "one that has gone still waits for a server",
        "worker.forwarding:Forwarding._wait",
        "queue.leave(self)",
        "pass",
        seed=47,
    ),
    # Pressure and time.
    Mutation(
        "a server is read although the client is slow",
        "worker.upstream:ServerConnection.pause_reading",
        "if self._reading and not self.is_lost:",
        "if False:",
        seed=2,
    ),
    Mutation(
        "a client is read although the server is slow",
        "worker.passage:Passage.takes_body",
        "return not self.connection.paused",
        "return True",
        seed=2,
    ),
    Mutation(
        "a client is not read again when the server caught up",
        "worker.upstream:ServerConnection.resume_writing",
        "self.exchange.client.update_reading()",
        "pass",
        seed=88,
    ),
    Mutation(
        "a server is not read again when the client caught up",
        "worker.downstream:Downstream.resume_writing",
        "self.exchange.connection.resume_reading()",
        "pass",
        seed=52,
    ),
    Mutation(
        "a response is awaited for ever",
        "worker.forwarding:Forwarding._send",
        "self._allow(route.timeouts.response_head)",
        'self.client.deadline = float("inf")',
    ),
    Mutation(
        "an idle client stays for ever",
        "worker.downstream:Downstream.expire",
        "self.transport.abort()",
        "pass",
        seed=1,
    ),
    Mutation(
        "the next request is forgotten",
        "worker.downstream:Downstream.ended",
        "self._next()",
        "pass",
    ),
    # Ends that nobody can see.
    Mutation(
        "a response that broke off is ended as if it were whole",
        "worker.downstream:Downstream.cut",
        "if reset:",
        "if False:",
        seed=29,
    ),
    Mutation(
        "a server that reset is taken for one that closed",
        "worker.upstream:ServerConnection.connection_lost",
        "and error is None",
        "",
        seed=29,
    ),
    Mutation(
        "a response that a half-close cancels ends as if it were whole",
        "worker.downstream:Downstream.eof_received",
        "self.abort()",
        "pass",
        seed=1168,
    ),
    Mutation(
        "a connection is made for a client that has gone",
        "worker.forwarding:Forwarding._let_go",
        "self._connecting.cancel()",
        "pass",
        seed=4,
    ),
    Mutation(
        "requests of one that has gone are not ended",
        "worker.downstream:Downstream.connection_lost",
        "self.exchange.fail(ClientGone())",
        "pass",
        seed=3,
    ),
    Mutation(
        "the last chunk is not sent",
        "worker.relaying:Relaying._finish",
        "self.client.write(_LAST_CHUNK)",
        "pass",
    ),
    Mutation(
        "a tunnel's other direction is not told of the end",
        "worker.tunnel:Tunnel.server_ended",
        "self._client.end_writing()",
        "pass",
        seed=14,
    ),
    Mutation(
        "what a client sent before a tunnel opened is dropped",
        "worker.relaying:Relaying._open_tunnel",
        "connection.write(early)",
        "pass",
        seed=35,
    ),
    # What must not pass.
    Mutation(
        "an interim response goes to HTTP/1.0",
        "worker.passage:Passage.interim",
        "if self.head.minor == 1:",
        "if True:",
        seed=6,
    ),
    Mutation(
        "a tunnel that nobody asked for opens",
        "worker.passage:Passage.require_upgrade",
        "require_agreement(self._asked, response.upgrade)",
        "pass",
        seed=11,
    ),
    Mutation(
        "a server that is to be left alone is used",
        "worker.server:Server.update",
        "self.close_idle()",
        "pass",
        seed=4,
    ),
    Mutation(
        "a malformed body goes on to the server",
        "http1.body:Chunked._keep_partial",
        'raise self._error("malformed chunk size")',
        "pass",
        seed=136,
    ),
    Mutation(
        "a second Content-Length is not seen",
        "http1.request:_length",
        "if len(lengths) > 1:",
        "if len(lengths) > 2:",
        seed=48,
    ),
)


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """The product with this mistake in it."""
    module_name, _, path = mutation.where.partition(":")
    module = importlib.import_module(f"headgate.{module_name}")
    owner: object = module
    *names, last = path.split(".")
    for name in names:
        owner = getattr(owner, name)
    function = getattr(owner, last)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(mutation.old) == 1, f"{mutation.where} has not one {mutation.old!r}"
    scope = dict(vars(inspect.getmodule(function)))
    exec(source.replace(mutation.old, mutation.new), scope)
    setattr(owner, last, scope[last])
    try:
        yield
    finally:
        setattr(owner, last, function)
