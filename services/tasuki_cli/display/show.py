"""One run while it goes on: in a terminal, in a notebook, or as lines where nothing moves."""

from __future__ import annotations

import time
from threading import Lock

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from tasuki.observe.printable import printable
from tasuki_cli.display.board import Board, Line
from tasuki_cli.display.drawing import draw
from tasuki_cli.display.notebook import NotebookScreen
from tasuki_cli.display.view import view_of
from tasuki_controller.news import Update

REFRESH_PER_S = 3
MOST_SITES, LEAST_SITES = 12, 3
MOST_NOTICES, FEW_NOTICES = 6, 4
TALL = 30
"""Lines of a terminal that has room for many notices."""

AROUND = 10
"""Lines that are neither sites nor notices."""


class RunDisplay:
    """Shows one run, by what happens to it.

        with RunDisplay(Console()) as display:
            display.watch(update)        # whatever happens to the run
            display.print(site, line)    # what a trainer prints

    `watch` and `print` can be called from any thread, and never wait for a screen to be drawn. In
    a terminal and in a notebook the display is drawn anew by itself, a few times a second, from
    `with` to its end, and stays there as it was last. Everywhere else each thing that happens is a
    line, with or without `with`.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._moves = console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)
        self._board = Board()
        self._lock = Lock()  # the screen is drawn in a thread of its own
        self._screen: Live | NotebookScreen
        if console.is_jupyter:
            self._screen = NotebookScreen(self.render, width=console.width)
        else:
            self._screen = Live(
                console=console, refresh_per_second=REFRESH_PER_S, get_renderable=self.render
            )

    def __enter__(self) -> RunDisplay:
        if self._moves:
            self._screen.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._moves:
            self._screen.stop()

    def watch(self, update: Update) -> None:
        """Take in what happened."""
        with self._lock:
            lines = self._board.take(update, at=time.monotonic())
        for line in lines:  # drawing waits for the lock: nobody who has it may print
            self._say(line)

    def _say(self, line: Line) -> None:
        if not (self._moves and line.shows):
            self.print(line.who, line.text)

    def print(self, site: str, line: str) -> None:
        """A line of a trainer's, above the display."""
        line = printable(line)
        if self._moves and not self._console.is_jupyter:
            self._console.print(Text.assemble((f"{site} ", "cyan"), line), soft_wrap=True)
        else:  # a trainer that prints a lot waits for this
            self._console.file.write(f"{site} {line}\n")
            self._console.file.flush()

    def render(self) -> RenderableType:
        """What is shown now."""
        notices = MOST_NOTICES if self._console.height >= TALL else FEW_NOTICES
        with self._lock:
            if (state := self._board.state) is None:
                return Text("starting ...", style="dim")
            room = self._console.height - AROUND - notices - len(state.lanes) + 1
            sites = max(LEAST_SITES, min(MOST_SITES, room))
            at = time.monotonic()
            view = view_of(self._board, at=at, most_sites=sites, most_notices=notices)
        return draw(view)
