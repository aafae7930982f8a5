"""What is tried before a configuration is used, so that a mistake is told at once and not by a worker at midnight.

A store that refuses us is a mistake. A store that is merely away is none: the workers decide by `on_store_error` and
find it when it comes.
"""

import asyncio
import os

from headgate.errors import UserError
from headgate.model.config import LOG_MODE, Config

_PATIENCE = 1.0  # seconds that a store has to answer


async def preflight(config: Config, before: Config | None = None) -> list[str]:
    """Warnings. Raises UserError, with one clear line, for what the configuration names and cannot be used.

    before: the configuration in use; what is the same in it is not tried again.
    """
    if config.access_log and (before is None or config.access_log != before.access_log):
        await asyncio.to_thread(_try_log, config.access_log.path)
    if not config.store.url or (before is not None and config.store == before.store):
        return []
    from headgate.store.check import check  # imported late: a Headgate without Redis does not load its client

    warning = await check(config.store, _PATIENCE)
    return [warning] if warning else []


def _try_log(path: str) -> None:
    if path == "-":
        return
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, LOG_MODE))
    except OSError as error:
        raise UserError(f"the access log {path} cannot be written: {(error.strerror or str(error)).lower()}") from error
