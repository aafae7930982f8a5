"""The key of a limit in the path of a request to the admin API.

It is read from the path as it was sent: in the decoded one a slash of the key is one like those between the parts.
"""

from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request


def key_in(request: Request, part: str, *endings: str) -> tuple[str, str]:
    """The text of the key in /api/v1/limits/NAME/PART/KEY/ENDING, and the ending, "" where there is none.

    Raises HTTPException for a path that is otherwise.
    """
    parts = request.scope["raw_path"].decode("ascii", "replace").partition("?")[0].split("/")
    # Where PART/KEY is written with %2F the router takes it for two, and here it is one.
    if len(parts) < 7 or parts[5] != part or parts[7:] not in ([], *([ending] for ending in endings)):
        raise HTTPException(404, "there is nothing of that name (a slash in a key is written %2F, no other is)")
    return unquote(parts[6], errors="surrogateescape"), "".join(parts[7:])
