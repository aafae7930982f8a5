"""Limits are exact: over the workers of a machine, over two Headgates on one Redis, and by the right address."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.kit.backend import Backend, answers
from tests.e2e.kit.client import Raw, Response, burst, fetch
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.load import GET
from tests.e2e.kit.waiting import wait_for
from tests.redis_server import RedisServer

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

# Exactness is what is tested here and not the deadline, which a busy machine could miss.
PATIENT = {"deadline": "10s"}


def statuses(responses: list[Response]) -> Counter[int]:
    return Counter(response.status for response in responses)


def test_of_400_concurrent_requests_exactly_100_pass_four_workers(make: Make, backend: Start) -> None:
    servers = [backend(name).address for name in "abc"]
    flags = ["--workers", "4", "--limit", "100/minute", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    headgate = make(flags=flags + [f"--server={server}" for server in servers]).start()
    responses = burst([headgate.address], 400, GET)
    assert statuses(responses) == {200: 100, 429: 300}
    assert headgate.metric("headgate_limit_decisions_total", limit="per_ip", decision="allowed") == 100
    assert headgate.metric("headgate_limit_decisions_total", limit="per_ip", decision="refused") == 300
    headgate.await_flagged("RL", 300)


def test_of_400_concurrent_requests_exactly_100_pass_two_headgates_on_one_redis(
    make: Make, backend: Start, redis_server: RedisServer
) -> None:
    servers = [backend(name).address for name in "abc"]
    store = {"url": redis_server.url, **PATIENT}
    config = settings(servers, workers=4, limit="100/minute", store=store)
    one, two = make(config).start(), make(config).start()
    responses = burst([one.address, two.address], 400, GET)
    assert statuses(responses) == {200: 100, 429: 300}
    assert one.metric("headgate_store_errors_total") + two.metric("headgate_store_errors_total") == 0


def test_a_refusal_says_when_to_come_back_and_why(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], limit="1/minute")).start()
    assert headgate.get().status == 200
    refused = headgate.get()
    assert refused.status == 429
    assert refused.fields["content-type"] == "application/problem+json"
    assert 50 <= int(refused.fields["retry-after"]) <= 60
    assert refused.json()["status"] == 429
    assert refused.json()["violated-policies"] == ["per_ip"]


@pytest.mark.parametrize("in_redis", [False, True], ids=["on this machine", "in Redis"])
@pytest.mark.parametrize(("algorithm", "wait"), [("sliding_window", 5400), ("gcra", 1800)])
def test_every_algorithm_is_exact_over_two_workers(
    make: Make, backend: Start, redis_server: RedisServer, algorithm: str, wait: int, in_redis: bool
) -> None:
    limit = {"rate": "2/hour", "algorithm": algorithm, "headers": "always"}
    config = settings([backend().address], workers=2, limit="2/hour", limits={"per_ip": limit})
    store = {"store": {"url": redis_server.url, **PATIENT}} if in_redis else {}
    headgate = make({**config, **store}).start()
    responses = [headgate.get() for _ in range(4)]
    assert [response.status for response in responses] == [200, 200, 429, 429]
    assert [response.fields["ratelimit"].split(";")[1] for response in responses] == ["r=1", "r=0", "r=0", "r=0"]
    assert wait - 60 < int(responses[-1].fields["retry-after"]) <= wait
    assert headgate.metric("headgate_store_errors_total") == 0


@pytest.mark.parametrize("in_redis", [False, True], ids=["on this machine", "in Redis"])
@pytest.mark.parametrize("algorithm", ["fixed_window", "sliding_window", "gcra"])
def test_what_requests_really_cost_is_settled_over_two_workers(
    make: Make, backend: Start, redis_server: RedisServer, algorithm: str, in_redis: bool
) -> None:
    limit = {"rate": "60/hour", "algorithm": algorithm, "cost": 10, "settle": "response_header:x-used"}
    config = settings([(one := backend()).address], workers=2, limit="60/hour", limits={"per_ip": limit})
    store = {"store": {"url": redis_server.url, **PATIENT}} if in_redis else {}
    headgate = make({**config, **store}).start()
    one.behaviour = answers(503, fields="X-Used: 0\r\n")
    assert statuses([headgate.get() for _ in range(12)]) == {503: 12}
    one.behaviour = answers(200, fields="X-Used: 2\r\n")
    assert statuses([headgate.get() for _ in range(5)]) == {200: 5}
    one.behaviour = answers(200, fields="X-Used: 45\r\n")
    assert headgate.get().status == 200
    wait_for(lambda: headgate.get().status == 429, "a refusal: of sixty 55 are used, and a request takes ten")
    assert headgate.metric("headgate_store_errors_total") == 0


@pytest.mark.parametrize("in_redis", [False, True], ids=["on this machine", "in Redis"])
def test_requests_pass_again_when_the_window_has_ended(
    make: Make, backend: Start, redis_server: RedisServer, in_redis: bool
) -> None:
    store = {"url": redis_server.url, **PATIENT} if in_redis else {}
    headgate = make(settings([backend().address], limit="2/2s", store=store)).start()
    assert [headgate.get().status for _ in range(3)] == [200, 200, 429]
    wait_for(lambda: headgate.get().status == 200, "the window's end")
    assert [headgate.get().status for _ in range(2)] == [200, 429]


def test_what_is_refused_reaches_no_server(make: Make, backend: Start) -> None:
    server = backend()
    headgate = make(settings([server.address], limit="3/minute")).start()
    burst([headgate.address], 20, GET)
    assert len(server.requests) == 3


def test_ipv4_and_ipv6_clients_have_limits_of_their_own(make: Make, backend: Start) -> None:
    listeners = [{"address": "127.0.0.1:0"}, {"address": "[::1]:0"}]
    headgate = make(settings([backend(host="::1").address], limit="2/minute", listeners=listeners)).start()
    four, six = headgate.addresses
    assert six[0] == "::1"
    assert statuses(burst([four], 5, GET)) == {200: 2, 429: 3}
    assert statuses(burst([six], 5, GET)) == {200: 2, 429: 3}


def test_a_trusted_proxys_word_decides_who_is_counted(make: Make, backend: Start) -> None:
    server = backend()
    headgate = make(settings([server.address], limit="1/minute", trusted_proxies=["127.0.0.0/8"])).start()
    assert headgate.get(X_Forwarded_For="203.0.113.1").status == 200
    assert headgate.get(X_Forwarded_For="203.0.113.1").status == 429
    assert headgate.get(X_Forwarded_For="203.0.113.2").status == 200
    # What a client wrote itself stands before what the proxy saw, and does not count.
    assert headgate.get(X_Forwarded_For="198.51.100.7, 203.0.113.2").status == 429
    assert server.requests[0].fields["x-forwarded-for"] == "203.0.113.1, 127.0.0.1"


def test_the_word_of_a_peer_that_is_not_trusted_does_not_count(make: Make, backend: Start) -> None:
    server = backend()
    headgate = make(settings([server.address], limit="1/minute", trusted_proxies=["192.0.2.0/24"])).start()
    assert headgate.get(X_Forwarded_For="203.0.113.1").status == 200
    assert headgate.get(X_Forwarded_For="203.0.113.2").status == 429
    assert server.requests[0].fields["x-forwarded-for"] == "127.0.0.1"


def test_ipv6_addresses_of_one_network_are_one_client(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], limit="1/minute", trusted_proxies=["127.0.0.1"])).start()
    assert headgate.get(X_Forwarded_For="2001:db8:1:2::1").status == 200
    assert headgate.get(X_Forwarded_For="2001:db8:1:2:ffff::9").status == 429
    assert headgate.get(X_Forwarded_For="2001:db8:1:3::1").status == 200


def test_a_request_must_pass_every_limit_of_its_route_and_a_refused_one_takes_from_none(
    make: Make, backend: Start
) -> None:
    config = settings([backend().address])
    config["limits"] = {"few": {"rate": "2/minute"}, "many": {"rate": "5/hour"}}
    config["routes"] = [
        {"upstream": "web", "limits": ["many"]},
        {"upstream": "web", "match": {"path": "/few"}, "limits": ["few", "many"]},
    ]
    headgate = make(config).start()
    assert [headgate.get("/few").status for _ in range(6)] == [200, 200, 429, 429, 429, 429]
    assert [headgate.get("/").status for _ in range(4)] == [200, 200, 200, 429]


def test_a_limit_holds_over_the_death_of_a_worker(make: Make, backend: Start) -> None:
    headgate = make(settings([backend().address], limit="3/minute")).start()
    assert statuses(burst([headgate.address], 2, GET)) == {200: 2}
    headgate.kill_worker()
    assert [headgate.get().status for _ in range(3)] == [200, 429, 429]


def next_status(client: Raw) -> int:
    """What the next request of a connection gets."""
    client.send(GET)
    status = int(client.until(b"\r\n\r\n")[9:12])
    client.until(b"a" if status == 200 else b"]}\n")
    return status


def test_a_limit_of_one_listener_is_not_anothers_and_a_reload_changes_it_for_open_connections(
    make: Make, backend: Start
) -> None:
    config = settings([backend().address], workers=2, limits={"few": {"rate": "2/hour"}, "more": {"rate": "3/hour"}})
    listeners: list[dict[str, object]] = [{"address": "127.0.0.1:0", "limits": ["few"]}, {"address": "[::1]:0"}]
    headgate = make({**config, "listeners": listeners, "routes": [{"upstream": "web"}]}).start()
    limited, free = headgate.addresses
    assert [fetch(limited).status for _ in range(3)] == [200, 200, 429]
    assert [fetch(free).status for _ in range(3)] == [200, 200, 200]
    with Raw(limited) as client:
        assert next_status(client) == 429
        listeners[0]["limits"] = ["more"]
        headgate.configure({**config, "listeners": listeners, "routes": [{"upstream": "web"}]})
        assert headgate.api("POST", "/api/v1/reload").status == 200
        assert [next_status(client) for _ in range(4)] == [200, 200, 200, 429]


def test_what_private_limits_count_by_is_not_in_redis_and_two_headgates_count_it_together(
    make: Make, backend: Start, redis_server: RedisServer
) -> None:
    store = {"url": redis_server.url, **PATIENT, "secret": "the same for both of them"}
    limits = {
        "per_ip": {"rate": "100/hour", "private": True},
        "per_key": {"rate": "1/hour", "key": "api_key, client_ip"},
    }
    config = settings([backend().address], limits=limits, store=store)
    config["routes"] = [{"upstream": "web", "limits": ["per_ip", "per_key"]}]
    one, two = make(config).start(), make(config).start()
    assert [headgate.get(X_API_Key="a-secret").status for headgate in (one, two)] == [200, 429]
    keys = redis_server.command("KEYS", "*")
    assert keys.count(b"~") == 2
    assert b"per_key:api_key,client_ip:" in keys
    assert b"a-secret" not in keys
    assert b"per_ip:client_ip:fixed_window:100/3600000000:~" in keys


def test_the_users_of_one_address_have_limits_of_their_own_by_their_tokens(make: Make, backend: Start) -> None:
    secret = "a secret of at least thirty-two bytes"
    limits = {"per_user": {"rate": "1/hour", "key": "jwt:sub"}}
    config = settings([backend().address], workers=2, limits=limits)
    config |= {"jwt": {"algorithms": ["HS256"], "secret": secret}}
    config["routes"] = [{"upstream": "web", "limits": ["per_user"]}]
    headgate = make(config).start()
    tokens = [jwt.encode({"sub": subject}, secret, "HS256") for subject in ("me", "me", "you")]
    assert [headgate.get(Authorization=f"Bearer {token}").status for token in tokens] == [200, 429, 200]
    assert headgate.get(Authorization=f"Bearer {tokens[0][:-4]}").status == 200, "the first of its address"
    assert headgate.get().status == 429


def test_a_key_set_is_another_one_with_a_reload_and_no_sooner(make: Make, backend: Start, tmp_path: Path) -> None:
    old, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    file = tmp_path / "jwks.json"

    def publish(*keys: ec.EllipticCurvePrivateKey) -> None:
        jwks = [jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) for key in keys]
        file.write_text(json.dumps({"keys": jwks}))

    publish(old)
    config = settings(
        [backend().address],
        limits={"per_user": {"rate": "1/hour", "key": "jwt:sub"}},
        jwt={"algorithms": ["ES256"], "key_files": [str(file)]},
        routes=[{"upstream": "web", "limits": ["per_user"]}],
    )
    headgate = make(config).start()
    assert [headgate.get().status for _ in range(2)] == [200, 429]  # from here on what has no good token is refused

    def is_good(key: ec.EllipticCurvePrivateKey) -> bool:
        token = jwt.encode({"sub": str(uuid4())}, key, "ES256")
        return headgate.get(Authorization=f"Bearer {token}").status == 200

    publish(new)
    assert (is_good(old), is_good(new)) == (True, False)
    assert headgate.cli("reload").returncode == 0
    assert (is_good(old), is_good(new)) == (False, True)
    publish(old, new)
    assert headgate.cli("reload").returncode == 0
    assert (is_good(old), is_good(new)) == (True, True)
    file.write_text("{")
    refused = headgate.cli("reload")
    assert refused.returncode != 0
    assert "jwt.key_files[0]" in refused.stderr
    assert (is_good(old), is_good(new)) == (True, True)
