"""The load: wrk with a Lua script that says which requests are sent, and what wrk says came of them.

The requests are made before the load begins and differ from one to the next in target and cookie, so that no proxy
profits from equal bytes. wrk sends the next request of a connection when the last one is answered (a closed loop):
its latencies are those of a saturated proxy and tell proxies apart only where they differ by much.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenarios import Scenario
from benchmarks.stage import Stage, pinned

VARIANTS = 256  # requests, for uploads a sixteenth of it: each holds its whole body

_PARTS = {
    "small": 'wrk.format("GET", "/items/" .. i .. "?page=" .. i % 7)',
    "browser": 'wrk.format("GET", "/shop/articles/" .. i * 7919 .. "?ref=start&sort=price", browser(i))',
    "download": 'wrk.format("GET", "/file?v=" .. i)',
    "upload": 'wrk.format("POST", "/upload?v=" .. i, nil, body)',
}

# What Chrome sends for a page that one follows a link to, a dozen fields and some 600 bytes.
_LUA = """
local function browser(i)
    local session = string.format("%%08x%%08x", i * 2654435761 %% 4294967296, i * 40503 %% 65536)
    return {
        ["Host"] = "www.example.org",
        ["Connection"] = "keep-alive",
        ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
            .. "(KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        ["Accept-Language"] = "en-GB,en;q=0.9,de;q=0.8",
        ["Accept-Encoding"] = "gzip, deflate, br, zstd",
        ["Referer"] = "https://www.example.org/shop/",
        ["Upgrade-Insecure-Requests"] = "1",
        ["Sec-Fetch-Dest"] = "document",
        ["Sec-Fetch-Mode"] = "navigate",
        ["Sec-Fetch-Site"] = "same-origin",
        ["Cookie"] = "session=" .. session .. "; theme=dark",
    }
end
local requests, turn = {}, 0
function init(arguments)
    local body = string.rep("0123456789", %(body)d)
    for i = 1, %(variants)d do
        requests[i] = %(request)s
    end
end
function request()
    turn = turn %% %(variants)d + 1
    return requests[turn]
end
%(watch)s
function done(summary, latency)
    local e = summary.errors
    %(count)s
    io.write(string.format(
        '\\n{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "refused": %%d, "failed": %%d}\\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        wrong or e.status, e.connect + e.read + e.write + e.timeout))
end
"""


# Where 429 is the right answer, every other is counted instead of those of 400 and above.
_WATCH = """
local threads = {}
passed = 0
function setup(thread)
    threads[#threads + 1] = thread
end
function response(status)
    if status ~= 429 then
        passed = passed + 1
    end
end
"""
_COUNT = """local wrong = 0
    for _, thread in ipairs(threads) do
        wrong = wrong + thread:get("passed")
    end"""


class LoadFailed(Exception):
    """wrk did not say what came of the requests."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a load.

    seconds: how long it lasted; p50, p99: latencies in microseconds; refused: answers of 400 and above, or,
    in a scenario where all is to be refused, those that are not 429; failed:
    connections that could not be made, reads and writes that failed, and requests that were given up.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    refused: int
    failed: int


def script(scenario: Scenario) -> str:
    """The Lua script that makes the requests of the scenario."""
    upload = scenario.load == "upload"
    return _LUA % {
        "body": 10_000,
        "variants": VARIANTS // 16 if upload else VARIANTS,
        "request": _PARTS[scenario.load],
        "watch": _WATCH if scenario.refused else "",
        "count": _COUNT if scenario.refused else "local wrong",
    }


def run(stage: Stage, scenario: Scenario, port: int, seconds: int) -> Answered:
    """What came of so many seconds of the scenario's load. Raises LoadFailed."""
    file = stage.directory / f"{scenario.name}.lua"
    if not file.exists():
        file.write_text(script(scenario))
    return parse(_wrk(stage, file, scenario.connections, port, seconds))


def parse(output: str) -> Answered:
    """What the script's last line says. Raises LoadFailed when there is none, or no request was answered."""
    line = next((line for line in reversed(output.splitlines()) if line.startswith("{")), None)
    if line is None:
        raise LoadFailed(f"wrk: {output.strip()[-500:]}")
    answered = Answered(**json.loads(line))
    if not answered.requests:
        raise LoadFailed(f"no request was answered: {line}")
    return answered


def _wrk(stage: Stage, file: Path, connections: int, port: int, seconds: int) -> str:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(file)]
    with pinned(stage.cores.load):
        process = subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    with process:
        try:
            return process.communicate(timeout=seconds + 30)[0]
        except BaseException:
            process.kill()
            raise
