import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.control.build import TABLES, TOP, build
from headgate.control.report import Report
from headgate.errors import ConfigError
from headgate.model.config import Config, Limit, Rate
from tests.unit.control.loading import WEB, problems, read

REFUSED = {
    "no upstream": ("", "upstreams", "at least one upstream is needed"),
    "empty upstreams": ("[upstreams]", "upstreams", "at least one upstream is needed"),
    "upstreams are a list": ("upstreams = [1]", "upstreams", "expected a table, found a list"),
    "upstream is a string": ('upstreams.web = "x"', "upstreams.web", "expected a table, found a string"),
    "upstream name": ('[upstreams."a/b"]', 'upstreams."a/b"', "is not a name for an upstream"),
    "control in a name": ('[upstreams."\\u001b[1m"]', 'upstreams."\\x1b[1m"', "is not a name"),
    "limit name": (f'[limits."a b"]\nrate = "1/s"\n{WEB}[[routes]]\nupstream = "web"', 'limits."a b"', "a limit"),
    "listeners are a table": (f'listeners.address = "a:1"\n{WEB}', "listeners", "as in [[listeners]], found a table"),
    "listener without address": (f"{WEB}[[listeners]]", "listeners[0]", '"address" is missing (expected address)'),
    "routes are a string": (f'routes = "x"\n{WEB}', "routes", "as in [[routes]], found a string"),
    "route is a string": (f'routes = ["x"]\n{WEB}', "routes[0]", "expected a table, found a string"),
    "route without upstream": (f"{WEB}[[routes]]", "routes[0]", '"upstream" is missing'),
    "route to a number": (f"{WEB}[[routes]]\nupstream = 1", "routes[0].upstream", "expected an upstream, found a numb"),
    "no route among two": (f"{WEB}[upstreams.b]", "routes", "because there are 2 upstreams"),
    "no route, and a limit": (f'[limits.a]\nrate = "1/s"\n{WEB}', "routes", "because a limit works only where a route"),
    "limit of a listener": (
        f'{WEB}[[listeners]]\naddress = "a:1"\nlimits = ["b"]',
        "listeners[0].limits[0]",
        '"b" is not a limit (known: none)',
    ),
    "limit of an upstream": ('[upstreams.web]\nlimits = ["b"]', "upstreams.web.limits[0]", '"b" is not a limit'),
    "limit of an upstream twice": (
        '[limits.b]\nrate = "1/s"\n[upstreams.web]\nlimits = ["b", "b"]',
        "upstreams.web.limits[1]",
        "b is there twice (also [0])",
    ),
    "limit without rate": (
        f'{WEB}[[routes]]\nupstream = "web"\n[limits.a]',
        "limits.a",
        '"rate" is missing (expected one',
    ),
    "servers are a string": ('[upstreams.web]\nservers = "x"', "upstreams.web.servers", "expected a list, found a str"),
    "server is a number": ("[upstreams.web]\nservers = [1]", "upstreams.web.servers[0]", "expected an address or a ta"),
    "server without address": ("[upstreams.web]\nservers = [{}]", "upstreams.web.servers[0]", '"address" is missing'),
    "server port 0": (
        '[upstreams.web]\nservers = ["a:0"]',
        "upstreams.web.servers[0]",
        "a server's port is 1 to 65535",
    ),
    "server twice": (
        '[upstreams.web]\nservers = ["[::1]:1", { address = "[0::1]:1" }]',
        "upstreams.web.servers[1]",
        "[::1]:1 is there twice (also [0])",
    ),
    "server host": ('[upstreams.web]\nservers = ["a_b-.c:1"]', "upstreams.web.servers[0]", '"a_b-.c" is not a host'),
    "server IP": ('[upstreams.web]\nservers = ["127.0.0.256:1"]', "upstreams.web.servers[0]", "is not an IP address"),
    "server IPv6": ('[upstreams.web]\nservers = ["[::x]:1"]', "upstreams.web.servers[0]", "is not an IP address"),
    "relative socket": ('[upstreams.web]\nservers = ["unix:a"]', "upstreams.web.servers[0]", "an absolute path"),
    "long socket": (
        f'[upstreams.web]\nservers = ["unix:/{"a" * 107}"]',
        "upstreams.web.servers[0]",
        "a socket's path has at most 107 bytes",
    ),
    "cost of a request": (
        f'{WEB}[limits.a]\nrate = "1/s"\nsettle = "free:6xx"\n[[routes]]\nupstream = "web"\nlimits = ["a"]',
        "limits.a.settle",
        '"free:6xx" does not say what a request cost (expected statuses as in 404, 5xx',
    ),
    "settled trial": (
        f'{WEB}[limits.a]\nrate = "1/s"\ndry_run = true\nsettle = "response_bytes"\n[[routes]]\nupstream = "web"\n',
        "limits.a.settle",
        "not with dry_run",
    ),
    "weight": (
        '[upstreams.web]\nservers = [{ address = "a:1", weight = 257 }]',
        "upstreams.web.servers[0].weight",
        "257 is out of range (expected 0 to 256)",
    ),
    "weight is a float": (
        '[upstreams.web]\nservers = [{ address = "a:1", weight = 1.0 }]',
        "upstreams.web.servers[0].weight",
        "expected a whole number from 0 to 256, found a number",
    ),
    "own listener": (
        '[upstreams.web]\nservers = ["127.0.0.1:8000"]',
        "upstreams.web.servers[0]",
        "is a listener of Headgate itself",
    ),
    "listener twice": (
        f'{WEB}[[listeners]]\naddress = "a:1"\n[[listeners]]\naddress = "A:1"',
        "listeners[1].address",
        "a:1 cannot be had beside listeners[0] (a:1)",
    ),
    "listener under a wildcard": (
        f'{WEB}[[listeners]]\naddress = "0.0.0.0:1"\n[[listeners]]\naddress = "127.0.0.1:1"',
        "listeners[1].address",
        "127.0.0.1:1 cannot be had beside listeners[0] (0.0.0.0:1)",
    ),
    "listener on the admin API": (
        f'{WEB}[[listeners]]\naddress = "127.0.0.1:9000"',
        "listeners[0].address",
        "127.0.0.1:9000 cannot be had beside admin.listen (127.0.0.1:9000)",
    ),
    "listener on the admin socket": (
        f'admin.listen = "unix:/a"\n{WEB}[[listeners]]\naddress = "unix:/a"',
        "listeners[0].address",
        "unix:/a cannot be had beside admin.listen (unix:/a)",
    ),
    "listener's connect": (
        f'{WEB}[[listeners]]\naddress = "a:1"\ntimeouts = {{ connect = 1 }}',
        "listeners[0].timeouts.connect",
        '"connect" is not a timeout of a listener (known: request_head, idle)',
    ),
    "upstream's idle": (
        f"{WEB}timeouts.idle = 1",
        "upstreams.web.timeouts.idle",
        '"idle" is not a timeout of an upstream',
    ),
    "timeout 0": (f"timeouts.idle = 0\n{WEB}", "timeouts.idle", "0 is out of range (expected 1ms to 365d)"),
    "timeout inf": (f"timeouts.idle = inf\n{WEB}", "timeouts.idle", "inf is out of range"),
    "timeout nan": (f"timeouts.idle = nan\n{WEB}", "timeouts.idle", "nan is out of range"),
    "timeout negative": (f"timeouts.idle = -1\n{WEB}", "timeouts.idle", "-1 is out of range"),
    "timeout of two units": (f'timeouts.idle = "1m30s"\n{WEB}', "timeouts.idle", '"1m30s" is not a duration'),
    "timeout in Arabic digits": (f'timeouts.idle = "\u0661s"\n{WEB}', "timeouts.idle", "is not a duration"),
    "min rate of a part": (
        f"timeouts.request_min_rate = 0.5\n{WEB}",
        "timeouts.request_min_rate",
        "expected a whole number from 0 to 1073741824, found a number",
    ),
    "min rate negative": (
        f"timeouts.response_min_rate = -1\n{WEB}",
        "timeouts.response_min_rate",
        "-1 is out of range",
    ),
    "min rate as a rate": (
        f'timeouts.request_min_rate = "500/s"\n{WEB}',
        "timeouts.request_min_rate",
        "expected a whole number from 0 to 1073741824, found a string",
    ),
    "min rate without a window": (
        f"timeouts.min_rate_window = 0\n{WEB}",
        "timeouts.min_rate_window",
        "0 is out of range (expected 1ms to 365d)",
    ),
    "listener's min rate": (
        f'{WEB}[[listeners]]\naddress = "a:1"\ntimeouts = {{ request_min_rate = 1 }}',
        "listeners[0].timeouts.request_min_rate",
        '"request_min_rate" is not a timeout of a listener (known: request_head, idle)',
    ),
    "drain": (f'drain = "366d"\n{WEB}', "drain", '"366d" is out of range (expected 0 to 365d)'),
    "workers 0": (f"workers = 0\n{WEB}", "workers", "0 is out of range (expected 1 to 256)"),
    "workers a date": (f"workers = 2020-01-01\n{WEB}", "workers", "found a date or time"),
    "rate 0": (f'{WEB}[limits.a]\nrate = "0/s"\n[[routes]]\nupstream = "web"', "limits.a.rate", "is out of range"),
    "rate per month": (f'{WEB}[limits.a]\nrate = "1/month"\n[[routes]]\nupstream = "web"', "limits.a.rate", "a rate"),
    "rate is a number": (
        f"{WEB}[limits.a]\nrate = 5\n[[routes]]\nupstream = 'web'",
        "limits.a.rate",
        "expected a rate",
    ),
    "key": (
        f'{WEB}[limits.a]\nrate = "1/s"\nkey = "ip"\n[[routes]]\nupstream = "web"',
        "limits.a.key",
        '"ip" is nothing to count by (known: client_ip, ',
    ),
    "on_store_error": (
        f'{WEB}[limits.a]\nrate = "1/s"\non_store_error = "alow"\n[[routes]]\nupstream = "web"',
        "limits.a.on_store_error",
        '(known: allow, deny, local); did you mean "allow"?',
    ),
    "delay without a schedule": (
        f'{WEB}[limits.a]\nrate = "1/s"\ndelay = "1s"\n[[routes]]\nupstream = "web"\nlimits = ["a"]',
        "limits.a.delay",
        'only with algorithm = "gcra", and this is "fixed_window"',
    ),
    "a lease of what has no windows": (
        f'{WEB}[limits.a]\nrate = "100/s"\nalgorithm = "gcra"\nlease = 3\n[[routes]]\nupstream = "web"',
        "limits.a.lease",
        'only with algorithm = "fixed_window" and without count_refused',
    ),
    "a lease of costly requests": (
        f'{WEB}[limits.a]\nrate = "100/s"\nlease = 3\ncost = 2\n[[routes]]\nupstream = "web"',
        "limits.a.lease",
        "only for requests that cost 1, known beforehand (here with cost or settle it takes nothing)",
    ),
    "a lease of what is settled": (
        f'{WEB}[limits.a]\nrate = "100/s"\nlease = 3\nsettle = "free:5xx"\n[[routes]]\nupstream = "web"',
        "limits.a.lease",
        "only for requests that cost 1, known beforehand (here with cost or settle it takes nothing)",
    ),
    "a lease of more than a tenth": (
        f'{WEB}[limits.a]\nrate = "100/s"\nlease = 11\n[[routes]]\nupstream = "web"',
        "limits.a.lease",
        "11 is too many (expected at most a tenth of 100/second)",
    ),
    "a burst for a century": (
        f'{WEB}[limits.a]\nrate = "1/day"\nalgorithm = "gcra"\nburst = 36500\n[[routes]]\nupstream = "web"',
        "limits.a.burst",
        "all of it is there again after 100 years (expected at most 10)",
    ),
    "a cost that never passes": (
        f'{WEB}[limits.a]\nrate = "9/s"\nalgorithm = "gcra"\nburst = 3\ncost = 4\n[[routes]]\nupstream = "web"',
        "limits.a.cost",
        "no request would ever pass: 4 (expected at most 3, what passes at once)",
    ),
    "a ban without its period": (
        f'{WEB}[limits.a]\nrate = "9/s"\nban = {{ refusals = 3, within = "1m" }}\n[[routes]]\nupstream = "web"',
        "limits.a.ban",
        "period",
    ),
    "a ban after nothing": (
        f'{WEB}[limits.a]\nrate = "9/s"\nban = {{ refusals = 0, within = "1m", period = "1h" }}\n'
        '[[routes]]\nupstream = "web"',
        "limits.a.ban.refusals",
        "0 is out of range",
    ),
    "rate beside concurrency": (
        f'{WEB}[limits.a]\nrate = "9/s"\nalgorithm = "concurrency"\nin_flight = 3\n[[routes]]\nupstream = "web"',
        "limits.a.rate",
        'not with algorithm = "concurrency", which has no period',
    ),
    "concurrency without in_flight": (
        f'[limits.a]\nalgorithm = "concurrency"\n{WEB}[[routes]]\nupstream = "web"',
        "limits.a",
        '"in_flight" is missing (expected 1 to 1000000, because algorithm is "concurrency")',
    ),
    "rate in flight": (
        f'{WEB}[limits.a]\nrate = "9 in flight"\n[[routes]]\nupstream = "web"',
        "limits.a.rate",
        '"9 in flight" is not a rate (expected algorithm = "concurrency" and in_flight = 10)',
    ),
    "in_flight beside a rate": (
        f'{WEB}[limits.a]\nrate = "9/s"\nin_flight = 3\n[[routes]]\nupstream = "web"',
        "limits.a.in_flight",
        'only with algorithm = "concurrency" (expected rate = "100/minute")',
    ),
    "in_flight 0": (
        f'{WEB}[limits.a]\nalgorithm = "concurrency"\nin_flight = 0\n[[routes]]\nupstream = "web"',
        "limits.a.in_flight",
        "is out of range",
    ),
    "burst of concurrency": (
        f'{WEB}[limits.a]\nin_flight = 3\nalgorithm = "concurrency"\nburst = 3\n[[routes]]\nupstream = "web"',
        "limits.a.burst",
        'only with algorithm = "gcra"',
    ),
    "delay of concurrency": (
        f'{WEB}[limits.a]\nin_flight = 3\nalgorithm = "concurrency"\ndelay = "1s"\n[[routes]]\nupstream = "web"',
        "limits.a.delay",
        'only with algorithm = "gcra"',
    ),
    "lease of concurrency": (
        f'{WEB}[limits.a]\nin_flight = 30\nalgorithm = "concurrency"\nlease = 2\n[[routes]]\nupstream = "web"',
        "limits.a.lease",
        'only with algorithm = "fixed_window"',
    ),
    "count_refused of concurrency": (
        f'{WEB}[limits.a]\nin_flight = 3\nalgorithm = "concurrency"\ncount_refused = true\n[[routes]]\nupstream="web"',
        "limits.a.count_refused",
        "what is refused is not in flight",
    ),
    "settle of concurrency": (
        f'{WEB}[limits.a]\nin_flight = 3\nalgorithm = "concurrency"\nsettle = "free:5xx"\n[[routes]]\nupstream = "web"',
        "limits.a.settle",
        "it holds until it is over",
    ),
    "rate of concurrency by a function": (
        f'{WEB}[limits.a]\nin_flight = 3\nalgorithm = "concurrency"\nlimit = "python:a:b"\n[[routes]]\nupstream="web"',
        "limits.a.limit",
        "a function says rates",
    ),
    "rate of a key of concurrency": (
        f'{WEB}[limits.a]\nin_flight = 3\nalgorithm = "concurrency"\noverrides = {{ "192.0.2.7" = "9/s" }}\n'
        "[[routes]]\nupstream = 'web'",
        'limits.a.overrides."192.0.2.7"',
        '9/second cannot stand for it (expected one like "20 in flight")',
    ),
    "places of a key of a rate": (
        f'{WEB}[limits.a]\nrate = "9/s"\noverrides = {{ "192.0.2.7" = "20 in flight" }}\n[[routes]]\nupstream = "web"',
        'limits.a.overrides."192.0.2.7"',
        '20 in flight cannot stand for it (expected one like "100/minute")',
    ),
    "no places of a key": (
        f'{WEB}[limits.a]\nin_flight = 3\nalgorithm = "concurrency"\noverrides = {{ "192.0.2.7" = "0 in flight" }}\n'
        "[[routes]]\nupstream = 'web'",
        'limits.a.overrides."192.0.2.7"',
        "0 is out of range",
    ),
    "concurrency that nothing passes": (
        f'{WEB}[limits.a]\nin_flight = 3\nalgorithm = "concurrency"\ncost = 4\n[[routes]]\nupstream = "web"',
        "limits.a.cost",
        "no request would ever pass",
    ),
    "limit twice in a route": (
        f'{WEB}[limits.a]\nrate = "1/s"\n[[routes]]\nupstream = "web"\nlimits = ["a", "a"]',
        "routes[0].limits[1]",
        "a is there twice (also [0])",
    ),
    "retry on what is no failure": (
        f'{WEB}[[routes]]\nupstream = "web"\nretry = {{ on = ["reset", "timeuot"] }}',
        "routes[0].retry.on[1]",
        '"timeuot" is not a failure (known: reset, timeout, malformed); did you mean "timeout"?',
    ),
    "retry on a status of success": (
        f'{WEB}[[routes]]\nupstream = "web"\nretry.on = [200]',
        "routes[0].retry.on[0]",
        "200 is no status of a failure (expected 400 to 599)",
    ),
    "client gone": (
        f'{WEB}[[routes]]\nupstream = "web"\non_client_gone = "finnish"',
        "routes[0].on_client_gone",
        '"finnish" is not known (expected "cancel", "finish" or a duration)',
    ),
    "a treatment of heads": (
        f'heads.underscores = "keep"\n{WEB}',
        "heads.underscores",
        '"keep" is not a treatment (known: drop, refuse, pass)',
    ),
    "true or false": (f'heads.trace = "yes"\n{WEB}', "heads.trace", "expected true or false, found a string"),
    "retry without an attempt": (
        f'{WEB}[[routes]]\nupstream = "web"\nretry.attempts = 0',
        "routes[0].retry.attempts",
        "0 is out of range (expected 1 to 100)",
    ),
    "upgrade to HTTP": (
        f'{WEB}[[routes]]\nupstream = "web"\nupgrades = ["websocket", "h2c"]',
        "routes[0].upgrades[1]",
        '"h2c" is HTTP itself',
    ),
    "upgrade to no protocol": (
        f'{WEB}[[routes]]\nupstream = "web"\nupgrades = ["web socket"]',
        "routes[0].upgrades[0]",
        '"web socket" is not a protocol (expected one like "websocket", or "*")',
    ),
    "same route twice": (
        f'{WEB}[[routes]]\nupstream = "web"\nmatch.path = "/a"\n[[routes]]\nupstream = "web"\nmatch.path = "//%61/"',
        "routes[1]",
        "matches the same requests as routes[0]",
    ),
    "key without a name": (
        f'{WEB}[limits.a]\nrate = "1/s"\nkey = "header:"\n[[routes]]\nupstream = "web"\nlimits = ["a"]',
        "limits.a.key",
        '"header:" is nothing to',
    ),
    "key twice": (
        f'{WEB}[limits.a]\nrate = "1/s"\nkey = "path, path"\n[[routes]]\nupstream = "web"\nlimits = ["a"]',
        "limits.a.key",
        "names something twice",
    ),
    "burst of a window": (
        f'{WEB}[limits.a]\nrate = "1/s"\nburst = 3\n[[routes]]\nupstream = "web"\nlimits = ["a"]',
        "limits.a.burst",
        'only with algorithm = "gcra"',
    ),
    "relative path": (f'{WEB}[[routes]]\nupstream = "web"\nmatch.path = "a"', "routes[0].match.path", "is not a path"),
    "query in a path": (f'{WEB}[[routes]]\nupstream = "web"\nmatch.path = "/?"', "routes[0].match.path", "not a path"),
    "path of two forms": (
        f'{WEB}[[routes]]\nupstream = "web"\nmatch.path = "/a//../b"',
        "routes[0].match.path",
        "one path or another",
    ),
    "port in a host": (f'{WEB}[[routes]]\nupstream = "web"\nmatch.host = "a:1"', "routes[0].match.host", "no port"),
    "wildcard host": (f'{WEB}[[routes]]\nupstream = "web"\nmatch.host = "*.a"', "routes[0].match.host", "wildcards"),
    "match what": (f'{WEB}[[routes]]\nupstream = "web"\nmatch.method = "GET"', "routes[0].match.method", "host, path"),
    "network bits": (f'trusted_proxies = ["10.0.0.1/8"]\n{WEB}', "trusted_proxies[0]", "(expected 10.0.0.0/8)"),
    "network": (f'trusted_proxies = ["lan"]\n{WEB}', "trusted_proxies[0]", '"lan" is not a network'),
    "network twice": (f'trusted_proxies = ["::1", "::1/128"]\n{WEB}', "trusted_proxies[1]", "::1/128 is there twice"),
    "health path": (f'{WEB}health_check.path = "a"', "upstreams.web.health_check.path", "is not a path"),
    "health path injects": (f'{WEB}health_check.path = "/\\r\\nX"', "upstreams.web.health_check.path", "is not a path"),
    "health host injects": (f'{WEB}health_check.host = "a\\r\\nb"', "upstreams.web.health_check.host", "not a"),
    "health host is a socket": (
        f'{WEB}health_check.host = "unix:/a:1"',
        "upstreams.web.health_check.host",
        "not a host",
    ),
    "name with a control": (f'store.prefix = "a\\nb"\n{WEB}', "store.prefix", "at least one printable character"),
    "health status": (f'{WEB}health_check.status = "2xx"', "upstreams.web.health_check.status", "is not a status"),
    "health status reversed": (f'{WEB}health_check.status = "399-200"', "upstreams.web.health_check.status", "status"),
    "health status empty": (f"{WEB}health_check.status = []", "upstreams.web.health_check.status", "at least one"),
    "health status type": (f"{WEB}health_check.status = true", "upstreams.web.health_check.status", "found true or"),
    "health unknown": (f"{WEB}health_check.intervall = 1", "upstreams.web.health_check.intervall", 'mean "interval"?'),
    "ejection": (f"{WEB}ejection.failures = -1", "upstreams.web.ejection.failures", "-1 is out of range"),
    "heads": (f"heads.max_size = 1\n{WEB}", "heads.max_size", "1 is out of range (expected 1024 to 1048576)"),
    "log format": (f'access_log.format = "xml"\n{WEB}', "access_log.format", "(known: text, json)"),
    "log path": (f'access_log.path = ""\n{WEB}', "access_log.path", "at least one printable character"),
    "store scheme": (f'store.url = "http://a"\n{WEB}', "store.url", "not a Redis URL (expected redis://"),
    "store service": (f'store.url = "redis+sentinel://a"\n{WEB}', "store.url", "redis+sentinel://[user:password@]host"),
    "store port": (f'store.url = "redis://a:99999"\n{WEB}', "store.url", "not a Redis URL"),
    "admin away without token": (f'admin.listen = "0.0.0.0:1"\n{WEB}', "admin.listen", "so a token is needed"),
    "admin name like loopback": (f'admin.listen = "127.a.org:1"\n{WEB}', "admin.listen", "so a token is needed"),
    "token twice": (f'[admin]\ntoken = "a"\ntoken_file = "b"\n{WEB}', "admin.token_file", "there is a token too"),
    "secret twice": (
        f'[store]\nsecret_file = "b"\nsecret = "0123456789abcdef"\n{WEB}',
        "store.secret_file",
        "there is a secret too",
    ),
    "token file missing": (f'admin.token_file = "b"\n{WEB}', "admin.token_file", "cannot be read: No such file"),
}


