"""One connection to Redis, from the connect to its end.

A link is opened whole: connected, logged in, the database chosen, and one script run that writes. So a Redis that
connects but cannot count (a replica, out of memory, still loading) is told from one that can before any request
depends on it. Where Sentinels named it, it is asked as well whether it is the master. Once lost, a link is never used
again: an answer that comes late can not be taken for another's.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from headgate.store.resp import ErrorReply, NotRedis, Reader, Reply, command
from headgate.store.url import Endpoint

_ROLE = command("ROLE")
# Conditions that pass by themselves; whatever else Redis refuses at the opening, a person must mend.
_PASSING = ("LOADING", "OOM", "READONLY", "MISCONF", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "UNKILLABLE")
_NO_EFFECTS = "not allowed after non deterministic commands"  # of a script that looked at the time and then writes
# What a connect says where a Redis is away that was there. Others, such as a want of descriptors, say more than that.
_ABSENCE = (
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ENOENT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ETIMEDOUT,
)


@dataclass
class LinkFailed(Exception):
    """A link that could not be opened.

    permanent: it will not do better without a change of the settings. silent: all that is known is that nobody answers.
    """

    reason: str
    permanent: bool = False
    silent: bool = False

    def __str__(self) -> str:
        return self.reason


class Link(asyncio.Protocol):
    """A connection to Redis. `open_link` makes one; the owner then sets `on_replies` and `on_lost`.

    on_replies: called with the replies that came together, in the order of the commands. on_lost: called once with the
    reason, unless the owner itself gave the link up with `abort`.
    """

    def __init__(self, endpoint: Endpoint, probe: bytes, loop: asyncio.AbstractEventLoop, *, master: bool) -> None:
        self.on_replies: Callable[[list[Reply]], None] = _ignore
        self.on_lost: Callable[[str], None] = _ignore
        self.opened: asyncio.Future[Reply] = loop.create_future()  # what was answered to the probe
        self._endpoint = endpoint
        self._opening = [*_greeting(endpoint), *([_ROLE] if master else ()), probe]  # what is not answered yet
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._over = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, be it one that is about to end."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the whole opening at once."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by descent, only by its methods
        self._transport.write(b"".join(self._opening))

    def data_received(self, data: bytes) -> None:
        """Hands out the replies."""
        try:
            replies = self._reader.feed(data)
        except NotRedis:
            self._end(LinkFailed("what answers there is not a Redis", permanent=True))
            return
        while self._opening and replies and not self._over:
            self._opening_reply(replies.pop(0))
        if replies and not self._over:
            self.on_replies(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the owner."""
        reason = f"the connection was lost ({exc})" if exc else "Redis closed the connection"
        self._transport = None
        self._end(LinkFailed(reason, silent=True))

    def write(self, data: bytes) -> None:
        """Sends commands."""
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        """Gives the connection up; nothing is reported any more."""
        self._over = True
        self.opened.cancel()
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Closes the connection when all that was written is on its way; nothing is reported any more."""
        self._over = True
        self.opened.cancel()
        if self._transport is not None:
            self._transport.close()

    def _opening_reply(self, reply: Reply) -> None:
        asked = self._opening.pop(0)
        if isinstance(reply, ErrorReply):
            if asked is _ROLE and reply.code == "NOPERM":
                return  # an ACL forbids the question: the probe, which writes, must do
            self._end(_refusal(reply, self._endpoint))
        elif asked is _ROLE and (not isinstance(reply, list) or reply[:1] != [b"master"]):
            self._end(LinkFailed("it is not the master"))
        elif not self._opening:
            self.opened.set_result(reply)

    def _end(self, failure: LinkFailed) -> None:
        if self._over:
            return
        was_open = self.opened.done()
        if not was_open:
            self.opened.set_exception(failure)
        self._over = True
        if self._transport is not None:
            self._transport.abort()
        if was_open:
            self.on_lost(failure.reason)


async def open_link(endpoint: Endpoint, probe: bytes, loop: asyncio.AbstractEventLoop, *, master: bool = False) -> Link:
    """A link that is ready for commands. probe: a command that only a Redis that can count answers.

    master: it is asked whether it is one, for there are replicas that can be written to.
    Raises LinkFailed. It has no time limit of its own; cancelling it leaves no connection behind.
    """
    link = Link(endpoint, probe, loop, master=master)
    try:
        if endpoint.path:
            await loop.create_unix_connection(lambda: link, endpoint.path)
        else:
            context = ssl.create_default_context() if endpoint.tls else None
            await loop.create_connection(lambda: link, endpoint.host, endpoint.port, ssl=context)
        await link.opened
    except ssl.SSLCertVerificationError as error:
        raise LinkFailed(
            f"its certificate is not accepted ({error.verify_message}); SSL_CERT_FILE names authorities", permanent=True
        ) from error
    except ssl.SSLError as error:
        raise LinkFailed(f"TLS failed ({error.reason or error})", permanent=True) from error
    except (OSError, ValueError) as error:  # ValueError: a name that the resolver or the kernel cannot even take
        silent = getattr(error, "errno", None) in _ABSENCE
        raise LinkFailed(getattr(error, "strerror", None) or str(error), silent=silent) from error
    finally:
        if not link.opened.done() or link.opened.cancelled() or link.opened.exception():
            link.abort()
    return link


async def ask(endpoint: Endpoint, question: bytes, loop: asyncio.AbstractEventLoop) -> Reply:
    """The answer to one command, on a connection of its own. Raises LinkFailed, also when it is an error."""
    link = await open_link(endpoint, question, loop)
    link.abort()
    return link.opened.result()


def _greeting(endpoint: Endpoint) -> list[bytes]:
    commands = []
    if endpoint.password:
        login = (endpoint.user, endpoint.password) if endpoint.user else (endpoint.password,)
        commands.append(command("AUTH", *login))
    if endpoint.db:
        commands.append(command("SELECT", endpoint.db))
    return commands


def _ignore(_: object) -> None:
    pass


def _refusal(reply: ErrorReply, endpoint: Endpoint) -> LinkFailed:
    """Why the opening failed, in words of the settings. Redis never repeats a password in its errors."""
    text = reply.text
    if reply.code == "WRONGPASS" or "invalid password" in text or "invalid username-password" in text:
        return LinkFailed("wrong user or password", permanent=True)
    if reply.code == "MOVED":
        return LinkFailed("it is a node of a Cluster (redis+cluster://host)", permanent=True)
    if "cluster support disabled" in text:
        return LinkFailed("it is no node of a Cluster (redis://host)", permanent=True)
    if reply.code == "NOAUTH":
        return LinkFailed("it requires a password (redis://:password@host, unix://:password@/path)", permanent=True)
    if "without any password configured" in text:
        return LinkFailed("a password is given, but it has none", permanent=True)
    if "DB index" in text or "SELECT is not allowed" in text:
        return LinkFailed(f"it has no database {endpoint.db}", permanent=True)
    return LinkFailed(brief(text), permanent=not is_passing(reply))


def is_passing(reply: ErrorReply) -> bool:
    """Whether the error is of a kind that passes by itself, wherever in the line an older Redis puts the code."""
    return (
        reply.code in _PASSING
        or "max number of clients" in reply.text
        or any(f"-{code} " in reply.text for code in _PASSING)
    )


def brief(text: str) -> str:
    """An error of Redis, short enough for one line of a log; in words of its settings where those must be changed."""
    if _NO_EFFECTS in text:
        return "its lua-replicate-commands is off, and must be on (a setting of Redis 6, on by default)"
    text = " ".join(text.split())
    return text if len(text) <= 160 else text[:157] + "..."
