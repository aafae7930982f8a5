"""A store whose Redis is found by Sentinels: a real master with a replica, of which one takes the other's place."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from headgate import errors
from headgate.limits.decision import Banned
from headgate.model.config import Store as Settings
from headgate.store.check import check
from tests.e2e.kit import certificate
from tests.e2e.kit.bench import LOOPS, Bench
from tests.e2e.kit.redis_sentinel import Watched
from tests.unit.store.limits import limit

K = b"192.0.2.1"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with Watched(tmp_path) as servers:
        yield servers


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def bench(watched: Watched, request: pytest.FixtureRequest) -> Iterator[Bench]:
    one = Bench(watched.url, request.param)
    yield one
    one.close()


def test_counts_go_on_where_the_replica_has_taken_the_masters_place(bench: Bench, watched: Watched) -> None:
    one = limit(5, period=3600.0)
    assert [bench.allows(one) for _ in range(2)] == [True] * 2
    watched.await_copy()
    watched.sentinels[0].kill()  # with the master goes the Sentinel that answered until now
    watched.master.kill()
    bench.await_change(down=True)
    assert bench.allows(one), "on this machine"
    bench.await_change(down=False)
    assert b"role:master" in watched.replica.command("INFO", "replication")
    assert [bench.allows(one) for _ in range(3)] == [True, True, False]
    assert len(bench.errors) == 1


def test_a_master_that_is_silent_loses_its_place_for_good(watched: Watched) -> None:
    bench = Bench(watched.url, LOOPS[1], deadline=0.05)
    one = limit(5, period=3600.0)
    while not bench.store._link:
        bench.run(asyncio.sleep(0.001))
    watched.master.pause()
    assert bench.allows(one)
    bench.await_change(down=False)
    watched.master.resume()
    assert [bench.allows(one) for _ in range(5)] == [True] * 4 + [False]
    assert bench.changes == [True, False]
    bench.close()


def test_a_failover_by_hand_is_followed(bench: Bench, watched: Watched) -> None:
    one = limit(1000, period=3600.0)
    assert bench.allows(one)
    assert watched.sentinels[0].command("SENTINEL", "FAILOVER", "main") == b"+OK\r\n"
    watched.await_master(watched.replica)

    async def until_moved() -> None:
        while bench.changes[-2:] != [True, False]:
            assert (await bench.ask((one, K, 1)))[0].allowed
            await asyncio.sleep(0.01)

    bench.run(until_moved())
    before = bench.hit([(one, K, 0)])[0].remaining
    assert bench.allows(one)
    assert bench.hit([(one, K, 0)])[0].remaining == before - 1


def test_a_ban_that_was_not_copied_is_lost_with_the_master(watched: Watched) -> None:
    bench = Bench(watched.url, LOOPS[1])
    kept, lost = (limit(5, name, period=3600.0, headers="always") for name in ("kept", "lost"))
    assert bench.allows(kept)
    bench.store.ban(kept, K, 60.0)
    assert isinstance(bench.hit([(kept, b"other", 0), (kept, K, 1)])[-1], Banned)
    watched.await_copy()
    watched.replica.command("REPLICAOF", "127.0.0.1", "1")  # nothing is copied any more
    bench.store.ban(lost, K, 60.0)
    assert isinstance(bench.hit([(lost, K, 1)])[0], Banned)
    bench.hit([(lost, b"behind the ban", 1)])
    watched.master.kill()
    watched.replica.command("REPLICAOF", "127.0.0.1", str(watched.master.port))
    bench.await_change(down=False)
    bench.store._rules.clear()  # what this worker remembers of bans for a second
    assert isinstance(bench.hit([(kept, K, 1)])[0], Banned)
    assert bench.hit([(lost, K, 1)])[0].remaining == 4, "counts begin anew, as after a ban"
    bench.close()


def run_check(url: str) -> str | None:
    return asyncio.run(check(Settings(url=url)))


def test_the_check_before_the_start(tmp_path: Path) -> None:
    with Watched(tmp_path, password="s3cret") as watched:
        assert run_check(watched.url) is None
        assert run_check(f"redis+sentinel://:s3cret@127.0.0.1:1,{watched.places}/main/3") is None
        for url, expected in (
            (f"redis+sentinel://{watched.places}/main", "requires a password"),
            (f"redis+sentinel://:wrong@{watched.places}/main", "wrong user or password"),
            (f"redis+sentinel://:s3cret@{watched.places}/other", 'no service "other"'),
            (f"redis+sentinel://:s3cret@{watched.places}/main?sentinel_password=x", "it has none"),
            (f"redis+sentinel://:s3cret@127.0.0.1:{watched.master.port}/main?sentinel_password=s3cret", "unknown"),
        ):
            with pytest.raises(errors.StoreRefused, match=expected) as refusal:
                run_check(url)
            assert "s3cret" not in str(refusal.value)
        watched.master.pause()
        warning = run_check(watched.url)
        assert warning is not None
        assert "is down" in warning


def test_sentinels_and_their_redis_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = certificate.settings(tmp_path)
    try:
        watched = Watched(tmp_path, tls=tls).__enter__()
    except RuntimeError:
        pytest.skip("this Redis was built without TLS")
    with ExitStack() as stack:
        stack.push(watched)
        with pytest.raises(errors.StoreRefused, match="certificate is not accepted"):
            run_check(watched.url)
        monkeypatch.setenv("SSL_CERT_FILE", tls["tls_cert_file"])
        assert run_check(watched.url) is None
        bench = Bench(watched.url, LOOPS[1])
        stack.callback(bench.close)
        assert [bench.allows(limit(2)) for _ in range(3)] == [True, True, False]
        watched.await_copy()
        watched.master.kill()
        bench.await_change(down=True)
        bench.await_change(down=False)
        bench.store._rules.clear()
        assert not bench.allows(limit(2))
