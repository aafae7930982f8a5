"""The admin API, the metrics and the health of Headgate itself: Starlette on a uvicorn inside the supervisor's loop.

The routes say what is asked, `plane` does it and `views` shows it. Errors are raised as what they are (errors.py) and
become `application/problem+json` in one place. A write answers when the workers serve by it.
"""

import asyncio
import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, cast

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from headgate.control import metrics, network_values, views
from headgate.control.bodies import answer, read
from headgate.control.guard import MAX_BODY, Guard
from headgate.control.limits_api import LimitsApi
from headgate.control.plane import Plane
from headgate.control.problems import problem, problem_of
from headgate.control.sockets import Bound
from headgate.control.tiers_api import TiersApi
from headgate.control.upgrade import Upgrade
from headgate.errors import UserError
from headgate.model.address import Address
from headgate.model.server import Mode

_MOST_CONNECTIONS = 100  # the descriptors are the supervisor's, which needs some to replace workers
_PATIENCE = 30.0  # seconds in which a client must send a request, or take what waits for it
_LAST_PATIENCE = 0.5  # the same at the end, for one that has just connected; below the whole second that uvicorn waits
_turns = itertools.count()  # a clock would not tell those of one moment apart

_Weight = Annotated[int, msgspec.Meta(ge=0, le=256)]


class _NewServer(msgspec.Struct, forbid_unknown_fields=True):
    address: str
    weight: _Weight | None = None


class _ServerChange(msgspec.Struct, forbid_unknown_fields=True):
    mode: Mode | None = None
    weight: _Weight | None = None


_Handler = Callable[[Request], Awaitable[Response]]


def application(plane: Plane, upgrade: Upgrade, *, on_network: bool) -> ASGIApp:
    """The whole API as an ASGI application. on_network: reached by TCP and so by browsers."""
    api = _Api(plane, upgrade)
    servers = "/api/v1/upstreams/{upstream}/servers"
    one = servers + "/{address:path}"  # a Unix socket's address has slashes
    routes = [
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz),
        Route("/metrics", api.metrics),
        Route("/api/v1/status", api.status),
        Route("/api/v1/events", api.events, methods=["GET"]),
        Route("/api/v1/reload", api.reload, methods=["POST"]),
        Route("/api/v1/upgrade", api.upgrade, methods=["POST"]),
        Route(servers, api.servers, methods=["GET"]),
        Route(servers, api.add_server, methods=["POST"]),
        Route(one, api.server, methods=["GET"]),
        Route(one, api.change_server, methods=["PATCH"]),
        Route(one, api.remove_server, methods=["DELETE"]),
        *TiersApi(plane).routes(),
        *LimitsApi(plane).routes(),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _on_http_error, UserError: _on_user_error})
    app.router.redirect_slashes = False
    return Guard(app, lambda: plane.fleet.config.admin.token, on_network)


