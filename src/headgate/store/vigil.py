"""What a store does as long as it has a connection: it says that its Headgate lives, and looks for its Redis again."""

import asyncio
import contextlib
from collections.abc import Callable

from headgate.store import peers
from headgate.store.place import Place


async def vigil(
    place: Place,
    lost: asyncio.Event,
    loop: asyncio.AbstractEventLoop,
    *,
    sign: Callable[[], None],
    moved: Callable[[], None],
) -> None:
    """Lasts until the connection is lost. sign: gives a sign of life. moved: called when Redis is elsewhere now."""
    next_sign = loop.time()
    next_look = next_sign + place.watch
    while not lost.is_set():
        if loop.time() >= next_sign:
            sign()
            next_sign += peers.EVERY
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min(next_sign, next_look)):
                await lost.wait()
        if loop.time() >= next_look and not lost.is_set():
            if not await place.holds(loop) and not lost.is_set():
                moved()
            next_look = loop.time() + place.watch
