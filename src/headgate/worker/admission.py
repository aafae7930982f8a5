"""The chapter of the story in which limits decide whether the request may pass, and answer it where it may not.

On the usual way that is one call to the store, or none: a client's connection has ready what its limits have to decide
(`Client.checks`). What waits for functions of users, or holds a request back, is for routes that say so.
"""

from asyncio import Task
from collections.abc import Generator, Sequence

from headgate.errors import ClientGone, Limited, StoreUnavailable, Unpassable
from headgate.limits.decision import Decision, Delayed
from headgate.store.base import Check
from headgate.worker.answers import CLOSE, KEEP_ALIVE, longest_refusal
from headgate.worker.beyond import beyond
from headgate.worker.course import Story
from headgate.worker.functions import ask
from headgate.worker.passage import Passage
from headgate.worker.phase import OVER
from headgate.worker.places import Places
from headgate.worker.plan import LiveRoute


class Admission(Passage):
    """An exchange and its limits."""

    __slots__ = ()

    def _ask(self, route: LiveRoute) -> Generator[None, None, Sequence[Check]]:
        """What the limits of a route have to decide, some of which ask functions of users; it waits for async ones."""
        asked = self._worker.ask(ask(route.limits, self.client_ip, self.head, route.name))
        if not isinstance(asked, Task):
            return asked
        self.client.deadline = self._until  # each has a time of its own
        asked.add_done_callback(self.resume)
        try:
            yield
        finally:
            asked.cancel()  # where the client has gone, or the time of all is over
        if asked.cancelled():  # by the end of the loop, and so of all
            raise ClientGone
        return asked.result()

    def _admit(self, asked: Sequence[Check], decisions: Sequence[Decision], route: LiveRoute) -> bool:
        """Whether every limit allows it; else it is answered."""
        refusals = self._worker.account.decided(decisions)
        if refusals:
            self.decisions = refusals
            if route.bans:
                self._worker.bans.refused(asked, refusals)
            if longest_refusal(refusals).unavailable:
                raise StoreUnavailable("limit not known")
            self._worker.refused.note(asked, refusals)
            never = beyond(asked, refusals) if route.asks else None
            self._refuse(never or refusals, never is not None)
            return False
        if route.tells:
            self.decisions = decisions
        return True

    def _refuse(self, refusals: Sequence[Decision], for_ever: bool) -> None:
        """Answers a request that is over its limits: `_failed`, without what it would undo if there were more to it.

        for_ever: whether it is of no use to try again.
        """
        client, head = self.client, self.head
        self._phase, self.flag, self.status = OVER, Limited.flag, Limited.status
        lingers = self._is_uploading()
        field, head_only = self._connection_field(lingers), head.method == b"HEAD"
        if for_ever:
            out = self._worker.answer(Unpassable(), field, refusals, head_only=head_only)
        else:
            out = self._worker.refusal(refusals, field, head_only=head_only)
        self.sent = len(out)
        client.write(out)
        if lingers:
            client.linger()

    def _connection_field(self, lingers: bool) -> bytes:
        """What an answer of Headgate says of the connection, decided here. lingers: it closes for what still comes."""
        head = self.head
        head.close = head.close or lingers or self.client.draining
        return CLOSE if head.close else KEEP_ALIVE if head.minor == 0 else b""

    def _hold(self, decisions: Sequence[Decision]) -> Story:
        """Holds the request back for as long as the limits say that delay it; they have counted it already."""
        delayed = [decision for decision in decisions if isinstance(decision, Delayed)]
        if not delayed:
            return
        for decision in delayed:
            self._worker.account.delayed(decision.limit)
        wait = max(decision.wait for decision in delayed)
        self.client.deadline = self._until
        timer = self._worker.later(wait / 1_000_000, lambda: self.resume(None))
        try:
            yield
        finally:
            timer.cancel()

    def _try(self, route: LiveRoute) -> None:
        """Counts the request under the limits that are only tried, each for itself; nobody waits for them."""
        worker, places = self._worker, self._counted() if route.holds else None
        if not route.asks:
            worker.tried(route.checks(route.tried, self.client_ip, self.head), places)
        elif isinstance(asked := worker.ask(ask(route.tried, self.client_ip, self.head, route.name)), Task):
            asked.add_done_callback(lambda task: None if task.cancelled() else worker.tried(task.result(), places))
        else:
            worker.tried(asked, places)

    def _counted(self) -> Places:
        """The places of this request, which is to hold some until it ends."""
        if self.leave is None:
            self._places = places = Places(self._worker.store, self._worker.account)
            self.leave = places.leave
        return self._places
