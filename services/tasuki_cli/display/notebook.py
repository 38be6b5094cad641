"""A notebook's cell as a screen: one output of the cell, replaced as the run goes on.

rich has a live display for notebooks, which needs widgets: without them it shows nothing, and it
leaves nothing in a notebook that is saved.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from threading import Event, Thread
from typing import Any

from rich.console import Console, RenderableType

Replace = Callable[[str], None]

EVERY_S = 0.5
PAGE = '<pre style="line-height:normal;font-family:monospace">{code}</pre>'


class NotebookScreen:
    """Shows what `render` gives, until it is stopped, and then that once more."""

    def __init__(
        self,
        render: Callable[[], RenderableType],
        *,
        width: int,
        show: Callable[[str], Replace] | None = None,
    ) -> None:
        """`show`: puts up HTML and returns what replaces it; None: in the cell that runs."""
        self._render = render
        self._width = width
        self._show = show or _in_this_cell
        self._shown = ""
        self._replace: Replace
        self._over = Event()
        self._refreshing = Thread(target=self._refresh, name="display", daemon=True)

    def start(self) -> None:
        self._shown = self._page()
        self._replace = self._show(self._shown)
        self._refreshing.start()

    def stop(self) -> None:
        self._over.set()
        self._refreshing.join()
        self._draw()

    def _refresh(self) -> None:
        while not self._over.wait(EVERY_S):
            self._draw()

    def _draw(self) -> None:
        if (page := self._page()) != self._shown:
            self._replace(page)
            self._shown = page

    def _page(self) -> str:
        console = Console(
            file=io.StringIO(),
            record=True,
            width=self._width,
            force_jupyter=False,
            force_terminal=True,
            color_system="truecolor",
        )
        console.print(self._render())
        return console.export_html(inline_styles=True, code_format=PAGE)


def _in_this_cell(page: str) -> Replace:
    ipython: Any = import_module("IPython.display")  # Any: it is the kernel's, and has no types
    handle = ipython.display(ipython.HTML(page), display_id=True)
    return lambda page: handle.update(ipython.HTML(page))
