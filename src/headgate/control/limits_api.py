"""The part of the admin API that is about limits: what they decided, how a key stands, and what an operator changes.

    GET    /api/v1/limits                        every limit: settings, counters, where it is counted
    GET    /api/v1/limits/NAME                   one of them
    GET    /api/v1/limits/NAME/top               whom it refused most of late: ?count=20
    GET    /api/v1/limits/NAME/keys/KEY          what is left for a key, and until when it is banned
    DELETE /api/v1/limits/NAME/keys/KEY          forgets its count and its ban
    PUT    /api/v1/limits/NAME/keys/KEY/ban      refuses it for a time: {"for": "1h"}
    DELETE /api/v1/limits/NAME/keys/KEY/ban      lets it in again

KEY is a key as people write it (`limits/keytext.py`), percent-encoded, its slashes too. With ?rate=20/minute, or the
name of a tier, those about a key are about what is counted of it at this rate, where a function says rates. Where the
store cannot be asked the answer is 503, within two seconds. `tiers_api` has those about keys with another rate.
"""

import logging
import time
from datetime import UTC, datetime

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headgate.control import values
from headgate.control.bodies import answer, read
from headgate.control.keypath import key_in
from headgate.control.plane import Plane
from headgate.control.refusals import ROOM
from headgate.control.tuning import tiers
from headgate.errors import Unknown
from headgate.limits import keytext
from headgate.limits.overrides import at_rate, state_of
from headgate.limits.standing import Standing
from headgate.model.config import Limit
from headgate.model.snapshot import LimitState
from headgate.wire.cells import LimitCell, WorkerCell
from headgate.wire.messages import Forget

logger = logging.getLogger("headgate.control")

Json = dict[str, object]

_FEW = 3  # of the most refused keys that are shown with a limit
_SHORTEST = 0.001  # seconds that a ban lasts: a shorter one would be over before it is looked at
_YEAR = 366 * 86_400.0
_METHODS_OF_A_KEY = ("DELETE", "GET", "HEAD")
_METHODS_OF_A_BAN = ("DELETE", "PUT")
_COUNTERS = {
    "allowed": LimitCell.ALLOWED,
    "refused": LimitCell.REFUSED,
    "dry_run_refused": LimitCell.DRY_REFUSED,
    "near": LimitCell.NEAR,
    "delayed": LimitCell.DELAYED,
    "banned": LimitCell.BANNED,
    "store_errors": LimitCell.STORE_ERRORS,
    "function_errors": LimitCell.FUNCTION_ERRORS,
}


class _Ban(msgspec.Struct, forbid_unknown_fields=True):
    period: str | float | None = msgspec.field(name="for", default=None)


