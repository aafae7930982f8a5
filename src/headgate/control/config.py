"""From a TOML file, or from flags, to `model.config.Config`: complete, resolved and checked.

Flags are turned into the same tables that a file would hold, so there is one way from what the user wrote to the
configuration (`build`). Everything that is wrong is reported at once, with its line in the file or its flag.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headgate.control.build import build
from headgate.control.lines import locate
from headgate.control.report import Report
from headgate.errors import ConfigError
from headgate.model.config import Config

_WHERE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says; None and () where it says nothing. A bare port stands for one of this machine."""

    listen: tuple[str, ...] = ()
    server: tuple[str, ...] = ()
    limit: str | None = None
    workers: str | None = None
    store: str | None = None
    admin: str | None = None
    health_check: str | None = None
    access_log: str | None = None
    state: str | None = None
    trusted_proxy: tuple[str, ...] = ()


def load(path: Path, flags: Flags = Flags(), environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration that a file says.

    flags: of these, workers, store, admin, access_log and state override the file; the others mean nothing here.
    environ: HEADGATE_ADMIN_TOKEN is the admin API's token when the file has none.
    Raises ConfigError with everything that is wrong.
    """
    text = _text(path)
    raw = _toml(path, text)
    labels = _override(raw, flags)
    report = Report(str(path), lambda: locate(text), labels)
    stem = path.name.removesuffix(".toml")
    return build(raw, report, folder=path.parent, state_file=f"{stem}.state.json", environ=environ)


def from_flags(flags: Flags, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration that the flags alone say: one upstream `web`, one route, at most one limit `per_ip`.

    Raises ConfigError with everything that is wrong, each named by its flag.
    """
    raw: dict[str, object] = {"listeners": [{"address": _full(text)} for text in flags.listen]}
    web: dict[str, object] = {"servers": [_full(text) for text in flags.server]}
    if flags.health_check is not None:
        web["health_check"] = {"path": flags.health_check}
    raw["upstreams"] = {"web": web}
    route: dict[str, object] = {"upstream": "web"}
    if flags.limit is not None:
        raw["limits"] = {"per_ip": {"rate": flags.limit}}
        route["limits"] = ["per_ip"]
    raw["routes"] = [route]
    raw["trusted_proxies"] = list(flags.trusted_proxy)
    labels = _override(raw, flags) | {
        ("listeners",): "--listen",
        ("upstreams", "web", "servers"): "--server",
        ("upstreams", "web", "health_check"): "--health-check",
        ("limits",): "--limit",
        ("trusted_proxies",): "--trusted-proxy",
    }
    report = Report(labels=labels)
    if not flags.server:
        report.add(("upstreams", "web", "servers"), "at least one server is needed (or a configuration file)")
    return build(raw, report, folder=Path(), state_file="", environ=environ)


def _full(text: str) -> str:
    return f"127.0.0.1:{text}" if text.isascii() and text.isdigit() else text


def _override(raw: dict[str, object], flags: Flags) -> dict[tuple[str | int, ...], str]:
    """Puts the flags that may go with a file into its tables; what came from which flag, by path."""
    given: dict[tuple[str, ...], tuple[str, object]] = {}
    if flags.workers is not None:
        given["workers",] = "--workers", int(flags.workers) if flags.workers.isdecimal() else flags.workers
    if flags.store is not None:
        given["store", "url"] = "--store", flags.store
    if flags.admin is not None:
        given["admin", "listen"] = "--admin", _full(flags.admin)
    if flags.access_log is not None:
        given["access_log", "format"] = "--access-log", flags.access_log
    if flags.state is not None:
        # A path on the command line starts from where the user is, one in the file from where the file is.
        given["state_file",] = "--state", os.path.abspath(flags.state) if flags.state else ""
    labels: dict[tuple[str | int, ...], str] = {}
    for path, (flag, value) in given.items():
        *parents, last = path
        target: object = raw
        for parent in parents:
            target = target.setdefault(parent, {}) if isinstance(target, dict) else None
        if isinstance(target, dict):
            target[last] = value
            labels[path] = flag
    return labels


def _text(path: Path) -> str:
    try:
        # A byte order mark is what some editors put before the text; TOML does not know it.
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 (byte {error.start})"]) from error
    except FileNotFoundError as error:
        raise ConfigError([f"{path}: no such file"]) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([f"{path}: cannot be read: {reason}"]) from error


def _toml(path: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _WHERE.search(str(error))
        reason = _WHERE.sub("", str(error))
        line = int(match[1]) if match and match[1] else text.count("\n") + 1
        column = f":{match[2]}" if match and match[2] else ""
        raise ConfigError([f"{path}:{line}{column}: not TOML: {reason}"]) from error
    except (RecursionError, ValueError) as error:
        # ValueError: a number of thousands of digits, which Python refuses to convert.
        raise ConfigError([f"{path}: not TOML: nested too deeply or with too long a number"]) from error
