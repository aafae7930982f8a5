"""What is kept of a request's failed attempts. Made at the first failure: most requests never have one."""

from headgate.balance.retry import may_send_again
from headgate.errors import ServerError
from headgate.worker.account import Account
from headgate.worker.plan import LiveRoute
from headgate.worker.server import Server


class Attempts:
    """The attempts of one request so far.

    tried: the servers that failed it. last: the one that did so last, and failure: how.
    is_fresh: whether the next one takes a new connection, because an idle one had been closed by its server.
    """

    __slots__ = ("_account", "_costs", "_most", "_route", "_sends", "failure", "is_fresh", "last", "tried")

    failure: ServerError
    last: Server

    def __init__(self, route: LiveRoute, account: Account) -> None:
        self.tried: list[Server] = []
        self._account = account
        self._route = route
        self._sends = 0
        self._costs = False  # whether the next attempt is one that the budget must allow
        self._most = route.retry.attempts
        self.is_fresh = False

    def failed(
        self, error: ServerError, server: Server, method: bytes, *, was_sent: bool, is_stale: bool, replayable: bool
    ) -> None:
        """Notes a failure; raises it when the request must not go out again.

        was_sent: whether anything of the request went to the server. is_stale: whether an idle connection died, which
        says nothing about the server: its attempt does not count, and no rule of a route is asked. replayable: whether
        all that was sent is still here.
        """
        self._sends += was_sent
        self._most += is_stale
        self.failure = error
        self.last = server
        self._costs = was_sent and not is_stale
        if not may_send_again(method, sends=self._sends, most=self._most, replayable=replayable):
            raise error
        if is_stale:
            self.is_fresh = True
            return
        if was_sent and error.condition not in self._route.retry.on:
            raise error
        self.tried.append(server)

    def may_leave(self, server: Server, method: bytes, *, replayable: bool) -> bool:
        """Whether the request goes to another server although this one answered, with a status that the route says."""
        self._sends += 1
        self.last = server
        self._costs = True
        if not may_send_again(method, sends=self._sends, most=self._most, replayable=replayable):
            return False
        self.tried.append(server)
        return self.is_afforded()

    def is_afforded(self) -> bool:
        """Whether the budget allows the next attempt, for which there is a server. It is paid for then."""
        if self._costs and not self._route.group.budget.take(self._route.retry.budget):
            self._account.not_retried()
            return False
        self._costs = False
        return True
