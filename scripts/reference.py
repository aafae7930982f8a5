"""Fills the tables of docs/configuration.md from the code, so that the reference cannot say what is not so.

What a key means is the comment beside its field in model/config.py, its default is the field's, and what may be
written is the form of its kind in control/sections.py. The text around the tables is written by hand. Each table
stands between `<!-- table: NAME -->` and `<!-- end -->`. With --check, nothing is written and a difference is an error.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path

from headgate.control import build, overrides, sections, tokens
from headgate.control.values import Kind, Kinds
from headgate.model import config
from headgate.model.address import Address

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
_FIELD = re.compile(r"^    (\w+): .*?(?:  # (.*))?$", re.MULTILINE)
_TABLE = re.compile(r"(?<=<!-- table: )([a-z_]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
_BASE = config.Timeouts()

# The sections that have a table: the class that has the meanings and defaults, and the keys with their kinds.
SECTIONS: dict[str, tuple[type, Kinds]] = {
    "top": (config.Config, build.TOP),
    "timeouts": (config.Timeouts, sections.TIMEOUTS),
    "heads": (config.Heads, sections.HEADS),
    "connections": (config.Connections, sections.CONNECTIONS),
    "admin": (config.Admin, sections.ADMIN),
    "store": (config.Store, sections.STORE),
    "jwt": (config.Jwt, tokens.JWT),
    "access_log": (config.AccessLog, sections.ACCESS_LOG),
    "listeners": (config.Listener, sections.listener(_BASE)),
    "upstreams": (config.Upstream, sections.upstream(_BASE)),
    "servers": (config.Server, sections.SERVER),
    "health_check": (config.HealthCheck, sections.HEALTH_CHECK),
    "ejection": (config.Ejection, sections.EJECTION),
    "limits": (config.Limit, sections.LIMIT),
    "ban": (config.Ban, sections.BAN),
    "python": (config.Python, sections.PYTHON),
    "on_error": (config.OnError, sections.ON_ERROR),
    "tiers": (config.Tier, overrides.TIER),
    "routes": (config.Route, sections.route(_BASE)),
    "match": (config.Route, sections.MATCH),
    "retry": (config.Retry, sections.RETRY),
}

# What the file has and the model has not, or has in another form: (section, key) -> default, meaning.
SPECIAL: dict[tuple[str, str], tuple[str, str]] = {
    ("top", "workers"): ('`"auto"`', 'worker processes; `"auto"`: one for each core'),
    ("top", "state_file"): ("beside the file", 'where changes made at run time are kept; `""`: until the stop'),
    ("admin", "listen"): ('`"127.0.0.1:9000"`', '`"off"`: no admin API'),
    ("admin", "token_file"): ("none", "a file that has the token; blanks around it do not count"),
    ("store", "secret_file"): ("none", "a file that has the secret; blanks around it do not count"),
    ("jwt", "secret"): ("none", "what tokens are signed with by HS256, HS384 or HS512"),
    ("jwt", "secret_file"): ("none", "a file that has the secret; blanks around it do not count"),
    ("jwt", "key_files"): ("none", "public keys or certificates (PEM), and JSON Web Key Sets"),
    ("upstreams", "servers"): ("`[]`", "may be empty: servers can be added at run time"),
    ("limits", "overrides"): ("none", "keys that have a tier or a rate of their own, or no limit; see below"),
    ("limits", "rate"): ("required", "so many requests in a period; `concurrency` has `in_flight` instead"),
    ("store", "secret"): (
        '`""`',
        "16 characters or more; hashes the keys of private limits, needed for these in Redis",
    ),
    ("tiers", "rate"): ("required", "so many requests in a period, so many in flight, or any number of them"),
    ("limits", "in_flight"): ("none", "with `concurrency`: so many requests at once, each until its very end"),
    ("routes", "on_client_gone"): (
        '`"cancel"`',
        "what becomes of a request whose client goes away: cancelled, finished all the same, or finished within a time",
    ),
    ("routes", "match"): ("everything", "which requests; see below"),
}


def main() -> int:
    """Writes or checks the page; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is not current")
    check = parser.parse_args().check
    old = PAGE.read_text("utf-8")
    new = fill(old)
    if check and new != old:
        print("docs/configuration.md is not current: run scripts/reference", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(new, "utf-8")
    return 0


def fill(page: str) -> str:
    """The page with its tables made anew. Raises SystemExit when a section has no table or a table no section."""
    names = [match[1] for match in _TABLE.finditer(page)]
    if sorted(names) != sorted(SECTIONS):
        sys.exit(f"reference: tables {sorted(names)} where the code has {sorted(SECTIONS)}")
    return _TABLE.sub(lambda match: f"{match[1]}{match[2]}{table(match[1])}", page)


def table(name: str) -> str:
    """One table in Markdown: a line for each key."""
    owner, kinds = SECTIONS[name]
    meanings, defaults = comments(owner), default_values(owner)
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, kind in kinds.items():
        default, meaning = SPECIAL.get((name, key)) or (_default(defaults[key]), meanings[key])
        lines.append(f"| `{key}` | {_form(kind)} | {default} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def comments(owner: type) -> Mapping[str, str]:
    """What stands beside each field of a class, for the fields that have something beside them."""
    return {match[1]: match[2] for match in _FIELD.finditer(inspect.getsource(owner)) if match[2]}


def default_values(owner: type) -> Mapping[str, object]:
    """The default of each field of a dataclass; MISSING where a value must be given."""
    assert is_dataclass(owner)
    return {field.name: field.default for field in fields(owner)}


def _form(kind: Kind[object]) -> str:
    return kind.form.replace("|", "\\|")


def _default(value: object) -> str:
    if value is MISSING:
        return "required"
    if value is None or value == ():
        return "none"
    if isinstance(value, bool | int):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return "none" if not value else f'`"{value:g}s"`' if value >= 1 else f'`"{value * 1000:g}ms"`'
    if isinstance(value, tuple):
        return ", ".join(f'`"{"-".join(map(str, item)) if isinstance(item, tuple) else item}"`' for item in value)
    if isinstance(value, config.Timeouts):
        return "those around it"
    if is_dataclass(value) and not isinstance(value, Address):
        return "as below"
    assert isinstance(value, str | Address | Enum)
    return f'`"{value}"`'


if __name__ == "__main__":
    sys.exit(main())
