"""The part of the admin API that gives keys of limits another rate, and rates their names.

    GET    /api/v1/limits/NAME/overrides         the keys of a limit that have something in place of its rate
    PATCH  /api/v1/limits/NAME/overrides         {"overrides": {KEY: as below, KEY: null}}: many in one change, or none
    GET    /api/v1/limits/NAME/overrides/KEY     one of them
    PUT    /api/v1/limits/NAME/overrides/KEY     {"tier": "gold"}, {"rate": "5/s", "burst": 20}, {"rate": "unlimited"}
    DELETE /api/v1/limits/NAME/overrides/KEY     the key comes under the limit as all others do
    GET    /api/v1/overrides                     those of all limits, and what is kept for limits that are gone
    GET    /api/v1/tiers                         all tiers
    GET    /api/v1/tiers/NAME                    one of them
    PUT    /api/v1/tiers/NAME                    defines it, or changes it for all keys that have it
    DELETE /api/v1/tiers/NAME                    makes it what the configuration says

KEY is a key as people write it (`limits/keytext.py`), percent-encoded, its slashes too. A change is answered when it is
on the disk and all workers decide by it. Overrides of a limit that the configuration has no more, or of what it does
not count by any more, are listed and taken away as the others are; `inert` says why such a one has no effect.
"""

