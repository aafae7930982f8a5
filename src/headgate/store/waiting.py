"""What waits for an answer of Redis, and the command that asks for it.

It is apart from the store because a Cluster moves it: what one node does not answer is asked again of another. So it is
kept as what is meant, a check in a form of script.py, not as the bytes that were sent.
"""

from collections.abc import Callable, Sequence
from typing import cast

from headgate.limits.decision import Decision
from headgate.store import script
from headgate.store.base import Check, Resume
from headgate.store.resp import Reply
from headgate.store.script import Rule

# The checks, who is to have the decisions, when Redis was asked, and in which form (script.py). A plain tuple costs a
# quarter of an object.
Waiting = tuple[Sequence[Check], Resume, float, int]


class Told:
    """Who waits for the reply to a command of his own, in the place of who waits for decisions."""

    def __init__(self, command: bytes, resume: Callable[[Reply], object]) -> None:
        """resume: called with the reply, or with None when Redis could not be asked."""
        self.command = command
        self.reply = resume

    def __call__(self, decisions: Sequence[Decision]) -> None:
        """Redis could not be asked."""
        self.reply(None)


def done(decisions: Sequence[Decision]) -> None:
    """Who waits for answers that concern nobody."""


def command(rules: Sequence[Rule], checks: Sequence[Check], resume: Resume, form: int) -> bytes:
    """What asks for it, or tells it: anything but a sign of life."""
    return cast("Told", resume).command if form == script.TOLD else script.tell(rules, checks, form)
