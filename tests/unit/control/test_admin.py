import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import msgspec
import pytest
import uvloop
from starlette.types import ASGIApp

from headgate.control import admin
from headgate.control.admin import AdminServer, application
from headgate.control.plane import Plane
from headgate.control.sockets import bind
from headgate.control.upgrade import Upgrade
from headgate.errors import ConfigError
from headgate.model.address import Address
from headgate.model.config import Admin, Config
from headgate.model.server import Mode
from headgate.wire.cells import LimitCell, ServerCell, WorkerCell
from tests.unit.control.configs import A, B, C, config, upstream
from tests.unit.control.planes import Answer, call, plane

SERVERS = "/api/v1/upstreams/web/servers"


class Api:
    """A plane and its API."""

    def __init__(self, the_plane: Plane) -> None:
        self.plane = the_plane
        self.upgrade = Upgrade(the_plane, admin=None, limits=-1, lock=-1, command=[sys.executable, "-c", ""])
        self.app: ASGIApp = application(the_plane, self.upgrade, on_network=True)

    async def __call__(self, method: str, target: str, body: dict[str, object] | bytes | None = None) -> Answer:
        headers = {"content-type": "application/json"} if body is not None else None
        return await call(self.app, method, target, body, headers)

    async def servers(self, name: str = "web") -> dict[str, dict[str, object]]:
        answer = await self("GET", f"/api/v1/upstreams/{name}/servers")
        listed = msgspec.convert(answer.json["servers"], list[dict[str, object]])
        return {str(server["address"]): server for server in listed}


def with_api(
    test: Callable[[Api], Awaitable[None]],
    base: Config | None = None,
    *,
    load: Callable[[], Config] | None = None,
    state_path: str = "",
) -> None:
    async def main() -> None:
        with plane(base, load=load, state_path=state_path) as the_plane:
            await test(Api(the_plane))
            await the_plane.close()

    asyncio.run(main())


def test_the_status_has_everything() -> None:
    async def test(api: Api) -> None:
        api.plane.cells.worker(1)[WorkerCell.CONNECTIONS] = 3
        api.plane.cells.limit(0, 0)[LimitCell.STORE_ERRORS] = 4
        for index, errors in enumerate((2, 3)):
            api.plane.cells.limit(index, 0)[LimitCell.FUNCTION_ERRORS] = errors
        status = (await api("GET", "/api/v1/status")).json
        assert set(status) == {
            *("version", "snapshot", "pid", "started", "uptime", "draining"),
            *("workers", "listeners", "upstreams", "limits", "store"),
        }
        assert status["snapshot"] == 1
        assert status["draining"] is False
        assert status["store"] == {"kind": "local", "down": False, "headgates": 1}
        assert status["limits"] == [
            {
                "name": "per_ip",
                "rate": "10/minute",
                "key": "client_ip",
                "algorithm": "fixed_window",
                "dry_run": False,
                "allowed": 0,
                "refused": 0,
                "dry_run_refused": 0,
                "near": 0,
                "delayed": 0,
                "banned": 0,
                "store_errors": 4,
                "function_errors": 5,
                "in_flight": 0,
            }
        ]
        workers = cast("list[dict[str, object]]", status["workers"])
        assert [worker["connections"] for worker in workers] == [0, 3]
        (group,) = cast("list[dict[str, object]]", status["upstreams"])
        assert (group["name"], group["policy"], group["health_check"]) == ("web", "round_robin", True)

    with_api(test, config(limits=("per_ip",)))


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("PUT", SERVERS, "GET, HEAD, POST"),
        ("PUT", f"{SERVERS}/{A}", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/api/v1/reload", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("OPTIONS", "/api/v1/limits", "GET, HEAD"),
        ("DELETE", "/api/v1/limits/per_ip/overrides", "GET, HEAD, PATCH"),
        ("POST", "/api/v1/limits/per_ip/overrides/192.0.2.7", "DELETE, GET, HEAD, PUT"),
        ("POST", "/api/v1/limits/per_ip/overrides/keys%2F192.0.2.7", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/api/v1/tiers/gold", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/api/v1/limits/per_ip/keys/192.0.2.7", "DELETE, GET, HEAD"),
        ("POST", "/api/v1/limits/per_ip/keys/192.0.2.7", "DELETE, GET, HEAD"),
        ("POST", "/api/v1/limits/per_ip/keys/%2Fban", "DELETE, GET, HEAD"),
        ("GET", "/api/v1/limits/per_ip/keys/192.0.2.7/ban", "DELETE, PUT"),
        ("OPTIONS", "/api/v1/limits/per_ip/keys/192.0.2.7/ban", "DELETE, PUT"),
    ],
)
def test_a_method_that_a_path_has_not_is_told_all_that_it_has(method: str, target: str, allowed: str) -> None:
    async def test(api: Api) -> None:
        answer = await api(method, target)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert answer.headers["content-type"] == "application/problem+json"

    with_api(test, config(limits=("per_ip",)))


