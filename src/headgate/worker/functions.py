"""The functions of users that limits ask: called for a request, held to what they may say, and never its trouble.

A function that fails, takes too long or says what makes no sense is replaced by the limit's `on_error`, counted, and
logged with its traceback once a minute. A plain function is called where it is asked, so what it takes holds up all
that its worker serves: more than `SLOW` is worth a warning. An async one makes the request wait: `ask` is a generator
that yields what must be awaited, with the time for it, and is sent what came of it (`asking.py`).
"""

import logging
import time
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from headgate.ext import Request
from headgate.http1.request import RequestHead
from headgate.limits.keys import client_ip
from headgate.limits.keytext import counted
from headgate.limits.overrides import at_rate, having
from headgate.limits.settle import MOST
from headgate.model.config import Limit, Tier
from headgate.model.snapshot import LimitState, Snapshot
from headgate.store.base import Check
from headgate.worker import modules
from headgate.worker.keys import Key
from headgate.worker.modules import Modules

if TYPE_CHECKING:
    from headgate.worker.plan import LiveLimit

logger = logging.getLogger("headgate.worker")

T = TypeVar("T")

SLOW = 0.02  # seconds that a plain function may take
_QUIET = 60.0  # seconds in which the errors of a function are not logged again
_SHORT = 1.0  # seconds that a failure is remembered, where what a function says is
_ROOM = 8192  # what a function said that is remembered
_RATES = 256  # that a function says, for each of which a limit is ready

Wait = tuple[Awaitable[object], float]  # what must be awaited, and for how long
Saying = Generator[Wait, object, T]
Faults = (Exception, SystemExit)  # what a user's function may raise: none of it is meant for us


class Function(Generic[T]):
    """One function."""

    def __init__(
        self,
        call: Callable[..., object],
        read: Callable[[object], T],
        otherwise: T,
        limit: LimitState,
        setting: str,
        failed: Callable[[LimitState], None],
        clock: Callable[[], float],
        keep: float = 0.0,
    ) -> None:
        """read: what is meant by what it says; raises ValueError. otherwise: used in its place. setting: names it.

        keep: for how long what it said is used again.
        """
        self._call = call
        self._read = read
        self._otherwise = otherwise
        self._limit = limit
        self._setting = setting
        self._failed = failed
        self._clock = clock
        self._timeout = limit.limit.python.timeout
        self._keep = keep
        self._known: dict[bytes, tuple[float, T, bool]] = {}  # until when, what, and whether it is asked for anew
        self._is_slow = False
        self._quiet_until = float("-inf")

    def ask(self, by: bytes, *views: object) -> Saying[T]:
        """What it says of a request. by: what the requests have in common for which that is remembered."""
        began = self._clock()
        keep = self._keep
        if keep:
            known = self._known.get(by)
            if known is not None:
                if began < known[0]:
                    return known[1]
                # While this request asks anew, the others go on with what they have: else all would ask at once. Once:
                # where its client goes away, and the next one's, all ask until there is an answer.
                if not known[2]:
                    self._known[by] = began + self._timeout, known[1], True
        try:
            answer = self._call(*views)
            if hasattr(type(answer), "__await__"):
                answer = yield answer, self._timeout  # type: ignore[misc]  # it has what an awaitable has
            elif not self._is_slow and (took := self._clock() - began) > SLOW:
                self._warn(took)
            value = self._read(answer)
        except (*Faults, CancelledError):  # of a task that it looks at: the end of this request comes another way
            self._report()
            value, keep = self._otherwise, min(keep, _SHORT)
        if keep:
            if len(self._known) >= _ROOM and by not in self._known:
                del self._known[next(iter(self._known))]
            self._known[by] = self._clock() + keep, value, False
        return value

    def _report(self) -> None:
        self._failed(self._limit)
        if (now := self._clock()) >= self._quiet_until:
            self._quiet_until = now + _QUIET
            logger.exception("limit %s: its function for %s failed; on_error is used", *self._names())

    def _warn(self, took: float) -> None:
        self._is_slow = True
        logger.warning(
            "limit %s: its function for %s took %.0f ms, and this worker waited for it (make it faster, or async)",
            *self._names(),
            took * 1000,
        )

    def _names(self) -> tuple[str, str]:
        limit = self._limit.limit
        return limit.name, f"{self._setting} ({limit.functions[self._setting]})"


class Functions:
    """The functions of one limit; None where it names none."""

    def __init__(
        self,
        limit: LimitState,
        calls: dict[str, Callable[..., object]],
        failed: Callable[[LimitState], None],
        clock: Callable[[], float],
        tiers: Mapping[str, Tier],
    ) -> None:
        """calls: the functions themselves, by setting. tiers: those that a rate can be told by."""
        self.limit = limit
        self.calls = calls
        self.tiers = tiers
        one, on_error = limit.limit, limit.limit.python.on_error
        self._rates: dict[str, LimitState | None] = {}
        own = having(limit, Tier(on_error.limit, one.burst)) if on_error.limit else limit

        def made(setting: str, read: Callable[[object], T], otherwise: T) -> Function[T] | None:
            call = calls.get(setting)
            keep = 0.0 if setting == "settle" else one.python.cache
            return None if call is None else Function(call, read, otherwise, limit, setting, failed, clock, keep)

        self.exempt = made("exempt", _exempt, on_error.exempt)
        self.key = made("key", _key, None)
        self.rate = made("limit", self._rate, own)
        self.cost = made("cost", _cost, one.cost)
        self.settle = made("settle", lambda answer: None if answer is None else _cost(answer), None)

    def _rate(self, answer: object) -> LimitState | None:
        """The limit at the rate that was said; None for any number of requests."""
        if answer is None:
            return self.limit
        if not isinstance(answer, str):
            raise ValueError(f'{answer!r} is not a rate (expected a text like "100/minute", or None)')
        if answer not in self._rates:
            at = self._at(answer)
            if len(self._rates) >= _RATES:
                self._rates.clear()
            self._rates[answer] = at
        return self._rates[answer]

    def _at(self, text: str) -> LimitState | None:
        """The limit at another rate. Stores know a limit by its identity, so it must stay the same one."""
        try:
            return at_rate(self.limit, text, self.tiers)
        except ValueError as error:
            raise ValueError(f"{text!r} {error}") from None


