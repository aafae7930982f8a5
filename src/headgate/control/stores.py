"""Looking at the limits' store before it is used, so that a wrong password is told at the start and not at midnight.

A store that is merely away is no reason not to start: the workers decide by `on_store_error` and find it when it comes.
"""

from headgate.model.config import Store

_PATIENCE = 1.0  # seconds that a store has to answer


async def check_store(store: Store) -> str | None:
    """A warning when the store cannot be reached, None when all is well. Raises UserError when it refuses us."""
    if not store.url:
        return None
    from headgate.store.redis import check  # imported late: a Headgate without Redis does not load its client

    return await check(store, _PATIENCE)
