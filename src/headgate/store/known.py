"""What a worker knows without asking Redis: keys that are over their limit, or banned, until a known moment.

A client that goes on although it is refused is refused here. Redis is asked again once a second all the same: an
operator who resets a count or lifts a ban sees it take effect within that time, on every machine.
All times are seconds on the clock of the worker's loop.
"""

from collections.abc import Sequence

from headgate.limits.decision import Banned, Decision
from headgate.store.base import Check
from headgate.store.lease import TICK
from headgate.store.script import Rule

TRUST = 1.0  # seconds for which nobody asks again
_ROOM = 65536  # keys of a limit that are remembered


def remember(rules: Sequence[Rule], checks: Sequence[Check], decisions: Sequence[Decision], asked: float) -> None:
    """Keeps what these decisions say of requests to come. asked: when Redis was."""
    for rule, (limit, key, cost), decision in zip(rules, checks, decisions, strict=True):
        if decision.remaining > 0 or sum(one[:2] == (limit, key) for one in checks) > 1:
            continue  # of a limit that stands twice in a refused request, the second says less than there is
        is_ban = isinstance(decision, Banned)
        if not is_ban and not rule.is_window and (decision.allowed or cost > 1):
            continue  # the next one, or a smaller one, may pass long before what was said
        if not is_ban and (rule.counts_refused or rule.settles or rule.holds):
            continue  # Redis must know of each, or something may be given back at any moment
        # From the moment of asking, not of the answer, and without the millisecond that has begun: never refused
        # for longer than Redis itself would.
        note(rule, key, asked + decision.reset_after / 1_000_000 - TICK, asked, is_ban=is_ban)


def note(rule: Rule, key: bytes, until: float, now: float, *, is_ban: bool) -> None:
    """The key is over its limit until then."""
    if len(rule.over) >= _ROOM:
        rule.over.clear()
    rule.over[key] = until, min(until, now + TRUST), is_ban


def refusal(rule: Rule, key: bytes, now: float) -> Decision | None:
    """The refusal of a key that is remembered; None when Redis must be asked again."""
    until, trusted, is_ban = rule.over[key]
    if now < trusted:
        return (Banned if is_ban else Decision)(False, rule.limit, 0, max(1, int((until - now) * 1_000_000)))
    del rule.over[key]
    return None


def refusals(rules: Sequence[Rule], checks: Sequence[Check], now: float) -> list[Decision]:
    """Those of several checks that are known to be refused; none where Redis must know of each refused request."""
    if any(rule.counts_refused for rule in rules):
        return []
    known = [refusal(rule, key, now) for rule, (_, key, _) in zip(rules, checks, strict=True) if key in rule.over]
    return [one for one in known if one is not None]
