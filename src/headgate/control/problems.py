"""Errors of the admin API as `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from headgate.errors import Busy, ConfigError, Exists, InUse, StateFailed, StoreDown, Unknown, UpgradeFailed, UserError


def problem(
    status: int, detail: str, *, problems: list[str] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for an error. detail: what is wrong, for people. problems: its parts, one line each."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if problems is not None:
        body["problems"] = problems
    return Response(
        msgspec.json.encode(body), status, headers=dict(headers or {}), media_type="application/problem+json"
    )


def problem_of(error: UserError) -> Response:
    """The answer for something that the person who asked can mend."""
    if isinstance(error, ConfigError):
        return problem(422, "the configuration cannot be used; nothing was changed", problems=error.problems)
    if isinstance(error, Unknown):
        return problem(404, str(error))
    if isinstance(error, UpgradeFailed):
        return problem(500, str(error))
    if isinstance(error, Exists | Busy | InUse):
        return problem(409, str(error))
    if isinstance(error, StoreDown):
        return problem(503, str(error))
    if isinstance(error, StateFailed):
        return problem(503, f"{error}; nothing was changed")
    return problem(422, f"{error}; nothing was changed", problems=[str(error)])
