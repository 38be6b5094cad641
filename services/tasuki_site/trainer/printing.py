"""From the pipe that a trainer prints into to whoever reads its lines, when they are printed."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

from tasuki_site.trainer.screen import Screen

REDRAWN_S = 1.0
"""A line that is still being drawn is shown this often, if it has changed."""

MOST_LINES = 20
"""Of what a trainer printed, the last so many lines are told when it dies."""

Show = Callable[[str], None]
"""Takes one line that a trainer printed."""


class Printing:
    """Reads until nobody can print any more. `printed_at`: the loop's time of the newest piece."""

    def __init__(self, descriptor: int, show: Show) -> None:
        self._show = show
        self._screen = Screen()
        self._shown = ""
        self._tail: deque[str] = deque(maxlen=MOST_LINES)
        self._redraw: asyncio.TimerHandle | None = None
        self.printed_at = 0.0
        self.copy: list[str] | None = None  # of every line from here on, if there is one
        self._task = asyncio.create_task(self._read(descriptor))

    @property
    def last_lines(self) -> str:
        return "\n".join(self._tail)

    async def heard_out(self, timeout_s: float) -> None:
        """Returns when everything was read: what the trainer started may hold on to the pipe."""
        await asyncio.wait({self._task}, timeout=timeout_s)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _read(self, descriptor: int) -> None:
        reader = asyncio.StreamReader(limit=2**16)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
        )
        try:
            while data := await reader.read(2**16):
                self.printed_at = asyncio.get_running_loop().time()
                for line in self._screen.feed(data):
                    self._say(line)
                self._redraw_later()
        finally:
            pipe.close()
            if self._redraw is not None:
                self._redraw.cancel()
            for line in self._screen.finish():
                self._say(line)

    def _say(self, line: str) -> None:
        self._tail.append(line)
        if self.copy is not None:
            self.copy.append(line)
        if line != self._shown or not self._shown:
            self._show(line)
        self._shown = ""

    def _redraw_later(self) -> None:
        if self._redraw is None and self._screen.line:
            later = asyncio.get_running_loop().call_later
            self._redraw = later(REDRAWN_S, self._show_unfinished)

    def _show_unfinished(self) -> None:
        self._redraw = None
        line = self._screen.line
        if line and line != self._shown:
            self._shown = line
            self._show(line)
