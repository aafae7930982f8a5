"""Durations and rates as people write them: `500ms`, `10s`, `100/minute`, `5/10s`.

The configuration reads its values with this, and the data path what functions of users return, so a rate means the same
in both. Errors say what was expected and leave it to the caller to quote what was found.
"""

import re

from headgate.model.config import Rate

YEAR = 365 * 86400.0
MOST_REQUESTS = 1_000_000_000

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0} | {u: _UNITS[u] for u in "smhd"}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)?", re.ASCII)
_RATE = re.compile(r"(\d{1,12})\s*/\s*(?:([a-z]+)|(\d{1,12}(?:\.\d{1,9})?\s*(?:ms|s|m|h|d)))", re.ASCII)


def duration(text: str) -> float | None:
    """The seconds of "500ms", "10s", "1m", "2h", "1d" or "1.5"; None for what is no duration."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    # Rounded, because 0.001 has no exact binary form: "60000ms" is to be the very same number as "1m".
    return round(float(match[1]) * _UNITS[match[2] or "s"], 9)


def rate(text: str) -> Rate:
    """The rate of "100/minute", "10/s" or "5/10s". Raises ValueError with what was expected."""
    match = _RATE.fullmatch(text.strip())
    if match is None or (match[2] and match[2] not in _PERIODS):
        after = ", after / one of second, minute, hour, day, or a time like 90s or 7d" if "/" in text else ""
        raise ValueError(f'is not a rate (expected "100/minute", "10/s" or "5/10s"{after})')
    limit, period = int(match[1]), _PERIODS[match[2]] if match[2] else duration(match[3])
    if not (1 <= limit <= MOST_REQUESTS and period is not None and 0.001 <= period <= YEAR):
        raise ValueError(f"is out of range (expected 1 to {MOST_REQUESTS} requests in 1ms to 365d)")
    return Rate(limit, period)
