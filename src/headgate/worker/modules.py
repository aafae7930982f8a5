"""Modules of users: found in the folders that the configuration names, imported, and imported anew when they changed.

A worker imports them in its own process (`Modules`). Whether they can be imported is tried before that, in a process of
its own that the control plane starts (`python -m headgate.worker.modules`): so a module that hangs, crashes or prints
does no harm to anything that serves, and each reload sees the file as it is.
The current folder is never looked in because somebody happened to start Headgate there.
"""

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType
from typing import NamedTuple


class _Loaded(NamedTuple):
    """A module. wanted: the version that was asked for. found: the one that was there, when it had changed since."""

    wanted: str
    found: str
    module: ModuleType


class Modules:
    """The modules that this process has loaded for users' functions."""

    def __init__(self) -> None:
        self._loaded: dict[str, _Loaded] = {}
        self._ours: set[str] = set()  # those that were imported here, and by nobody before
        self._folders: Sequence[str] = ()

    def look_in(self, folders: Sequence[str]) -> None:
        """Finds modules in these folders from now on, after those of Python itself and of what is installed."""
        if folders == self._folders:
            return
        _leave_current_folder()
        sys.path[:] = [entry for entry in sys.path if entry not in self._folders] + [*folders]
        self._folders = folders

    def load(self, name: str, wanted: str) -> ModuleType:
        """The module, imported anew if this is another version of it than before. Raises whatever the module raises.

        Where a worker comes up after a file was changed, and nobody reloaded, what is there is another version than is
        wanted. It is used until the wanted one is there again.
        """
        known = self._loaded.get(name)
        if known is not None and known.wanted == wanted and (known.found == wanted or version(known.module) != wanted):
            return known.module
        module = self._fresh(name)
        self._loaded[name] = _Loaded(wanted, version(module), module)
        return module

    def _fresh(self, name: str) -> ModuleType:
        importlib.invalidate_caches()
        before = sys.modules.get(name)
        if before is not None and name not in self._ours:
            return before  # Python's own, or one that another module imported: not ours to replace
        sys.modules.pop(name, None)
        try:
            module = _imported(name)
            self._ours.add(name)
            return module
        except BaseException:
            sys.modules.pop(name, None)
            if before is not None:
                sys.modules[name] = before
            raise


class _Source(SourceFileLoader):
    """Compiles what is in the file now: compiled files are told apart by the second and by the size only."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _imported(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if type(spec.loader) is not SourceFileLoader or spec.origin is None:
        return importlib.import_module(name)
    spec.loader = _Source(name, spec.origin)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _leave_current_folder() -> None:
    # `python -m` puts it first.
    if not sys.flags.safe_path and sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]


def version(module: ModuleType) -> str:
    """What tells one version of a module from another: a hash of its file; "" where it has no file that can be read."""
    try:
        with open(module.__file__ or "", "rb") as file:
            return blake2b(file.read(), digest_size=8).hexdigest()
    except (AttributeError, OSError):
        return ""


def function(module: ModuleType, name: str, parameters: int) -> Callable[..., object]:
    """The function of a module. Raises ValueError where there is none that takes so many parameters."""
    found: Callable[..., object] | None = getattr(module, name, None)
    where = f'module "{module.__name__}" ({getattr(module, "__file__", None) or "built in"})'
    if found is None:
        raise ValueError(f'{where} has no "{name}"')
    if not callable(found):
        raise ValueError(f'"{name}" of {where} is not callable')
    if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise ValueError(f'"{name}" of {where} has a yield, so it says a generator (expected a return)')
    try:
        inspect.signature(found).bind(*[None] * parameters)
    except TypeError as error:
        called = "(request)" if parameters == 1 else "(request, response)"
        raise ValueError(f'"{name}" of {where} cannot be called with {called}: {error}') from None
    except ValueError:
        pass  # written in C, and does not say what it takes
    return found


def check(folders: Sequence[str], functions: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """What a process of its own finds out. functions: their numbers of parameters, by `module:name`.

    Returns the versions of the modules, and what is wrong with which function.
    """
    modules = Modules()
    modules.look_in(folders)
    versions: dict[str, str] = {}
    problems: dict[str, str] = {}
    for text, parameters in functions.items():
        name, _, attribute = text.partition(":")
        try:
            module = modules.load(name, "")
        except (Exception, SystemExit) as error:  # whatever a user's module does when it is imported
            problems[text] = f'module "{name}" cannot be imported: {_words(error)}{_place(error, folders)}'
            continue
        versions[name] = version(module)
        try:
            function(module, attribute, parameters)
        except ValueError as error:
            problems[text] = str(error)
    return {"versions": versions, "problems": problems}


def _words(error: BaseException) -> str:
    said = str(error).splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _place(error: BaseException, folders: Sequence[str]) -> str:
    """Where in these folders it happened, or which they are when nothing of them was found."""
    if isinstance(error, SyntaxError):
        return ""  # its words have it
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if frame.filename.startswith(tuple(os.path.join(one, "") for one in folders))]
    if inside:
        return f" ({os.path.basename(inside[-1].filename)}, line {inside[-1].lineno})"
    return f" (looked in {', '.join(folders)})" if isinstance(error, ModuleNotFoundError) else ""


def main() -> None:
    """Checks what the input says, in JSON, and prints what it found as the last line."""
    asked = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        found = check(asked["folders"], asked["functions"])
    print("\n" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
    os._exit(0)  # threads that a module started would be waited for, and what it does at the end could print more
