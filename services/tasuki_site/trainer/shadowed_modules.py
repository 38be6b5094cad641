"""Modules with the name of one of Python's standard library: one is taken in place of the other."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_LACKING = re.compile(r"Error: .*?(?:module|from|named) '(\w+)")  # as Python words it
_NAMED = "has the name of a module of Python's standard library"
_HIDES = f"{_NAMED}, and is taken in its place; rename it"
_HIDDEN = f"{_NAMED}, which is taken in its place; rename it"


def library_module(name: str, folder: Path) -> str | None:
    """What to say of a module that is meant to be in `folder`, and that Python has itself.

    None: it has not, or will take the one in the folder.
    """
    if name not in sys.stdlib_module_names:
        return None
    mine = _file_in(folder, name)
    if mine is None:
        return f"{name} is a module of Python's standard library, and there is none in {folder}"
    loaded = sys.modules.get(name)
    if name not in sys.builtin_module_names and (loaded is None or _origin(loaded) == mine):
        return None
    return f"{mine} {_HIDDEN}"


def shadow_hint(exc: BaseException) -> str | None:
    """What to say if code failed because it got one module of a name and needed the other."""
    for error in _chain(exc):
        name, file = _subject(error)
        if name not in sys.stdlib_module_names:
            continue
        if file is not None and not _is_library(file):
            return f"{file} {_HIDES}"
        for folder in sys.path:
            mine = _file_in(Path(folder), name)
            if mine is not None and not _is_library(mine):
                return f"{mine} {_HIDDEN}"
    return None


def shadow_told(text: str, folder: Path) -> str | None:
    """The same of code in a process of its own, by what it printed: `folder` is the script's."""
    for name in _LACKING.findall(text):
        if name in sys.stdlib_module_names and (mine := _file_in(folder, name)) is not None:
            return f"{mine} {_HIDES}"
    return None


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        yield exc
        seen.add(id(exc))
        exc = exc.__cause__ or exc.__context__


def _subject(exc: BaseException) -> tuple[str, Path | None]:
    """The module that lacks something, and the file that it is from."""
    if isinstance(exc, AttributeError) and isinstance(exc.obj, ModuleType):
        return exc.obj.__name__.partition(".")[0], _origin(exc.obj)
    if isinstance(exc, ImportError) and exc.name is not None:
        name = exc.name.partition(".")[0]
        if exc.path is not None:
            return name, Path(exc.path)
        return name, _origin(sys.modules[name]) if name in sys.modules else None
    return "", None


def _origin(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file)


def _file_in(folder: Path, name: str) -> Path | None:
    places = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((place for place in places if place.is_file()), None)


def _is_library(file: Path) -> bool:
    library = Path(sysconfig.get_path("stdlib"))
    is_installed = {"site-packages", "dist-packages"} & set(file.parts)
    return file.is_relative_to(library) and not is_installed
