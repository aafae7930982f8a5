"""What a configuration has and nothing in it can ever use. Pure.

A limit that nothing names lets everything pass, and nobody would notice. Yet it is no mistake for sure: it may be there
for tomorrow's reload. So it is a warning, of `headgate check` and in the log of each start and reload, and nothing is
refused. A tier that nothing names is as it should be: keys get it at run time, and functions say its name. Only one
that no limit's keys could have is told. And a limit that counts by a field which is dropped before it, because of an
underscore in its name, counts by addresses alone, which nobody would notice either; so does a `lease` do nothing where
nothing is to be leased, or never by itself.
"""

from collections.abc import Iterator

from headgate.control.report import path_text, quoted
from headgate.control.tuning import is_of_another_kind
from headgate.model.config import Config, Limit, Tier

_DROPPED = {"drop": "dropped", "refuse": "refused"}


def unused(config: Config) -> list[str]:
    """What of it is without effect, each in a line that begins with its place."""
    routed = {route.upstream for route in config.routes}
    lists = [
        *(route.limits for route in config.routes),
        *(listener.limits for listener in config.listeners),
        *(upstream.limits for upstream in config.upstreams if upstream.name in routed),
    ]
    named = {name for names in lists for name in names}
    return [
        *(
            f"{path_text(('limits', limit.name))}: no route, no listener and no upstream of a route names it"
            for limit in config.limits
            if limit.name not in named
        ),
        *(
            f"{path_text(('limits', limit.name, *place))}: {why}"
            for limit in config.limits
            for place, key in _keys(limit)
            for part in key.split(",")
            if (why := _why_never_there(part, config.heads.underscores))
        ),
        *(
            f"{path_text(('limits', limit.name, 'lease'))}: {why}"
            for limit in config.limits
            if limit.lease > 1 and limit.name in named and (why := _why_never_leased(limit, config))
        ),
        *(
            f"{path_text(('tiers', name))}: {why}"
            for name, tier in config.tiers.items()
            if (why := _why_nobody_has(tier, config))
        ),
    ]


def _keys(limit: Limit) -> Iterator[tuple[tuple[str, ...], str]]:
    """What the limit says of how to count, each with its place."""
    yield ("key",), limit.key
    yield ("python", "cache_by"), limit.python.cache_by
    yield ("python", "on_error", "key"), limit.python.on_error.key


def _why_never_there(part: str, underscores: str) -> str:
    """Why no request has what is counted by; "" when some may."""
    kind, _, name = part.partition(":")
    if kind not in ("header", "api_key") or "_" not in name or underscores not in _DROPPED:
        return ""
    meant = quoted(f"{kind}:{name.replace('_', '-')}")
    why = f"fields with an underscore are {_DROPPED[underscores]} (heads.underscores)"
    return f"{quoted(part)} is never there: {why}; did you mean {meant}?"


def _why_never_leased(limit: Limit, config: Config) -> str:
    """Why the limit's lease does nothing; "" when some request may have a place of one."""
    if not config.store.url:
        return "it has no effect where limits are counted on this machine (store.url names no Redis)"
    limits = {one.name: one for one in config.limits}
    of_upstreams = {upstream.name: upstream.limits for upstream in config.upstreams}
    together = [
        {*listener.limits, *route.limits, *of_upstreams[route.upstream]}
        for listener in config.listeners
        for route in config.routes
    ]
    ours = [names - {limit.name} for names in together if limit.name in names]
    # Who is exempt from the other comes under this one alone, and what is only tried is asked for by itself.
    others = [
        [name for name in names if limits[name].dry_run is limit.dry_run and not _spares_some(limits[name])]
        for names in ours
    ]
    if not others or not all(others):
        return ""
    beside = ", ".join(sorted({name for names in others for name in names}))
    return f"it has no effect: each of its requests comes under another limit too ({beside})"


def _spares_some(limit: Limit) -> bool:
    return bool(limit.exempt or limit.exempt_by or limit.overrides)


def _why_nobody_has(tier: Tier, config: Config) -> str:
    """Why no key could have the tier; "" when some could."""
    if not config.limits:
        return "there is no limit whose keys could have it"
    if all(is_of_another_kind(limit, tier) for limit in config.limits):
        return f'it is "{tier.rate}", and no limit is one for which that could stand'
    return ""
