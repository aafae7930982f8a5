"""The part of the admin API that gives keys of limits another rate, and rates their names.

    GET    /api/v1/limits/NAME/overrides         the keys of a limit that have something in place of its rate
    PATCH  /api/v1/limits/NAME/overrides         {"overrides": {KEY: as below, KEY: null}}: many in one change, or none
    GET    /api/v1/limits/NAME/overrides/KEY     one of them
    PUT    /api/v1/limits/NAME/overrides/KEY     {"tier": "gold"}, {"rate": "5/s", "burst": 20}, {"rate": "unlimited"}
    DELETE /api/v1/limits/NAME/overrides/KEY     the key comes under the limit as all others do
    GET    /api/v1/tiers                         all tiers
    GET    /api/v1/tiers/NAME                    one of them
    PUT    /api/v1/tiers/NAME                    defines it, or changes it for all keys that have it
    DELETE /api/v1/tiers/NAME                    makes it what the configuration says

KEY is a key as people write it (`limits/keytext.py`), percent-encoded, its slashes too. A change is answered when it is
on the disk and all workers decide by it.
"""

import logging
from functools import partial
from typing import Annotated

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headgate.control import tuning as tunings
from headgate.control.bodies import answer, read
from headgate.control.keypath import key_in
from headgate.control.overrides import MOST_BURST, overdue, rate_of, rate_text, tier_name
from headgate.control.plane import Plane
from headgate.errors import Unknown
from headgate.model.config import Limit, Override, Tier

logger = logging.getLogger("headgate.control")

Json = dict[str, object]

_Burst = Annotated[int, msgspec.Meta(ge=0, le=MOST_BURST)]


class _Override(msgspec.Struct, forbid_unknown_fields=True):
    tier: str | None = None
    rate: str | None = None
    burst: _Burst = 0


class _Overrides(msgspec.Struct, forbid_unknown_fields=True):
    overrides: dict[str, _Override | None]


class _Tier(msgspec.Struct, forbid_unknown_fields=True):
    rate: str
    burst: _Burst = 0


