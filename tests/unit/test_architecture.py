"""Holds the table of DESIGN.md, section 4: who may import whom, and what pure packages may not know of."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "headgate"

PURE = frozenset({"model", "http1", "routing", "limits", "balance", "health"})
BASE = frozenset({"errors", "model"})
DATA = BASE | PURE | {"store", "wire"}
# What each part of headgate may import of the others.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "__init__": frozenset(),
    "__main__": frozenset({"cli"}),
    "errors": frozenset(),
    "model": frozenset(),
    **dict.fromkeys(PURE - {"model"}, BASE),
    "store": BASE | {"limits"},
    "wire": BASE,
    "ext": BASE | {"http1", "routing"},
    "worker": DATA | {"ext"},
    "control": DATA,
    "cli": BASE | {"control", "wire"},
    "testing": DATA | {"ext"},
}
# What pure code takes as an argument instead, and what it leaves to its callers.
IMPURE = frozenset(
    {"asyncio", "socket", "selectors", "select", "ssl", "threading", "subprocess", "signal", "multiprocessing"}
    | {"time", "datetime", "random", "secrets", "os", "pathlib", "io", "mmap", "fcntl", "logging"}
)
# What the data plane must not load: each costs memory and start-up time in every worker.
CONTROL_ONLY = frozenset({"click", "starlette", "uvicorn", "dns", "h11", "httptools"})

# A module of headgate, what it imports against the table, and why that is right.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def _modules() -> list[str]:
    paths = (path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths)


def _part(module: str) -> str:
    return module.partition(".")[0]


def _imported(module: str) -> Iterator[str]:
    """The full names of everything that a module imports, wherever in it the import stands."""
    tree = ast.parse((SOURCE / Path(*module.split("."))).with_suffix(".py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _breaches(module: str) -> set[str]:
    """What a module imports against the table."""
    part = _part(module)
    found = set()
    for name in _imported(module):
        top, _, rest = name.partition(".")
        if top == "headgate":
            other = rest.partition(".")[0]
            if other not in MAY_IMPORT[part] | {part} and (SOURCE / other).exists() | (SOURCE / f"{other}.py").exists():
                found.add(f"headgate.{other}")
        elif (part in PURE and (top in IMPURE or top not in sys.stdlib_module_names)) or (
            part in MAY_IMPORT["worker"] | {"worker"} and top in CONTROL_ONLY
        ):
            found.add(top)
    return found


@pytest.mark.parametrize("module", _modules())
def test_a_module_imports_what_its_place_allows(module: str) -> None:
    assert _part(module) in MAY_IMPORT, "a new part of the house needs a row in DESIGN.md, section 4, and here"
    assert _breaches(module) - {what for where, what in EXCEPTIONS if where == module} == set()


def test_every_exception_is_still_one_and_says_why() -> None:
    for (module, what), reason in EXCEPTIONS.items():
        assert what in _breaches(module)
        assert reason


def test_the_walk_sees_what_it_forbids() -> None:
    assert len(_modules()) > 20
    assert {"http1.request", "worker.exchange", "control.supervisor", "errors"} <= set(_modules())
    assert "headgate.errors.BadRequest" in set(_imported("http1.request"))
    assert "asyncio" in set(_imported("worker.upstream"))


def test_pure_packages_stand_apart() -> None:
    for part in PURE - {"model"}:
        assert MAY_IMPORT[part] == BASE
    assert "control" not in MAY_IMPORT["worker"]
    assert "worker" not in MAY_IMPORT["control"] | MAY_IMPORT["cli"]


def _loaded(module: str) -> set[str]:
    """The top names of everything that is loaded when a fresh interpreter imports the module."""
    script = f"import sys, {module}\nprint(*{{name.partition('.')[0] for name in sys.modules}}, *sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_a_worker_loads_nothing_of_the_control_plane() -> None:
    loaded = _loaded("headgate.worker.__main__")
    assert "headgate.worker" in loaded
    assert not loaded & (CONTROL_ONLY | {"headgate.control", "headgate.cli", "tomllib", "urllib.request"})
    assert not loaded & {"jwt", "cryptography"}, "only for limits by claims of tokens"


def test_the_command_line_loads_no_server_before_it_needs_one() -> None:
    assert not _loaded("headgate.cli.main") & {"starlette", "uvicorn", "asyncio", "headgate.worker"}
