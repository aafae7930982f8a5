"""Limits as the tests of the stores need them."""

from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState


def limit(
    most: int = 3,
    name: str = "per_ip",
    period: float = 60.0,
    on_store_error: str = "local",
    *,
    algorithm: str = "fixed_window",
    burst: int = 0,
) -> LimitState:
    return LimitState(Limit(name, Rate(most, period), "client_ip", algorithm, burst, on_store_error), slot=0)
