import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.control.httpcheck import Result
from headgate.control.overlay import Changes
from headgate.control.plane import Plane
from headgate.control.sockets import bind
from headgate.control.state import StateFile
from headgate.control.tuning import UNTUNED
from headgate.errors import Busy, Exists, ListenFailed, Unknown, UserError
from headgate.model.address import Address
from headgate.model.config import AccessLog, Config, Listener, Store
from headgate.model.server import Mode
from headgate.wire.cells import LimitCell, ServerCell
from headgate.wire.messages import Ejected, KeyBanned, StoreChanged
from tests.ports import free_port
from tests.unit.control.configs import A, B, C, config, upstream, with_listeners
from tests.unit.control.planes import plane

QUIET = config(upstream("web", A, B, check=None))
UP, DOWN = Result(True, "200 OK in 1 ms"), Result(False, "connection refused")


def with_plane(
    test: Callable[[Plane], Awaitable[None]],
    base: Config = QUIET,
    *,
    load: Callable[[], Config] | None = None,
    state_path: str = "",
) -> None:
    async def main() -> None:
        with plane(base, load=load, state_path=state_path) as the:
            try:
                await test(the)
            finally:
                await the.close()
                for bound in the.bound.values():
                    bound.close()

    asyncio.run(main())


def test_verdicts_that_come_together_make_one_snapshot(caplog: pytest.LogCaptureFixture) -> None:
    async def test(the: Plane) -> None:
        for address in (A, B, C):
            the._take_result(("web", address), DOWN)
        assert the.fleet.snapshot.version == 1
        async with asyncio.timeout(20):
            while the.fleet.snapshot.version == 1:
                await asyncio.sleep(0)
        assert the.fleet.snapshot.version == 2
        assert {server.probe.value for server in the.fleet.snapshot.upstreams[0].servers} == {"down"}

    with caplog.at_level(logging.INFO):
        with_plane(test, config(upstream("web", A, B, C)))
    assert [record.message for record in caplog.records if record.name == "headgate.health"] == [
        f"server {address} of web is down: connection refused" for address in (A, B, C)
    ]


def test_a_change_takes_the_verdicts_that_wait_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.control.plane._CROWD", 3600.0)

    async def test(the: Plane) -> None:
        the._take_result(("web", A), DOWN)
        waiting = the._publishing
        assert waiting is not None
        await the.set_server("web", B, mode=Mode.DRAIN, weight=None)
        assert the.fleet.snapshot.version == 2
        assert waiting.cancelled(), "there is nothing left to be told"

    with_plane(test, config())


def test_how_many_failures_it_took_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test(the: Plane) -> None:
        for result in (UP, DOWN, DOWN, DOWN, DOWN, UP, UP):
            the._take_result(("web", A), result)

    with caplog.at_level(logging.INFO):
        with_plane(test, config())
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", f"server {A} of web is up: 200 OK in 1 ms"),
        ("WARNING", f"server {A} of web is down: connection refused (3 in a row)"),
        ("INFO", f"server {A} of web is up: 200 OK in 1 ms (2 in a row)"),
    ]


def test_what_cannot_be_changed_raises_and_changes_nothing() -> None:
    async def test(the: Plane) -> None:
        with pytest.raises(Exists, match="is in upstream"):
            await the.add_server("web", A, None)
        with pytest.raises(Unknown, match="no upstream"):
            await the.add_server("wep", C, None)
        with pytest.raises(Unknown, match="no server"):
            await the.set_server("web", C, mode=Mode.DRAIN, weight=None)
        with pytest.raises(Unknown, match="no server"):
            await the.remove_server("web", C, None)
        assert the.fleet.snapshot.version == 1

    with_plane(test)