def test_events_are_told_since_a_number() -> None:
    async def test(api: Api) -> None:
        for text in ("one", "two"):
            api.plane.events.add("kind", text, worker=1)
        answer = (await api("GET", "/api/v1/events?since=1")).json
        (event,) = cast("list[dict[str, object]]", answer["events"])
        assert (event["number"], event["kind"], event["text"], event["fields"]) == (2, "kind", "two", {"worker": 1})
        assert (answer["last"], answer["misses"], answer["started"]) == (2, False, api.plane.started)
        assert len(cast("list[object]", (await api("GET", "/api/v1/events")).json["events"])) == 2
        for bad in ("x", "-1", "9" * 30):
            assert (await api("GET", f"/api/v1/events?since={bad}")).status == 400

    with_api(test)


def test_a_server_is_shown_with_its_counts() -> None:
    async def test(api: Api) -> None:
        slot = api.plane.fleet.member("web", A).slot
        for index, k in ((0, 1), (1, 2)):
            cells = api.plane.cells.server(index, slot)
            cells[ServerCell.IN_FLIGHT] = k
            cells[ServerCell.IDLE] = 10 * k
            cells[ServerCell.CLASS + 2] = 100 * k
            cells[ServerCell.CLASS + 5] = k
            cells[ServerCell.RESETS] = 5 * k
        assert (await api.servers())[str(A)] == {
            "address": str(A),
            "weight": 1,
            "mode": "ready",
            "probe": "unknown",
            "detail": "",
            "ejected_for": 0,
            "available": True,
            "in_flight": 3,
            "idle": 30,
            "requests": 303,
            "failures": 15,
            "source": "config",
            "removing": False,
        }

    with_api(test)


def test_a_server_that_every_worker_ejected_is_not_available() -> None:
    async def test(api: Api) -> None:
        slot = api.plane.fleet.member("web", A).slot
        soon = int((time.monotonic() + 1000) * 1000)
        api.plane.cells.server(0, slot)[ServerCell.EJECTED_UNTIL] = soon
        shown = (await api.servers())[str(A)]
        assert shown["available"] is True
        assert 990 < cast("float", shown["ejected_for"]) <= 1000
        api.plane.cells.server(1, slot)[ServerCell.EJECTED_UNTIL] = soon
        assert (await api.servers())[str(A)]["available"] is False

    with_api(test)


def test_a_server_is_added() -> None:
    async def test(api: Api) -> None:
        answer = await api("POST", SERVERS, {"address": str(C), "weight": 3})
        assert answer.status == 201
        assert (answer.json["address"], answer.json["weight"], answer.json["source"]) == (str(C), 3, "runtime")
        assert api.plane.fleet.snapshot.version == 2
        assert list(await api.servers()) == [str(A), str(B), str(C)]
        assert (await api("POST", SERVERS, {"address": str(C)})).status == 409
        assert api.plane.fleet.snapshot.version == 2

    with_api(test)


def test_mode_and_weight_are_set() -> None:
    async def test(api: Api) -> None:
        answer = await api("PATCH", f"{SERVERS}/{A}", {"mode": "maint", "weight": 7})
        assert answer.status == 200
        assert (answer.json["mode"], answer.json["weight"], answer.json["available"]) == ("maint", 7, False)
        assert api.plane.fleet.snapshot.version == 2
        assert (await api("PATCH", f"{SERVERS}/{A}", {"mode": "ready"})).json["available"] is True
        assert api.plane.fleet.member("web", A).weight == 7

    with_api(test)


