from collections.abc import Callable, Iterator

import pytest

from headgate.cli.main import call
from tests.unit.cli.fake_admin import FakeAdmin, serving

Called = tuple[int, list[str], list[str]]
Headgate = Callable[..., Called]


@pytest.fixture
def headgate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Headgate:
    """Calls the command line; gives the exit code and the lines of both outputs."""
    monkeypatch.delenv("HEADGATE_ADMIN", raising=False)
    monkeypatch.delenv("HEADGATE_ADMIN_TOKEN", raising=False)

    def called(*arguments: str) -> Called:
        code = call(list(arguments))
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return called


@pytest.fixture
def admin(headgate: Headgate, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdmin]:
    """A fake admin API that the commands find by themselves."""
    with serving() as fake:
        monkeypatch.setenv("HEADGATE_ADMIN", fake.address)
        yield fake
