"""How many connections each address has: the coarse guard against floods, before anything is read of a request.

They are counted with and without a limit, so that one that comes with a reload is right from its first moment.
"""


class Guard:
    """Counts connections by address. most: of one address, 0 for no limit."""

    __slots__ = ("_counts", "most")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self.most = 0

    def enters(self, address: str) -> bool:
        """Whether one more connection of this address may be; it is counted then."""
        count = self._counts.get(address, 0)
        if count >= self.most > 0:
            return False
        self._counts[address] = count + 1
        return True

    def leaves(self, address: str) -> None:
        """A connection that entered is gone."""
        count = self._counts.pop(address) - 1
        if count:
            self._counts[address] = count

    def __len__(self) -> int:
        """How many addresses are counted."""
        return len(self._counts)
