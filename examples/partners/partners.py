"""Whether a request is of a partner: another service knows, and is asked over HTTP. Needs nothing but Python."""

import asyncio
import os
from urllib.parse import quote

from headgate.ext import Request

HOST, PORT = os.environ.get("DIRECTORY", "127.0.0.1:7000").split(":")


async def is_partner(request: Request) -> bool:
    """Asks the directory; only this request waits for it. What fails here is what `on_error` is for."""
    key = request.header("x-partner-key")
    if not key:
        return False
    reader, writer = await asyncio.open_connection(HOST, int(PORT))
    try:
        writer.write(f"GET /partners/{quote(key, safe='')} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        status = (await reader.readline()).split()[1]
    finally:
        writer.close()
    if status not in (b"200", b"404"):
        raise RuntimeError(f"the directory says {status.decode()}")
    return status == b"200"
