"""A disk that is full: what cannot be kept is refused, and all that needs no disk goes on.

No process of the Headgate may let a file grow (RLIMIT_FSIZE), which is as good as a full disk to it, and nobody else's
trouble.
"""

import json
import resource
from collections.abc import Callable
from pathlib import Path

from tests.e2e.kit.backend import Backend
from tests.e2e.kit.headgate import Headgate, settings
from tests.e2e.kit.load import Load
from tests.e2e.kit.waiting import wait_for

Make = Callable[..., Headgate]
Start = Callable[..., Backend]

OVERRIDES = "/api/v1/limits/per_key/overrides"


def give_room(headgate: Headgate, size: int | None) -> None:
    """From now on none of its files can grow beyond so many bytes; None: as far as before."""
    for pid in headgate.processes():
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def passed(headgate: Headgate, key: str, of: int) -> int:
    return sum(headgate.get("/few", x_api_key=key).status == 200 for _ in range(of))


def test_on_a_full_disk_requests_are_served_and_limited_and_no_change_is_half_made(
    make: Make, backend: Start, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    config = settings(
        [backend().address],
        workers=2,
        access_log={"path": str(log), "format": "json"},
        limits={"per_key": {"rate": "2/hour", "key": "header:x-api-key"}},
        tiers={"gold": {"rate": "4/hour"}},
    )
    config["routes"] = [
        {"match": {"path": "/few"}, "upstream": "web", "limits": ["per_key"]},
        {"upstream": "web"},
    ]
    headgate = make(config).start()
    assert headgate.cli("limit", "set", "alice", "gold").returncode == 0
    assert passed(headgate, "alice", 2) == 2
    with Load(headgate.address, pause=0.01) as load:
        load.more()
        wait_for(lambda: log.stat().st_size > 10_000, "lines of the access log")
        give_room(headgate, log.stat().st_size + 1000)  # to somewhere in a line
        wait_for(lambda: headgate.metric("headgate_access_log_dropped_total") > 0, "lines that are lost")
        give_room(headgate, 0)
        told = headgate.cli("limit", "set", "bob", "gold")
        assert told.returncode == 69
        assert "headgate.state.json cannot be written: file too large" in told.stderr
        assert headgate.api("PUT", "/api/v1/tiers/gold", {"rate": "9/hour"}).status == 503
        assert headgate.api("DELETE", f"{OVERRIDES}/alice").status == 503
        assert headgate.api("PUT", "/api/v1/limits/per_key/keys/carol/ban", {"for": "1h"}).status == 200
        assert passed(headgate, "alice", 3) == 2, "what she had"
        assert passed(headgate, "bob", 3) == 2
        assert passed(headgate, "carol", 1) == 0, "a ban needs no disk"
        load.more()
        give_room(headgate, None)
        load.more()
    assert load.failures == []
    assert headgate.cli("limit", "set", "bob", "gold").returncode == 0
    assert passed(headgate, "bob", 5) == 4

    def is_accounted_for() -> bool:
        whole = [line for line in log.read_bytes().splitlines() if line.endswith(b"}") and json.loads(line)]
        lost = headgate.metric("headgate_access_log_dropped_total")
        answers = headgate.metric("headgate_requests_total") + headgate.metric("headgate_local_answers_total")
        return len(whole) + lost in (answers, answers + 1)  # of the one that was cut only the end of its line may lack

    wait_for(is_accounted_for, "each request to be in the log, or counted as lost")
    assert headgate.stop() == 0
    headgate.start()
    assert [passed(headgate, key, 5) for key in ("alice", "bob", "carol")] == [4, 4, 2]
