import socket
from pathlib import Path

import pytest

from headgate.control import systemd


@pytest.mark.parametrize("abstract", [False, True], ids=["file", "abstract"])
def test_the_state_is_sent_to_the_socket_that_systemd_names(
    abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + path if abstract else path)
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + path if abstract else path)
        systemd.notify("READY=1")
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("value", ["", "nonsense", "/no/such/socket"])
def test_without_a_systemd_nothing_happens(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", value)
    systemd.notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.notify("READY=1")
