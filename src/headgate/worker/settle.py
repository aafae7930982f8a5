"""The end of a request under limits that settle: what it cost more than was taken is charged, what less, given back.

Made when the limits have let the request pass, asked when it is over, whatever its end was. It has what was taken, so
it does not matter whether the plan was changed meanwhile. Nobody waits for a function of users that is async.
"""

from asyncio import Task
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from headgate.ext import Request, Response
from headgate.http1.response import ResponseHead
from headgate.limits.decision import Decision, Uncounted
from headgate.limits.settle import Cost
from headgate.store.base import Check
from headgate.worker.functions import Function

if TYPE_CHECKING:
    from headgate.worker.course import Course
    from headgate.worker.process import Worker


class Settling:
    """What a request took of limits that settle. response: the server's, once it is there."""

    __slots__ = ("_taken", "response")

    def __init__(
        self,
        costs: Mapping[int, Cost | Function[int | None]],
        checks: Sequence[Check],
        decisions: Sequence[Decision],
    ) -> None:
        """costs: what tells the cost under the limit of a slot. checks: what was taken, where the decisions say so."""
        self._taken = [
            (costs[check[0].slot], check)
            for check, decision in zip(checks, decisions, strict=True)
            if check[0].slot in costs and not isinstance(decision, Uncounted)
        ]
        self.response: ResponseHead | None = None

    def end(self, exchange: "Course", worker: "Worker", route: str) -> None:
        """The request is over. route: the name of its route."""
        outcome = Response(exchange.status, exchange.sent, exchange.flag, self.response)
        for cost, check in self._taken:
            if not isinstance(cost, Function):
                _charge(worker, check, cost(outcome))
                continue
            request = Request(exchange.head, exchange.client_ip, route)
            told = worker.ask(cost.ask(b"", request, outcome))
            if isinstance(told, Task):
                told.add_done_callback(partial(_told, worker, check))
            else:
                _charge(worker, check, told)


def _told(worker: "Worker", check: Check, task: "Task[int | None]") -> None:
    if not task.cancelled():
        _charge(worker, check, task.result())


def _charge(worker: "Worker", check: Check, real: int | None) -> None:
    limit, key, taken = check
    if real is not None and real != taken:
        worker.store.charge([(limit, key, real - taken)])
