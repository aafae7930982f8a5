"""Processes that do the same at the same time."""

import subprocess
import sys
from collections.abc import Sequence


def together(script: str, count: int, *arguments: str, fds: Sequence[int] = ()) -> list[tuple[int, ...]]:
    """The numbers that each of so many processes prints in the end.

    The script prints "ready", waits for a line, and then prints them. fds: descriptors that the processes inherit.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            pass_fds=fds,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [tuple(map(int, process.communicate(timeout=60)[0].split())) for process in processes]