import logging
from collections.abc import Mapping
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
from headgate.control.overrides import MOST_BURST, misplaced, rate_of, rate_text, tier_name
from headgate.control.plane import Plane
from headgate.control.tuning import Tuning
from headgate.errors import Unknown
from headgate.model.config import Config, Limit, Override, Tier

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
            Route("/api/v1/overrides", self.all_overrides, methods=["GET"]),
            Route(tiers, self.tiers, methods=["GET"]),
            *(Route(path, handler, methods=[method]) for method, path, handler in one),
        ]

    def _tell(self, kind: str, text: str, **fields: object) -> None:
        self._plane.events.tell(logger.info, kind, text, by="api", **fields)

    async def overrides(self, request: Request) -> Response:
        """All keys of a limit that have something else."""
        return answer(self._overrides(request.path_params["name"]))

    async def all_overrides(self, _request: Request) -> Response:
        """The same of all limits, those that are gone at the end."""
        fleet = self._plane.fleet
        names = [*(limit.name for limit in fleet.config.limits), *tunings.gone(fleet.config, fleet.tuning)]
        return answer({"limits": [self._overrides(name) for name in names]})

    async def set_overrides(self, request: Request) -> Response:
        """Gives many keys something else, or takes it from them: all of it or nothing, and in one snapshot."""
        name, fleet = request.path_params["name"], self._plane.fleet
        wanted = (await read(request, _Overrides)).overrides
        kept = tunings.overrides_of(fleet.config, fleet.tuning, name)
        changes: dict[str, Override | None] = {}
        for text, one in wanted.items():
            if one is not None:
                changes[self._read(text, self._limit(request))] = _what(one)
            elif (key := self._kept_key(text, name, kept)) is not None:
                changes[key] = None
        changed = 0

        def propose(config: Config, tuning: Tuning) -> Tuning:
            nonlocal changed
            proposed = tunings.override_all(config, tuning, name, changes)
            changed = tunings.differing(config, tuning, proposed, name)
            return proposed

        await self._plane.tune(propose)
        if changed:
            those = "the rate of 1 key is" if changed == 1 else f"the rates of {changed} keys are"
            self._tell("overrides_changed", f"limit {name}: {those} changed", limit=name, keys=changed)
        return answer({"limit": name, "changed": changed})

    async def override(self, request: Request) -> Response:
        """One of them."""
        name, key, what = self._one(request)
        return answer({"limit": name, **self._shown(name, {key: what})[0]})

    async def set_override(self, request: Request) -> Response:
        """Gives a key a tier, a rate or no limit."""
        limit = self._limit(request)
        key, what = self._read(key_in(request, "overrides")[0], limit), _what(await read(request, _Override))
        await self._plane.tune(partial(tunings.override, limit=limit.name, key=key, what=what))
        said = what if isinstance(what, str) else rate_text(what.rate)
        self._tell("override_set", f"limit {limit.name}: {key} has {said}", limit=limit.name, key=key, what=said)
        return answer({"limit": limit.name, **self._shown(limit.name, {key: what})[0]})

    async def unset_override(self, request: Request) -> Response:
        """Lets a key come under the limit as all others do; what had no effect is forgotten."""
        name, key, what = self._one(request)
        fleet = self._plane.fleet
        known = tunings.tiers(fleet.config, fleet.tuning)
        inert = tunings.why_inert(tunings.found_limit(fleet.config, name), known, key, what)
        await self._plane.tune(partial(tunings.give_up, limit=name, key=key))
        said = "has the limit's own rate" if inert is None else f"has no override any more ({inert})"
        self._tell("override_unset", f"limit {name}: {key} {said}", limit=name, key=key)
        return answer({"limit": name, "key": key, "inert": inert})

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

    def _one(self, request: Request) -> tuple[str, str, Override | None]:
        """The override that a path names: the limit's name, the key, and what it has."""
        fleet, name = self._plane.fleet, request.path_params["name"]
        text, _ = key_in(request, "overrides")
        kept = tunings.overrides_of(fleet.config, fleet.tuning, name)
        key = self._kept_key(text, name, kept)
        if key is not None:
            return name, key, kept[key]
        limit = tunings.found_limit(fleet.config, name)
        if limit is None:  # the key is not told: it may be a secret, and nobody knows any more
            raise Unknown(f'limit "{name}" is not in the configuration, and nothing is kept for that key of it')
        raise Unknown(f'limit "{name}" has no override for {self._read(text, limit)}')

    def _kept_key(self, text: str, name: str, kept: Mapping[str, Override | None]) -> str | None:
        """The key of an override that a text means; None without one. Raises HTTPException where it can be none."""
        config = self._plane.fleet.config
        try:
            return tunings.kept_key(text, tunings.found_limit(config, name), kept, config.store.secret)
        except ValueError as error:
            raise HTTPException(400, f"key of limit {name}: {error}") from error

    def _read(self, text: str, limit: Limit) -> str:
        try:
            return tunings.key_text(text, limit, self._plane.fleet.config.store.secret)
        except ValueError as error:
            raise HTTPException(400, f"key of limit {limit.name}: {error}") from error

    def _overrides(self, name: str) -> Json:
        fleet = self._plane.fleet
        limit = tunings.found_limit(fleet.config, name)
        found = tunings.overrides_of(fleet.config, fleet.tuning, name)
        return {
            "limit": name,
            "rate": rate_text(limit.rate) if limit else None,
            "gone": limit is None,
            "overrides": self._shown(name, found),
        }

    def _shown(self, name: str, found: Mapping[str, Override | None]) -> list[Json]:
        """Overrides as they are shown; a rate is null where its tier is gone, or where it is the limit's own."""
        fleet = self._plane.fleet
        limit, known = tunings.found_limit(fleet.config, name), tunings.tiers(fleet.config, fleet.tuning)
        at_run_time = fleet.tuning.overrides.get(name, {})
        shown: list[Json] = []
        for key, what in found.items():
            tier = known.get(what) if isinstance(what, str) else what
            one: Json = {
                "key": key,
                "tier": what if isinstance(what, str) else None,
                "rate": rate_text(tier.rate) if tier else None,
                "burst": (tunings.fitted(limit, tier) if limit else tier).burst if tier else 0,
                "source": "runtime" if key in at_run_time else "config",
                "inert": tunings.why_inert(limit, known, key, what),
            }
            shown.append(one)
        return shown

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
    if why_not := misplaced(tier):
        raise HTTPException(400, f"burst: {why_not}")
    return tier
