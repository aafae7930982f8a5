import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.control.overlay import Changes, Overlay
from headgate.control.state import StateFile
from headgate.control.tuning import UNTUNED, Tuning
from headgate.errors import StateFailed
from headgate.model.config import Rate, Tier

OVERLAY: Overlay = {
    "web": Changes(("10.0.0.9:80", "[::1]:80"), ("10.0.0.1:80",), {"10.0.0.2:80": "maint"}, {"10.0.0.9:80": 0}),
    "späte": Changes(added=("unix:/run/a b.sock",)),
}

TUNING = Tuning(
    {"gold": Tier(Rate(1000, 60.0)), "late": Tier(None)},
    {
        "per_key": {"=alice": "gold", "=b, \\x00": Tier(Rate(5, 1234567.125), 20), "=carol": Tier(None), "=dave": None},
        "gone": {"192.0.2.7": "no-such-tier"},
    },
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "headgate.state.json"


@pytest.fixture
def state(path: Path) -> Iterator[StateFile]:
    state = StateFile(str(path))
    yield state
    state.close()


def test_what_was_saved_is_loaded_by_the_next_supervisor(path: Path) -> None:
    first = StateFile(str(path))
    first.save(OVERLAY, TUNING)
    first.close()
    second = StateFile(str(path))
    assert second.load() == (OVERLAY, TUNING)
    second.close()


def test_without_a_file_there_are_no_changes(state: StateFile) -> None:
    assert state.load() == ({}, UNTUNED)


def test_only_the_owner_reads_the_file_and_nothing_else_is_left_beside_it(state: StateFile, path: Path) -> None:
    state.save(OVERLAY, TUNING)
    state.save({}, UNTUNED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, path.name + ".lock"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    (tmp_path / "real").mkdir()
    link.symlink_to(tmp_path / "real" / "state.json")
    state = StateFile(str(link))
    state.save(OVERLAY, TUNING)
    state.close()
    assert link.is_symlink()
    assert (tmp_path / "real" / "state.json").is_file()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b'{"format": 1, "upst', "truncated"),
        (b"\xff\xfe", "malformed|invalid"),
        (b"[]", "Expected `object`"),
        (b'{"format": 2, "upstreams": {}}', "newer Headgate"),
        (b'{"format": 0, "upstreams": {}}', "format 0 is not known"),
        (b'{"format": 1, "upstreams": {}, "x": 1}', "unknown field `x`"),
        (
            b'{"format": 1, "upstreams": {"web": {"added": ["10.0.0.1"]}}}',
            'upstreams.web: "10.0.0.1" is not an address',
        ),
        (b'{"format": 1, "upstreams": {"web": {"modes": {"10.0.0.1:1": "off"}}}}', "upstreams.web: Invalid enum value"),
        (b'{"format": 1, "upstreams": {"web": {"weights": {"10.0.0.1:1": 257}}}}', "upstreams.web: .*<= 256"),
        (b'{"format": 1, "upstreams": {}, "tiers": {"a": {"rate": "5"}}}', 'tiers.a: "5" is not a rate'),
        (b'{"format": 1, "upstreams": {}, "tiers": {"a": {"rate": "5/s", "burst": -1}}}', "tiers.a: .*>= 0"),
        (b'{"format": 1, "upstreams": {}, "tiers": {"a": {"rate": "5/s", "burst": 1000000001}}}', "<= 1000000000"),
        (
            b'{"format": 1, "upstreams": {}, "tiers": {"a": {"rate": "1/d", "burst": 9999}}}',
            "tiers.a: burst: .* 27 years",
        ),
        (b'{"format": 1, "upstreams": {}, "tiers": {"a b": {"rate": "5/s"}}}', 'tiers."a b": "a b" is not a name'),
        (b'{"format": 1, "upstreams": {}, "tiers": {"unlimited": {"rate": "5/s"}}}', "is no name for a tier"),
        (
            b'{"format": 1, "upstreams": {}, "overrides": {"a": {"b": {"rate": "x"}}}}',
            'overrides.a.b: "x" is not a rate',
        ),
        (
            b'{"format": 1, "upstreams": {}, "overrides": {"a": {"=b\\u001b": {"rate": "1/d", "burst": 9999}}}}',
            r'overrides.a."=b\\x1b": burst: .* 27 years',
        ),
        (b'{"format": 1, "upstreams": {}, "overrides": {"a": {"b": "5/s"}}}', 'overrides.a.b: "5/s" is not a name'),
        (b'{"format": 1, "upstreams": {}, "overrides": {"a": {"b": ""}}}', 'overrides.a.b: "" is not a name'),
        (b'{"format": 1, "upstreams": {}, "overrides": {"a": {"b": 5}}}', "overrides.a.b: Expected"),
    ],
)
def test_a_file_that_is_not_understood_stops_the_start(
    state: StateFile, path: Path, content: bytes, reason: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(StateFailed, match=reason) as raised:
        state.load()
    assert str(path) in str(raised.value)
    assert "mend it, or move it away" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == content


def test_a_burst_where_there_is_none_is_left_out(state: StateFile, path: Path) -> None:
    # Earlier versions took and kept it.
    path.write_text('{"format": 1, "upstreams": {}, "tiers": {"a": {"rate": "unlimited", "burst": 5}}}')
    assert state.load() == ({}, Tuning({"a": Tier(None)}))


def test_a_file_that_cannot_be_read_stops_the_start(state: StateFile, path: Path) -> None:
    path.mkdir()
    with pytest.raises(StateFailed, match="cannot be read: is a directory"):
        state.load()


def test_two_supervisors_cannot_have_one_file(state: StateFile, path: Path) -> None:
    with pytest.raises(StateFailed, match="in use by another Headgate"):
        StateFile(str(path))
    state.close()
    StateFile(str(path)).close()


def test_a_directory_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StateFailed, match=r"cannot be locked.*no such file or directory"):
        StateFile(str(tmp_path / "none" / "state.json"))


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_what_cannot_be_written_leaves_the_old_file(
    state: StateFile, path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    state.save({"web": OVERLAY["web"]}, UNTUNED)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StateFailed, match="cannot be written: no space left on device"):
            state.save(OVERLAY, TUNING)
    assert path.read_bytes() == before
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, path.name + ".lock"}
    state.save(OVERLAY, TUNING)
    assert state.load() == (OVERLAY, TUNING)


def test_what_a_dead_process_left_half_written_is_no_obstacle(state: StateFile, path: Path) -> None:
    path.with_name(f"{path.name}.{os.getpid()}.tmp").write_bytes(b"half")
    state.save(OVERLAY, TUNING)
    assert state.load() == (OVERLAY, TUNING)


def test_without_a_path_the_first_change_says_that_it_will_not_survive(caplog: pytest.LogCaptureFixture) -> None:
    state = StateFile("")
    assert state.load() == ({}, UNTUNED)
    with caplog.at_level(logging.WARNING):
        state.save(OVERLAY, TUNING)
        state.save({}, UNTUNED)
    assert [record.message for record in caplog.records] == [
        "changes made at run time will not survive a restart: no state_file is set"
    ]
    assert state.load() == ({}, UNTUNED)
    state.close()
