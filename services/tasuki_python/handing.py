"""Functions on their way to the processes of this machine that train with them, and nowhere else.

Their file has no name: only this process and those that it starts with the descriptor can read it.
"""

from __future__ import annotations

import inspect
import io
import linecache
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import IO, Any

from tasuki.errors import SettingsError
from tasuki.installed import command_for
from tasuki_site.trainer import cell

LARGE_BYTES = 2**28
"""Each site of a simulation has its own copy of what its functions use."""

_NO_FILE = "<dynamic-code>"
"""What cloudpickle calls every file."""

Functions = Mapping[str, Callable[..., Any]]  # Any: whatever they take and give


def handed(functions: Functions, *, warn: Callable[[str], None]) -> IO[bytes]:
    """A file with the functions for a process that is started with its descriptor.

    Raises:
        SettingsError: one of them uses what cannot be in another process; it is named.
    """
    pickled = _pickled(functions)
    if len(pickled) > LARGE_BYTES:
        warn(
            f"what the functions use is {len(pickled) / 2**20:.0f} MiB, and each site gets a copy"
            " of its own: load data in the function, or in a module that it imports"
        )
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asked for it closes it
    file.write(cell.about(_path(), _sources()) + pickled)
    file.flush()
    return file


def _pickled(functions: Functions) -> bytes:
    """All at once: what several of them use is one thing there, too."""
    dump = _dump()
    try:
        return dump(dict(functions))
    except Exception as exc:  # an object of the user's may raise anything when it is pickled
        for name, function in functions.items():
            for said in _obstacles(name, function, dump):
                raise SettingsError(said) from exc
        raise SettingsError(f"the functions cannot be handed on: {exc}") from exc


def _dump() -> Callable[[object], bytes]:
    try:
        import cloudpickle
    except ImportError as exc:
        raise SettingsError(
            "handing functions to a process of their own needs cloudpickle: "
            f"{command_for('notebook')}; or name a run file instead"
        ) from exc
    table = cloudpickle.Pickler.dispatch_table
    named = {CodeType: partial(_named_code, reduce=table[CodeType])}
    own = {"dispatch_table": table.new_child(named)}
    return partial(_dumped, type("Pickler", (cloudpickle.Pickler,), own))


def _dumped(kind: Any, value: object) -> bytes:  # Any: cloudpickle's, which has no types
    content = io.BytesIO()
    kind(content).dump(value)
    return content.getvalue()


def _named_code(
    code: CodeType, *, reduce: Callable[[CodeType], tuple[Any, ...]]
) -> Any:  # Any: as above
    """With the name of its file, which cloudpickle leaves out: tracebacks are read by people."""
    make, arguments = reduce(code)
    return make, tuple(code.co_filename if each == _NO_FILE else each for each in arguments)


def _path() -> list[str]:
    """Where modules of this process are found; a notebook's folder is an empty name."""
    return [str(Path(each or ".").absolute()) for each in sys.path]


def _sources() -> dict[str, list[str]]:
    """Of code that is in no file: what was typed, with which a traceback is shown."""
    entries = [(name, found) for name, found in linecache.cache.items() if len(found) == 4]
    return {name: list(found[2]) for name, found in entries if found[1] is None}


# What is in the way.


def _obstacles(name: str, value: object, dump: Callable[[object], bytes]) -> Iterator[str]:
    for user, used, each in _used_in(name, value, set()):
        try:
            dump(each)
        except Exception as exc:  # noqa: BLE001 - as above
            if not _is_looked_into(each):
                yield _said(user, used, each, exc)


def _said(user: str, used: str, value: object, exc: Exception) -> str:
    return (
        f"{user} uses {used}, a {type(value).__name__}, which cannot be in another process"
        f" ({exc}): make or open it inside {user}, or put it into a module and import that"
    )


def _used_in(name: str, value: object, seen: set[int]) -> Iterator[tuple[str, str, object]]:
    """(who, by which name, what) for all that a function uses, and what that uses."""
    if id(value) in seen:
        return
    seen.add(id(value))
    for used, each in _used_by(value):
        yield name, used, each
        if _is_looked_into(each):
            yield from _used_in(used, each, seen)


def _used_by(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, partial):
        yield from ((repr(each), each) for each in (value.func, *value.args))
        yield from value.keywords.items()
    elif isinstance(value, type):
        yield from vars(value).items()
    elif isinstance(value, FunctionType):
        names = dict.fromkeys(_names(value.__code__))  # in their order: whose fault it is, is clear
        there = value.__globals__
        yield from ((each, there[each]) for each in names if each in there)
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        for each, cell in cells:
            with suppress(ValueError):  # it has no value yet
                yield each, cell.cell_contents
        yield from inspect.signature(value).parameters.items()
    elif not callable(value):
        return
    else:
        yield from getattr(value, "__dict__", {}).items()


def _is_looked_into(value: object) -> bool:
    """Whatever else it is, it was not the notebook that defined it."""
    is_ours = getattr(value, "__module__", None) == "__main__"
    return isinstance(value, partial | FunctionType) or (isinstance(value, type) and is_ours)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)
