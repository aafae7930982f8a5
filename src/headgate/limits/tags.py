"""Which keys must lie together where a store spreads keys over several places, as a Redis Cluster does.

All limits of one decision are taken or none is, so their keys must be in one place. A key's place follows from its tag,
and the tag from those parts of the key that all limits have in common that can meet in one decision. For limits by
`client_ip` and by `client_ip, path` on one route that is the client's address: each client is in one place, and clients
are spread. Where limits by networks of several sizes meet, it is the widest network. Where they have nothing in common,
all their keys lie together under one name.

Limits meet through others: if A and B stand on one route and B and C on another, one tag must do for all three.
Pure. The control plane makes the tags, of all its configuration, and the store for a Cluster reads them.
"""

from binascii import crc_hqx
from collections.abc import Iterable
from functools import lru_cache

from headgate.limits.keys import compose, network_of, prefixes, split
from headgate.model.config import Config, Limit
from headgate.model.snapshot import LimitState, Tag

_ADDRESS = "client_ip"
_Lengths = tuple[int, int]


def meetings(config: Config) -> list[list[Limit]]:
    """The limits that can meet in one decision: those of a route with its upstream's and those of one listener.

    Those that are only tried are decided apart.
    """
    named = {limit.name: limit for limit in config.limits}
    of_upstreams = {upstream.name: upstream.limits for upstream in config.upstreams}
    of_listeners = {(), *(listener.limits for listener in config.listeners)}
    wanted = {
        (*of_listener, *route.limits, *of_upstreams[route.upstream])
        for of_listener in of_listeners
        for route in config.routes
    }
    groups = [[named[name] for name in dict.fromkeys(names)] for names in sorted(wanted)]
    return [[limit for limit in group if limit.dry_run is is_tried] for group in groups for is_tried in (False, True)]


def tags(groups: Iterable[Iterable[Limit]]) -> dict[str, Tag]:
    """The tag of each limit that meets another one, by its name. groups: the limits that can meet in one decision."""
    together: dict[str, dict[str, Limit]] = {}
    for group in groups:
        merged = {limit.name: limit for limit in group}
        for name in list(merged):
            merged.update(together.get(name, {}))
        for name in merged:
            together[name] = merged
    found: dict[str, Tag] = {}
    for merged in together.values():
        if len(merged) > 1:
            found.update(_tags(list(merged.values())))
    return found


def tag(limit: LimitState, key: bytes) -> bytes:
    """The tag of a key: four hexadecimal digits, of which equal ones lie together. Without a Tag the key is its own."""
    known = limit.tag
    if known is None:
        told = key
    elif not known.parts:
        told = known.name.encode()
    else:
        parts = split(key) if "," in limit.limit.key else [key]
        told = compose([_widened(parts[place], lengths) if lengths else parts[place] for place, lengths in known.parts])
    # A hash, for a value may have any bytes, "}" among them; and one is as good as another where slots are CRCs too.
    return b"%04x" % crc_hqx(told, 0)


def _tags(limits: list[Limit]) -> dict[str, Tag]:
    """The tags of limits that meet, of which there are two or more."""
    parts = [_parts(limit) for limit in limits]
    common = sorted(set.intersection(*[set(one) for one in parts]))
    if not common:
        name = min(limit.name for limit in limits)
        return {limit.name: Tag(name=name) for limit in limits}
    widths = [one[_ADDRESS][1] for one in parts if _ADDRESS in common]
    widest = (min(ipv4 for ipv4, _ in widths), min(ipv6 for _, ipv6 in widths)) if widths else (0, 0)
    return {
        limit.name: Tag(
            tuple((one[name][0], widest if name == _ADDRESS and one[name][1] != widest else None) for name in common)
        )
        for limit, one in zip(limits, parts, strict=True)
    }


def _parts(limit: Limit) -> dict[str, tuple[int, _Lengths]]:
    """What the limit counts by: where it stands in the key, and of an address the lengths of its networks."""
    found: dict[str, tuple[int, _Lengths]] = {}
    if "key" in limit.functions:
        return found  # what a function says may be another thing for each limit that asks it
    for place, name in enumerate(limit.key.split(",")):
        lengths = prefixes(name)
        found.setdefault(_ADDRESS if lengths else name, (place, lengths or (0, 0)))
    return found


@lru_cache(2048)
def _widened(part: bytes, lengths: _Lengths) -> bytes:
    """The network around an address or a narrower network."""
    address, _, _ = part.decode("utf-8", "surrogateescape").partition("/")
    return network_of(address, lengths)
