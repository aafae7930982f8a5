"""The worker's process: `python -m headgate.worker LAUNCH`, started by the supervisor and by nobody else."""

import asyncio
import ctypes
import gc
import logging
import resource
import signal
import socket
import sys

import msgspec

from headgate.wire.events import EventFormatter
from headgate.wire.messages import Adopt, Drain, Forget, ForgetAll, Launch, Message, ReopenLog
from headgate.worker.control import Control
from headgate.worker.process import Worker

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_GRACE = 30.0  # seconds for a drain that a signal asks for, when no supervisor is left to say it


async def serve(launch: Launch) -> None:
    """Serves until it is told to drain."""
    loop = asyncio.get_running_loop()
    # A drain waits for what was to be adopted before it, or it would leave out listeners that come and go with that.
    adoptions: asyncio.Queue[tuple[Adopt | Drain, dict[str, socket.socket]]] = asyncio.Queue()

    def on_message(message: Message, sockets: dict[str, socket.socket]) -> None:
        if isinstance(message, Adopt | Drain):
            adoptions.put_nowait((message, sockets))
        elif isinstance(message, ReopenLog):
            worker.reopen_log()
        elif isinstance(message, Forget):
            worker.forget(message.limit, message.key)
        elif isinstance(message, ForgetAll):
            worker.forget_all()

    async def adopt() -> None:
        while True:
            message, sockets = await adoptions.get()
            if isinstance(message, Drain):
                worker.drain(message.grace)
                continue
            await worker.adopt(message.snapshot, sockets)
            if message.snapshot.version == 1 or not gc.get_freeze_count():
                # What is there now stays: collections need not look at it, and its pages stay shared.
                gc.collect()
                gc.freeze()
                # No exchange leaves a cycle behind (tests/exchange holds that): looking for some with every seven
                # hundred objects, which is every other turn of a busy loop, finds what is in flight and nothing else.
                gc.set_threshold(50_000, 10, 10)

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


def keep_memory() -> None:
    """Lets the C library keep some memory that is given back, where it can be told to (glibc; see mallopt(3)).

    Every body is read into memory of up to 256 KiB that is given back at once. By default that is more than what is
    kept, so the heap shrinks and grows with every read: 6 page faults for an upload of 100 kB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 20)
        mallopt(_TRIM_THRESHOLD, 8 << 20)


def log_events() -> None:
    """Sends the events of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(EventFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def main() -> None:
    """Runs one worker."""
    keep_memory()
    launch = msgspec.json.decode(sys.argv[1], type=Launch)
    log_events()
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
