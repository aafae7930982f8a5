"""The kinds of values that only limits have: what a limit counts by, how many it lets pass, and what a request cost.

Everything is brought into the one form that `limits/keys.py` and `worker/keys.py` read, so that two ways to write a key
are one limit in a store.
"""

import difflib
import re

from headgate.control import network_values, values
from headgate.control.report import Place, Said, quoted
from headgate.control.values import Kind, parsed
from headgate.limits import concurrency, settle
from headgate.limits.keys import PARTS, PREFIXES
from headgate.model.config import PYTHON, Python, Rate

_KEYS = ("client_ip", "api_key", "host", "path", "method", "route", "constant")
_NAMED_KEYS = ("header", "cookie", "query", "api_key")
_FIELDS = ("header", "api_key")  # whose names are those of fields: upper and lower case are one
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_CLAIM = re.compile(r"[!-+\--~]{1,128}")  # also names that are URLs, but no commas
_NETWORK = re.compile(r"client_ip/(\d{1,3})(?:/(\d{1,3}))?", re.ASCII)


def _key(text: str) -> str:
    parts = [_part(part.strip()) for part in text.split(",")]
    if len(set(parts)) < len(parts):
        raise ValueError(f"{quoted(text)} names something twice")
    if len(parts) > PARTS:
        raise ValueError(f"{quoted(text)} names {len(parts)} things (expected at most {PARTS})")
    return ",".join(parts)


def _part(text: str) -> str:
    kind, colon, name = text.partition(":")
    if kind in _NAMED_KEYS and _NAME.fullmatch(name):
        return f"{kind}:{name.lower() if kind in _FIELDS else name}"
    if kind in _KEYS and not colon:
        return kind
    if kind == "jwt" and _CLAIM.fullmatch(name):
        return text
    if kind.startswith("client_ip/"):
        return _network(text)
    known = ", ".join([*_KEYS, "client_ip/24", *(f"{named}:NAME" for named in _NAMED_KEYS), "jwt:CLAIM"])
    close = difflib.get_close_matches(kind.strip().lower(), (*_KEYS, *_NAMED_KEYS, "jwt"), n=1)
    meant = f"; did you mean {quoted(close[0] + colon + name.strip())}?" if close else ""
    raise ValueError(f"{quoted(text)} is nothing to count by (known: {known}; several with commas){meant}")


def _network(text: str) -> str:
    match = _NETWORK.fullmatch(text)
    ipv4, ipv6 = (int(match[1]), int(match[2] or PREFIXES[1])) if match else (0, 0)
    if not (1 <= ipv4 <= 32 and 1 <= ipv6 <= 128):
        raise ValueError(
            f"{quoted(text)} is no network of a client (expected client_ip/24 or client_ip/24/56: "
            "1 to 32 bits of an IPv4 address, 1 to 128 of an IPv6 address)"
        )
    if (ipv4, ipv6) == PREFIXES:
        return "client_ip"
    return f"client_ip/{ipv4}" if ipv6 == PREFIXES[1] else f"client_ip/{ipv4}/{ipv6}"


KEY = parsed("key", "a key", _key)

_FUNCTION = re.compile(r"python:([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")
_MOST = 1_000_000_000


def _function(text: str) -> str:
    if not _FUNCTION.fullmatch(text):
        raise ValueError(f'{quoted(text)} names no function (expected "python:module:name")')
    return text


def _is_function(value: object) -> bool:
    return isinstance(value, str) and value.startswith(PYTHON)


def or_function(kind: Kind[object]) -> Kind[object]:
    """Such a value, or the name of a function that says it for each request."""

    def read(place: Place, value: object) -> object:
        return FUNCTION.read(place, value) if _is_function(value) else kind.read(place, value)

    return Kind(f'{kind.form} or `"python:module:name"`', read)


def by_function(found: dict[str, object]) -> dict[str, object]:
    """What a limit's table says, with the functions where the model has them."""
    for key, field in (("cost", "cost_of"), ("exempt", "exempt_by")):
        if _is_function(found.get(key)):
            found = {**found, field: found[key]}
            del found[key]
    python = found.get("python")
    if "cost_of" in found and isinstance(python, Python):
        found["cost"] = python.on_error.cost
    return found


FUNCTION = parsed('`"python:module:name"`', "a function", _function)
COST = or_function(values.number(1, _MOST))
EXEMPT = or_function(values.many(network_values.NETWORK, "list of networks", same=str))


def _settle(text: str) -> str:
    try:
        settle.cost(text)
    except ValueError as error:
        raise ValueError(f"{quoted(text)} does not say what a request cost ({error})") from None
    return text.lower() if text.startswith("response_header:") else text


SETTLE = or_function(parsed("`response_header:NAME`, `response_bytes`, `free:STATUSES`", "a cost", _settle))
IN_FLIGHT = values.number(1, 1_000_000)


def _rate(place: Place, value: object) -> Rate:
    if isinstance(value, str) and value.endswith("in flight"):  # as tiers and overrides have it
        raise ValueError(f'{quoted(value)} is not a rate (expected algorithm = "concurrency" and in_flight = 10)')
    return values.RATE.read(place, value)


RATE = Kind(values.RATE.form, _rate)


def take_rate(place: Place, given: dict[str, object]) -> None:
    """Leaves one rate in what a table says: so many in flight are so many in no time.

    What does not go with it is reported too. Raises Said, with the problem reported, when there is no rate.
    """
    said = place.report.count
    is_in_flight = given.get("algorithm") == concurrency.NAME
    if is_in_flight and "rate" in given:
        (place / "rate").say('not with algorithm = "concurrency", which has no period (expected in_flight = 10)')
    elif is_in_flight and "in_flight" not in given:
        place.say(f'"in_flight" is missing (expected {IN_FLIGHT.form}, because algorithm is "concurrency")')
    elif not is_in_flight and "in_flight" in given:
        (place / "in_flight").say('only with algorithm = "concurrency" (expected rate = "100/minute")')
    elif not is_in_flight and "rate" not in given:
        place.say('"rate" is missing (expected one like "100/minute")')
    has_rate = place.report.count == said
    for key, why_not in (
        ("count_refused", "what is refused is not in flight"),
        ("settle", "it holds until it is over"),
        ("limit", "a function says rates"),
    ):
        if is_in_flight and given.pop(key, None):  # and nothing else is said of it
            (place / key).say(f'not with algorithm = "concurrency": {why_not}')
    if not has_rate:
        raise Said
    if isinstance(most := given.pop("in_flight", None), int):
        given["rate"] = Rate(most, 0.0)
