"""A run shown while it goes on: in a terminal, in a notebook, or in lines where nothing moves."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from importlib import import_module
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType

from tasuki.observe.outlet import Outlet
from tasuki_cli.display import RunDisplay
from tasuki_python.happening import Item, Printed

BEAT_S = 0.5
"""How often what is shown is drawn anew in a notebook, where nothing else happens."""

_COLUMNS = 100
_HTML = '<pre style="line-height:normal;font-family:monospace">{code}</pre>'


def show_live(items: Iterator[Item | None]) -> None:
    """Until there are no more of them."""
    if _is_notebook():
        _in_notebook(items)
        return
    console = Console(file=cast("TextIO", Outlet(sys.stdout)))
    display = RunDisplay(console)
    with display if console.is_terminal else nullcontext():
        for item in items:
            _take(display, item)


def _is_notebook() -> bool:
    """Whether a kernel runs this: IPython in a terminal is a terminal."""
    if (ipython := sys.modules.get("IPython")) is None:
        return False
    shell = ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def _in_notebook(items: Iterator[Item | None]) -> None:
    """What moves is above, in a place of its own; lines come below."""
    lines = Console(file=sys.stdout, force_terminal=False, force_jupyter=False, width=_COLUMNS)
    shown = RunDisplay(lines)
    ipython: Any = import_module("IPython.display")  # Any: it is the kernel's, and has no types
    last = _html(shown.render())
    place = ipython.display(ipython.HTML(last), display_id=True)
    for item in items:
        _take(shown, item)
        if (now := _html(shown.render())) != last:
            place.update(ipython.HTML(now))
            last = now


def _take(display: RunDisplay, item: Item | None) -> None:
    if isinstance(item, Printed):
        display.print(item.site, item.line)
    elif item is not None:
        display.watch(item)


def _html(what: RenderableType) -> str:
    console = Console(
        record=True, file=io.StringIO(), width=_COLUMNS, force_terminal=True, force_jupyter=False
    )
    console.print(what)
    return console.export_html(inline_styles=True, code_format=_HTML)