@pytest.mark.parametrize(("text", "path", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_mistake_is_reported_once_with_its_path(tmp_path: Path, text: str, path: str, message: str) -> None:
    (found,) = problems(tmp_path, text)
    place, _, said = found.partition(f" {path}: ")
    assert re.fullmatch(r"headgate\.toml:(\d+:)?", place), found
    assert message in said


def test_so_many_in_flight_are_so_many_in_no_time(tmp_path: Path) -> None:
    text = f'{WEB}[limits.a]\nalgorithm = "concurrency"\nin_flight = 3\n[[routes]]\nupstream = "web"\nlimits = ["a"]'
    (limit,) = read(tmp_path, text).limits
    assert limit == Limit("a", Rate(3, 0.0), algorithm="concurrency")
    assert str(limit.rate) == "3 in flight"


def test_all_that_does_not_go_with_concurrency_is_reported_at_once(tmp_path: Path) -> None:
    settings = 'burst = 3\ndelay = "1s"\nlease = 2\ncount_refused = true\nsettle = "free:5xx"'
    text = f'{WEB}[limits.a]\nin_flight = 30\nalgorithm = "concurrency"\n{settings}\n[[routes]]\nupstream = "web"'
    assert [line.split(": ")[1] for line in problems(tmp_path, text)] == [
        f"limits.a.{name}" for name in ("burst", "delay", "lease", "count_refused", "settle")
    ]


def test_a_control_character_of_the_file_does_not_reach_the_terminal(tmp_path: Path) -> None:
    found = problems(tmp_path, '[upstreams.web]\nhealth_check = { host = "\\u001b[2J" }\n')
    assert any("\\x1b[2J" in line for line in found)
    assert all(line.isprintable() for line in found)


def test_a_name_is_known_even_where_what_it_names_is_broken(tmp_path: Path) -> None:
    text = '[upstreams.web]\npolicy = "x"\n[limits.a]\nrate = "x"\n[[routes]]\nupstream = "web"\nlimits = ["a"]'
    assert len(problems(tmp_path, text)) == 2


def test_names_are_not_checked_against_a_section_that_is_no_table(tmp_path: Path) -> None:
    text = 'upstreams = 1\nlimits = 2\nroutes = [{ upstream = "web", limits = ["a"] }]'
    assert [line.split(": ")[1] for line in problems(tmp_path, text)] == ["upstreams", "limits"]


def test_more_servers_than_there_are_cells_for_are_refused(tmp_path: Path) -> None:
    servers = [[f"10.{i}.{j // 256}.{j % 256}:80" for j in range(2049)] for i in range(2)]
    text = f"[upstreams.a]\nservers = {servers[0]}\n[upstreams.b]\nservers = {servers[1]}\n[[routes]]\nupstream = 'a'"
    assert problems(tmp_path, text) == ["headgate.toml:1: upstreams: 4098 servers in all (expected at most 4096)"]


def test_more_limits_than_there_are_cells_for_are_refused(tmp_path: Path) -> None:
    limits = "".join(f'[limits.l{i}]\nrate = "1/s"\n' for i in range(257))
    text = f"{WEB}[[routes]]\nupstream = 'web'\n{limits}"
    assert problems(tmp_path, text) == ["headgate.toml:5: limits: 257 limits in all (expected at most 256)"]


# -- secrets


@pytest.mark.parametrize(
    "text",
    [
        'store.url = "redis://:hunter2@host:99999"',
        'store.url = "redis://:hunter2/@host"',
        'store.url = "http://:hunter2@host"',
        'store.url = "redis://a?db=hunter2"',
        'store.url = "redis://[hunter2"',
        'store.url = "redis+sentinel://:hunter2@a"',
        'store.url = "redis+sentinel://:hunter2/@a/b"',
        'store.url = "redis+sentinel://a/b?sentinel_pasword=hunter2"',
        'store.url = ["hunter2"]',
        'admin.token = "hunter2 and a blank"',
        'admin.token = ["hunter2"]',
        'admin.token = "hunter2\\u00e9"',
        'admin = "hunter2"',
        'store = "redis://:hunter2@host"',
        "workers = 0\nadmin.token = 'hunter2'\nstore.url = 'redis://:hunter2@a'",
        'admin.token_file = "token"',
        'store.secret = "hunter2"',
        'store.secret = ["hunter2"]',
        'store.secret_file = "short"',
        'jwt = { algorithms = ["HS256"], secret = "hunter2" }',
        'jwt = { algorithms = ["RS256"], secret_file = "token" }',
        'jwt = "hunter2"',
    ],
)
def test_no_message_has_a_secret(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text("hunter2 and more")
    (tmp_path / "short").write_text("hunter2")
    found = problems(tmp_path, f"{text}\n{WEB}", environ={"HEADGATE_ADMIN_TOKEN": "hunter2"})
    assert "hunter2" not in "\n".join(found)


def test_a_bad_token_of_the_environment_is_named_and_not_shown(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, WEB, environ={"HEADGATE_ADMIN_TOKEN": "hunter 2"})
    assert found.startswith("headgate.toml: HEADGATE_ADMIN_TOKEN: a token is")
    assert "hunter" not in found


def test_a_bad_secret_of_the_environment_is_named_and_not_shown(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, WEB, environ={"HEADGATE_STORE_SECRET": "hunter2"})
    assert found == "headgate.toml: HEADGATE_STORE_SECRET: a secret is at least 16 printable characters"


def test_the_text_form_of_a_configuration_has_no_secret(tmp_path: Path) -> None:
    found = read(tmp_path, f'admin.token = "hunter2"\nstore.url = "redis://:hunter2@a"\n{WEB}')
    assert "hunter2" not in repr(found)


# -- anything at all

KEYS = [
    *TOP,
    *TABLES,
    "web",
    "address",
    "servers",
    "weight",
    "policy",
    "health_check",
    "status",
    "path",
    "host",
    "match",
]
KEYS += ["upstream", "limit", "rate", "key", "connect", "idle", "listen", "token", "token_file", "url", "format", "\n"]
TEXTS = [
    "web",
    "127.0.0.1:80",
    "[::1]:1",
    "unix:/a",
    "10s",
    "5/s",
    "/",
    "200-399",
    "redis://a/0",
    "auto",
    "off",
    "::/0",
]
SCALARS = st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS) | st.text(max_size=8) | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)


def outcome(raw: dict[str, object]) -> Config | list[str]:
    try:
        return build(raw, Report("a.toml"), folder=Path("/nonexistent"), state_file="", environ={})
    except ConfigError as error:
        return error.problems


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from([*TOP, *TABLES]), VALUES, max_size=9))
def test_whatever_the_tables_hold_the_answer_is_a_configuration_or_its_problems(raw: dict[str, object]) -> None:
    found = outcome(raw)
    if isinstance(found, Config):
        assert found.listeners
        assert {route.upstream for route in found.routes} <= {upstream.name for upstream in found.upstreams}
    else:
        assert found
        assert all(line.startswith("a.toml: ") and line.isprintable() for line in found)
