"""What a limit says to one request.

A plain slotted class and not a frozen dataclass, because one is made for every request and limit and a frozen
dataclass costs four times as much. Stores make them; the worker turns a refusal into a 429 or a 503.
"""

from headgate.limits.step import Step
from headgate.model.snapshot import LimitState


class Decision:
    """Whether one limit lets a request pass.

    remaining: how many more of the same key would pass in the current window.
    reset_after: microseconds until the window ends; after a refusal, how long to wait before trying again.
    unavailable: refused because the store failed and the limit says `on_store_error = "deny"`.
    """

    __slots__ = ("allowed", "limit", "remaining", "reset_after", "unavailable")

    def __init__(
        self, allowed: bool, limit: LimitState, remaining: int, reset_after: int, unavailable: bool = False
    ) -> None:
        self.allowed = allowed
        self.limit = limit
        self.remaining = remaining
        self.reset_after = reset_after
        self.unavailable = unavailable

    def __repr__(self) -> str:
        word = "unavailable" if self.unavailable else "allowed" if self.allowed else "refused"
        return f"<{self.limit.limit.name}: {word}, {self.remaining} left, {self.reset_after} us>"


class Delayed(Decision):
    """The request passes, and is held back for so many microseconds (`wait`)."""

    __slots__ = ("wait",)

    def __init__(self, limit: LimitState, remaining: int, reset_after: int, wait: int) -> None:
        super().__init__(True, limit, remaining, reset_after)
        self.wait = wait


class Leased(Decision):
    """The request passes, and with it so many places were taken at once (`taken`, of which one is its own).

    remaining: how many more pass, at places that are taken already or are still to be had.
    """

    __slots__ = ("taken",)

    def __init__(self, limit: LimitState, remaining: int, reset_after: int, taken: int) -> None:
        super().__init__(True, limit, remaining, reset_after)
        self.taken = taken


class Holding(Decision):
    """The request passes, and holds its places until they are given back (`Store.release`)."""

    __slots__ = ()

    @classmethod
    def far(cls, limit: LimitState) -> "Holding":
        """What `Far` is for limits on a rate: `remaining` is what is left at least."""
        return cls(True, limit, spare(limit.limit.at_once), 0)


class Uncounted(Decision):
    """The request passes although its store cannot be asked, and nothing was taken for it."""

    __slots__ = ()


class Far(Decision):
    """The request passes, and the limit is far from its end: more than a fifth of it is left, how much is not told.

    remaining: what is left at least. There is one for all requests that pass so.
    """

    __slots__ = ()

    def __init__(self, limit: LimitState) -> None:
        super().__init__(True, limit, spare(limit.limit.at_once), 0)


def spare(most: int) -> int:
    """How many of a limit must be left after a request for it to be far from its end."""
    return most // 5 + 1


class Banned(Decision):
    """The key is banned: refused whatever the limit has left, until `reset_after`."""

    __slots__ = ()


class Beyond(Decision):
    """The request is refused and always will be: it costs more than the limit ever lets pass at once.

    remaining: what is left for others of the key.
    """

    __slots__ = ()

    def __init__(self, limit: LimitState, remaining: int) -> None:
        super().__init__(False, limit, remaining, 0)


def decision(step: Step, limit: LimitState, is_banned: bool, holds: bool = False) -> Decision:
    """What a step says to the request. holds: whether the limit is one on what is in flight."""
    if is_banned and not step.allowed:
        return Banned(False, limit, 0, step.reset_after)
    if holds and step.allowed:
        return Holding(True, limit, step.remaining, 0)
    if step.wait:
        return Delayed(limit, step.remaining, step.reset_after, step.wait)
    return Decision(step.allowed, limit, step.remaining, step.reset_after)
