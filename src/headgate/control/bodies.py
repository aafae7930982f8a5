"""The bodies of the admin API: JSON that is read into what it should be, and JSON that is answered."""

from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from headgate.control.guard import MAX_BODY

Body = TypeVar("Body", bound=msgspec.Struct)


async def read(request: Request, kind: type[Body]) -> Body:
    """The request's body. Raises HTTPException when it is something else."""
    try:
        body = await request.body()
    except ClientDisconnect as error:
        raise HTTPException(413, f"a body has {MAX_BODY} bytes at most") from error
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        known = ", ".join(kind.__struct_encode_fields__)
        raise HTTPException(400, f"{error} (known: {known})") from error


def answer(value: object, status: int = 200) -> Response:
    """The value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
