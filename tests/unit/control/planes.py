"""A control plane without workers, and a caller of its admin API that needs no socket."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec
from starlette.types import ASGIApp, Message

from headgate.control.fleet import Fleet
from headgate.control.httpcheck import Result
from headgate.control.plane import Plane
from headgate.control.state import StateFile
from headgate.control.workers import Crew
from headgate.model.address import Address
from headgate.model.config import Config, HealthCheck
from headgate.store.shared import SharedStore
from headgate.wire.cells import Cells
from tests.unit.control.configs import config as small_config


@contextmanager
def plane(
    config: Config | None = None, *, load: Callable[[], Config] | None = None, state_path: str = ""
) -> Iterator[Plane]:
    """A plane over real parts whose workers were never started and whose probes never end. Needs a running loop."""
    config = config or small_config()
    fd = Cells.create(config.workers)
    limits = SharedStore.create(1024)
    state = StateFile(state_path)
    fleet = Fleet(config, *state.load())
    crew = Crew(config.workers, cells=fd, limits=fd, on_death=lambda index: None)
    try:
        yield Plane(
            load or (lambda: config),
            fleet=fleet,
            state=state,
            bound={},
            cells=Cells(fd, config.workers),
            crew=crew,
            limits=limits,
            probing=_for_ever,
        )
    finally:
        state.close()
        os.close(fd)
        os.close(limits)


async def _for_ever(address: Address, check: HealthCheck, clock: Callable[[], float]) -> Result:
    await asyncio.Event().wait()
    raise AssertionError


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body, decoded."""
        return msgspec.json.decode(self.body, type=dict[str, object])


async def call(
    app: ASGIApp,
    method: str,
    target: str,
    body: bytes | dict[str, object] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """The answer to one request, as uvicorn would ask for it."""
    fields = {"host": "127.0.0.1:9000"}
    if isinstance(body, dict):
        body = msgspec.json.encode(body)
        fields["content-type"] = "application/json"
    if body is not None:
        fields["content-length"] = str(len(body))
    fields |= headers or {}
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields.items() if value],
        "scheme": "http",
        "server": ("127.0.0.1", 9000),
        "client": ("127.0.0.1", 1),
    }
    sent: list[Message] = []
    waiting: list[Message] = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )
