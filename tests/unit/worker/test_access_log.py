"""The writer of the access log: batches, rotation, full disks, and disks that hang. Lines are in test_account.py."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headgate.model.config import AccessLog
from headgate.worker import access_log
from headgate.worker.access_log import LogWriter
from tests.exchange.fakes import ManualLoop

Dropped = list[int]


@pytest.fixture
def loop() -> ManualLoop:
    """A loop whose timers the test fires."""
    return ManualLoop()  # type: ignore[abstract]


@pytest.fixture
def dropped() -> Dropped:
    """How many lines were reported as lost, one entry for each report."""
    return []


@pytest.fixture
def start(loop: ManualLoop, dropped: Dropped) -> Iterator[Callable[[str], LogWriter]]:
    """Starts writers, which end with the test."""
    writers: list[LogWriter] = []

    def build(path: str) -> LogWriter:
        writers.append(LogWriter(AccessLog(path=path), loop, dropped.append))
        return writers[-1]

    yield build
    for writer in writers:
        writer.close(5)
        assert not writer._thread.is_alive()


Start = Callable[[str], LogWriter]


def settle(writer: LogWriter) -> None:
    """Waits until the thread has done what it was given."""
    done = threading.Event()
    writer._queue.put([_Marker(done)])
    assert done.wait(5)


class _Marker(bytes):
    """An empty line that tells when it is joined, which is when its batch is written."""

    def __new__(cls, done: threading.Event) -> "_Marker":
        marker = super().__new__(cls)
        marker.done = done  # type: ignore[attr-defined]
        return marker


@pytest.fixture(autouse=True)
def _marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `settle` know: the queue is in order, so what came before its mark is done when the mark is taken."""
    original = LogWriter._take

    def take(self: LogWriter, lines: list[bytes]) -> None:
        if lines and isinstance(lines[0], _Marker):
            lines[0].done.set()  # type: ignore[attr-defined]
        else:
            original(self, lines)

    monkeypatch.setattr(LogWriter, "_take", take)


def test_lines_wait_a_moment_for_company_and_are_then_written(start: Start, loop: ManualLoop, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    writer = start(str(path))
    writer.add(b"1")
    loop.advance(0.04)
    writer.add(b"2")
    settle(writer)
    assert path.read_bytes() == b""
    loop.advance(0.02)
    settle(writer)
    assert path.read_bytes() == b"1\n2\n"
    writer.add(b"3")
    loop.advance(0.1)
    settle(writer)
    assert path.read_bytes() == b"1\n2\n3\n"


def test_a_full_batch_does_not_wait(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    writer = start(str(path))
    for number in range(512):
        writer.add(b"%d" % number)
    settle(writer)
    assert len(path.read_bytes().splitlines()) == 512


def test_what_was_there_before_stays(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"before\n")
    writer = start(str(path))
    writer.add(b"after")
    writer.close(5)
    assert path.read_bytes() == b"before\nafter\n"


def test_closing_writes_what_is_left(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    writer = start(str(path))
    writer.add(b"last")
    writer.close(5)
    assert path.read_bytes() == b"last\n"


def test_a_rotated_file_is_left_and_a_new_one_begun(start: Start, tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    writer = start(str(path))
    writer.add(b"1")
    writer.flush()
    settle(writer)
    path.rename(old)
    writer.add(b"2")
    writer.flush()
    settle(writer)
    assert old.read_bytes() == b"1\n2\n"
    writer.reopen()
    writer.add(b"3")
    writer.flush()
    settle(writer)
    assert old.read_bytes() == b"1\n2\n"
    assert path.read_bytes() == b"3\n"


def test_until_the_new_file_can_be_opened_the_old_one_is_written(
    start: Start, dropped: Dropped, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "access.log"
    writer = start(str(path))
    folder.rename(tmp_path / "moved")
    writer.reopen()
    for line in (b"1", b"2"):
        writer.add(line)
        writer.flush()
        settle(writer)
    assert (tmp_path / "moved" / "access.log").read_bytes() == b"1\n2\n"
    assert len(caplog.records) == 1
    folder.mkdir()
    writer.add(b"3")
    writer.flush()
    settle(writer)
    assert path.read_bytes() == b"3\n"
    assert dropped == []


def test_lines_that_a_full_disk_does_not_take_are_counted_and_said_once(
    start: Start, dropped: Dropped, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start("/dev/full")
    for _ in range(3):
        writer.add(b"1")
        writer.add(b"2")
        writer.flush()
        settle(writer)
    assert dropped == [2, 2, 2]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "No space left on device" in caplog.text


def test_when_the_disk_takes_lines_again_that_is_said(
    start: Start, dropped: Dropped, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "access.log"
    path.symlink_to("/dev/full")
    writer = start(str(path))
    writer.add(b"lost")
    writer.flush()
    settle(writer)
    path.unlink()
    writer.reopen()
    writer.add(b"kept")
    writer.flush()
    settle(writer)
    assert dropped == [1]
    assert path.read_bytes() == b"kept\n"
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_what_a_full_disk_took_of_a_line_is_not_a_part_of_the_next_one(
    start: Start, dropped: Dropped, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write, room = os.write, 5

    def fills(fd: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = write(fd, bytes(data)[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", fills)
    path = tmp_path / "access.log"
    one, other = start(str(path)), start(str(path))

    def add(writer: LogWriter, *lines: bytes) -> None:
        for line in lines:
            writer.add(line)
        writer.flush()
        settle(writer)

    add(one, b"111", b"222", b"333")
    add(other, b"444")
    assert path.read_bytes() == b"111\n2"
    assert dropped == [2, 1]
    room = 1000
    add(other, b"555")
    add(one, b"666")
    add(one, b"777")
    assert path.read_bytes() == b"111\n2\n555\n666\n777\n"
    assert dropped == [2, 1]


def test_what_a_disk_that_hangs_leaves_behind_is_bounded_and_counted(
    start: Start, dropped: Dropped, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hangs = threading.Event()
    write = access_log._write

    def hang(fd: int, data: bytes) -> tuple[memoryview, OSError | None]:
        assert hangs.wait(5)
        return write(fd, data)

    monkeypatch.setattr(access_log, "_write", hang)
    path = tmp_path / "access.log"
    writer = start(str(path))
    for _ in range(300):
        writer.add(b"1")
        writer.flush()
    assert 300 - 257 <= sum(dropped) <= 300 - 256
    hangs.set()
    settle(writer)
    assert len(path.read_bytes().splitlines()) == 300 - sum(dropped)


def test_a_disk_that_hangs_does_not_hold_up_the_end(
    loop: ManualLoop, dropped: Dropped, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(access_log, "_write", lambda fd, data: (hangs.wait(5), None))
    writer = LogWriter(AccessLog(path=str(tmp_path / "access.log")), loop, dropped.append)
    writer.add(b"1")
    writer.close(timeout=0.01)
    assert writer._thread.is_alive()
    hangs.set()
    writer._thread.join(5)
    assert not writer._thread.is_alive()


def test_a_path_that_cannot_be_written_is_an_error_at_once(loop: ManualLoop, dropped: Dropped) -> None:
    with pytest.raises(FileNotFoundError):
        LogWriter(AccessLog(path="/nonexistent/access.log"), loop, dropped.append)


def test_the_file_is_not_for_everybody(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    start(str(path))
    assert path.stat().st_mode & 0o007 == 0


def test_a_short_write_is_gone_on_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    path = tmp_path / "file"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        rest, error = access_log._write(fd, b"0123456789\n")
    finally:
        os.close(fd)
    assert path.read_bytes() == b"0123456789\n"
    assert (bytes(rest), error) == (b"", None)
