"""How a module of ours is run in a process of its own."""

import os
import sys
from pathlib import Path

_OURS = Path(__file__).parents[2]  # the folder that `headgate` is in


def command(module: str) -> tuple[str, ...]:
    """What runs it.

    `python -m` looks for modules in the current folder first: one of a user's there, named like one of Python's own
    (`token.py`), would take its place in every worker. So it may not (-P), unless we are there ourselves.
    """
    is_here = Path(os.getcwd()) == _OURS
    return (sys.executable, *(() if is_here else ("-P",)), "-m", module)
