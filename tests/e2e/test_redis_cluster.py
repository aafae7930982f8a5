"""A store in a real Redis Cluster: exactness over processes, slots that move, and masters that fail."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from headgate import errors
from headgate.limits.keys import compose
from headgate.limits.meter import ALGORITHMS
from headgate.limits.tags import tag, tags
from headgate.model.config import Store as Settings
from headgate.model.snapshot import LimitState, Tag
from headgate.store.check import check
from headgate.store.counts import RedisCounts
from headgate.store.topology import slot
from tests.e2e.kit import certificate
from tests.e2e.kit.backend import Backend
from tests.e2e.kit.bench import LOOPS, Bench
from tests.e2e.kit.client import Raw
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.redis_cluster import Cluster
from tests.e2e.kit.waiting import wait_for
from tests.hammer import together
from tests.redis_server import RedisServer
from tests.unit.store.limits import limit
from tests.unit.store.test_held import in_flight

K = b"192.0.2.1"
KEYS = [b"192.0.2.%d" % number for number in range(60)]


@pytest.fixture(scope="module")
def whole() -> Iterator[Cluster]:
    """Three masters, which no test harms or leaves in another form."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(whole: Cluster) -> Cluster:
    for number in range(3):
        whole.call(number, "FLUSHALL")
    return whole


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def bench(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Bench]:
    one = Bench(cluster.url, request.param)
    yield one
    one.close()


def slot_of(one: LimitState, key: bytes = K) -> int:
    return slot(tag(one, key))


def test_keys_are_spread_and_counted_exactly(bench: Bench, cluster: Cluster) -> None:
    one = limit(3, period=3600.0)
    for key in KEYS:
        assert [bench.allows(one, key) for _ in range(4)] == [True, True, True, False]
    sizes = [cluster.call(number, "DBSIZE") for number in range(3)]
    assert all(isinstance(size, int) and size > 5 for size in sizes), sizes
    assert not bench.errors
    assert not bench.changes


def test_limits_that_meet_lie_in_one_slot_and_are_taken_together(bench: Bench, cluster: Cluster) -> None:
    base = limit(5, "per_ip", period=3600.0, headers="always").limit
    per_path = replace(base, name="per_path", key="client_ip,path", rate=replace(base.rate, limit=2))
    known = tags([[base, per_path]])
    wide, narrow = (LimitState(one, 0, known[one.name]) for one in (base, per_path))
    for key in KEYS[:20]:
        outcomes = []
        for path in (b"=/a", b"=/a", b"=/a", b"=/b", b"=/b", b"=/b"):
            decisions = bench.hit([(wide, key, 1), (narrow, compose([key, path]), 1)])
            outcomes.append(all(decision.allowed for decision in decisions))
        assert outcomes == [True, True, False, True, True, False]
        assert bench.hit([(wide, key, 0)])[0].remaining == 1
    assert not bench.errors
    assert not bench.changes


def test_limits_of_two_configurations_that_meet_are_decided_without_the_cluster(bench: Bench) -> None:
    one, other = limit(3, "one"), replace(limit(3, "other"), tag=Tag(name="elsewhere"))
    assert all(decision.allowed for decision in bench.hit([(one, K, 1), (other, K, 1)]))
    assert bench.errors == [one, other]
    assert bench.hit([(one, K, 0)])[0].remaining == 3
    assert not bench.changes


def test_bans_charges_and_the_commands_of_operators_find_their_master(bench: Bench) -> None:
    one = limit(5, period=3600.0)
    counts = RedisCounts(bench.cluster)
    for key in KEYS[:12]:
        assert bench.allows(one, key)
        bench.charge([(one, key, 2)])
        assert bench.hit([(one, key, 0)])[0].remaining == 2
        assert bench.run(counts.look(one, key)).remaining == 2
        bench.cluster.ban(one, key, 60.0)
        assert bench.run(counts.unban(one, key))
        assert not bench.run(counts.unban(one, key))
        bench.run(counts.ban(one, key, 60.0))
        assert bench.run(counts.look(one, key)).is_banned
    assert not bench.errors


