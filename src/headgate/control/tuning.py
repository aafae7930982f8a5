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


def overrides_of(config: Config, tuning: Tuning, name: str) -> Mapping[str, Override | None]:
    """The same by the limit's name, also of one that the configuration has no more: what is kept for it.

    None there: the limit's own rate, whatever the file would say. Raises Unknown for what is no limit's name at all.
    """
    its = found_limit(config, name)
    if its is None and name in tuning.overrides:
        return tuning.overrides[name]
    return overrides(its or limit_of(config, name), tuning)


def gone(config: Config, tuning: Tuning) -> list[str]:
    """The limits that overrides are kept for, and that are not there."""
    return sorted(tuning.overrides.keys() - {limit.name for limit in config.limits})


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
    said = [
        f"limit {name}: it is not in the configuration, and overrides made at run time are kept for it{_commands(name)}"
        for name in gone(config, tuning)
    ]
    for name, changes in tuning.overrides.items():
        if name not in limits:
            continue
        lost = sorted({what for what in changes.values() if isinstance(what, str) and what not in known})
        if lost:
            tiers_lost = ", ".join(lost)
            said.append(
                f"limit {name}: overrides made at run time name tiers that are not there: {tiers_lost}{_commands(name)}"
            )
        its = limits[name]
        odd = sum(_key(text, its.key, its.private) is None for text in changes)
        if odd:
            some = "1 override made at run time is" if odd == 1 else f"{odd} overrides made at run time are"
            said.append(f"limit {name}: {some} for what it does not count by any more{_commands(name)}")
    return said


def why_inert(limit: Limit | None, known: Mapping[str, Tier], key: str, what: Override | None) -> str | None:
    """Why an override of a key has no effect; None when it has. limit: None for one that is gone. known: all tiers."""
    if limit is None:
        return "the limit is not in the configuration"
    if _key(key, limit.key, limit.private) is None:
        return f"no key of the limit any more, which counts by {limit.key}{' (private)' * limit.private}"
    tier = known.get(what) if isinstance(what, str) else what
    if tier is None:
        return "there is no such tier"
    return f"{tier.rate} cannot stand for {limit.rate}" if is_of_another_kind(limit, tier) else None


def _commands(name: str) -> str:
    return f" (`headgate limit overrides {name}` lists them, `headgate limit unset {name} KEY` removes one)"


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
    kept = overrides_of(config, tuning, limit)
    for key, what in changes.items():
        if what is not None:
            tuning = override(config, tuning, limit, key, what)
        elif key in kept:
            tuning = give_up(config, tuning, limit, key)
    return tuning


def differing(config: Config, before: Tuning, after: Tuning, limit: str) -> int:
    """How many keys of a limit have something else after a change. before, after: of which `before` knows the limit."""
    old = overrides_of(config, before, limit)
    # Of a limit that is gone nothing may be left, not even its name.
    new = overrides_of(config, after, limit) if found_limit(config, limit) else after.overrides.get(limit, {})
    return sum(key not in new or key not in old or old[key] != new[key] for key in old.keys() | new.keys())


def give_up(config: Config, tuning: Tuning, limit: str, key: str) -> Tuning:
    """The tuning in which a key comes under the limit as all others do. Raises Unknown when it does so already.

    Of a limit that is gone nothing is kept for the key then.
    """
    if key not in overrides_of(config, tuning, limit):
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
    if (found := found_limit(config, name)) is not None:
        return found
    known = ", ".join(limit.name for limit in config.limits) or "none"
    raise Unknown(f'there is no limit "{name}" (known: {known})')


def found_limit(config: Config, name: str) -> Limit | None:
    """The limit of that name; None without one."""
    return next((limit for limit in config.limits if limit.name == name), None)


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


def kept_key(text: str, limit: Limit | None, kept: Mapping[str, Override | None], secret: str) -> str | None:
    """The key of an override that is there; None without one. limit: None for one that is gone. kept: the overrides.

    What the limit cannot count by any more is named as it is shown, or without its `=`. Raises ValueError when the text
    is no key of the limit and none of those.
    """
    wrong = None
    if limit is not None:
        try:
            key = key_text(text, limit, secret)
        except ValueError as error:
            wrong = error
        else:
            if key in kept:
                return key
    for one in (text, text if text.startswith("=") else f"={text}"):
        if one in kept and (limit is None or wrong is not None or _key(one, limit.key, limit.private) is None):
            return one
    if wrong is not None:
        raise wrong
    return None


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
    its = found_limit(config, limit)
    if what == (its.overrides.get(key) if its else None):
        del changes[key]
    others = {name: those for name, those in tuning.overrides.items() if name != limit}
    return replace(tuning, overrides={**others, limit: changes} if changes else others)


@lru_cache(maxsize=_KEYS)
def _key(text: str, kinds: str, private: bool) -> bytes | None:
    try:
        return keytext.written(text, kinds, private=private)  # what is hashed stands here as its hash
    except ValueError:
        return None
