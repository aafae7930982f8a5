"""How servers of asyncio in tests stop to accept."""

import asyncio


async def accept_no_more(server: asyncio.Server) -> None:
    """Closes a server, and who connects is refused from now on; protocols have all whom it accepted before.

    Of whom asyncio's loop accepted in the turn in which a server is closed, no protocol is ever told: his socket stays
    open until it is found as garbage, and the ResourceWarning then fails a test that has nothing to do with it.
    """
    loop = server.get_loop()
    for sock in server.sockets:
        loop.remove_reader(sock.fileno())
    await asyncio.sleep(0)  # the server has them
    server.close()
    await asyncio.sleep(0)  # and their protocols