class LimitsApi:
    """The routes about limits."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def routes(self) -> list[Route]:
        """All of them."""
        limits = "/api/v1/limits"
        key = Route(limits + "/{name}/keys/{key:path}", self.key)
        key.methods = set()  # whichever: whether it is about a key or its ban is seen in the path as it was sent alone
        return [
            Route(limits, self.limits, methods=["GET"]),
            Route(limits + "/{name}", self.limit, methods=["GET"]),
            Route(limits + "/{name}/top", self.top, methods=["GET"]),
            key,
        ]

    async def limits(self, request: Request) -> Response:
        """Every limit."""
        plane = self._plane
        shown = [_limit(plane, state) for state in plane.fleet.snapshot.limits]
        return answer({"limits": shown, "store": _store(plane)})

    async def limit(self, request: Request) -> Response:
        """One limit."""
        return answer({**_limit(self._plane, self._state(request)), "store": _store(self._plane)})

    async def top(self, request: Request) -> Response:
        """Whom a limit refused most in the last minute or two."""
        state = self._state(request)
        return answer({"limit": state.limit.name, **_top(self._plane, state, _count(request))})

    async def key(self, request: Request) -> Response:
        """A key of a limit, or its ban."""
        text, ending = key_in(request, "keys", "ban")
        allowed = _METHODS_OF_A_BAN if ending else _METHODS_OF_A_KEY
        if request.method not in allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(allowed)})
        state = self._state(request)
        key = self._key(state, text)
        at = request.query_params.get("rate")
        state = self._deciding(state, key) if at is None else self._at(state, at)
        if ending:
            return await self._ban(request, state, key)
        counts = self._plane.counting.counts()
        if request.method == "DELETE":
            had = await counts.reset(state, key)
            if had:
                self._tell("key_reset", "is reset", state, key)
            return answer({**_named(state, key), "reset": had})
        return answer(_standing(state, key, await counts.look(state, key)))

    async def _ban(self, request: Request, state: LimitState, key: bytes) -> Response:
        counts = self._plane.counting.counts()
        if request.method == "DELETE":
            had = await counts.unban(state, key)
            if had:
                self._tell("key_unbanned", "is banned no more", state, key)
            return answer({**_named(state, key), "unbanned": had})
        seconds = _period(state, await read(request, _Ban))
        await counts.ban(state, key, seconds)
        self._tell("key_banned", f"is banned for {seconds:g} s by an operator", state, key, seconds=seconds)
        return answer(_standing(state, key, await counts.look(state, key)))

    def _tell(self, kind: str, what: str, state: LimitState, key: bytes, **fields: object) -> None:
        """Says what an operator changed, also to the workers: they remember what Redis said of a key."""
        self._plane.crew.tell(Forget(state.limit.name, key))
        text = f"limit {state.limit.name}: {keytext.shown(key)} {what}"
        self._plane.events.tell(logger.info, kind, text, **_named(state, key), by="api", **fields)

    def _state(self, request: Request) -> LimitState:
        name = request.path_params["name"]
        limits = self._plane.fleet.snapshot.limits
        for state in limits:
            if state.limit.name == name:
                return state
        known = ", ".join(state.limit.name for state in limits) or "none"
        raise Unknown(f'there is no limit "{name}" (known: {known})')

    def _deciding(self, state: LimitState, key: bytes) -> LimitState:
        """The limit as it decides on the key, which may have another rate."""
        name = state.limit.name
        own = state_of(state, self._plane.fleet.snapshot.overrides.get(name), key)
        if own is None:
            raise HTTPException(409, f"limit {name} does not count {keytext.shown(key)}: it is unlimited")
        return own

    def _at(self, state: LimitState, text: str) -> LimitState:
        """The limit at another rate, or that of a tier, as a function of its `limit` setting says it to the workers."""
        fleet = self._plane.fleet
        try:
            own = at_rate(state, text, tiers(fleet.config, fleet.tuning))
        except ValueError as error:
            raise HTTPException(400, f"rate={text}: {error}") from error
        if own is None:
            raise HTTPException(409, f"limit {state.limit.name} counts nothing at tier {text}: it is unlimited")
        return own

    def _key(self, state: LimitState, text: str) -> bytes:
        limit = state.limit
        try:
            return keytext.written(text, limit.key, self._plane.counting.seal(), private=limit.private)
        except ValueError as error:
            raise HTTPException(400, f"key of limit {limit.name}: {error}") from error


def _limit(plane: Plane, state: LimitState) -> Json:
    """A limit with its settings, as the configuration names them, and what it decided so far."""
    counted = {name: plane.cells.limit_total(state.slot, cell) for name, cell in _COUNTERS.items()}
    found = plane.fleet.snapshot.overrides.get(state.limit.name)
    of_keys = len(found.keys) if found else 0
    top = _top(plane, state, _FEW)
    return {**_settings(state.limit), "overrides": of_keys, "counters": counted, "top": top}


def _settings(limit: Limit) -> Json:
    on_error = limit.python.on_error
    settings: Json = msgspec.to_builtins(limit)
    python: Json = msgspec.to_builtins(limit.python)
    python["on_error"] = {**msgspec.to_builtins(on_error), "limit": on_error.limit and str(on_error.limit)}
    cost, exempt = settings.pop("cost_of"), settings.pop("exempt_by")
    functions = {key: text for key, text in (("cost", cost), ("exempt", exempt)) if text}
    return {**settings, "rate": str(limit.rate), "python": python, **functions}


def _top(plane: Plane, state: LimitState, count: int) -> Json:
    """refused: at the most; at_least: what is sure of it. Of a key that is not here, unlisted_at_most were refused."""
    summary = plane.refusals.of(state.limit.name)
    left_out = summary.counters[count : count + 1]
    return {
        "refused": summary.total,
        "unlisted_at_most": max(summary.least, *[counter.times for counter in left_out], 0),
        "keys": [
            {"key": keytext.shown(key), "refused": times, "at_least": times - error}
            for key, times, error in summary.counters[:count]
        ],
    }


def _count(request: Request) -> int:
    text = request.query_params.get("count", "20")
    # By its length too: Python reads no number of thousands of digits.
    if not (text.isascii() and text.isdigit() and len(text) < 19 and 1 <= int(text) <= ROOM):
        raise HTTPException(400, f"count={text}: expected a number from 1 to {ROOM}")
    return int(text)


def _store(plane: Plane) -> Json:
    """Where limits are counted. down: in how many workers Redis cannot be asked."""
    kind = "redis" if plane.fleet.config.store.url else "local"
    return {"kind": kind, "down": plane.cells.worker_total(WorkerCell.STORE_DOWN)}


def _named(state: LimitState, key: bytes) -> Json:
    return {"limit": state.limit.name, "key": keytext.shown(key)}


def _standing(state: LimitState, key: bytes, standing: Standing) -> Json:
    """How a key stands. Times in seconds; banned_until as a time of day, null when it is not banned."""
    until = None
    if standing.is_banned:
        moment = datetime.fromtimestamp(time.time() + standing.reset_after / 1_000_000, UTC)
        until = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        **_named(state, key),
        "remaining": standing.remaining,
        "reset_after": standing.reset_after / 1_000_000,
        "retry_after": standing.retry_after / 1_000_000,
        "banned_until": until,
    }


def _period(state: LimitState, wanted: _Ban) -> float:
    """For how long to ban: as was said, else as the limit itself bans."""
    if wanted.period is None:
        if state.limit.ban is None:
            raise HTTPException(
                400,
                f'for: missing, and limit {state.limit.name} has no "ban" that says for how long (expected a duration)',
            )
        return state.limit.ban.period
    try:
        seconds = values.seconds_of(wanted.period)
    except ValueError as error:
        raise HTTPException(400, f"for: {error}") from error
    if not _SHORTEST <= seconds <= _YEAR:
        raise HTTPException(400, f"for: {wanted.period} is out of range (expected 1ms to a year)")
    return seconds
