"""Functions that a notebook or a script defined, as a module of the process that trains with them.

They come from the parent of that process alone, in a file without a name that only the two have
open: nothing pickled is in a queue, a spool, a ledger, or anywhere that another process could have
put it. The first line is JSON, about where they were; the rest are the functions.
"""

from __future__ import annotations

import importlib.abc
import io
import json
import linecache
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "tasuki_cell"
"""What they are imported as; each site of a simulation imports its own."""

VARIABLE = "TASUKI_CELL_FD"
"""Has the descriptor of their file, in the environment of the process."""

_PIECE = 2**24
_MAKES_CLASSES = {
    ("cloudpickle.cloudpickle", "_make_skeleton_class"),
    ("cloudpickle.cloudpickle", "_make_skeleton_enum"),
}


def environment(handed: int | None) -> dict[str, str]:
    """What a process that is started with this descriptor, or with none, has to be told of it."""
    return {VARIABLE: "" if handed is None else str(handed)}


def take(folder: Path) -> None:
    """Make what was handed to this process a module that lies in `folder`, if something was."""
    if not (descriptor := os.environ.pop(VARIABLE, "")):
        return
    about, _, functions = _read(int(descriptor)).partition(b"\n")
    _know(json.loads(about))
    sys.meta_path.insert(0, _Finder(functions, folder / f"{MODULE}.py"))


def about(path: Sequence[str], sources: Mapping[str, Sequence[str]]) -> bytes:
    """The first line: where modules are found, and the lines of code that is in no file."""
    return json.dumps({"path": path, "sources": sources}).encode() + b"\n"


def _read(descriptor: int) -> bytes:
    """From the beginning, wherever somebody else who has it open is."""
    content = bytearray()
    while piece := os.pread(descriptor, _PIECE, len(content)):
        content += piece
    os.close(descriptor)
    return bytes(content)


def _know(there: Mapping[str, object]) -> None:
    path, sources = there["path"], there["sources"]
    assert isinstance(path, list)  # noqa: S101 - `about` wrote it
    assert isinstance(sources, dict)  # noqa: S101
    sys.path.extend(each for each in path if each not in sys.path)
    for name, lines in sources.items():  # what raised is shown with its lines
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the one module. Whoever imports it once more gets functions of its own."""

    def __init__(self, functions: bytes, place: Path) -> None:
        self._functions = functions
        self._place = place

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == MODULE else None

    def exec_module(self, module: ModuleType) -> None:
        # By it the process tells whose module it is, as of every module beside the run file.
        module.__file__ = str(self._place)
        # Our own parent wrote it, and nobody else had it open.
        vars(module).update(_Unpickler(io.BytesIO(self._functions)).load())


class _Unpickler(pickle.Unpickler):
    """Each time with classes of its own: cloudpickle would find those that it has made before."""

    def find_class(self, module: str, name: str) -> Any:  # Any: whatever is in a module
        found = super().find_class(module, name)
        if (module, name) not in _MAKES_CLASSES:
            return found

        def made(*arguments: object) -> object:
            *before, _tracked_as, extra = arguments
            return found(*before, None, extra)

        return made
