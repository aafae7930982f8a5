"""The places that a request takes under limits on what is in flight, from its admission to the end of its response.

However it ends, they are given back once, to the store that they were taken from: a reload may have brought another.
A client that has the whole response finds them free, for the last of it is written after that.
An answer of the store that comes when the request is over, because its client went away meanwhile, gives back at once
what it brought.
"""

from collections.abc import Sequence
from functools import partial

from headgate.limits.decision import Decision, Holding
from headgate.store.base import Check, Resume, Store
from headgate.worker.account import Account


class Places:
    """Those of one request."""

    __slots__ = ("_account", "_is_over", "_store", "_taken")

    def __init__(self, store: Store, account: Account) -> None:
        self._store = store
        self._account = account
        self._taken: Sequence[Check] = ()
        self._is_over = False

    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision] | None:
        """What the store says, now or later; what it gives is noted."""
        decisions = self._store.hit(checks, partial(self._decided, checks, resume))
        if decisions is not None:
            self._note(checks, decisions)
        return decisions

    def _decided(self, checks: Sequence[Check], resume: Resume, decisions: Sequence[Decision]) -> None:
        self._note(checks, decisions)
        resume(decisions)

    def _note(self, checks: Sequence[Check], decisions: Sequence[Decision]) -> None:
        if len(decisions) == 1:  # mostly
            if type(decisions[0]) is not Holding:
                return
            taken = checks
        else:
            if not all([decision.allowed for decision in decisions]):  # noqa: C419 (a generator costs more)
                return
            taken = [check for check, said in zip(checks, decisions, strict=True) if isinstance(said, Holding)]
        if self._is_over:
            self._store.release(taken)
            return
        self._taken = taken if not self._taken else [*self._taken, *taken]
        self._account.holds(taken, 1)

    def leave(self) -> None:
        """The request needs them no more, nor any that it may still get."""
        self._is_over = True
        if self._taken:
            self._store.release(self._taken)
            self._account.holds(self._taken, -1)