def test_changes_made_together_are_made_one_after_the_other(tmp_path: Path) -> None:
    async def test(the: Plane) -> None:
        news = [Address("10.0.1.1", port) for port in range(1, 11)]
        await asyncio.gather(*(the.add_server("web", address, None) for address in news))
        assert {member.address for member in the.fleet.members("web")} == {A, B, *news}
        assert the.fleet.snapshot.version == 11
        assert len(StateFile.load(the._state)[0]["web"].added) == 10

    with_plane(test, state_path=str(tmp_path / "state.json"))


def test_one_of_two_who_add_the_same_server_is_told() -> None:
    async def test(the: Plane) -> None:
        results = await asyncio.gather(*(the.add_server("web", C, None) for _ in range(2)), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), Exists]

    with_plane(test)


def test_a_slot_is_cleared_before_another_server_has_it() -> None:
    async def test(the: Plane) -> None:
        await the.start({}, UNTUNED)
        slot = the.fleet.member("web", A).slot
        for row in range(2):
            the.cells.server(row, slot)[ServerCell.CONNECTS] = 77
        await the.remove_server("web", A, None)
        async with asyncio.timeout(20):
            while not the.fleet.is_tidy:
                await asyncio.sleep(0.01)
        assert [member.address for member in the.fleet.members("web")] == [B]
        assert the.cells.server_total(slot, ServerCell.CONNECTS) == 0

    with_plane(test)


def test_a_limits_slot_is_cleared_too() -> None:
    async def test(the: Plane) -> None:
        (state,) = the.fleet.snapshot.limits
        the.cells.limit(1, state.slot)[LimitCell.REFUSED] = 5
        await the.reload()
        the._tidy()
        assert the.cells.limit_total(state.slot, LimitCell.REFUSED) == 0

    base = replace(config(limits=("per_ip",)), listeners=())
    with_plane(test, base, load=lambda: replace(base, limits=()))


