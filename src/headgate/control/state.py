"""The state file: changes made at run time, so that they survive a restart.

The file is whole at any moment: it is written beside itself, flushed to the disk and renamed. It is written before a
change is applied, so what was acknowledged is never forgotten and what cannot be written does not happen. A file that
cannot be understood stops the start: going on without it would bring back servers that somebody took out.
One supervisor owns it, by a lock on a file beside it that the kernel drops when the process ends.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from headgate.control.overlay import Changes, Overlay
from headgate.control.overrides import MOST_BURST, misplaced, overdue, rate_of, rate_text, tier_name
from headgate.control.report import path_text
from headgate.control.tuning import Tuning
from headgate.errors import StateFailed
from headgate.model.address import Address
from headgate.model.config import Override, Tier

logger = logging.getLogger("headgate.state")

_FORMAT = 1


class _Changes(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    added: list[str] = []
    removed: list[str] = []
    modes: dict[str, Literal["ready", "drain", "maint"]] = {}
    weights: dict[str, Annotated[int, msgspec.Meta(ge=0, le=256)]] = {}


class _Tier(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    rate: str
    burst: Annotated[int, msgspec.Meta(ge=0, le=MOST_BURST)] = 0


class _File(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    # What stands under each name is read by itself, so that an error can say where it is.
    format: int
    upstreams: dict[str, object]  # of _Changes
    tiers: dict[str, object] = {}  # of _Tier
    overrides: dict[str, dict[str, object]] = {}  # by limit and key: a _Tier, the name of a tier, or null


class StateFile:
    """The state file at a path, locked until `close`; an empty path keeps nothing. lock: a descriptor, -1 for none."""

    def __init__(self, path: str, inherited: int = -1) -> None:
        """inherited: the lock of the process that this one takes the place of, if that is of the same file.

        Raises StateFailed when another process has it or its directory cannot be written.
        """
        self._path = Path(os.path.realpath(path)) if path else None
        self._warned = False
        self.lock = self._take_lock(inherited)

    def close(self) -> None:
        """Lets another supervisor have the file."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def load(self) -> tuple[Overlay, Tuning]:
        """The changes that were saved last; none without a file. Raises StateFailed when it cannot be understood."""
        if self._path is None:
            return {}, Tuning()
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}, Tuning()
        except OSError as error:
            raise StateFailed(f"the state file {self._path} cannot be read: {_words(error)}") from error
        try:
            return _parse(content)
        except (ValueError, msgspec.MsgspecError) as error:
            raise StateFailed(
                f"the state file {self._path} is not usable: {error}; "
                "mend it, or move it away to forget the changes made at run time"
            ) from error

    def save(self, overlay: Overlay, tuning: Tuning) -> None:
        """Keeps these changes; blocks until they are on the disk. Raises StateFailed, with the old ones kept."""
        if self._path is None:
            if not self._warned:
                logger.warning("changes made at run time will not survive a restart: no state_file is set")
                self._warned = True
            return
        file = _File(
            _FORMAT,
            {name: _stored(changes) for name, changes in sorted(overlay.items())},
            {name: _stored_tier(tier) for name, tier in sorted(tuning.tiers.items())},
            {
                limit: {key: _stored_tier(what) if isinstance(what, Tier) else what for key, what in those.items()}
                for limit, those in sorted(tuning.overrides.items())
            },
        )
        try:
            _replace(self._path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
        except OSError as error:
            raise StateFailed(f"the state file {self._path} cannot be written: {_words(error)}") from error

    def _take_lock(self, inherited: int) -> int:
        if self._path is None:
            return -1
        beside = self._path.with_name(self._path.name + ".lock")
        lock = -1
        try:
            lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if inherited >= 0 and os.path.sameopenfile(lock, inherited):
                os.dup2(inherited, lock, inheritable=False)  # both processes have it until the old one ends
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StateFailed(
                f"the state file {self._path} is in use by another Headgate; give each its own state_file"
            ) from error
        except OSError as error:
            if lock >= 0:
                os.close(lock)
            hint = 'it keeps changes made at run time; choose its place with state_file or --state, "" for none'
            raise StateFailed(
                f"the state file {self._path} cannot be locked: {beside}: {_words(error)} ({hint})"
            ) from error
        return lock


def _parse(content: bytes) -> tuple[Overlay, Tuning]:
    head = msgspec.json.decode(content)
    if isinstance(head, dict) and isinstance(head.get("format"), int) and head["format"] > _FORMAT:
        raise ValueError(f"it is of a newer Headgate (format {head['format']}, known: {_FORMAT})")
    file = msgspec.convert(head, _File)
    if file.format != _FORMAT:
        raise ValueError(f"format {file.format} is not known (known: {_FORMAT})")
    overlay: Overlay = {}
    tiers: dict[str, Tier] = {}
    overrides: dict[str, dict[str, Override | None]] = {}
    for name, value in file.upstreams.items():
        with _at("upstreams", name):
            overlay[name] = _changes(msgspec.convert(value, _Changes))
    for name, value in file.tiers.items():
        with _at("tiers", name):
            tiers[tier_name(name)] = _tier(msgspec.convert(value, _Tier))
    for limit, those in file.overrides.items():
        overrides[limit] = {}
        for key, value in those.items():
            with _at("overrides", limit, key):
                overrides[limit][key] = _override(msgspec.convert(value, str | _Tier | None))
    return overlay, Tuning(tiers, overrides)


@contextlib.contextmanager
def _at(*path: str) -> Iterator[None]:
    """Has an error of the block say where in the file it is."""
    try:
        yield
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"{path_text(path)}: {error}") from error


def _changes(stored: _Changes) -> Changes:
    for address in (*stored.added, *stored.removed, *stored.modes, *stored.weights):
        Address.parse(address)
    return Changes(
        tuple(dict.fromkeys(stored.added)),
        tuple(dict.fromkeys(stored.removed)),
        {address: mode for address, mode in stored.modes.items() if mode != "ready"},
        stored.weights,
    )


def _override(stored: str | _Tier | None) -> Override | None:
    if isinstance(stored, _Tier):
        return _tier(stored)
    return None if stored is None else tier_name(stored)


def _tier(stored: _Tier) -> Tier:
    tier = Tier(rate_of(stored.rate), stored.burst)
    if why_not := overdue(tier.burst, tier.rate):
        raise ValueError(f"burst: {why_not}")
    # Earlier versions kept a burst where there is none. It counted for nothing, and is no reason not to start.
    return Tier(tier.rate) if misplaced(tier) else tier


def _stored_tier(tier: Tier) -> _Tier:
    return _Tier(rate_text(tier.rate), tier.burst)


def _stored(changes: Changes) -> _Changes:
    modes = msgspec.convert(changes.modes, dict[str, Literal["ready", "drain", "maint"]])
    return _Changes(list(changes.added), list(changes.removed), modes, changes.weights)


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        _write(beside, content)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    # The new file is in place: refusing the change now, because the directory cannot be flushed (some file systems
    # cannot), would leave the file and the service in disagreement.
    with contextlib.suppress(OSError):
        _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write(path: Path, content: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of a process that had our number and died while writing
    # Exclusive, so that nobody can have put a link there; only the owner reads it.
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
