"""The functions of Python that limits name: tried before anything serves, in a process of its own.

The modules are users' programs: importing them runs them. The supervisor holds the sockets and the state of all, so it
does not import them; a process that is thrown away does, finds what is wrong with each, and what tells the version of a
module from the next. Only a configuration that is read sees a new version: a worker takes it with the snapshot.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence

from headgate.control import child
from headgate.control.report import Place
from headgate.model.config import Limit

_PATIENCE = 30.0  # seconds for the imports

Versions = tuple[tuple[str, str], ...]


def check(
    place: Place,
    limits: Mapping[str, Limit],
    folders: Sequence[str],
    *,
    command: Sequence[str] = (),
    patience: float = _PATIENCE,
) -> Versions:
    """The modules that the limits' functions are in, with their versions; what is wrong is said at its place.

    folders: where they are looked for. command: what tries them, where it is not our own.
    """
    named = [(name, setting, text) for name, limit in limits.items() for setting, text in limit.functions.items()]
    if not named:
        return ()
    asked = {text: 2 if setting == "settle" else 1 for _, setting, text in named}
    try:
        done = subprocess.run(
            [*(command or child.command("headgate.worker.modules"))],
            input=json.dumps({"folders": [*folders], "functions": asked}),  # an argument has a greatest length
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # it has what the modules say too
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        (place / "limits").say(f"the modules of its functions cannot be imported within {patience:g} s")
        return ()
    except OSError as error:
        (place / "limits").say(f"the modules of its functions cannot be tried: {error.strerror or error}")
        return ()
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        problems, versions = found["problems"], found["versions"]
    except (ValueError, LookupError, TypeError):
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        (place / "limits").say(f"the modules of its functions cannot be imported: {last}")
        return ()
    for name, setting, text in named:
        if text in problems:
            (place / "limits" / name / setting).say(problems[text])
    return tuple(sorted(versions.items()))