class _Api:
    """The routes."""

    def __init__(self, plane: Plane, upgrade: Upgrade) -> None:
        self._plane = plane
        self._upgrade = upgrade

    async def healthz(self, request: Request) -> Response:
        """200 while the supervisor runs and every row has a worker."""
        whole = self._plane.crew.is_whole
        return answer({"status": "ok" if whole else "a worker is missing"}, 200 if whole else 503)

    async def readyz(self, request: Request) -> Response:
        """200 when every route can be served; else what is missing."""
        problems = views.shortages(self._plane)
        return answer({"status": "not ready" if problems else "ok", "problems": problems}, 503 if problems else 200)

    async def metrics(self, request: Request) -> Response:
        """The metrics page."""
        return Response(metrics.page(self._plane), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def status(self, request: Request) -> Response:
        """Everything at a glance."""
        return answer(views.status(self._plane))

    async def events(self, request: Request) -> Response:
        """What changed since the event of a number: ?since=12."""
        text = request.query_params.get("since", "0")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise HTTPException(400, f"since={text}: expected the number of an event, or 0")
        plane = self._plane
        found, misses = plane.events.since(int(text))
        return answer({"events": found, "last": plane.events.last, "misses": misses, "started": plane.started})

    async def servers(self, request: Request) -> Response:
        """The servers of an upstream."""
        return answer({"servers": views.servers(self._plane, request.path_params["upstream"])})

    async def server(self, request: Request) -> Response:
        """One server."""
        return answer(views.server(self._plane, *_names(request)))

    async def add_server(self, request: Request) -> Response:
        """Adds a server; 201 with it."""
        wanted = await read(request, _NewServer)
        upstream, address = request.path_params["upstream"], _address(wanted.address)
        await self._plane.add_server(upstream, address, wanted.weight)
        return answer(views.server(self._plane, upstream, address), 201)

    async def change_server(self, request: Request) -> Response:
        """Changes a server's mode, weight or both."""
        change = await read(request, _ServerChange)
        if change.mode is None and change.weight is None:
            raise HTTPException(400, "nothing to change (known: mode, weight)")
        upstream, address = _names(request)
        await self._plane.set_server(upstream, address, mode=change.mode, weight=change.weight)
        return answer(views.server(self._plane, upstream, address))

    async def remove_server(self, request: Request) -> Response:
        """Has a server drain and leave; 202, since it may take as long as its requests."""
        upstream, address = _names(request)
        await self._plane.remove_server(upstream, address, _drain(request))
        return answer({"address": str(address), "state": "removing"}, 202)

    async def reload(self, request: Request) -> Response:
        """Reads the configuration again."""
        version, changed, restart = await self._plane.reload()
        return answer({"snapshot": version, "changed": changed, "restart_needed": restart})

    async def upgrade(self, request: Request) -> Response:
        """Has the code that is installed now take over; answers when it serves."""
        successor = await self._upgrade.run()
        return answer({"version": successor.version, "pid": successor.pid})


class AdminServer:
    """The admin API on a socket of its own, in the running loop."""

    def __init__(self, plane: Plane, upgrade: Upgrade, bound: Bound) -> None:
        config = uvicorn.Config(
            application(plane, upgrade, on_network=not bound.actual.path),
            http=_Connection,
            backlog=_MOST_CONNECTIONS,  # more than that are never accepted in one turn of the loop
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=MAX_BODY,
            timeout_graceful_shutdown=1,
        )
        self._bound = bound
        self._server = _Embedded(config)
        self._task: asyncio.Task[None] | None = None
        upgrade.on_done = self._accept_no_more

    def start(self) -> None:
        """Serves from now on."""
        self._task = asyncio.create_task(self._server.serve([self._bound.sockets[0]]))

    def _accept_no_more(self) -> None:
        """Leaves who connects from now on to the process that has taken over."""
        # Uvicorn itself does so when it looks again, ten times a second.
        for server in getattr(self._server, "servers", ()):  # it has none before it has begun
            server.close()

    async def close(self) -> None:
        """Ends it, within about a second."""
        self._server.should_exit = True
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)
        self._bound.close()


class _Connection(H11Protocol):
    """A client's connection, with the bounds that uvicorn has not: how many there are, and how long a client may take.

    Uvicorn closes those that are idle, but only as long as not a byte comes. Its `limit_concurrency` answers 503 and
    keeps the connection, so whoever holds that many would lock the operator out: here, who comes takes the place of the
    one that was not answered for longest.
    """

    _end: asyncio.TimerHandle | None = None
    _turn = 0  # when its present time began, among all of them
    _is_last = False  # the API ends: the first request is the last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin(_PATIENCE)
        if len(self.connections) > _MOST_CONNECTIONS:
            others = cast("set[_Connection]", self.connections)
            oldest = min(others, key=lambda other: (other._is_served(), other._turn))
            others.remove(oldest)  # now: it is lost in the next turn of the loop, and more may come before
            oldest.transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_last and self.cycle is not None:
            super().shutdown()  # which waits for the answer

    def shutdown(self) -> None:
        """The API ends. A first request may be on its way, which a close that crosses it would cost."""
        self._is_last = self.cycle is None
        if self._is_last:
            self._begin(_LAST_PATIENCE)
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        self._begin(_PATIENCE)
        super().on_response_complete()  # which may begin with the next request

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def _begin(self, patience: float) -> None:
        """Gives the client so many seconds for its next request, or for taking what waits of the last response."""
        if self._end is not None:
            self._end.cancel()
        self._end = self.loop.call_later(patience, self._expire)
        self._turn = next(_turns)

    def _expire(self) -> None:
        if self._is_served():
            self._begin(_PATIENCE)
        else:
            self.transport.abort()

    def _is_served(self) -> bool:
        """Whether it is not the client that is awaited, but the API: an upgrade takes a while."""
        cycle = self.cycle
        is_open = cycle is not None and not cycle.more_body and not cycle.response_complete
        return is_open and not self.flow.write_paused


class _Embedded(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the signals are the supervisor's


def _names(request: Request) -> tuple[str, Address]:
    return request.path_params["upstream"], _address(request.path_params["address"])


def _address(text: str) -> Address:
    try:
        return network_values.address(text)  # in normal form, as the configuration has it
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


def _drain(request: Request) -> float | None:
    text = request.query_params.get("drain")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not math.isfinite(seconds) or seconds < 0:
        raise HTTPException(400, f"drain={text}: expected a number of seconds, 0 or more")
    return seconds


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = error.headers
    if error.status_code == 405 and (allowed := _methods(request)):
        headers = {"Allow": ", ".join(allowed)}
    return problem(error.status_code, error.detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """What a path allows: of the routes that have it, each for a method or two, Starlette names those of the first."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in route.methods})


async def _on_user_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    return problem_of(error)