def test_a_removed_server_drains_and_then_leaves() -> None:
    async def test(api: Api) -> None:
        slot = api.plane.fleet.member("web", A).slot
        api.plane.cells.server(0, slot)[ServerCell.IN_FLIGHT] = 1
        answer = await api("DELETE", f"{SERVERS}/{A}")
        assert (answer.status, answer.json) == (202, {"address": str(A), "state": "removing"})
        shown = (await api.servers())[str(A)]
        assert (shown["mode"], shown["removing"]) == ("drain", True)
        assert (await api("DELETE", f"{SERVERS}/{A}")).status == 404
        api.plane._tidy()
        assert str(A) in await api.servers()
        api.plane.cells.server(0, slot)[ServerCell.IN_FLIGHT] = 0
        api.plane._tidy()
        assert list(await api.servers()) == [str(B)]

    with_api(test)


def test_a_removal_may_say_how_long_it_drains() -> None:
    async def test(api: Api) -> None:
        slot = api.plane.fleet.member("web", A).slot
        api.plane.cells.server(0, slot)[ServerCell.IN_FLIGHT] = 1
        assert (await api("DELETE", f"{SERVERS}/{A}?drain=0")).status == 202
        api.plane._tidy()
        assert list(await api.servers()) == [str(B)]
        for text in ("-1", "x", "nan", "inf", ""):
            answer = await api("DELETE", f"{SERVERS}/{B}?drain={text}")
            assert answer.status == 400
            assert "expected a number of seconds" in str(answer.json["detail"])

    with_api(test)


@pytest.mark.parametrize("path", ["unix:/run/a%20b.sock", "unix:%2Frun%2Fa%20b.sock", "unix:/run/a b.sock"])
def test_the_address_of_a_unix_socket_may_be_in_the_path(path: str) -> None:
    async def test(api: Api) -> None:
        assert (await api("GET", f"{SERVERS}/{path}")).json["address"] == "unix:/run/a b.sock"

    with_api(test, config(upstream("web", Address(path="/run/a b.sock"))))


def test_an_ipv6_address_may_be_in_the_path() -> None:
    async def test(api: Api) -> None:
        assert (await api("PATCH", f"{SERVERS}/[::1]:80", {"weight": 2})).status == 200
        assert (await api("PATCH", f"{SERVERS}/%5B::1%5D:80", {"weight": 3})).json["weight"] == 3

    with_api(test, config(upstream("web", Address("::1", 80))))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/api/v1/upstreams/wep/servers", None, 404, 'no upstream "wep" (known: web)'),
        ("POST", "/api/v1/upstreams/wep/servers", {"address": "1.1.1.1:1"}, 404, "(known: web)"),
        ("PATCH", f"{SERVERS}/{C}", {"weight": 1}, 404, "(known: 10.0.0.1:1, 10.0.0.1:2)"),
        ("DELETE", f"{SERVERS}/{C}", None, 404, "(known: 10.0.0.1:1, 10.0.0.1:2)"),
        ("GET", f"{SERVERS}/{C}", None, 404, "(known: 10.0.0.1:1, 10.0.0.1:2)"),
        ("POST", SERVERS, {"address": "nonsense"}, 400, "expected host:port"),
        ("POST", SERVERS, {"address": "1.1.1.1:0"}, 400, "port is 1 to 65535"),
        ("POST", SERVERS, {"addres": "1.1.1.1:1"}, 400, "unknown field `addres` (known: address, weight)"),
        ("POST", SERVERS, {}, 400, "missing required field `address`"),
        ("POST", SERVERS, {"address": 1}, 400, "$.address"),
        ("POST", SERVERS, {"address": "1.1.1.1:1", "weight": 257}, 400, "<= 256"),
        ("POST", SERVERS, {"address": "1.1.1.1:1", "weight": True}, 400, "$.weight"),
        ("POST", SERVERS, b"{", 400, "truncated"),
        ("POST", SERVERS, b"\xff", 400, "malformed"),
        ("PATCH", f"{SERVERS}/{A}", {}, 400, "nothing to change (known: mode, weight)"),
        ("PATCH", f"{SERVERS}/{A}", {"mode": "off"}, 400, "Invalid enum value 'off'"),
        ("PATCH", f"{SERVERS}/nonsense", {"weight": 1}, 400, "expected host:port"),
        ("PUT", f"{SERVERS}/{A}", {"weight": 1}, 405, "Method Not Allowed"),
        ("GET", "/api/v2/status", None, 404, "Not Found"),
        ("GET", "/api/v1/status/", None, 404, "Not Found"),
    ],
)
def test_what_cannot_be_done_is_told_as_a_problem_and_changes_nothing(
    method: str, path: str, body: dict[str, object] | bytes | None, status: int, detail: str
) -> None:
    async def test(api: Api) -> None:
        answer = await api(method, path, body)
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == status
        assert detail in str(answer.json["detail"])
        assert api.plane.fleet.snapshot.version == 1
        assert api.plane.fleet.overlay == {}

    with_api(test)


