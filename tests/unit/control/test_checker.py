import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine

import pytest

from headgate.control.checker import Checker, Key
from headgate.control.httpcheck import Result
from headgate.model.address import Address
from headgate.model.config import HealthCheck
from headgate.testing.clock import VirtualLoop

A = ("web", Address("10.0.0.1", 80))
B = ("web", Address("10.0.0.2", 80))
EVERY_2_S = HealthCheck(interval=2.0, timeout=1.0)


def run(main: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


class Probes:
    """Stands for the network: notes when each server was probed, and answers what the test says."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.times: dict[Address, list[float]] = {}
        self.checks: list[HealthCheck] = []
        self.results: list[tuple[Key, Result]] = []

    async def probing(self, address: Address, check: HealthCheck, clock: Callable[[], float]) -> Result:
        self.times.setdefault(address, []).append(clock())
        self.checks.append(check)
        await asyncio.sleep(self.takes)
        return Result(True, f"probe {len(self.times[address])}")

    def checker(self, seed: int = 1) -> Checker:
        return Checker(
            lambda key, result: self.results.append((key, result)),
            probing=self.probing,
            clock=asyncio.get_running_loop().time,
            chance=random.Random(seed),
        )


def test_the_first_probe_begins_within_a_fifth_of_a_second() -> None:
    async def main() -> None:
        for seed in range(20):
            probes = Probes()
            checker = probes.checker(seed)
            begun = asyncio.get_running_loop().time()
            checker.watch({A: EVERY_2_S})
            await asyncio.sleep(0.2)
            await checker.close()
            assert len(probes.times[A[1]]) == 1
            assert begun <= probes.times[A[1]][0] <= begun + 0.2

    run(main())


def test_servers_do_not_all_get_their_first_probe_together() -> None:
    async def main() -> None:
        probes = Probes()
        checker = probes.checker()
        checker.watch({("web", Address("h", port)): EVERY_2_S for port in range(1, 21)})
        await asyncio.sleep(0.2)
        await checker.close()
        assert len({times[0] for times in probes.times.values()}) == 20

    run(main())


@pytest.mark.parametrize("takes", [0.0, 0.9], ids=["quick answers", "slow answers"])
def test_probes_are_an_interval_apart_give_or_take_a_tenth(takes: float) -> None:
    async def main() -> None:
        probes = Probes(takes)
        checker = probes.checker()
        checker.watch({A: EVERY_2_S})
        await asyncio.sleep(100)
        await checker.close()
        times = probes.times[A[1]]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert len(gaps) > 40
        assert all(1.8 - 1e-6 <= gap <= 2.2 + 1e-6 for gap in gaps)
        assert len({round(gap, 6) for gap in gaps}) > 20

    run(main())


def test_every_result_is_reported_with_its_server() -> None:
    async def main() -> None:
        probes = Probes()
        checker = probes.checker()
        checker.watch({A: EVERY_2_S, B: EVERY_2_S})
        await asyncio.sleep(0.3)
        await checker.close()
        assert sorted(probes.results, key=str) == [(A, Result(True, "probe 1")), (B, Result(True, "probe 1"))]

    run(main())


def test_a_server_that_is_no_longer_watched_is_left_alone() -> None:
    async def main() -> None:
        probes = Probes(takes=0.5)
        checker = probes.checker()
        checker.watch({A: EVERY_2_S, B: EVERY_2_S})
        await asyncio.sleep(0.3)  # both probes are under way
        checker.watch({B: EVERY_2_S})
        await asyncio.sleep(10)
        await checker.close()
        assert len(probes.times[A[1]]) == 1
        assert {key for key, _ in probes.results} == {B}
        assert len(probes.times[B[1]]) > 3

    run(main())


def test_watching_the_same_again_disturbs_nothing() -> None:
    async def main() -> None:
        probes = Probes()
        checker = probes.checker()
        for _ in range(40):
            checker.watch({A: EVERY_2_S})
            await asyncio.sleep(0.1)
        await checker.close()
        assert 2 <= len(probes.times[A[1]]) <= 3

    run(main())


def test_new_settings_apply_at_once() -> None:
    async def main() -> None:
        probes = Probes()
        checker = probes.checker()
        checker.watch({A: HealthCheck(interval=3600)})
        await asyncio.sleep(1)
        checker.watch({A: HealthCheck(path="/new", interval=1)})
        await asyncio.sleep(0.01)
        assert [check.path for check in probes.checks] == ["/", "/new"]
        await asyncio.sleep(3.5)
        assert len(probes.checks) >= 4
        await checker.close()

    run(main())


def test_a_result_by_old_settings_is_not_reported() -> None:
    async def main() -> None:
        probes = Probes(takes=0.5)
        checker = probes.checker()
        checker.watch({A: EVERY_2_S})
        await asyncio.sleep(0.3)
        checker.watch({A: HealthCheck(path="/new", interval=2.0)})
        await asyncio.sleep(0.45)
        assert probes.results == []
        await asyncio.sleep(0.5)
        assert len(probes.results) == 1
        assert probes.checks[-1].path == "/new"
        await checker.close()

    run(main())


def test_closing_ends_every_task() -> None:
    async def main() -> None:
        checker = Probes().checker()
        checker.watch({A: EVERY_2_S, B: EVERY_2_S})
        await checker.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_a_bug_in_a_probe_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(address: Address, check: HealthCheck, clock: Callable[[], float]) -> Result:
        raise ZeroDivisionError

    async def main() -> None:
        checker = Checker(lambda key, result: None, probing=broken)
        checker.watch({A: EVERY_2_S})
        await asyncio.sleep(1)
        await checker.close()

    run(main())
    assert "ended by a bug" in caplog.text
    assert "ZeroDivisionError" in caplog.text
