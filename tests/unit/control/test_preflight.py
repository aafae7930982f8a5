import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.control.preflight import preflight
from headgate.errors import UserError
from headgate.model.config import AccessLog, Store
from tests.redis_server import RedisServer
from tests.unit.control.configs import config


def test_nothing_to_try_is_nothing_to_tell() -> None:
    assert asyncio.run(preflight(replace(config(), access_log=AccessLog(path="-")))) == []


def test_an_access_log_that_can_be_written_is_not_emptied(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    assert asyncio.run(preflight(replace(config(), access_log=AccessLog(path=str(path))))) == []
    assert path.read_text() == "before\n"


def test_an_access_log_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: is a directory"):
        asyncio.run(preflight(replace(config(), access_log=AccessLog(path=str(tmp_path)))))


def test_a_store_that_is_away_is_a_warning() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        store = Store(f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
        (warning,) = asyncio.run(preflight(replace(config(), store=store)))
    assert "\n" not in warning


def test_a_store_that_answers_is_well(redis_server: RedisServer) -> None:
    assert asyncio.run(preflight(replace(config(), store=Store(redis_server.url)))) == []


def test_a_store_that_refuses_us_is_a_mistake() -> None:
    with RedisServer(password="r1ght") as server:
        store = Store(server.url.replace("r1ght", "wr0ng"))
        with pytest.raises(UserError) as raised:
            asyncio.run(preflight(replace(config(), store=store)))
    assert "wr0ng" not in str(raised.value)


def test_what_is_in_use_already_is_not_tried_again(tmp_path: Path) -> None:
    used = replace(config(), store=Store("redis://127.0.0.1:1/0"), access_log=AccessLog(path=str(tmp_path)))
    assert asyncio.run(preflight(used, used)) == []
