"""The worker's process: `python -m headgate.worker LAUNCH`, started by the supervisor and by nobody else."""

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
import time

import msgspec

from headgate.wire.messages import Adopt, Drain, Launch, Message, ReopenLog
from headgate.worker.control import Control
from headgate.worker.process import Worker

_GRACE = 30.0  # seconds for a drain that a signal asks for, when no supervisor is left to say it


async def serve(launch: Launch) -> None:
    """Serves until it is told to drain."""
    loop = asyncio.get_running_loop()
    adoptions: asyncio.Queue[tuple[Adopt, dict[str, socket.socket]]] = asyncio.Queue()

    def on_message(message: Message, sockets: dict[str, socket.socket]) -> None:
        if isinstance(message, Adopt):
            adoptions.put_nowait((message, sockets))
        elif isinstance(message, Drain):
            worker.drain(message.grace)
        elif isinstance(message, ReopenLog):
            worker.reopen_log()

    async def adopt() -> None:
        while True:
            message, sockets = await adoptions.get()
            await worker.adopt(message.snapshot, sockets)
            if message.snapshot.version == 1 or not gc.get_freeze_count():
                # What is there now stays: collections need not look at it, and its pages stay shared.
                gc.collect()
                gc.freeze()

    control = Control(socket.socket(fileno=launch.control), loop, on_message)
    worker = Worker(launch, loop, control.send)
    # A terminal's Ctrl-C reaches the whole group; the supervisor decides what becomes of its workers.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    loop.add_signal_handler(signal.SIGUSR1, worker.reopen_log)
    loop.add_signal_handler(signal.SIGTERM, worker.drain, _GRACE)
    adopting = loop.create_task(adopt())
    running = loop.create_task(worker.run())
    done, _ = await asyncio.wait({adopting, running}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    adopting.cancel()


def main() -> None:
    """Runs one worker."""
    launch = msgspec.json.decode(sys.argv[1], type=Launch)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ"
    )
    logging.Formatter.converter = time.gmtime
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(launch))
    else:
        uvloop.run(serve(launch))


if __name__ == "__main__":
    main()
