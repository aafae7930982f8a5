"""What a configuration has and nothing in it can ever use. Pure.

A limit that nothing names lets everything pass, and nobody would notice. Yet it is no mistake for sure: it may be there
for tomorrow's reload. So it is a warning, of `headgate check` and in the log of each start and reload, and nothing is
refused. A tier that nothing names is as it should be: keys get it at run time, and functions say its name. Only one
that no limit's keys could have is told. And a limit that counts by a field which is dropped before it, because of an
underscore in its name, counts by addresses alone, which nobody would notice either.
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


def _why_nobody_has(tier: Tier, config: Config) -> str:
    """Why no key could have the tier; "" when some could."""
    if not config.limits:
        return "there is no limit whose keys could have it"
    if all(is_of_another_kind(limit, tier) for limit in config.limits):
        return f'it is "{tier.rate}", and no limit is one for which that could stand'
    return ""