class TestStateAtTheStart:
    """What the file has and the configuration makes meaningless."""

    def test_is_mended_for_good(self, tmp_path: Path) -> None:
        path = str(tmp_path / "state.json")
        before = StateFile(path)
        before.save({"web": Changes(removed=(str(C), str(A)))}, UNTUNED)
        before.close()

        async def test(the: Plane) -> None:
            await the.start({"web": Changes(removed=(str(C), str(A)))}, UNTUNED)
            assert StateFile.load(the._state)[0] == {"web": Changes(removed=(str(A),))}

        with_plane(test, state_path=path)

    def test_is_kept_and_told_when_its_upstream_is_away(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = str(tmp_path / "state.json")
        overlay = {"gone": Changes(removed=(str(A),))}
        before = StateFile(path)
        before.save(overlay, UNTUNED)
        before.close()

        async def test(the: Plane) -> None:
            await the.start(overlay, UNTUNED)
            await the.set_server("web", A, mode=Mode.DRAIN, weight=None)
            assert StateFile.load(the._state)[0]["gone"] == overlay["gone"]

        with_plane(test, state_path=path)
        assert "changes made at run time are kept for upstreams that are not there: gone" in caplog.text

    def test_is_told_when_it_cannot_be_mended(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = tmp_path / "state.json"

        async def test(the: Plane) -> None:
            path.mkdir()
            await the.start({"web": Changes(removed=(str(C),))}, UNTUNED)

        with_plane(test, state_path=str(path))
        assert "cannot be written" in caplog.text


def test_what_the_configuration_has_and_nothing_names_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:

    async def test(the: Plane) -> None:
        await the.start({}, UNTUNED)

    with_plane(test, config(upstream("web", A, check=None), limits=("forgotten",)))
    assert "limits.forgotten: no route, no listener and no upstream of a route names it" in caplog.text


class TestReload:
    """Listeners are bound before anything changes and closed after."""

    def test_new_listeners_are_bound_and_old_ones_closed(self) -> None:
        one, two = Address("127.0.0.1", 0), Address("127.0.0.2", 0)
        configs = [with_listeners(QUIET, one), with_listeners(QUIET, one, two), with_listeners(QUIET, two)]

        async def test(the: Plane) -> None:
            expected: list[set[Address]] = [{one}, {one, two}, {two}]
            for wanted in expected:
                kept = {address: the.bound[address] for address in the.bound.keys() & wanted}
                version = (await the.reload()).version
                assert version == the.fleet.snapshot.version
                assert the.bound.keys() == wanted
                assert all(the.bound[address] is bound for address, bound in kept.items())

        with_plane(test, replace(QUIET, listeners=()), load=lambda: configs.pop(0))

    def test_an_old_one_is_closed_here_before_the_workers_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = Address("127.0.0.1", 0)
        configs = [with_listeners(QUIET, one), with_listeners(QUIET)]
        closed: list[bool] = []

        async def test(the: Plane) -> None:
            await the.reload()
            sockets = the.bound[one].sockets
            monkeypatch.setattr(
                the.crew, "adopt", lambda snapshot, bound: closed.extend(s.fileno() < 0 for s in sockets)
            )
            await the.reload()
            assert closed
            assert all(closed)

        with_plane(test, replace(QUIET, listeners=()), load=lambda: configs.pop(0))

    @pytest.mark.parametrize("when", ["before it", "during it"])
    def test_a_headgate_that_stops_binds_nothing_any_more(self, when: str) -> None:
        address = Address("127.0.0.1", free_port())
        planes: list[Plane] = []

        def load() -> Config:
            planes[0].end()
            return with_listeners(QUIET, address)

        async def test(the: Plane) -> None:
            planes.append(the)
            if when == "before it":
                the.end()
            with pytest.raises(Busy, match="Headgate stops"):
                await the.reload()
            assert (the.bound, the.fleet.snapshot.version) == ({}, 1)
            bind(address, 1).close()  # it is free

        with_plane(test, load=load)

    def test_when_one_cannot_be_bound_the_others_are_freed(self) -> None:
        free, foreign = Address("127.0.0.1", 0), Address("192.0.2.1", 80)
        base = replace(QUIET, listeners=())

        async def test(the: Plane) -> None:
            with pytest.raises(ListenFailed):
                await the.reload()
            assert the.bound == {}
            assert the.fleet.config == base

        with_plane(test, base, load=lambda: with_listeners(QUIET, free, foreign))

    def test_when_there_is_no_room_new_listeners_are_closed(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        many = config(upstream("web", *(Address("h", port) for port in range(1, 5000)), check=None))
        base = replace(QUIET, listeners=())

        async def test(the: Plane) -> None:
            with pytest.raises(UserError, match="there is room"):
                await the.reload()
            assert not path.exists()
            assert the.fleet.config == base

        with_plane(test, base, load=lambda: replace(many, listeners=(Listener(Address(path=str(path))),)))

    def test_the_same_again_is_no_change(self) -> None:
        base = replace(QUIET, listeners=())

        async def test(the: Plane) -> None:
            assert await the.reload() == (1, False, [])

        with_plane(test, base, load=lambda: base)

    def test_workers_look_at_modules_again_that_say_the_same(self) -> None:
        base = replace(QUIET, listeners=(), modules=(("rules", "1"),))

        async def test(the: Plane) -> None:
            assert await the.reload() == (2, False, [])
            assert await the.reload() == (3, False, [])

        with_plane(test, base, load=lambda: base)

    def test_a_store_that_is_away_is_told_and_used(self, caplog: pytest.LogCaptureFixture) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            store = Store(f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
            base = replace(QUIET, listeners=())

            async def test(the: Plane) -> None:
                assert await the.reload() == (2, True, [])
                assert the.fleet.snapshot.store == store

            with_plane(test, base, load=lambda: replace(base, store=store))
        assert "is down" in caplog.text

    def test_an_access_log_that_cannot_be_written_changes_nothing(self, tmp_path: Path) -> None:
        base = replace(QUIET, listeners=())

        async def test(the: Plane) -> None:
            with pytest.raises(UserError, match="access log"):
                await the.reload()
            assert the.fleet.config == base

        with_plane(test, base, load=lambda: replace(base, access_log=AccessLog(path=str(tmp_path))))


def told(the: Plane) -> list[tuple[str, str]]:
    return [(event.kind, event.text) for event in the.events.since(0)[0]]


@pytest.mark.parametrize("when", ["before", "while a change is awaited"])
def test_a_headgate_that_stops_hands_over_to_nobody(when: str) -> None:
    async def test(the: Plane) -> None:
        if when == "before":
            the.end()
            taking_over = asyncio.ensure_future(the.freeze("another process is taking over"))
        else:
            async with the._lock:
                taking_over = asyncio.ensure_future(the.freeze("another process is taking over"))
                await asyncio.sleep(0)
                the.end()
        with pytest.raises(Busy, match="Headgate stops"):
            await taking_over
        await the.set_server("web", A, mode=None, weight=7)  # which workers that drain have a use for

    with_plane(test)


def test_what_changes_of_servers_is_an_event() -> None:
    async def test(the: Plane) -> None:
        the._take_result(("web", A), DOWN)
        the._take_result(("web", A), DOWN)
        await the.add_server("web", C, None)
        await the.set_server("web", C, mode=Mode.DRAIN, weight=3)
        await the.remove_server("web", C, None)
        await the.reload()
        the.heard(1, Ejected("web", str(B), 10.0))
        assert told(the) == [
            ("server_down", f"server {A} of web is down: connection refused"),
            ("server_added", f"server {C} of web is added"),
            ("server_mode", f"server {C} of web is set to drain"),
            ("server_weight", f"server {C} of web has weight 3"),
            ("server_removed", f"server {C} of web is being removed"),
            ("reloaded", "the configuration was read again: nothing changed"),
            ("server_ejected", f"server {B} of web is ejected for 10 s by worker 1"),
        ]

    with_plane(test, config(upstream("web", A, B)))


def test_a_store_that_all_workers_lose_is_one_event_and_so_is_its_return() -> None:
    async def test(the: Plane) -> None:
        for row in (0, 1):
            the.heard(row, StoreChanged(True, "refused"))
        the.heard(0, StoreChanged(False))
        the.heard(0, StoreChanged(False))
        the.heard(1, StoreChanged(False))
        the.heard(1, StoreChanged(True, "no answer"))
        the.worker_died(1)
        the.heard(0, StoreChanged(False))
        the.heard(0, StoreChanged(True, "again"))
        assert told(the) == [
            ("store_down", "the limits' store is down: refused; on_store_error decides"),
            ("store_back", "the limits' store is back in every worker"),
            ("store_down", "the limits' store is down: no answer; on_store_error decides"),
            ("worker_died", "worker 1 died; another takes its place"),
            ("store_back", "the limits' store is back in every worker"),
            ("store_down", "the limits' store is down: again; on_store_error decides"),
        ]
        the.crew.draining = True
        the.worker_died(0)
        assert told(the)[-1][0] == "store_down"

    with_plane(test)


@pytest.mark.parametrize(("refusals", "said"), [(1, "1 refusal"), (5, "5 refusals")])
def test_a_ban_by_a_limits_own_rule_is_an_event(refusals: int, said: str) -> None:
    async def test(the: Plane) -> None:
        the.heard(0, KeyBanned("per_ip", b"192.0.2.7", 3600.0, refusals))
        (event,) = the.events.since(0)[0]
        assert (event.kind, event.text) == (
            "key_banned",
            f"limit per_ip: 192.0.2.7 is banned for 3600 s after {said}",
        )
        assert event.fields == {"limit": "per_ip", "key": "192.0.2.7", "by": "rule", "seconds": 3600.0}

    with_plane(test)
