"""The seam between the data plane and the stores: one call decides a request.

A store keeps the state of limits. `hit` is given every limit that the request comes under and decides as one: all are
checked, then all are taken, or none is. Between check and taking nobody else gets in, in whatever process or machine
they are; that is what makes a limit exact.
A store never raises because of its own troubles and never makes a request wait for longer than its deadline: a limit
that cannot be decided is decided by its `on_store_error`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from headgate.limits.decision import Decision, Uncounted
from headgate.limits.standing import Standing
from headgate.model.snapshot import LimitState
from headgate.store.gate import Gate
from headgate.store.ways import Tally, Way

Check = tuple[LimitState, bytes, int]  # the limit, the key's bytes, and how many requests this one counts for
Resume = Callable[[Sequence[Decision]], object]


class Store(Protocol):
    """Where the state of limits lives."""

    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision] | None:
        """The decisions, in the order of the checks; or None, and `resume` is called with them later.

        The request passes when every decision is `allowed`; one that is `Far` need not say exactly what is left, unless
        clients are always told (`headers = "always"`). `resume` is called exactly once, and never from inside
        `hit`. `checks` has one or more and must not change until the decisions are there.
        In a refused request the limits that would have allowed it say so, and nothing was taken from them. A refusal
        that needed no asking holds only the limits that are known to refuse.
        """

    def charge(self, checks: Sequence[Check]) -> None:
        """Takes what these say without asking, or gives it back (a cost below 0), each for itself.

        For what a request turned out to cost more or less than was taken for it; of limits that `settle`, whose counts
        a store keeps so that this is exact. What is given back of something that has ended is nothing, and nobody
        gets back more than was taken. It is done as soon as it can be; nobody waits for it.
        """

    def ban(self, limit: LimitState, key: bytes, seconds: float) -> None:
        """Refuses the key from now on, for so long. It is done as soon as it can be; nobody waits for it."""

    def way(self, checks: Sequence[Check], tallies: Sequence[Tally]) -> Way | None:
        """A short way for requests under these limits with these keys (`ways.py`); None where there is none.

        tallies: of each check's limit, for the requests that go it.
        """

    def release(self, checks: Sequence[Check]) -> None:
        """Gives back the places that requests took which passed with these decisions: all that were `Holding`.

        It is done as soon as it can be; nobody waits for it. A request that was refused has nothing to give back.
        """

    def gate(self, check: Check, tally: Tally) -> Gate | None:
        """The same for a limit on what is in flight (`gate.py`). Nobody is banned under it by a rule."""

    def close(self) -> None:
        """Gives back what the store holds. Requests that still wait are decided at once by `on_store_error`."""


def settle(decisions: Sequence[Decision], checks: Sequence[Check]) -> bool:
    """Whether the request passes. When it does not, what the allowing limits had put aside for it is free again."""
    passes = True
    for decision in decisions:
        passes &= decision.allowed
    if not passes:
        for decision, (limit, _, cost) in zip(decisions, checks, strict=True):
            if decision.allowed and not limit.limit.count_refused:
                decision.remaining += cost
    return passes


def undecided(limit: LimitState) -> Decision:
    """The decision of a limit whose store cannot be asked, unless it counts on this machine instead."""
    if limit.limit.on_store_error == "deny":
        return Decision(False, limit, 0, 0, unavailable=True)
    return Uncounted(True, limit, limit.limit.rate.limit, 0)


class LocalStore(Store, Protocol):
    """A store that always decides at once; what a store elsewhere falls back on."""

    def hit(self, checks: Sequence[Check], resume: Resume) -> Sequence[Decision]:
        """The decisions, in the order of the checks."""

    async def come_free(self, limit: LimitState, key: bytes) -> None:
        """Returns when `look`, `reset` and `ban` need not wait for another process, or would do so in vain."""

    def look(self, limit: LimitState, key: bytes) -> Standing | None:
        """How the key stands, for an operator; nothing is taken. None when the store cannot say."""

    def reset(self, limit: LimitState, key: bytes, *, ban_only: bool = False) -> bool | None:
        """Forgets the key's count and its ban, or what there is only if it is a ban.

        Returns whether there was something to forget; None when the store cannot do it. What is in flight is never
        forgotten.
        """

    def hold(self, checks: Sequence[Check]) -> None:
        """Takes places without asking, for requests that passed elsewhere; they are released here."""


def decide_without(
    checks: Sequence[Check], local: LocalStore, share: Callable[[LimitState], LimitState] = lambda limit: limit
) -> Sequence[Decision]:
    """The decisions on a request whose store cannot be asked: each limit's `on_store_error` speaks for it.

    When one denies, nothing is taken on this machine either. share: the limit that counts here instead.
    """
    if any(limit.limit.on_store_error == "deny" for limit, _, _ in checks):
        return [undecided(limit) for limit, _, _ in checks]
    counted = [(share(limit), key, cost) for limit, key, cost in checks if limit.limit.on_store_error == "local"]
    decisions = iter(local.hit(counted, _never) if counted else ())
    return [next(decisions) if limit.limit.on_store_error == "local" else undecided(limit) for limit, _, _ in checks]


def _never(decisions: Sequence[Decision]) -> None:
    raise AssertionError("a local store decides at once")
