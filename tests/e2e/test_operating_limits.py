"""Operators see and change what limits count, while Headgate runs: by command and by API, here and in Redis."""

from collections.abc import Callable
from typing import cast

import pytest

from tests.e2e.kit.backend import Backend
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.waiting import wait_for
from tests.redis_server import RedisServer

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

KEY = "/api/v1/limits/per_ip/keys/127.0.0.1"
IN_REDIS = pytest.mark.parametrize("in_redis", [False, True], ids=["on this machine", "in Redis"])


def limited(make: Make, backend: Start, redis_server: RedisServer, in_redis: bool, **limit: object) -> Headgate:
    """Two workers, and three requests an hour."""
    store = {"store": {"url": redis_server.url, "deadline": "5s"}} if in_redis else {}
    limits = {"per_ip": {"rate": "3/hour", **limit}}
    return make(settings([backend().address], workers=2, limit="3/hour", limits=limits, **store)).start()


def use_up(headgate: Headgate) -> None:
    """Asks until both workers refuse."""
    assert [headgate.get().status for _ in range(12)] == [200] * 3 + [429] * 9


def kinds(headgate: Headgate) -> list[object]:
    """What happened, without what else the start of a test brings."""
    events = cast("list[dict[str, object]]", headgate.api("GET", "/api/v1/events").json()["events"])
    return [event["kind"] for event in events]


@IN_REDIS
def test_a_key_is_seen_and_reset(make: Make, backend: Start, redis_server: RedisServer, in_redis: bool) -> None:
    headgate = limited(make, backend, redis_server, in_redis)
    assert headgate.cli("limit", "show", "127.0.0.1").stdout == "127.0.0.1 has 3 left under per_ip\n"
    use_up(headgate)
    shown = headgate.cli("limit", "show", "127.0.0.1").stdout
    assert shown.startswith("127.0.0.1 has 0 left under per_ip, a request passes in ")
    assert headgate.cli("limit", "reset", "127.0.0.1").stdout == "127.0.0.1 begins anew under per_ip\n"
    wait_for(lambda: headgate.get().status == 200, "a request that passes")
    assert headgate.api("GET", KEY).json()["remaining"] == 2
    assert (headgate.metric("headgate_store_latency_seconds_count") > 0) is in_redis
    listed = headgate.cli("limit", "list").stdout.splitlines()
    assert listed[1].split()[:5] == ["per_ip", "3/hour", "client_ip", "fixed_window", "on"]
    assert listed[2] == f"limits are counted {'in Redis' if in_redis else 'on this machine'}"


@IN_REDIS
def test_a_key_is_banned_and_let_in_again(
    make: Make, backend: Start, redis_server: RedisServer, in_redis: bool
) -> None:
    headgate = limited(make, backend, redis_server, in_redis)
    assert headgate.get().status == 200
    said = headgate.cli("limit", "ban", "per_ip", "127.0.0.1", "--for", "1h").stdout
    assert said.startswith("127.0.0.1 is banned under per_ip until 20")
    refused = headgate.get()
    assert refused.status == 429
    assert 3500 < int(refused.fields["retry-after"]) <= 3600
    assert headgate.cli("limit", "unban", "127.0.0.1").stdout == "127.0.0.1 is banned no more under per_ip\n"
    wait_for(lambda: headgate.get().status == 200, "a request that passes")
    assert headgate.cli("limit", "unban", "127.0.0.1").stdout == "127.0.0.1 was not banned under per_ip\n"


@IN_REDIS
def test_a_ban_of_the_limits_own_is_seen_and_lifted_with_what_led_to_it(
    make: Make, backend: Start, redis_server: RedisServer, in_redis: bool
) -> None:
    ban = {"refusals": 9, "within": "1h", "period": "2h"}
    headgate = limited(make, backend, redis_server, in_redis, ban=ban)
    use_up(headgate)
    wait_for(lambda: headgate.api("GET", KEY).json()["banned_until"] is not None, "the ban")
    assert headgate.api("DELETE", f"{KEY}/ban").json()["unbanned"] is True
    assert kinds(headgate)[:2] == ["key_banned", "key_unbanned"]
    # The workers are told before the answer is sent, and come to it in moments.
    wait_for(lambda: headgate.get().status == 200, "a request that passes")
    assert [headgate.get().status for _ in range(4)] == [200, 200, 429, 429]
    assert headgate.api("GET", KEY).json()["banned_until"] is None


def test_who_is_refused_most_is_shown(make: Make, backend: Start, redis_server: RedisServer) -> None:
    headgate = limited(make, backend, redis_server, False)
    assert headgate.cli("limit", "top").stdout == "nobody was refused in the last minute or two\n"
    use_up(headgate)
    top = {"limit": "per_ip", "refused": 9, "unlisted_at_most": 0}
    keys = [{"key": "127.0.0.1", "refused": 9, "at_least": 9}]
    wait_for(lambda: headgate.api("GET", "/api/v1/limits/per_ip/top").json() == {**top, "keys": keys}, "9 refusals")
    assert "127.0.0.1        9         9" in headgate.cli("limit", "show").stdout
    headgate.kill_worker(0)
    headgate.kill_worker(1)
    assert headgate.cli("limit", "top").stdout == "nobody was refused in the last minute or two\n"


def test_a_dead_redis_is_said_at_once(make: Make, backend: Start, redis_server: RedisServer) -> None:
    headgate = limited(make, backend, redis_server, True)
    use_up(headgate)
    assert headgate.api("GET", KEY).status == 200
    redis_server.stop()
    wait_for(lambda: headgate.api("GET", KEY).status == 503, "the breaker")
    for method, path in (("GET", KEY), ("DELETE", KEY), ("PUT", f"{KEY}/ban"), ("DELETE", f"{KEY}/ban")):
        answer = headgate.api(method, path, {"for": "1h"} if method == "PUT" else None)
        assert answer.status == 503
        assert "does not answer" in cast("str", answer.json()["detail"])
    assert "does not answer" in headgate.cli("limit", "reset", "127.0.0.1").stderr
    redis_server.start()
    wait_for(lambda: headgate.api("GET", KEY).status == 200, "Redis again")
    wait_for(lambda: kinds(headgate) == ["store_down", "store_back"], "the store's events")
    assert [line.split()[2] for line in headgate.cli("events").stdout.splitlines()] == ["store_down:", "store_back:"]
    assert headgate.api("GET", KEY).json()["remaining"] == 3
