"""What a balancing policy is, and the policies by name."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T", covariant=True)


class Policy(Protocol[T]):
    """Orders the servers of an upstream for one request, the most wanted first."""

    def order(self) -> Sequence[T]:
        """The candidates for the next request. Each call counts as one request."""
        ...
