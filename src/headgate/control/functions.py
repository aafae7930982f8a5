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

_running: set["subprocess.Popen[str]"] = set()  # in threads, each of which waits for its own

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
    question = json.dumps({"folders": [*folders], "functions": asked})
    try:
        status, out, err = _run([*(command or child.command("headgate.worker.modules"))], question, patience)
    except subprocess.TimeoutExpired:
        (place / "limits").say(f"the modules of its functions cannot be imported within {patience:g} s")
        return ()
    except OSError as error:
        (place / "limits").say(f"the modules of its functions cannot be tried: {error.strerror or error}")
        return ()
    try:
        found = json.loads(out.splitlines()[-1])
        problems, versions = found["problems"], found["versions"]
    except (ValueError, LookupError, TypeError):
        last = (err.strip().splitlines() or [f"exit status {status}"])[-1]
        (place / "limits").say(f"the modules of its functions cannot be imported: {last}")
        return ()
    places: dict[str, list[Place]] = {}  # by what is wrong: with a module it is the same for all that names it
    for name, setting, text in named:
        if text in problems:
            places.setdefault(problems[text], []).append(place / "limits" / name / setting)
    for problem, (first, *others) in places.items():
        first.say(f"{problem} (the same for {', '.join(map(str, others))})" if others else problem)
    return tuple(sorted(versions.items()))


def end() -> None:
    """Ends what is being tried: a stop does not wait for a module that hangs."""
    for process in list(_running):
        process.kill()


def _run(command: Sequence[str], question: str, patience: float) -> tuple[int, str, str]:
    """The exit status and both outputs. Raises OSError or TimeoutExpired, and leaves no process behind."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # an argument has a greatest length
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",  # it has what the modules say too
    ) as process:
        _running.add(process)
        try:
            out, err = process.communicate(question, patience)
        finally:
            _running.discard(process)
            process.kill()  # it has ended, or it never will
    return process.returncode, out, err