class TiersApi:
    """The routes about overrides and tiers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def routes(self) -> list[Route]:
        """All of them. They stand before those of limits, whose keys could be named `overrides`."""
        overrides, tiers = "/api/v1/limits/{name}/overrides", "/api/v1/tiers"
        one = [
            ("GET", overrides + "/{key:path}", self.override),
            ("PUT", overrides + "/{key:path}", self.set_override),
            ("DELETE", overrides + "/{key:path}", self.unset_override),
            ("GET", tiers + "/{name}", self.tier),
            ("PUT", tiers + "/{name}", self.set_tier),
            ("DELETE", tiers + "/{name}", self.unset_tier),
        ]
        return [
            Route(overrides, self.overrides, methods=["GET"]),
            Route(overrides, self.set_overrides, methods=["PATCH"]),
            Route(tiers, self.tiers, methods=["GET"]),
            *(Route(path, handler, methods=[method]) for method, path, handler in one),
        ]

    def _tell(self, kind: str, text: str, **fields: object) -> None:
        self._plane.events.tell(logger.info, kind, text, by="api", **fields)

    async def overrides(self, request: Request) -> Response:
        """All keys of a limit that have something else."""
        limit = self._limit(request)
        found = tunings.overrides(limit, self._plane.fleet.tuning)
        shown = [self._override(limit, key, what) for key, what in found.items()]
        return answer({"limit": limit.name, "rate": rate_text(limit.rate), "overrides": shown})

    async def set_overrides(self, request: Request) -> Response:
        """Gives many keys something else, or takes it from them: all of it or nothing, and in one snapshot."""
        limit = self._limit(request)
        wanted = (await read(request, _Overrides)).overrides
        changes = {self._read(text, limit): None if one is None else _what(one) for text, one in wanted.items()}
        await self._plane.tune(partial(tunings.override_all, limit=limit.name, changes=changes))
        text = f"limit {limit.name}: the rates of {len(changes)} keys are changed"
        self._tell("overrides_changed", text, limit=limit.name, keys=len(changes))
        return answer({"limit": limit.name, "changed": len(changes)})

    async def override(self, request: Request) -> Response:
        """One of them."""
        limit = self._limit(request)
        return self._shown(limit, self._key(request, limit))

    async def set_override(self, request: Request) -> Response:
        """Gives a key a tier, a rate or no limit."""
        limit = self._limit(request)
        key, what = self._key(request, limit), _what(await read(request, _Override))
        await self._plane.tune(partial(tunings.override, limit=limit.name, key=key, what=what))
        said = what if isinstance(what, str) else rate_text(what.rate)
        self._tell("override_set", f"limit {limit.name}: {key} has {said}", limit=limit.name, key=key, what=said)
        return self._shown(limit, key)

    async def unset_override(self, request: Request) -> Response:
        """Lets a key come under the limit as all others do."""
        limit = self._limit(request)
        key = self._key(request, limit)
        await self._plane.tune(partial(tunings.give_up, limit=limit.name, key=key))
        text = f"limit {limit.name}: {key} has the limit's own rate"
        self._tell("override_unset", text, limit=limit.name, key=key)
        return answer({"limit": limit.name, "key": key})

    async def tiers(self, request: Request) -> Response:
        """All tiers."""
        fleet = self._plane.fleet
        found = tunings.tiers(fleet.config, fleet.tuning)
        return answer({"tiers": [self._tier(name, tier) for name, tier in found.items()]})

    async def tier(self, request: Request) -> Response:
        """One tier."""
        fleet, name = self._plane.fleet, request.path_params["name"]
        return answer(self._tier(name, tunings.tier_of(fleet.config, fleet.tuning, name)))

    async def set_tier(self, request: Request) -> Response:
        """Defines or changes a tier."""
        name, wanted = request.path_params["name"], await read(request, _Tier)
        try:
            tier_name(name)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        tier = _tier_of(wanted.rate, wanted.burst)
        await self._plane.tune(partial(tunings.define, name=name, tier=tier))
        rate = rate_text(tier.rate)
        self._tell("tier_set", f"tier {name} is {rate}", tier=name, rate=rate)
        return answer(self._tier(name, tier))

    async def unset_tier(self, request: Request) -> Response:
        """Makes a tier what the configuration says."""
        name = request.path_params["name"]
        await self._plane.tune(partial(tunings.forget, name=name))
        self._tell("tier_unset", f"tier {name} is as the configuration has it", tier=name)
        tier = self._plane.fleet.config.tiers.get(name)
        rate, burst = (rate_text(tier.rate), tier.burst) if tier else (None, 0)
        return answer({"name": name, "rate": rate, "burst": burst})

    def _limit(self, request: Request) -> Limit:
        return tunings.limit_of(self._plane.fleet.config, request.path_params["name"])

    def _key(self, request: Request, limit: Limit) -> str:
        text, _ = key_in(request, "overrides")
        return self._read(text, limit)

    def _read(self, text: str, limit: Limit) -> str:
        try:
            return tunings.key_text(text, limit, self._plane.fleet.config.store.secret)
        except ValueError as error:
            raise HTTPException(400, f"key of limit {limit.name}: {error}") from error

    def _shown(self, limit: Limit, key: str) -> Response:
        found = tunings.overrides(limit, self._plane.fleet.tuning)
        if key not in found:
            raise Unknown(f'limit "{limit.name}" has no override for {key}')
        return answer({"limit": limit.name, **self._override(limit, key, found[key])})

    def _override(self, limit: Limit, key: str, what: Override) -> Json:
        """An override as it is shown; its rate is null where its tier is gone."""
        fleet = self._plane.fleet
        tier = tunings.tiers(fleet.config, fleet.tuning).get(what) if isinstance(what, str) else what
        return {
            "key": key,
            "tier": what if isinstance(what, str) else None,
            "rate": rate_text(tier.rate) if tier else None,
            "burst": tunings.fitted(limit, tier).burst if tier else 0,
            "source": "runtime" if key in fleet.tuning.overrides.get(limit.name, {}) else "config",
        }

    def _tier(self, name: str, tier: Tier) -> Json:
        source = "runtime" if name in self._plane.fleet.tuning.tiers else "config"
        return {"name": name, "rate": rate_text(tier.rate), "burst": tier.burst, "source": source}


def _what(wanted: _Override) -> Override:
    if wanted.tier is not None:
        if wanted.rate is not None or wanted.burst:
            raise HTTPException(400, "expected a tier, or a rate with or without burst")
        return wanted.tier
    if wanted.rate is None:
        raise HTTPException(400, "nothing to set (known: tier, rate, burst)")
    return _tier_of(wanted.rate, wanted.burst)


def _tier_of(rate: str, burst: int) -> Tier:
    try:
        tier = Tier(rate_of(rate), burst)
    except ValueError as error:
        raise HTTPException(400, f"rate: {error}") from error
    if why_not := overdue(tier.burst, tier.rate):
        raise HTTPException(400, f"burst: {why_not}")
    return tier
