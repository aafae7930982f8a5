"""What operators changed at run time, kept apart from the configuration file that it lies over. Pure.

For each upstream: servers added, servers removed, modes and weights. The file says what the servers are, the overlay
what differs from it, so a reload of the file and a change at run time never undo each other. Addresses are texts here,
in their canonical form, because this is what goes to the state file.
Every change is a function from one overlay to the next: the next one is written to disk before anything acts on it.
"""

from dataclasses import dataclass, field, replace

from headgate.model.config import Config, Upstream
from headgate.model.server import Mode


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs in one upstream from the configuration."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modes: dict[str, str] = field(default_factory=dict)  # without those that are "ready", which is the default
    weights: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modes or self.weights)


Overlay = dict[str, Changes]  # by upstream; never changed in place


def add(overlay: Overlay, upstream: Upstream, address: str, weight: int | None) -> Overlay:
    """The overlay with a server that is not there now. weight: None for the configuration's, or 1."""
    changes = _without(overlay.get(upstream.name, Changes()), address)
    if address not in _configured(upstream):
        changes = replace(changes, added=(*changes.added, address))
    if weight is not None:
        changes = replace(changes, weights={**changes.weights, address: weight})
    return _with(overlay, upstream.name, changes)


def remove(overlay: Overlay, upstream: Upstream, address: str) -> Overlay:
    """The overlay without a server that is there now; its mode and weight are forgotten."""
    changes = _without(overlay.get(upstream.name, Changes()), address)
    if address in _configured(upstream):
        changes = replace(changes, removed=(*changes.removed, address))
    return _with(overlay, upstream.name, changes)


def set_mode(overlay: Overlay, upstream: str, address: str, mode: Mode) -> Overlay:
    """The overlay with another mode for a server."""
    changes = overlay.get(upstream, Changes())
    modes = {**changes.modes, address: mode.value}
    if mode is Mode.READY:
        del modes[address]
    return _with(overlay, upstream, replace(changes, modes=modes))


def set_weight(overlay: Overlay, upstream: str, address: str, weight: int) -> Overlay:
    """The overlay with another weight for a server."""
    changes = overlay.get(upstream, Changes())
    return _with(overlay, upstream, replace(changes, weights={**changes.weights, address: weight}))


def prune(overlay: Overlay, config: Config) -> Overlay:
    """The overlay without what says nothing any more under this configuration.

    A removed server that the file does not name either is simply gone, an added one that the file now names is the
    file's. The changes of an upstream that the file does not name are kept untouched: it may come back.
    """
    for upstream in config.upstreams:
        changes = overlay.get(upstream.name)
        if changes is None:
            continue
        configured = _configured(upstream)
        added = tuple(address for address in changes.added if address not in configured)
        present = configured | set(added)
        pruned = Changes(
            added=added,
            removed=tuple(address for address in changes.removed if address in configured),
            modes={address: mode for address, mode in changes.modes.items() if address in present},
            weights={address: weight for address, weight in changes.weights.items() if address in present},
        )
        overlay = _with(overlay, upstream.name, pruned)
    return overlay


def _configured(upstream: Upstream) -> set[str]:
    return {str(server.address) for server in upstream.servers}


def _without(changes: Changes, address: str) -> Changes:
    return Changes(
        added=tuple(other for other in changes.added if other != address),
        removed=tuple(other for other in changes.removed if other != address),
        modes={other: mode for other, mode in changes.modes.items() if other != address},
        weights={other: weight for other, weight in changes.weights.items() if other != address},
    )


def _with(overlay: Overlay, upstream: str, changes: Changes) -> Overlay:
    others = {name: other for name, other in overlay.items() if name != upstream}
    return {**others, upstream: changes} if changes else others
