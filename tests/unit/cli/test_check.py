from pathlib import Path

from tests.unit.cli.conftest import Headgate

GOOD = """
[upstreams.a]
servers = ["127.0.0.1:1", "127.0.0.1:2"]
[upstreams.b]
[limits.l]
rate = "1/s"
[[routes]]
upstream = "a"
limits = ["l"]
"""


def test_a_good_file_is_summed_up(headgate: Headgate, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(GOOD)
    assert headgate("check", str(file)) == (0, [f"{file}: ok (2 upstreams, 2 servers, 1 route, 1 limit)"], [])


def test_what_nothing_names_is_a_warning_and_no_mistake(headgate: Headgate, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(GOOD.replace('limits = ["l"]', "") + '[tiers.gold]\nrate = "20 in flight"\n')
    code, out, err = headgate("check", str(file))
    assert (code, out) == (0, [f"{file}: ok (2 upstreams, 2 servers, 1 route, 1 limit)"])
    assert err == [
        f"headgate: warning: {file}: limits.l: no route, no listener and no upstream of a route names it",
        f'headgate: warning: {file}: tiers.gold: it is "20 in flight", and no limit is one for which that could stand',
    ]


def test_every_mistake_of_every_file_is_told_at_once(headgate: Headgate, tmp_path: Path) -> None:
    good, bad, missing = tmp_path / "a.toml", tmp_path / "b.toml", tmp_path / "c.toml"
    good.write_text(GOOD)
    bad.write_text(f"workers = 0\n{GOOD}policy = 1")
    code, out, err = headgate("check", str(bad), str(missing), str(good))
    assert code == 78
    assert out == [f"{good}: ok (2 upstreams, 2 servers, 1 route, 1 limit)"]
    assert err == [
        f"headgate: {bad}:1: workers: 0 is out of range (expected 1 to 256)",
        f'headgate: {bad}:11: routes[0].policy: "policy" is not a setting of a route '
        "(known: match, upstream, limits, retry, on_client_gone, upgrades, timeouts)",
        f"headgate: {missing}: no such file",
    ]
