"""What the proxies are told: complete configurations for every scenario, and what is said when a program is missing."""

import hashlib
import shutil
import signal
import sys
import tomllib
from pathlib import Path

import pytest
from benchmarks import __main__ as command
from benchmarks import proxies
from benchmarks.cpu import Cores
from benchmarks.proxies import PROXIES, Proxy
from benchmarks.scenarios import SCENARIOS, Case, Scenario
from benchmarks.stage import Stage

CASES = [
    pytest.param(proxy, scenario, id=f"{proxy.name}-{scenario.name}")
    for proxy in PROXIES
    for scenario in SCENARIOS
    if scenario.name in proxy.scenarios
]


def configuration(proxy: Proxy, scenario: Scenario) -> str:
    with Stage(Cores(frozenset({0}), frozenset({0}))) as stage:
        proxy.command(stage, Case(8000, (5001, 5002, 5003), scenario, redis=6379 if scenario.limit == "redis" else 0))
        (file,) = (path for path in stage.directory.iterdir() if path.is_file())
        return file.read_text()


@pytest.mark.parametrize(("proxy", "scenario"), CASES)
def test_every_proxy_gets_all_servers_and_the_limit_of_the_scenario_and_no_other(
    proxy: Proxy, scenario: Scenario
) -> None:
    text = configuration(proxy, scenario)
    assert all(f"127.0.0.1:{port}" in text for port in (8000, 5001, 5002, 5003))
    assert ("6379" in text) == (scenario.limit == "redis")
    limits = ("limit_req", "evalsha", "stick-table", "[limits.")
    assert any(word in text for word in limits) == (scenario.limit != "none" and proxy is not proxies.UNLIMITED)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_headgates_configuration_is_toml_with_one_worker_and_an_access_log(scenario: Scenario) -> None:
    it = tomllib.loads(configuration(proxies.HEADGATE, scenario))
    assert it["workers"] == 1
    assert it["access_log"]["path"] == "/dev/null"
    assert it["routes"][0].get("limits", []) == list(it.get("limits", {}))
    assert len(it.get("limits", {})) == (scenario.limits if scenario.limit != "none" else 0)
    assert {each["algorithm"] for each in it.get("limits", {}).values()} <= {scenario.algorithm}


def test_large_bodies_alone_change_nginxs_buffers() -> None:
    tuned = {each.name for each in SCENARIOS if "proxy_buffering off" in configuration(proxies.NGINX, each)}
    assert tuned == {"download", "upload"}
    assert "buffer_size" not in configuration(proxies.NGINX_DEFAULTS, SCENARIOS[4])


def test_missing_programs_are_named_in_one_line_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert command.main() == 69
    assert capsys.readouterr().err == (
        "make bench needs nginx and wrk and haproxy (Debian, Ubuntu: sudo apt-get install nginx wrk haproxy)\n"
    )


def test_haproxy_is_not_needed_where_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None if program == "haproxy" else f"/bin/{program}")
    assert proxies.missing_programs({"nginx", "headgate"}) == []
    assert proxies.missing_programs({"haproxy"}) == ["haproxy"]


def test_without_a_redis_of_the_system_the_one_of_the_test_packages_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = proxies.redis_program()
    assert found is not None
    assert Path(found).name == "valkey-server"


def test_an_unknown_proxy_is_a_mistake_of_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--proxies", "nginx,apache"])
    with pytest.raises(SystemExit, match="2"):
        command.ask()
    assert (
        "apache is not a proxy (known: nginx, nginx-defaults, haproxy, headgate, headgate-unlimited)"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "scenario", [each for each in SCENARIOS if each.limit == "redis"], ids=lambda scenario: scenario.name
)
def test_nginx_asks_for_the_script_that_redis_has(scenario: Scenario) -> None:
    text = configuration(proxies.NGINX, scenario)
    script = text.partition("script = [[")[2].partition("]]")[0].removeprefix("\n")  # as Lua reads it
    assert f'digest = "{hashlib.sha1(script.encode()).hexdigest()}"' in text
