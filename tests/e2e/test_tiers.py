"""Keys of a limit get another rate while Headgate runs: over all workers, and after a restart."""

from collections import Counter
from collections.abc import Callable

from tests.e2e.kit.backend import Backend
from tests.e2e.kit.client import burst
from tests.e2e.kit.headgate import Headgate, Settings, settings
from tests.e2e.kit.load import GET
from tests.e2e.kit.waiting import wait_for
from tests.redis_server import RedisServer

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

OVERRIDES = "/api/v1/limits/per_key/overrides"


def configured(server: str) -> Settings:
    """Two workers, a limit by a header with two requests an hour, and a tier of four."""
    return settings(
        [server],
        workers=2,
        limits={"per_key": {"rate": "2/hour", "key": "header:x-api-key", "overrides": {"file": "3/hour"}}},
        tiers={"gold": {"rate": "4/hour"}},
        routes=[{"upstream": "web", "limits": ["per_key"]}],
    )


def passed(headgate: Headgate, key: str, of: int = 6) -> int:
    """How many of so many requests of a key pass, each on a connection of its own: either worker has some."""
    return sum(headgate.get(x_api_key=key).status == 200 for _ in range(of))


def test_a_key_gets_another_rate_at_run_time_and_has_it_after_a_restart(make: Make, backend: Start) -> None:
    headgate = make(configured(backend().address)).start()
    assert (passed(headgate, "plain"), passed(headgate, "file")) == (2, 3)
    assert headgate.cli("limit", "set", "per_key", "alice", "gold").stdout == (
        "=alice has 4/hour under per_key now (tier gold)\n"
    )
    assert headgate.cli("limit", "set", "bob", "1/hour").returncode == 0
    assert headgate.api("PUT", f"{OVERRIDES}/free", {"rate": "unlimited"}).status == 200
    assert [passed(headgate, key) for key in ("alice", "bob", "free", "other")] == [4, 1, 6, 2]
    # The count of another rate is another count, and the limit's own goes on where it was.
    assert headgate.cli("tier", "set", "gold", "5/hour").stdout == "tier gold is 5/hour now\n"
    assert headgate.cli("limit", "set", "plain", "1/hour").returncode == 0
    assert [passed(headgate, key) for key in ("alice", "plain")] == [5, 1]
    assert headgate.cli("limit", "unset", "plain").stdout == "=plain comes under per_key as all others do now\n"
    assert passed(headgate, "plain") == 0

    headgate.stop()
    headgate.start()
    assert [passed(headgate, key) for key in ("alice", "bob", "free", "plain", "file")] == [5, 1, 6, 2, 3]
    listed = headgate.cli("limit", "overrides").stdout.splitlines()
    assert [line.split() for line in listed] == [
        ["LIMIT", "KEY", "TIER", "RATE", "SOURCE"],
        ["per_key", "=file", "3/hour", "config"],
        ["per_key", "=alice", "gold", "5/hour", "runtime"],
        ["per_key", "=bob", "1/hour", "runtime"],
        ["per_key", "=free", "unlimited", "runtime"],
    ]
    listed = headgate.cli("tier", "list").stdout.splitlines()
    assert [line.split() for line in listed] == [["NAME", "RATE", "SOURCE"], ["gold", "5/hour", "runtime"]]
    assert headgate.cli("tier", "unset", "gold").stdout == "tier gold is 4/hour again, as the configuration says\n"
    assert passed(headgate, "alice") == 4


def test_a_rate_of_its_own_is_exact_over_two_headgates_on_one_redis(
    make: Make, backend: Start, redis_server: RedisServer
) -> None:
    # Exactness is what is tested and not the deadline, which a busy machine could miss.
    config = {**configured(backend().address), "store": {"url": redis_server.url, "deadline": "10s"}}
    one, two = make(config).start(), make(config).start()
    for headgate in (one, two):
        assert headgate.cli("limit", "set", "alice", "gold").returncode == 0
    request = GET.replace(b"\r\n\r\n", b"\r\nX-API-Key: alice\r\n\r\n")
    answers = burst([one.address, two.address], 40, request)
    assert Counter(answer.status for answer in answers) == {200: 4, 429: 36}
    # One Headgate with another rate for the key counts it apart: they must be told the same.
    assert two.cli("limit", "set", "alice", "1/hour").returncode == 0
    assert (passed(one, "alice"), passed(two, "alice")) == (0, 1)


def test_a_reload_leaves_what_was_set_and_a_killed_worker_comes_back_with_it(make: Make, backend: Start) -> None:
    config = configured(backend().address)
    headgate = make(config).start()
    headgate.api("PUT", f"{OVERRIDES}/alice", {"tier": "gold"})
    headgate.configure({**config, "tiers": {"gold": {"rate": "5/hour"}}})
    assert headgate.api("POST", "/api/v1/reload").status == 200
    headgate.kill_worker()
    assert passed(headgate, "alice") == 5


def test_a_bad_reload_and_an_upgrade_leave_what_was_set(make: Make, backend: Start) -> None:
    headgate = make(configured(backend().address)).start()
    assert headgate.cli("limit", "set", "alice", "gold").returncode == 0
    assert headgate.cli("limit", "set", "bob", "1/hour").returncode == 0
    headgate.configure({**configured("nowhere"), "tiers": {"gold": {"rate": "many"}}})
    assert headgate.api("POST", "/api/v1/reload").status == 422
    assert passed(headgate, "alice") == 4
    headgate.configure(configured(backend().address))
    successor = headgate.api("POST", "/api/v1/upgrade").json()["pid"]
    wait_for(lambda: headgate.status()["pid"] == successor, "the successor")
    # What was counted before goes on too.
    assert [passed(headgate, key) for key in ("alice", "bob")] == [0, 1]


def test_what_cannot_be_is_told_in_words(make: Make, backend: Start) -> None:
    headgate = make(configured(backend().address)).start()
    unknown = headgate.api("PUT", "/api/v1/limits/nope/overrides/alice", {"tier": "gold"})
    assert (unknown.status, unknown.json()["detail"]) == (404, 'there is no limit "nope" (known: per_key)')
    bad = headgate.api("PUT", f"{OVERRIDES}/alice", {"rate": "many"})
    assert bad.status == 400
    assert 'rate: "many" is not a rate' in str(bad.json()["detail"])
    told = headgate.cli("limit", "set", "alice", "gild")
    assert told.returncode == 69
    assert 'there is no tier "gild" (known: gold)' in told.stderr
