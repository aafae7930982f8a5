from pathlib import Path

import pytest

from headgate.control.config import Flags, from_flags
from headgate.errors import ConfigError
from headgate.model import config
from headgate.model.address import Address
from headgate.model.config import Rate
from tests.unit.control.loading import WEB, problems, read


def flag_problems(flags: Flags) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_flags(flags, {})
    return caught.value.problems


def test_flags_make_one_upstream_one_route_and_one_limit() -> None:
    flags = Flags(
        listen=("8000", "[::1]:8001"),
        server=("5000", "127.0.0.1:5001"),
        limit="100/minute",
        workers="4",
        store="redis://127.0.0.1/1",
        admin="off",
        health_check="/health",
        access_log="json",
        state="",
        trusted_proxy=("10.0.0.0/8",),
    )
    assert from_flags(flags, {}) == config.Config(
        listeners=(config.Listener(Address("127.0.0.1", 8000)), config.Listener(Address("::1", 8001))),
        upstreams=(
            config.Upstream(
                "web",
                (config.Server(Address("127.0.0.1", 5000)), config.Server(Address("127.0.0.1", 5001))),
                health_check=config.HealthCheck("/health"),
            ),
        ),
        routes=(config.Route("web", limits=("per_ip",)),),
        limits=(config.Limit("per_ip", Rate(100, 60.0)),),
        workers=4,
        store=config.Store("redis://127.0.0.1/1"),
        admin=config.Admin(None),
        access_log=config.AccessLog("json"),
        trusted_proxies=("10.0.0.0/8",),
    )


def test_without_flags_there_are_no_probes_no_limit_no_log_and_nothing_is_kept() -> None:
    found = from_flags(Flags(server=("5000",)), {})
    assert found.listeners == (config.Listener(Address("127.0.0.1", 8000)),)
    assert found.upstreams[0].health_check is None
    assert (found.limits, found.access_log, found.state_file, found.workers) == ((), None, "", 0)


def test_flags_override_the_file(tmp_path: Path) -> None:
    text = f'workers = 3\nadmin.token = "t"\n[store]\nprefix = "p"\nurl = "redis://a"\n{WEB}'
    flags = Flags(workers="auto", store="redis://b", admin="9001", access_log="text", state="/tmp/s.json")
    found = read(tmp_path, text, flags)
    assert found.workers == 0
    assert found.store == config.Store("redis://b", prefix="p")
    assert found.admin == config.Admin(Address("127.0.0.1", 9001), "t")
    assert found.access_log == config.AccessLog("text", "-")
    assert found.state_file == "/tmp/s.json"


def test_every_bad_flag_is_reported_at_once_by_its_name() -> None:
    found = flag_problems(
        Flags(
            listen=("8000x", "8001"),
            server=("5000", "127.0.0.1:0"),
            limit="100/minut",
            workers="0",
            store="http://x",
            admin="0.0.0.0:9000",
            health_check="health",
            access_log="xml",
            trusted_proxy=("10.0.0.1/8",),
        )
    )
    assert sorted(line.partition(":")[0] for line in found) == [
        "--access-log",
        "--admin",
        "--health-check",
        "--limit",
        "--listen",
        "--server",
        "--store",
        "--trusted-proxy",
        "--workers",
    ]


def test_flags_without_a_server_are_refused() -> None:
    assert flag_problems(Flags()) == ["--server: at least one server is needed (or a configuration file)"]


def test_a_bad_override_is_named_by_its_flag(tmp_path: Path) -> None:
    assert problems(tmp_path, WEB, Flags(workers="many")) == [
        '--workers: "many" is not a number of workers (expected "auto" or 1 to 256)'
    ]


def test_an_override_of_a_section_that_is_no_table_leaves_the_mistake_to_be_reported(tmp_path: Path) -> None:
    assert problems(tmp_path, f"store = 1\n{WEB}", Flags(store="redis://a")) == [
        "headgate.toml:1: store: expected a table, found a number"
    ]
