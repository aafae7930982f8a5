import re
from dataclasses import fields
from pathlib import Path

import pytest

from headgate.control import build, sections, tokens
from headgate.control.config import Flags, from_flags, load
from headgate.errors import ConfigError
from headgate.model import config
from headgate.model.address import Address
from headgate.model.config import Rate, Timeouts
from tests.unit.control.loading import WEB, problems, read

REFERENCE = Path(__file__).parents[3] / "docs" / "configuration.md"


# -- what is read


def test_the_example_of_the_reference_loads_and_means_what_it_says(tmp_path: Path) -> None:
    example = re.findall(r"```toml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)[0]
    found = read(tmp_path, example)
    assert [str(listener.address) for listener in found.listeners] == ["127.0.0.1:8000"]
    web = found.upstreams[0]
    assert [(str(s.address), s.weight) for s in web.servers] == [
        ("127.0.0.1:5000", 1),
        ("127.0.0.1:5001", 1),
        ("127.0.0.1:5002", 2),
    ]
    assert web.health_check == config.HealthCheck("/health", 2.0, 1.0, 2, 3)
    assert web.ejection == config.Ejection(3, 10.0)
    assert found.limits == (config.Limit("per_ip", Rate(100, 60.0)),)
    assert found.routes == (config.Route("web", limits=("per_ip",)),)
    assert found.store.url == "redis://127.0.0.1:6379/0"
    assert found.access_log == config.AccessLog("json", str(tmp_path / "access.log"))
    assert found.admin.listen == Address("127.0.0.1", 9000)
    assert found.workers == 0


def test_the_smallest_file_gets_every_default(tmp_path: Path) -> None:
    found = read(tmp_path, WEB)
    assert found == config.Config(
        listeners=(config.Listener(Address("127.0.0.1", 8000)),),
        upstreams=(config.Upstream("web", (config.Server(Address("127.0.0.1", 5000)),)),),
        routes=(config.Route("web"),),
        state_file=str(tmp_path / "headgate.state.json"),
    )


@pytest.mark.parametrize("place", ["[upstreams.web]", '[[listeners]]\naddress = "127.0.0.1:1"'])
def test_a_limit_of_a_listener_or_an_upstream_needs_no_route(tmp_path: Path, place: str) -> None:
    found = read(tmp_path, f'{place}\nlimits = ["a"]\n[limits.a]\nrate = "1/s"\n' + WEB * ("web" not in place))
    assert (found.listeners[0].limits, found.upstreams[0].limits) in [(("a",), ()), ((), ("a",))]
    assert found.routes == (config.Route("web"),)


JWT_FILES = ("secret", "secret_file", "key_files")  # where its keys come from


def test_every_field_of_the_model_can_be_set() -> None:
    base = Timeouts()
    for kind, kinds in (
        (config.Timeouts, sections.TIMEOUTS),
        (config.Heads, sections.HEADS),
        (config.Listener, sections.listener(base)),
        (config.HealthCheck, sections.HEALTH_CHECK),
        (config.Ejection, sections.EJECTION),
        (config.Server, sections.SERVER),
        (config.Upstream, {"name": None, **sections.upstream(base)}),
        (
            config.Limit,
            {
                "name": None,
                "cost_of": None,
                "exempt_by": None,
                **{k: v for k, v in sections.LIMIT.items() if k != "in_flight"},
            },
        ),
        (config.Python, sections.PYTHON),
        (config.OnError, sections.ON_ERROR),
        (config.Route, {k: v for k, v in {**sections.route(base), **sections.MATCH}.items() if k != "match"}),
        (config.Store, {k: v for k, v in sections.STORE.items() if k != "secret_file"}),
        (config.Admin, {k: v for k, v in sections.ADMIN.items() if k != "token_file"}),
        (config.Jwt, {"keys": None, **{k: v for k, v in tokens.JWT.items() if k not in JWT_FILES}}),
        (config.AccessLog, sections.ACCESS_LOG),
        (config.Config, {**build.TOP, **dict.fromkeys(build.TABLES), "modules": None}),
    ):
        names = {field.name for field in fields(kind)} - ({"timeouts"} if kind is config.Config else set())
        assert names == set(kinds) - ({"timeouts"} if kind is config.Config else set()), kind


def test_the_nearest_timeout_wins(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        timeouts = { idle = "5s", connect = "1s", response_head = "1m", request_body = 7 }
        [[listeners]]
        address = "127.0.0.1:80"
        [[listeners]]
        address = "127.0.0.1:81"
        timeouts = { idle = "6s" }
        [upstreams.a]
        timeouts = { connect = "2s", response_head = "2m" }
        [upstreams.b]
        [[routes]]
        upstream = "a"
        timeouts = { response_head = "3m" }
        [[routes]]
        match = { path = "/b" }
        upstream = "b"
        """,
    )
    everywhere = Timeouts(idle=5.0, connect=1.0, response_head=60.0, request_body=7.0)
    assert [listener.timeouts for listener in found.listeners] == [
        everywhere,
        Timeouts(idle=6.0, connect=1.0, response_head=60.0, request_body=7.0),
    ]
    assert found.upstreams[0].timeouts == Timeouts(idle=5.0, connect=2.0, response_head=120.0, request_body=7.0)
    assert found.upstreams[1].timeouts == everywhere
    assert found.routes[0].timeouts == Timeouts(idle=5.0, connect=2.0, response_head=180.0, request_body=7.0)
    assert found.routes[1].timeouts == everywhere


def test_the_nearest_min_rate_wins(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        timeouts = { request_min_rate = 500, response_min_rate = 400, min_rate_window = "20s" }
        [upstreams.web]
        timeouts = { response_min_rate = 300 }
        [[routes]]
        upstream = "web"
        [[routes]]
        match = { path = "/live" }
        upstream = "web"
        timeouts = { request_min_rate = 0 }
        """,
    )
    first, live = (route.timeouts for route in found.routes)
    assert first == Timeouts(request_min_rate=500, response_min_rate=300, min_rate_window=20.0)
    assert live == Timeouts(request_min_rate=0, response_min_rate=300, min_rate_window=20.0)


def test_the_default_listener_and_the_implied_route_take_the_timeouts_around_them(tmp_path: Path) -> None:
    found = read(tmp_path, f"timeouts = {{ idle = 1 }}\n{WEB}timeouts = {{ connect = 2 }}")
    assert found.listeners[0].timeouts == Timeouts(idle=1.0)
    assert found.routes[0].timeouts == Timeouts(idle=1.0, connect=2.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ('"500ms"', 0.5),
        ('"10s"', 10),
        ('"1m"', 60),
        ('"2h"', 7200),
        ('"1.5s"', 1.5),
        ("10", 10),
        ("0.25", 0.25),
        ('"7"', 7),
        ('"60000ms"', 60),
        ('"1d"', 86400),
        ('"1ms"', 0.001),
    ],
)
def test_durations_are_read_in_every_form(tmp_path: Path, text: str, seconds: float) -> None:
    assert read(tmp_path, f"timeouts.connect = {text}\n{WEB}").routes[0].timeouts.connect == seconds


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/minute", Rate(100, 60)),
        ("100/m", Rate(100, 60)),
        ("10/s", Rate(10, 1)),
        ("5/10s", Rate(5, 10)),
        ("1000/hour", Rate(1000, 3600)),
        ("10000/day", Rate(10000, 86400)),
        ("1 / 500ms", Rate(1, 0.5)),
        ("3/second", Rate(3, 1)),
        ("2/h", Rate(2, 3600)),
        ("2/d", Rate(2, 86400)),
        ("2/1.5m", Rate(2, 90)),
    ],
)
def test_rates_are_read_in_every_form(text: str, rate: Rate) -> None:
    assert from_flags(Flags(server=("80",), limit=text), {}).limits[0].rate == rate


