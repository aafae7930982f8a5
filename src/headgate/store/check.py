"""What a person should know of a store before Headgate starts with it.

It is apart from the store because no worker needs it. Called by the control plane.
"""

import asyncio

from headgate.errors import StoreRefused
from headgate.model import config
from headgate.store.link import LinkFailed
from headgate.store.place import down, find


async def check(store: config.Store, timeout: float = 2.0) -> str | None:  # noqa: ASYNC109
    """What a person should know before the start: None when all is well or no URL is set, else one line.

    The line means that Redis cannot be used now but may be later, so Headgate starts. timeout: seconds for it all.
    Raises StoreRefused when only other settings can help: a wrong password or database, or no Redis there.
    """
    if not store.url:
        return None
    try:
        place = find(store.url, store.prefix)
    except ValueError as error:
        raise StoreRefused(f"store.url: {error}") from error
    try:
        async with asyncio.timeout(timeout):
            link = await place.open(asyncio.get_running_loop())
    except LinkFailed as failure:
        if failure.permanent:
            raise StoreRefused(f"store.url: {place}: {failure.reason}") from failure
        return down(place, failure.reason)
    except TimeoutError:
        # A Redis without TLS takes the greeting for the beginning of a command and waits for the rest.
        hint = " (does it speak TLS?)" if store.url.startswith("rediss") else ""
        return down(place, f"no answer within {timeout:g} s{hint}")
    link.abort()
    return None
