"""What operators changed of limits at run time, and what comes of it with the configuration that it lies over. Pure.

Tiers, and the keys of limits that have a tier, a rate of their own, or no limit at all. As with servers (`overlay`) the
file says what is, and this what differs from it, so a reload of the file and a change at run time never undo each
other. Keys are texts here, in the one form that `keytext.shown` gives them: this is what goes to the state file.
Every change is a function from one tuning to the next: the next one is written to disk before anything acts on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from headgate.errors import InUse, Unknown, UserError
from headgate.limits import keytext
from headgate.limits.keys import Seal, is_hashed
from headgate.model.config import Config, Limit, Override, Tier
from headgate.model.snapshot import Overrides

_KEYS = 65536  # texts of keys that are remembered with their bytes: each snapshot with another override needs all


@dataclass(frozen=True, slots=True)
class Tuning:
    """What differs from the configuration.

    tiers: those that it has not, or has otherwise. overrides: by limit and key; None where the file's does not count.
    """

    tiers: dict[str, Tier] = field(default_factory=dict)
    overrides: dict[str, dict[str, Override | None]] = field(default_factory=dict)


UNTUNED = Tuning()

# -- what counts


def tiers(config: Config, tuning: Tuning) -> dict[str, Tier]:
    """The tiers that there are, by name."""
    return {**config.tiers, **tuning.tiers}


def overrides(limit: Limit, tuning: Tuning) -> dict[str, Override]:
    """The keys of a limit that have something in place of its rate."""
    changes = tuning.overrides.get(limit.name)
    if not changes:
        return limit.overrides
    both: dict[str, Override | None] = {**limit.overrides, **changes}
    return {key: what for key, what in both.items() if what is not None}


def resolve(config: Config, tuning: Tuning) -> dict[str, Overrides]:
    """What the workers are told, by limit.

    Keys whose tier is not there or not for such a limit, or that are none of the limit's, are left out: they come under
    the limit as all others do.
    """
    known = tiers(config, tuning)
    found: dict[str, Overrides] = {}
    for limit in config.limits:
        places: dict[Tier, int] = {}
        keys: dict[bytes, int] = {}
        for text, what in overrides(limit, tuning).items():
            tier = known.get(what) if isinstance(what, str) else what
            key = _key(text, limit.key, limit.private)
            if tier is not None and key is not None and not is_of_another_kind(limit, tier):
                keys[key] = places.setdefault(fitted(limit, tier), len(places))
        if keys:
            found[limit.name] = Overrides(tuple(places), keys)
    return found


def inert(config: Config, tuning: Tuning) -> list[str]:
    """What of it has no effect now, in words."""
    limits = {limit.name: limit for limit in config.limits}
    known = tiers(config, tuning)
    gone = sorted(tuning.overrides.keys() - limits.keys())
    said = [f"overrides made at run time are kept for limits that are not there: {', '.join(gone)}"] if gone else []
    for name, changes in tuning.overrides.items():
        if name not in limits:
            continue
        lost = sorted({what for what in changes.values() if isinstance(what, str) and what not in known})
        if lost:
            said.append(f"limit {name}: overrides made at run time name tiers that are not there: {', '.join(lost)}")
        its = limits[name]
        odd = sum(_key(text, its.key, its.private) is None for text in changes)
        if odd:
            said.append(f"limit {name}: {odd} overrides made at run time are for what it does not count by any more")
    return said


# -- changes


def prune(config: Config, tuning: Tuning) -> Tuning:
    """The tuning without what the configuration says as well. What is of limits that are not there is kept."""
    if not tuning.tiers and not tuning.overrides:
        return tuning
    changes = dict(tuning.overrides)
    for limit in config.limits:
        if limit.name in changes:
            changes[limit.name] = {
                key: what for key, what in changes[limit.name].items() if what != limit.overrides.get(key)
            }
    return Tuning(
        {name: tier for name, tier in tuning.tiers.items() if tier != config.tiers.get(name)},
        {name: those for name, those in changes.items() if those},
    )


def override(config: Config, tuning: Tuning, limit: str, key: str, what: Override) -> Tuning:
    """The tuning with something else for a key. Raises Unknown without the limit, UserError where it is of no use."""
    its = limit_of(config, limit)
    known = tiers(config, tuning)
    if isinstance(what, str) and what not in known:
        raise UserError(_no_tier(what, known))
    if isinstance(what, Tier) and what.burst and its.algorithm != "gcra":
        raise UserError(f'burst: only with algorithm = "gcra", and limit {limit} is "{its.algorithm}"')
    why_not = unfit(its, what if isinstance(what, Tier) else known[what])
    if why_not:
        raise UserError(why_not)
    return _with(config, tuning, limit, key, what)


def override_all(config: Config, tuning: Tuning, limit: str, changes: Mapping[str, Override | None]) -> Tuning:
    """The tuning with all of these; keys with None come under the limit as all others do. Raises as `override` does."""
    for key, what in changes.items():
        if what is not None:
            tuning = override(config, tuning, limit, key, what)
        elif key in overrides(limit_of(config, limit), tuning):
            tuning = give_up(config, tuning, limit, key)
    return tuning


def give_up(config: Config, tuning: Tuning, limit: str, key: str) -> Tuning:
    """The tuning in which a key comes under the limit as all others do. Raises Unknown when it does so already."""
    if key not in overrides(limit_of(config, limit), tuning):
        raise Unknown(f'limit "{limit}" has no override for {key}')
    return _with(config, tuning, limit, key, None)


def define(config: Config, tuning: Tuning, name: str, tier: Tier) -> Tuning:
    """The tuning with another tier of this name. Raises UserError where nothing of it could pass a limit."""
    for limit in config.limits:
        why_not = unfit(limit, tier) if name in overrides(limit, tuning).values() else None
        if why_not:
            raise UserError(why_not)
    return prune(config, replace(tuning, tiers={**tuning.tiers, name: tier}))


def forget(config: Config, tuning: Tuning, name: str) -> Tuning:
    """The tuning with the tier as the configuration has it, or without it.

    Raises Unknown, or InUse when keys have it that would have none then, or when the configuration alone has it.
    """
    tier_of(config, tuning, name)
    if name not in tuning.tiers:
        raise InUse(f'tier "{name}" is as the configuration has it: it can be changed here, and removed there')
    if name not in config.tiers:
        users = [limit.name for limit in config.limits if name in overrides(limit, tuning).values()]
        if users:
            raise InUse(f'keys of limit {", ".join(users)} have tier "{name}": give them another one first')
    return replace(tuning, tiers={other: tier for other, tier in tuning.tiers.items() if other != name})


def tier_of(config: Config, tuning: Tuning, name: str) -> Tier:
    """The tier of that name. Raises Unknown, with the names that there are."""
    known = tiers(config, tuning)
    if name not in known:
        raise Unknown(_no_tier(name, known))
    return known[name]


def limit_of(config: Config, name: str) -> Limit:
    """The limit of that name. Raises Unknown, with the names that there are."""
    for limit in config.limits:
        if limit.name == name:
            return limit
    known = ", ".join(limit.name for limit in config.limits) or "none"
    raise Unknown(f'there is no limit "{name}" (known: {known})')


def key_text(text: str, limit: Limit, secret: str) -> str:
    """The text of a key in its one form. secret: the store's. Raises ValueError when it is none of the limit's."""
    if not is_hashed(limit):
        return keytext.shown(keytext.written(text, limit.key))
    if not secret:
        raise ValueError(
            "the limit's keys are hashed, with a secret that each start draws anew: overrides need one that stays "
            "(store.secret or store.secret_file)"
        )
    return keytext.shown(keytext.written(text, limit.key, Seal(secret.encode()), private=limit.private))


def unfit(limit: Limit, tier: Tier) -> str | None:
    """Why a tier cannot stand for a limit, or no request of it could ever pass; None when some can."""
    if is_of_another_kind(limit, tier):
        wanted = "100/minute" if limit.rate.period else "20 in flight"
        return (
            f'limit {limit.name} is "{limit.rate}", and {tier.rate} cannot stand for it (expected one like "{wanted}")'
        )
    most = None if tier.rate is None else fitted(limit, tier).burst or tier.rate.limit
    if most is None or limit.cost <= most:
        return None
    return f"no request would ever pass limit {limit.name}: its cost is {limit.cost} (here at most {most} pass at once)"


def is_of_another_kind(limit: Limit, tier: Tier) -> bool:
    """Whether one is about what is in flight and the other about a time."""
    return tier.rate is not None and (tier.rate.period > 0) is not (limit.rate.period > 0)


def fitted(limit: Limit, tier: Tier) -> Tier:
    """The tier as it counts under a limit, which may know no burst."""
    return tier if limit.algorithm == "gcra" or not tier.burst else Tier(tier.rate)


def _no_tier(name: str, known: Iterable[str]) -> str:
    return f'there is no tier "{name}" (known: {", ".join(known) or "none"})'


def _with(config: Config, tuning: Tuning, limit: str, key: str, what: Override | None) -> Tuning:
    changes = {**tuning.overrides.get(limit, {}), key: what}
    if what == limit_of(config, limit).overrides.get(key):
        del changes[key]
    others = {name: those for name, those in tuning.overrides.items() if name != limit}
    return replace(tuning, overrides={**others, limit: changes} if changes else others)


@lru_cache(maxsize=_KEYS)
def _key(text: str, kinds: str, private: bool) -> bytes | None:
    try:
        return keytext.written(text, kinds, private=private)  # what is hashed stands here as its hash
    except ValueError:
        return None
