"""What the documents name is there, and what they show is read."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.unit.control.loading import read
from tests.unit.control.test_tokens import RSA, jwk

ROOT = Path(__file__).parents[2]
THREATS = ROOT / "docs" / "threat-model.md"
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", THREATS.read_text())))
LIMITS = (ROOT / "docs" / "limits.md").read_text()
FUNCTIONS = "".join(re.findall(r"```python\n(# tiers\.py.*?)```", LIMITS, re.DOTALL))
SNIPPETS = [
    (f"{name}:{text.count(chr(10), 0, found.start()) + 1}", found[1])
    for name in ("README.md", "docs/configuration.md", "docs/limits.md")
    for text in [(ROOT / name).read_text()]
    for found in re.finditer(r"```toml\n(.*?)```", text, re.DOTALL)
]


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_threat_model_names_tests_that_exist(path: str, name: str) -> None:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_is_something_to_find() -> None:
    assert len(NAMED) > 80


@pytest.mark.parametrize("snippet", [snippet for _, snippet in SNIPPETS], ids=[place for place, _ in SNIPPETS])
def test_a_snippet_is_read_when_what_it_names_is_there(tmp_path: Path, snippet: str) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk(RSA)]}))
    (tmp_path / "tiers.py").write_text(FUNCTIONS)
    read(tmp_path, snippet + what_it_names(snippet))


def what_it_names(snippet: str) -> str:
    """Tables for the upstreams and limits that a snippet names and leaves out, a tier, and a route for its limits."""
    tables = tomllib.loads(snippet)
    upstreams, routes, limits = tables.get("upstreams", {}), tables.get("routes", []), tables.get("limits", {})
    named = {
        name for each in (*tables.get("listeners", []), *upstreams.values(), *routes) for name in each.get("limits", [])
    }
    wanted = {route["upstream"] for route in routes} | ({"web"} if not routes and not upstreams else set())
    lines = [f'[limits.{name}]\nrate = "9/s"' for name in named - {*limits}]
    lines += [f'[upstreams.{name}]\nservers = ["127.0.0.1:5000"]' for name in wanted - {*upstreams}]
    if '"gold"' in snippet and "gold" not in tables.get("tiers", {}):
        lines.append('[tiers.gold]\nrate = "9/s"')
    if not routes:
        lines.append(f'[[routes]]\nupstream = "{min(wanted | {*upstreams})}"\nlimits = {json.dumps([*limits])}')
    return "\n" + "\n".join(lines)


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) > 12