def test_all_know_how_many_headgates_live(cluster: Cluster) -> None:
    benches = [Bench(cluster.url, LOOPS[1]) for _ in range(2)]
    one = limit(10)
    for bench in (*benches, benches[0]):
        for key in KEYS:
            assert bench.allows(one, key)
        home = bench.cluster._slots[bench.cluster._home]
        home._sign()
        assert bench.run(bench.ask((one, K, 0)))
        while not home.accepts or home._waiting:
            bench.run(asyncio.sleep(0.001))
    assert {node._peers.count for bench in benches for node in bench.cluster._nodes.values()} == {2}
    for bench in benches:
        bench.close()


HAMMER = """
import asyncio, logging, sys
logging.basicConfig(level=logging.INFO)
from dataclasses import replace
from headgate.limits.keys import compose
from headgate.limits.tags import tags
from headgate.model.config import Store as Settings
from headgate.model.snapshot import LimitState
from headgate.store.build import build
from headgate.store.memory import MemoryStore
from headgate.testing.clock import ManualClock
from tests.unit.store.limits import limit
from tests.unit.store.test_held import in_flight

async def main():
    loop = asyncio.get_running_loop()
    store = build(Settings(url=sys.argv[1], deadline=30.0), MemoryStore(ManualClock()), loop)
    def of(most, name, key):  # gcra: so slow a rate that nothing comes back in the meantime
        one = limit(most, name, 36_000.0, "deny", algorithm=sys.argv[2]).limit
        if sys.argv[2] == "gcra":
            one = replace(one, rate=replace(one.rate, limit=1), burst=most)
        return replace(one, key=key)
    made = [of(900, "wide", "client_ip"), of(300, "path", "client_ip,path"), of(200, "host", "host,client_ip")]
    known = tags([made])
    wide, path, host = (LimitState(one, 0, known[one.name]) for one in made)
    async def ask(*checks):
        answer = loop.create_future()
        decisions = store.hit(checks, answer.set_result)
        return all(one.allowed for one in (decisions if decisions is not None else await answer))
    keys = [b"192.0.2.%d" % number for number in range(4)]
    for key in keys:
        await ask((wide, key + b"0", 1))
    print("ready", flush=True)
    sys.stdin.readline()
    def three(key):
        return (wide, key, 1), (path, compose([key, b"=/a"]), 1), (host, compose([b"=h", key]), 1)
    async def slowly(*checks):
        return await ask(*checks)
    alone, all_three = [], []
    for turn in range(30):
        alone += [loop.create_task(ask((wide, key, 1))) for key in keys for _ in range(25)]
        all_three += [loop.create_task(ask(*three(key))) for key in keys for _ in range(5)]
        await asyncio.sleep(float(sys.argv[3]))
    print(sum(await asyncio.gather(*alone)), sum(await asyncio.gather(*all_three)))
    store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_three_processes_on_one_cluster_pass_exactly_the_limit(cluster: Cluster, algorithm: str) -> None:
    counts = together(HAMMER, 3, cluster.url, algorithm, "0")
    alone, all_three = (sum(column) for column in zip(*counts, strict=True))
    assert alone + all_three == 4 * 900
    assert 0 < all_three <= 4 * 200
    most, burst = (1, 200) if algorithm == "gcra" else (200, 0)
    host = replace(limit(most, "host", 36_000.0, algorithm=algorithm, burst=burst).limit, key="host,client_ip")
    state = LimitState(host, 0, Tag(((1, None),)))
    bench = Bench(cluster.url, LOOPS[0])
    left = sum(bench.hit([(state, compose([b"=h", b"192.0.2.%d" % number]), 0)])[0].remaining for number in range(4))
    assert left == 4 * 200 - all_three, "what one limit refused took nothing of the others"
    bench.close()


def test_moving_slots_neither_loses_nor_adds_a_count(cluster: Cluster) -> None:
    one = limit(900, "wide", 36_000.0)
    slots = sorted({slot_of(one, b"192.0.2.%d" % number) for number in range(4)})

    hammered = threading.Event()
    before = sum(cluster.asked(number) for number in range(3))

    def move() -> None:
        for number in slots:
            source = cluster.server_of(number)
            target = (source + 1) % 3
            wait_for(partial(cluster.keys, number, source), "the first requests")
            cluster.migrate(number, source, target)
            cluster.move_keys(number, source, target)
            asked = cluster.asked(target)
            wait_for(lambda: cluster.asked(target) > asked or hammered.is_set(), "an ASK")  # noqa: B023
            cluster.settle(number, source, target)

    with ThreadPoolExecutor() as pool:
        moved = pool.submit(move)
        try:
            counts = together(HAMMER.replace("all_three += ", "0 and "), 3, cluster.url, "fixed_window", "0.05")
        finally:
            hammered.set()
        moved.result()
    assert sum(cluster.asked(number) for number in range(3)) > before
    assert sum(alone for alone, _ in counts) == 4 * 900


def test_a_check_of_several_new_keys_in_a_slot_that_moves_waits_for_nobody(bench: Bench, cluster: Cluster) -> None:
    base = limit(5, "per_ip", period=3600.0, headers="always").limit
    per_path = replace(base, name="per_path", key="client_ip,path")
    known = tags([[base, per_path]])
    wide, narrow = (LimitState(one, 0, known[one.name]) for one in (base, per_path))
    both = [(wide, K, 1), (narrow, compose([K, b"=/"]), 1)]
    number = slot_of(wide)
    source = cluster.server_of(number)
    target = (source + 1) % 3
    cluster.migrate(number, source, target)
    assert all(decision.allowed for decision in bench.hit(both)), "TRYAGAIN until the end: decided on this machine"
    assert bench.errors == [wide, narrow]
    assert not bench.changes
    cluster.settle(number, source, target)

    async def charged() -> None:
        while (await bench.ask((wide, K, 0)))[0].remaining != 4:
            await asyncio.sleep(0.01)

    bench.run(charged())
    assert [decision.remaining for decision in bench.hit(both)] == [3, 3]
    assert bench.errors == [wide, narrow]


def in_shard(cluster: Cluster, one: LimitState, number: int) -> list[bytes]:
    """Keys that this node serves."""
    return [key for key in KEYS if cluster.server_of(slot_of(one, key), 2) == number]


@pytest.fixture(scope="module")
def replicated() -> Iterator[Cluster]:
    """Three masters with a replica each; each test takes one of the masters away."""
    with Cluster(replicas=1) as cluster:
        yield cluster


@pytest.mark.parametrize(("number", "trouble"), [(0, "killed"), (1, "paused")])
def test_counts_go_on_where_a_replica_has_taken_a_masters_place(replicated: Cluster, number: int, trouble: str) -> None:
    cluster = replicated
    bench = Bench(cluster.url, LOOPS[1], deadline=0.5)
    one = limit(5, f"failover{number}", period=3600.0)
    mine, *_ = in_shard(cluster, one, number)
    other = in_shard(cluster, one, 2)[0]
    for key in (mine, other):
        assert [bench.allows(one, key) for _ in range(2)] == [True] * 2
    assert cluster.call(number, "WAIT", "1", "10000") == 1
    bench.changes.clear()
    bench.errors.clear()
    if trouble == "killed":
        cluster.nodes[number].kill()
    else:
        cluster.nodes[number].pause()
        assert bench.allows(one, mine)
    bench.await_change(down=True)
    bench.await_change(down=False)
    assert cluster.is_master(number + 3)
    # The others may hear of it a moment later, and answer CLUSTERDOWN until then.
    wait_for(lambda: "cluster_state:ok" in cluster.text(2, "CLUSTER", "INFO"), "the other masters to follow")
    while not all(node.accepts and node._link for node in bench.cluster._nodes.values()):
        bench.run(asyncio.sleep(0.01))
    spent = 2 + len(bench.errors)
    assert bench.hit([(one, mine, 0)])[0].remaining == 5 - spent
    assert bench.hit([(one, other, 0)])[0].remaining == 3, "the other masters were asked all the time"
    if trouble == "paused":
        cluster.nodes[number].resume()
        wait_for(lambda: not cluster.is_master(number), "the old master to follow")
        assert bench.allows(one, mine)
    bench.close()


def run_check(url: str) -> str | None:
    return asyncio.run(check(Settings(url=url)))


def test_the_check_before_the_start() -> None:
    with Cluster(password="s3cret") as cluster:
        places = cluster.url.partition("@")[2]
        assert run_check(cluster.url) is None
        assert run_check(f"redis+cluster://default:s3cret@127.0.0.1:1,{places}") is None
        for url, expected in (
            (f"redis+cluster://{places}", "requires a password"),
            (f"redis+cluster://:wrong@{places}", "wrong user or password"),
            (f"redis+cluster://:s3cret@{places}/1", "no databases but 0"),
        ):
            with pytest.raises(errors.StoreRefused, match=expected) as refusal:
                run_check(url)
            assert "s3cret" not in str(refusal.value)
        with pytest.raises(errors.StoreRefused, match="prefix has a brace"):
            asyncio.run(check(Settings(url=cluster.url, prefix="a{b}")))
        bench = Bench(cluster.url, LOOPS[0])
        assert all(bench.allows(limit(), key) for key in KEYS)
        bench.close()
        assert cluster.call(2, "CLUSTER", "DELSLOTS", "16383") == b"OK"
        cluster.nodes[0].kill()
        warning = run_check(cluster.url)
        assert warning is not None
        assert "is down" in warning
        cluster.nodes[1].pause()
        cluster.nodes[2].pause()
        warning = run_check(cluster.url)
        assert warning is not None
        assert "no node of the Cluster helps" in warning


def test_a_redis_of_its_own_is_no_cluster_and_a_node_is_no_redis_of_its_own(cluster: Cluster) -> None:
    with RedisServer(tcp=True) as server, pytest.raises(errors.StoreRefused, match="it is no node of a Cluster"):
        run_check(f"redis+cluster://127.0.0.1:{server.port}")
    for port in cluster.ports:
        url = f"redis://127.0.0.1:{port}"
        if slot(b"headgate:probe") * 3 // 16384 != cluster.ports.index(port):
            with pytest.raises(errors.StoreRefused, match="it is a node of a Cluster"):
                run_check(url)


def test_a_cluster_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = certificate.settings(tmp_path)
    try:
        cluster = Cluster(tls=tls).__enter__()
    except RuntimeError:
        pytest.skip("this Redis was built without TLS")
    with ExitStack() as stack:
        stack.push(cluster)
        with pytest.raises(errors.StoreRefused, match="certificate is not accepted"):
            run_check(cluster.url)
        monkeypatch.setenv("SSL_CERT_FILE", tls["tls_cert_file"])
        assert run_check(cluster.url) is None
        bench = Bench(cluster.url, LOOPS[1])
        for key in KEYS:
            assert [bench.allows(limit(2), key) for _ in range(3)] == [True, True, False]
        bench.close()


def test_headgates_on_one_cluster_have_the_limits_of_a_route_in_one_slot(
    cluster: Cluster, make: Callable[..., Headgate], backend: Callable[..., Backend]
) -> None:
    config = settings([backend("a").address], workers=2, store={"url": cluster.url, "deadline": "5s"})
    config["limits"] = {
        "per_ip": {"rate": "30/hour"},
        "per_path": {"rate": "20/hour", "key": "path, client_ip"},
        "per_net": {"rate": "25/hour", "key": "client_ip/24"},
    }
    config["routes"] = [{"upstream": "web", "limits": ["per_ip", "per_path", "per_net"]}]
    headgates = [make(config).start() for _ in range(2)]
    passed = 0
    for number in range(60):
        with closing(Raw(headgates[number % 2].address).socket) as connection:
            path = b"/a" if number < 40 else b"/b"
            connection.sendall(b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % path)
            passed += connection.recv(64).startswith(b"HTTP/1.1 200")
        if number == 39:
            assert passed == 20, "of one path"
    assert passed == 25, "of one network"
    for headgate in headgates:
        assert headgate.metric("headgate_store_errors_total") == 0


def test_what_is_in_flight_is_counted_and_given_back_at_each_master(bench: Bench, cluster: Cluster) -> None:
    one = in_flight(2)
    for key in KEYS:
        assert [bench.allows(one, key) for _ in range(3)] == [True, True, False]
    bench.any.release([(one, key, 1) for key in KEYS])
    assert all(bench.hit([(one, key, 0)])[0].remaining == 1 for key in KEYS)
    bench.any.release([(one, key, 1) for key in KEYS])
    assert all(bench.hit([(one, key, 0)])[0].remaining == 2 for key in KEYS)
    assert not bench.errors


def test_what_is_in_flight_in_a_slot_that_moved_is_given_back(bench: Bench, cluster: Cluster) -> None:
    one = in_flight(2)
    assert bench.allows(one)
    number = slot_of(one)
    source = cluster.server_of(number)
    target = (source + 1) % 3
    cluster.move(number, source, target)
    assert [bench.allows(one) for _ in range(2)] == [True, False]
    bench.any.release([(one, K, 1)] * 2)
    bench.run(asyncio.sleep(0.1))
    assert bench.hit([(one, K, 0)])[0].remaining == 2
    cluster.move(number, target, source)
