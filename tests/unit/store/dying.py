"""Memory of a process that is killed between two of its writes."""

import pytest

from headgate.store.shared import SharedStore


class Killed(Exception):
    """Nothing that the process would have done comes after this."""


class Dying:
    """Such memory: the process dies when so many writes into a part of it were done, by all that share `left`."""

    def __init__(self, cells: memoryview, part: range, left: list[int]) -> None:
        self._cells, self._part, self._left = cells, part, left

    def __getitem__(self, index: int | slice) -> int | memoryview:
        return self._cells[index]

    def __setitem__(self, index: int, value: int) -> None:
        if index in self._part:
            if not self._left[0]:
                raise Killed
            self._left[0] -= 1
        self._cells[index] = value


def dies(store: SharedStore, written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the store dies when it has written so often into the table of slots."""
    (first, _), left = store._bucket(0), [written]
    for name in ("_cells", "_doubles"):
        cells = getattr(store, name)
        monkeypatch.setattr(store, name, Dying(cells, range(first, len(cells)), left))