def _exempt(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise ValueError(f"{answer!r} is neither True nor False")
    return answer


def _key(answer: object) -> bytes | None:
    if answer is None:
        return b""
    if isinstance(answer, str):
        return counted(answer)
    if isinstance(answer, int) and not isinstance(answer, bool):
        return b"%d" % answer
    if not isinstance(answer, bytes):
        raise ValueError(f"{answer!r} is nothing to count by (expected a text, bytes, a whole number or None)")
    return answer


def _cost(answer: object) -> int:
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer <= MOST:
        raise ValueError(f"{answer!r} is not a cost (expected a whole number from 0 to {MOST})")
    return answer


def ask(limits: Sequence["LiveLimit"], client: str, head: RequestHead, route: str) -> Saying[list[Check]]:
    """What these limits have to decide on a request: `plan.checks`, for limits of which some ask functions."""
    address = client_ip(client)
    request = Request(head, client, route)
    found: list[Check] = []
    for state, key, exempt, overrides, asks in limits:
        if client in exempt:
            continue
        if asks is None:
            name, cost, functions = key.read(head, address, client), state.limit.cost, None
        else:
            functions = asks.functions
            by = b"" if asks.by is None else asks.by.read(head, address, client)
            if functions.exempt is not None and (yield from functions.exempt.ask(by, request)):
                continue
            cost = state.limit.cost if functions.cost is None else (yield from functions.cost.ask(by, request))
            if not cost:
                continue
            told = None if functions.key is None else (yield from functions.key.ask(by, request))
            name = key.read(head, address, client) if told is None else asks.told(told, address)
        at: LimitState | None = state
        if name in overrides:
            at = overrides[name]
        elif functions is not None and functions.rate is not None:
            at = yield from functions.rate.ask(by, request)
        if at is not None:
            found.append((at, name, cost))
    return found


class Asks(NamedTuple):
    """What a limit of a route asks. by: reads what requests have in common for which answers are kept, if they are.
    told: makes a key of what a function says and the key of its client's address.
    """

    functions: Functions
    by: Key | None
    told: Callable[[bytes, bytes], bytes]


class Library:
    """The functions of users, as this worker has them. They stay the same ones over snapshots that say the same."""

    def __init__(self, failed: Callable[[LimitState], None], clock: Callable[[], float] = time.perf_counter) -> None:
        """failed: told the limit whose function failed. clock: seconds."""
        self._failed = failed
        self._clock = clock
        self._modules = Modules()
        self._versions: dict[str, str] = {}
        self._tiers: Mapping[str, Tier] = {}
        self._functions: dict[str, Functions] = {}

    def adopt(self, snapshot: Snapshot) -> None:
        """Loads what the snapshot's limits ask. Waits for imports: nothing else is served meanwhile."""
        self._versions = dict(snapshot.modules)
        self._tiers = snapshot.tiers
        if snapshot.modules:
            self._modules.look_in(snapshot.python_path)
        asking = [state for state in snapshot.limits if state.limit.functions]
        self._functions = {state.limit.name: self._made(state) for state in asking}

    def of(self, limit: LimitState) -> Functions | None:
        """The functions of a limit of the snapshot."""
        return self._functions.get(limit.limit.name)

    def _made(self, limit: LimitState) -> Functions:
        calls = {setting: self._call(limit.limit, setting, text) for setting, text in limit.limit.functions.items()}
        before = self._functions.get(limit.limit.name)
        if before is not None and (before.limit, before.calls, before.tiers) == (limit, calls, self._tiers):
            return before
        return Functions(limit, calls, self._failed, self._clock, self._tiers)

    def _call(self, limit: Limit, setting: str, text: str) -> Callable[..., object]:
        name, _, attribute = text.partition(":")
        try:
            module = self._modules.load(name, self._versions.get(name, ""))
            return modules.function(module, attribute, 2 if setting == "settle" else 1)
        except Faults as error:
            # The supervisor tried it before: what fails here is new, and must not stop the service.
            logger.exception("limit %s: %s (%s) cannot be had; on_error is used", limit.name, setting, text)
            return _Missing(text, str(error))


class _Missing:
    """Stands for a function that cannot be had."""

    def __init__(self, text: str, reason: str) -> None:
        self._said = f"{text} cannot be had: {reason}"

    def __call__(self, *views: object) -> object:
        raise RuntimeError(self._said)