def test_a_change_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"

    async def test(api: Api) -> None:
        path.mkdir()  # a file cannot be put in its place
        answer = await api("PATCH", f"{SERVERS}/{A}", {"mode": "drain"})
        assert answer.status == 503
        assert "cannot be written" in str(answer.json["detail"])
        assert api.plane.fleet.member("web", A).mode is Mode.READY
        assert api.plane.fleet.snapshot.version == 1
        path.rmdir()
        assert (await api("PATCH", f"{SERVERS}/{A}", {"mode": "drain"})).status == 200

    with_api(test, state_path=str(path))


def test_changes_survive_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")

    async def before(api: Api) -> None:
        await api("POST", SERVERS, {"address": str(C), "weight": 5})
        await api("DELETE", f"{SERVERS}/{A}")
        await api("PATCH", f"{SERVERS}/{B}", {"mode": "drain"})

    async def after(api: Api) -> None:
        shown = await api.servers()
        assert [(name, server["mode"], server["weight"]) for name, server in shown.items()] == [
            (str(B), "drain", 1),
            (str(C), "ready", 5),
        ]

    with_api(before, state_path=path)
    with_api(after, state_path=path)


class TestReload:
    """POST /api/v1/reload."""

    def test_a_new_configuration_is_served(self) -> None:
        async def test(api: Api) -> None:
            answer = await api("POST", "/api/v1/reload")
            assert (answer.status, answer.json) == (200, {"snapshot": 2, "changed": True, "restart_needed": []})
            assert set(await api.servers("api")) == {str(C)}
            assert (await api("POST", "/api/v1/reload")).json == {"snapshot": 2, "changed": False, "restart_needed": []}

        new = replace(config(upstream("web", A, B), upstream("api", C)), listeners=())
        with_api(test, replace(config(), listeners=()), load=lambda: new)

    def test_a_bad_one_changes_nothing_and_tells_every_problem(self) -> None:
        def load() -> Config:
            raise ConfigError(["a.toml:1: one", "a.toml:2: two"])

        async def test(api: Api) -> None:
            answer = await api("POST", "/api/v1/reload")
            assert answer.status == 422
            assert answer.json["problems"] == ["a.toml:1: one", "a.toml:2: two"]
            assert api.plane.fleet.snapshot.version == 1

        with_api(test, load=load)

    def test_a_listener_that_cannot_be_bound_changes_nothing(self) -> None:
        base = replace(config(), listeners=())
        new = replace(
            config(upstream("web", C)), listeners=(replace(config().listeners[0], address=Address("192.0.2.1", 80)),)
        )

        async def test(api: Api) -> None:
            answer = await api("POST", "/api/v1/reload")
            assert answer.status == 422
            assert "cannot listen on 192.0.2.1:80" in str(answer.json["problems"])
            assert api.plane.fleet.config == base
            assert api.plane.bound == {}

        with_api(test, base, load=lambda: new)

    def test_what_needs_a_restart_stays_and_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        base = replace(config(), listeners=())
        new = replace(base, workers=5, state_file="/elsewhere", admin=Admin(Address("127.0.0.1", 1), "new token"))

        async def test(api: Api) -> None:
            answer = (await api("POST", "/api/v1/reload")).json
            assert answer == {
                "snapshot": 1,
                "changed": True,
                "restart_needed": ["workers", "state_file", "admin.listen"],
            }
            kept = api.plane.fleet.config
            assert (kept.workers, kept.state_file, kept.admin.listen) == (2, "", None)
            assert kept.admin.token == "new token"

        with_api(test, base, load=lambda: new)
        assert "a restart is needed for the new workers and state_file and admin.listen" in caplog.text

    def test_run_time_changes_stay(self) -> None:
        new = replace(config(upstream("web", B, C)), listeners=())

        async def test(api: Api) -> None:
            await api("PATCH", f"{SERVERS}/{B}", {"weight": 9})
            await api("DELETE", f"{SERVERS}/{A}")
            await api("POST", SERVERS, {"address": "10.9.9.9:1"})
            await api("POST", "/api/v1/reload")
            api.plane._tidy()
            shown = await api.servers()
            assert [(name, server["weight"], server["source"]) for name, server in shown.items()] == [
                (str(B), 9, "config"),
                (str(C), 1, "config"),
                ("10.9.9.9:1", 1, "runtime"),
            ]
            assert api.plane.fleet.overlay["web"].removed == ()

        with_api(test, replace(config(), listeners=()), load=lambda: new)


