"""What a module defines, by its text alone: nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def defines(file: Path, name: str) -> bool | None:
    """Whether a module has something of its own by this name; None: its text does not say.

    A module that is imported under the name, as `import evaluate` does it, does not count.
    """
    try:
        found = set(_names(ast.parse(file.read_bytes(), file.name)))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None  # its import will say what is wrong with it
    if name in found:
        return True
    return None if found & {"*", "__getattr__"} else False


def _names(node: ast.AST) -> Iterator[str]:
    """What is bound in the module itself, in whatever branch; `*` may be anything."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
            return
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names)
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
    for child in ast.iter_child_nodes(node):
        yield from _names(child)