@pytest.mark.parametrize(
    ("text", "ranges"),
    [('"200-399"', ((200, 399),)), ("200", ((200, 200),)), ('[200, "300-399"]', ((200, 200), (300, 399)))],
)
def test_passing_statuses_are_read_in_every_form(
    tmp_path: Path, text: str, ranges: tuple[tuple[int, int], ...]
) -> None:
    check = read(tmp_path, f"{WEB}health_check = {{ status = {text} }}").upstreams[0].health_check
    assert check is not None
    assert check.status == ranges


def test_addresses_and_hosts_are_brought_into_one_form(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "FD00::/8"]
        [[listeners]]
        address = "[0:0::1]:80"
        [upstreams.web]
        servers = ["Backend.Example:80", "unix:/run/a.sock"]
        [[routes]]
        upstream = "web"
        match = { host = "WWW.Example.org.", path = "/api/" }
        """,
    )
    assert str(found.listeners[0].address) == "[::1]:80"
    assert [str(server.address) for server in found.upstreams[0].servers] == ["backend.example:80", "unix:/run/a.sock"]
    assert found.routes[0].host == "www.example.org"
    assert found.trusted_proxies == ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8")


def test_hosts_of_routes_and_probes_may_be_addresses_or_left_out(tmp_path: Path) -> None:
    text = f"""{WEB}health_check.host = "Web.example:8080"
        [upstreams.other]
        health_check.host = ""
        [[routes]]
        upstream = "web"
        match.host = "[0:0::1]"
        [[routes]]
        upstream = "other"
        match.host = ""
        """
    found = read(tmp_path, text)
    checks = [upstream.health_check for upstream in found.upstreams]
    assert [check.host for check in checks if check] == ["Web.example:8080", ""]
    assert [route.host for route in found.routes] == ["[::1]", ""]


def test_an_empty_store_url_keeps_limits_on_this_machine(tmp_path: Path) -> None:
    assert read(tmp_path, f'store.url = ""\n{WEB}').store == config.Store()


def test_an_upstream_may_have_no_servers(tmp_path: Path) -> None:
    assert read(tmp_path, "[upstreams.web]").upstreams[0].servers == ()


def test_the_admin_api_can_be_off(tmp_path: Path) -> None:
    assert read(tmp_path, f'admin.listen = "off"\n{WEB}').admin.listen is None


def test_the_token_comes_from_the_file_a_file_of_its_own_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    environ = {"HEADGATE_ADMIN_TOKEN": "from-the-environment"}
    assert read(tmp_path, f'admin.token = "here"\n{WEB}', environ=environ).admin.token == "here"
    assert read(tmp_path, f'admin.token_file = "token"\n{WEB}', environ=environ).admin.token == "from-a-file"
    assert read(tmp_path, WEB, environ=environ).admin.token == "from-the-environment"
    away = read(tmp_path, f'admin.listen = "0.0.0.0:9000"\n{WEB}', environ=environ)
    assert away.admin == config.Admin(Address("0.0.0.0", 9000), "from-the-environment")


def test_the_secret_comes_from_the_file_a_file_of_its_own_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file of its own\n")
    environ = {"HEADGATE_STORE_SECRET": "from the environment"}
    here = "written in the file"
    assert read(tmp_path, f'store.secret = "{here}"\n{WEB}', environ=environ).store.secret == here
    assert (
        read(tmp_path, f'store.secret_file = "secret"\n{WEB}', environ=environ).store.secret == "from a file of its own"
    )
    assert read(tmp_path, WEB, environ=environ).store.secret == "from the environment"
    assert read(tmp_path, WEB).store.secret == ""


def test_what_is_private_needs_a_secret_where_others_are_to_count_too(tmp_path: Path) -> None:
    text = f'{WEB}[limits.a]\nrate = "1/s"\nprivate = true\n[[routes]]\nupstream = "web"\nlimits = ["a"]'
    redis = f'store.url = "redis://127.0.0.1"\n{text}'
    assert read(tmp_path, text).limits[0].private
    assert read(tmp_path, redis, environ={"HEADGATE_STORE_SECRET": "from the environment"}).limits[0].private
    (found,) = problems(tmp_path, redis)
    assert "limits.a.private: its keys are hashed in Redis, so all Headgates need the same secret" in found
    assert "(store.secret, store.secret_file or HEADGATE_STORE_SECRET)" in found
    (found,) = problems(tmp_path, redis.replace("private = true", 'key = "path, api_key:x-token"'))
    assert "limits.a.key: its keys are hashed in Redis" in found


def test_paths_in_a_file_start_from_the_file_and_paths_in_flags_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    text = f'state_file = "s.json"\n{WEB}'
    assert read(tmp_path, text).state_file == str(tmp_path / "s.json")
    assert read(tmp_path, text, Flags(state="s.json")).state_file == "/s.json"
    assert read(tmp_path, f'state_file = ""\n{WEB}').state_file == ""
    assert read(tmp_path, text, Flags(state="")).state_file == ""


def test_standard_output_is_no_path(tmp_path: Path) -> None:
    assert read(tmp_path, f"[access_log]\n{WEB}").access_log == config.AccessLog("text", "-")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + f'{WEB}policy = "first"'.replace("\n", "\r\n").encode()
    assert problems(tmp_path, text) == [
        'headgate.toml:3: upstreams.web.policy: "first" is not a policy (known: round_robin)'
    ]


# -- what is refused: the file as a whole


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^nowhere/headgate\.toml: no such file$"):
        load(Path("nowhere/headgate.toml"))


def test_a_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert caught.value.problems == [f"{tmp_path}: cannot be read: Is a directory"]


def test_a_path_that_no_system_takes_is_one_line() -> None:
    with pytest.raises(ConfigError, match="cannot be read: embedded null byte"):
        load(Path("a\0b"))


def test_bytes_that_are_not_utf_8_are_one_line(tmp_path: Path) -> None:
    assert problems(tmp_path, b"workers = '\xff'") == ["headgate.toml: not UTF-8 (byte 11)"]


def test_an_unreadable_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)  # root can read everything, so the system cannot be asked
    with pytest.raises(ConfigError, match=r"a\.toml: cannot be read: Permission denied"):
        load(Path("a.toml"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("workers = 1\nworkers 2", "headgate.toml:2:9: not TOML: Expected '=' after a key in a key/value pair"),
        ("[upstreams.web", "headgate.toml:1: not TOML: Expected ']' at the end of a table declaration"),
        ("a = 1\na = 2\n", "headgate.toml:2:6: not TOML: Cannot overwrite a value"),
        ("a = " + "9" * 5000, "headgate.toml: not TOML: nested too deeply or with too long a number"),
        ("a = " + "[" * 100_000, "headgate.toml: not TOML: nested too deeply or with too long a number"),
    ],
    ids=["syntax", "end", "twice", "digits", "nesting"],
)
def test_what_is_not_toml_is_one_line_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [problem]


def test_every_problem_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
wokers = 2
drain = "soon"
[timeouts]
idle = true
[[listeners]]
address = "localhost"
[upstreams.web]
policy = "random"
servers = [
    "127.0.0.1:5000",
    "127.0.0.1:70000",
    { address = "127.0.0.1:5002", wieght = 2 },
]
[limits.per_ip]
rate = "100"
[[routes]]
upstream = "wbe"
limits = ["per_ipp"]
"""
    known_top = (
        "workers, trusted_proxies, state_file, python_path, drain, timeouts, heads, connections, admin, store, jwt, "
        "access_log, listeners"
    )
    assert problems(tmp_path, text) == [
        f'headgate.toml:1: wokers: "wokers" is not a setting (known: {known_top}, upstreams, limits, tiers, routes); '
        'did you mean "workers"?',
        'headgate.toml:2: drain: "soon" is not a duration (expected "500ms", "10s", "1m", "2h" or seconds)',
        "headgate.toml:4: timeouts.idle: expected a duration, found true or false",
        'headgate.toml:6: listeners[0].address: "localhost" is not an address (expected host:port or unix:/path)',
        'headgate.toml:8: upstreams.web.policy: "random" is not a policy (known: round_robin)',
        'headgate.toml:11: upstreams.web.servers[1]: "127.0.0.1:70000" is not an address '
        "(expected host:port or unix:/path)",
        'headgate.toml:12: upstreams.web.servers[2].wieght: "wieght" is not a setting of a server '
        '(known: address, weight, max_requests); did you mean "weight"?',
        'headgate.toml:15: limits.per_ip.rate: "100" is not a rate (expected "100/minute", "10/s" or "5/10s")',
        'headgate.toml:17: routes[0].upstream: "wbe" is not an upstream (known: web)',
        'headgate.toml:18: routes[0].limits[0]: "per_ipp" is not a limit (known: per_ip)',
    ]