def test_without_workers_headgate_is_neither_healthy_nor_ready() -> None:
    async def test(api: Api) -> None:
        assert (await api("GET", "/healthz")).status == 503
        answer = await api("GET", "/readyz")
        assert answer.status == 503
        assert answer.json["problems"] == ["worker 0 is not running", "worker 1 is not running"]

    with_api(test)


def test_an_upstream_without_an_available_server_is_not_ready() -> None:
    async def test(api: Api) -> None:
        for address in (A, B):
            await api("PATCH", f"{SERVERS}/{address}", {"mode": "maint"})
        problems = cast("list[str]", (await api("GET", "/readyz")).json["problems"])
        assert "no server of upstream web is available" in problems

    with_api(test)


def test_the_metrics_are_text() -> None:
    async def test(api: Api) -> None:
        answer = await api("GET", "/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b"headgate_snapshot_version 1\n" in answer.body

    with_api(test)


def test_an_upgrade_that_fails_is_an_error_and_changes_go_on() -> None:
    async def test(api: Api) -> None:
        answer = await api("POST", "/api/v1/upgrade")
        assert answer.status == 500
        assert "ended before it served" in str(answer.json["detail"])
        assert (await api("POST", SERVERS, {"address": str(C)})).status == 201

    with_api(test)


def test_nothing_is_changed_while_another_process_takes_over() -> None:
    async def test(api: Api) -> None:
        await api.plane.freeze("another process is taking over")
        before = api.plane.fleet.snapshot
        asked: list[tuple[str, str, dict[str, object] | None]] = [
            ("POST", SERVERS, {"address": str(C)}),
            ("PATCH", f"{SERVERS}/{A}", {"weight": 7}),
            ("DELETE", f"{SERVERS}/{A}", None),
            ("POST", "/api/v1/reload", None),
            ("POST", "/api/v1/upgrade", None),
        ]
        for method, target, body in asked:
            answer = await api(method, target, body)
            assert (answer.status, answer.json["detail"]) == (409, "another process is taking over"), target
        assert api.plane.fleet.snapshot is before
        api.plane.thaw()
        assert (await api("PATCH", f"{SERVERS}/{A}", {"weight": 7})).status == 200

    with_api(test)


class Caller:
    """A client of the API over a socket."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection((address.host, address.port))
        self.socket.setblocking(False)

    async def sends(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def until(self, end: bytes) -> bytes:
        """What came up to there."""
        received = b""
        while end not in received:
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
            assert data, f"closed after {received!r}"
            received += data
        return received

    async def is_closed(self) -> bool:
        """True as soon as it is, however long that takes."""
        try:
            while await asyncio.get_running_loop().sock_recv(self.socket, 65536):
                pass
        except ConnectionResetError:
            pass
        return True


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


Story = Callable[["Serving"], Awaitable[None]]


class Serving:
    """The API on a socket."""

    def __init__(self, the_plane: Plane) -> None:
        self.plane = the_plane
        self.bound = bind(Address("127.0.0.1", 0), 1)
        upgrade = Upgrade(the_plane, admin=self.bound, limits=-1, lock=-1, command=[])
        self.server = AdminServer(the_plane, upgrade, self.bound)
        self.callers: list[Caller] = []

    def call(self) -> Caller:
        """A client that has connected."""
        self.callers.append(Caller(self.bound.actual))
        return self.callers[-1]

    @property
    def connections(self) -> list[admin._Connection]:
        return [cast("admin._Connection", each) for each in self.server._server.server_state.connections]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def serve(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Runs a test with the API on a socket."""

    async def main(test: Story) -> None:
        with plane() as the_plane:
            serving = Serving(the_plane)
            serving.server.start()
            try:
                async with asyncio.timeout(20):
                    await test(serving)
            finally:
                for caller in serving.callers:
                    caller.socket.close()
                await serving.server.close()
                await the_plane.close()

    return lambda test: request.param(main(test))


class TestConnections:
    """What one connection, and all together, may take of the supervisor."""

    @pytest.mark.parametrize(
        "sent",
        [
            b"",
            b"G",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            % SERVERS.encode(),
            HEALTH,
            HEALTH + b"G",
        ],
        ids=["nothing", "a byte", "half a head", "half a body", "a request", "a request and a byte"],
    )
    def test_one_that_does_not_go_on_is_closed(
        self, sent: bytes, serve: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin, "_PATIENCE", 0.1)

        async def test(api: Serving) -> None:
            caller = api.call()
            await caller.sends(sent)
            assert await caller.is_closed()

        serve(test)

    def test_one_that_does_not_take_its_responses_is_closed(
        self, serve: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin, "_PATIENCE", 0.5)

        async def test(api: Serving) -> None:
            caller = api.call()
            await caller.sends(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
            await until(lambda: api.connections)
            await until(lambda: not api.connections)

        serve(test)

    def test_one_that_waits_for_the_api_is_not_closed(
        self, serve: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin, "_MOST_CONNECTIONS", 1)

        async def test(api: Serving) -> None:
            caller = api.call()
            async with api.plane._lock:  # as while another change is made
                await caller.sends(
                    b"DELETE %b/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (SERVERS.encode(), str(A).encode())
                )
                await until(lambda: api.connections and api.connections[0]._is_served())
                (connection,) = api.connections
                connection._expire()
                assert await api.call().is_closed()
            await caller.until(b"HTTP/1.1 202 ")

        serve(test)

    def test_who_comes_to_a_full_api_takes_the_place_of_the_oldest(
        self, serve: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin, "_MOST_CONNECTIONS", 3)

        async def test(api: Serving) -> None:
            busy, *stuck = api.call(), api.call(), api.call()
            for caller in (busy, *stuck):
                await caller.sends(HEALTH)
                await caller.until(b"}")
            for caller in stuck:
                await caller.sends(b"GET / ")
            await busy.sends(HEALTH)  # that makes it younger than the others
            await busy.until(b"}")
            for _ in range(2):
                newer = api.call()
                await newer.sends(HEALTH)
                await newer.until(b"}")
            assert all([await caller.is_closed() for caller in stuck])
            await busy.sends(HEALTH)
            await busy.until(b"}")
            assert len(api.connections) == 3

        serve(test)

    def test_a_flood_takes_no_more_descriptors_than_that(
        self, serve: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin, "_MOST_CONNECTIONS", 3)

        async def test(api: Serving) -> None:
            flood = [api.call() for _ in range(3)]
            for _ in range(10):
                flood += [api.call() for _ in range(3)]
                await flood[-1].sends(HEALTH)
                await flood[-1].until(b"}")
                assert len(api.connections) <= 3
            assert all([await caller.is_closed() for caller in flood[:-3]])

        serve(test)

    @pytest.mark.parametrize("sent", [b"", b"GET /hea"], ids=["nothing", "half a head"])
    def test_one_whose_first_request_is_on_its_way_when_the_api_ends_is_answered(
        self, sent: bytes, serve: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin, "_LAST_PATIENCE", 10.0)

        async def test(api: Serving) -> None:
            caller, idle = api.call(), api.call()
            await idle.sends(HEALTH)
            await idle.until(b"}")
            await caller.sends(sent)
            await until(lambda: len(api.connections) == 2)
            closing = asyncio.ensure_future(api.server.close())
            assert await idle.is_closed()
            await caller.sends(HEALTH[len(sent) :])
            await caller.until(b"}")
            assert await caller.is_closed()
            await closing

        serve(test)

    def test_one_that_says_nothing_does_not_hold_up_the_end_of_the_api(
        self, serve: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin, "_LAST_PATIENCE", 0.05)

        async def test(api: Serving) -> None:
            caller = api.call()
            await until(lambda: api.connections)
            await api.server.close()
            assert await caller.is_closed()

        serve(test)
