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
    delay: float = 0.0,
    count_refused: bool = False,
    lease: int = 1,
    settle: str = "",
    headers: str = "refused",
) -> LimitState:
    return LimitState(
        Limit(
            name,
            Rate(most, period),
            algorithm=algorithm,
            burst=burst,
            on_store_error=on_store_error,
            delay=delay,
            count_refused=count_refused,
            lease=lease,
            settle=settle,
            headers=headers,
        ),
        slot=0,
    )
