"""The end of a request under limits that settle: what it cost more than was taken is charged, what less, given back.

Made when the limits have let the request pass, asked when it is over, whatever its end was. It has what was taken, so
it does not matter whether the plan was changed meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headgate.ext import Response
from headgate.http1.response import ResponseHead
from headgate.limits.settle import Cost
from headgate.store.base import Check, Store

if TYPE_CHECKING:
    from headgate.worker.exchange import Exchange


class Settling:
    """What a request took of limits that settle. response: the server's, once it is there."""

    __slots__ = ("_taken", "response")

    def __init__(self, costs: Callable[[int], Cost | None], checks: Sequence[Check]) -> None:
        """costs: what tells the cost under the limit of a slot. checks: what was taken."""
        self._taken = [(cost, check) for check in checks if (cost := costs(check[0].slot)) is not None]
        self.response: ResponseHead | None = None

    def end(self, exchange: "Exchange", store: Store) -> None:
        """The request is over."""
        outcome = Response(exchange.status, exchange.sent, exchange.flag, self.response)
        charges = [
            (limit, key, real - taken)
            for cost, (limit, key, taken) in self._taken
            if (real := cost(outcome)) is not None and real != taken
        ]
        if charges:
            store.charge(charges)
