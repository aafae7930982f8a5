"""Every failure that Headgate expects, as a class that says whose fault it is and what the client is told.

A failure in the data path is an `ExchangeError`: it carries the status to answer, the flag for logs and metrics
(Envoy's letters, which operators know) and nothing else; one place in the worker turns it into an answer. A failure
that a person must act on (a wrong file, a port in use) is a `UserError`: its message is one clear line and it carries
the exit code of the command. Anything else that is raised is a bug.
"""

from enum import Enum
from typing import ClassVar


class Origin(Enum):
    """Whose doing an error is."""

    CLIENT = "client"
    SERVER = "server"
    HEADGATE = "headgate"


class HeadgateError(Exception):
    """The base of every expected failure."""


class ExchangeError(HeadgateError):
    """An exchange that cannot go on. `status` 0 means that nobody is left to answer."""

    origin: ClassVar[Origin]
    status: ClassVar[int]
    flag: ClassVar[str]


class BadRequest(ExchangeError):
    """The request breaks RFC 9112 or is ambiguous; the connection closes after the answer."""

    origin = Origin.CLIENT
    status = 400
    flag = "BR"


class TargetTooLong(BadRequest):
    """The request line is longer than `heads.max_target` allows (RFC 9110 section 15.5.15)."""

    status = 414


class HeadTooLarge(BadRequest):
    """The head has more bytes or fields than `heads` allows (RFC 6585 section 5)."""

    status = 431


class NotImplementedHere(BadRequest):
    """A method or coding that Headgate does not serve, such as CONNECT (RFC 9110 section 15.6.2)."""

    status = 501


class VersionNotSupported(BadRequest):
    """An HTTP version other than 1.0 and 1.1 (RFC 9110 section 15.6.6)."""

    status = 505


class RequestTimeout(ExchangeError):
    """The client did not send its head or body in time (RFC 9110 section 15.5.9)."""

    origin = Origin.CLIENT
    status = 408
    flag = "DT"


class ClientGone(ExchangeError):
    """The client closed its connection before it had its response."""

    origin = Origin.CLIENT
    status = 0
    flag = "DC"


class TunnelIdle(ExchangeError):
    """Nothing came through an upgraded connection for too long. Its status was 101 already."""

    origin = Origin.CLIENT
    status = 408
    flag = "SI"


class NoRoute(ExchangeError):
    """No route matches the request."""

    origin = Origin.HEADGATE
    status = 404
    flag = "NR"


class Limited(ExchangeError):
    """A limit refuses the request (RFC 6585 section 4)."""

    origin = Origin.HEADGATE
    status = 429
    flag = "RL"


class Unpassable(Limited):
    """The request counts for more than a limit ever lets pass at once, so trying it again is of no use."""


class StoreUnavailable(ExchangeError):
    """The limit's store does not answer and the limit says `on_store_error = "deny"`."""

    origin = Origin.HEADGATE
    status = 503
    flag = "RLSE"


class NoServer(ExchangeError):
    """No server of the upstream is available."""

    origin = Origin.HEADGATE
    status = 503
    flag = "UH"


class Overloaded(ExchangeError):
    """Every server has as many requests as it may, and too many wait, or this one waited for too long."""

    origin = Origin.HEADGATE
    status = 503
    flag = "UO"


class Draining(ExchangeError):
    """Headgate stops and takes no new request."""

    origin = Origin.HEADGATE
    status = 503
    flag = "SD"


class Exhausted(ExchangeError):
    """This machine has no descriptor, port or memory left for a connection to a server; no server is to blame."""

    origin = Origin.HEADGATE
    status = 503
    flag = "OM"


class InternalError(ExchangeError):
    """A mistake of Headgate itself, logged with its traceback (RFC 9110 section 15.6.1)."""

    origin = Origin.HEADGATE
    status = 500
    flag = "IE"


class ServerError(ExchangeError):
    """A failure of the chosen server; another may do better as long as nothing was sent to the client."""

    origin = Origin.SERVER
    status = 502
    condition: ClassVar[str] = "connect"  # what a retry rule calls it


class ConnectFailed(ServerError):
    """The server refused the connection or did not take it in time; nothing of the request was sent."""

    flag = "UF"


class ServerReset(ServerError):
    """The server closed or reset the connection before its response was complete."""

    flag = "UC"
    condition = "reset"


class BadResponse(ServerError):
    """The response breaks RFC 9112 or is ambiguous."""

    flag = "UPE"
    condition = "malformed"


class ServerTimeout(ServerError):
    """The server did not begin or continue its response in time."""

    status = 504
    flag = "UT"
    condition = "timeout"


class Overdue(ExchangeError):
    """All attempts together took longer than the route's `total`; which server is to blame nobody can say."""

    origin = Origin.SERVER
    status = 504
    flag = "UT"


class UserError(HeadgateError):
    """Something that the person at the keyboard can mend: the message says what and where, in one line each."""

    exit_code: ClassVar[int] = 1


class ConfigError(UserError):
    """A configuration that cannot be used; `problems` has one line each, with its place and what was expected."""

    exit_code = 78  # EX_CONFIG of sysexits.h

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ListenFailed(UserError):
    """An address that cannot be listened on: in use, not allowed, not of this machine."""

    exit_code = 71  # EX_OSERR


class StateFailed(UserError):
    """The state file cannot be read, understood, written or had for oneself."""

    exit_code = 74  # EX_IOERR


class StartFailed(UserError):
    """A worker does not come up."""

    exit_code = 70  # EX_SOFTWARE


class Unknown(UserError):
    """An upstream, a server, a limit or a tier that is not there; the message has the known ones."""


class Exists(UserError):
    """A server that is there already."""


class InUse(UserError):
    """Something that cannot be taken away because something else needs it."""


class Busy(UserError):
    """Nothing can be changed now, because another process takes over or has taken over, or Headgate stops."""


class UpgradeFailed(UserError):
    """The process that was to take over does not come up; the old one goes on."""

    exit_code = 70  # EX_SOFTWARE


class AdminFailed(UserError):
    """The admin API cannot be reached or refused what was asked."""

    exit_code = 69  # EX_UNAVAILABLE


class StoreDown(UserError):
    """The limit store cannot be asked now, so nobody can see or change what is counted."""

    exit_code = 69  # EX_UNAVAILABLE


class StoreRefused(UserError):
    """The limit store does not take its settings: a wrong password or database, or no Redis at the address."""

    exit_code = 78  # EX_CONFIG
