"""Requests that can never pass: they cost more than a limit ever lets pass at once, so no waiting helps.

No configuration has such a cost. A function of users may say one, or a rate below the cost, and the stores refuse
either as they refuse what is over its limit for now, with a time. Only the answer is another one, and only where
functions are asked and something refuses does anybody look. A limit's own numbers count, not the share of it that this
machine has while the store is down: that passes.
"""

from collections.abc import Sequence

from headgate.limits.decision import Beyond, Decision
from headgate.store.base import Check


def beyond(asked: Sequence[Check], refusals: Sequence[Decision]) -> Sequence[Decision] | None:
    """The refusals with those that no waiting ends told apart; None where there are none of these."""
    over = {state.slot for state, _, cost in asked if cost > state.limit.at_once}
    if not any(one.limit.slot in over for one in refusals):
        return None
    return [Beyond(one.limit, one.remaining) if one.limit.slot in over else one for one in refusals]
