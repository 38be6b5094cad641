"""How long a turn may take: a trainer that hangs is ended, and says where it was."""

from __future__ import annotations

import asyncio
import math

from tasuki.errors import TrainerOverdue
from tasuki_site.trainer.channel import Map
from tasuki_site.trainer.child_process import ChildProcess
from tasuki_site.trainer.request import TurnRequest

MOST_LINES = 400
MOST_STACKS = 1300
"""Characters of what was printed, and of where the threads are: what is told has a limit."""

MOST_FRAMES = 5
"""Of each thread, the innermost; all of them were printed."""

_OUR_OWN = "in _listen"


class TimeLimits:
    """Listens to a trainer for as long as its turn may take."""

    def __init__(self, request: TurnRequest, child: ChildProcess) -> None:
        self._request = request
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._began = self._heard_at = self._loop.time()

    async def hear(self) -> Map | None:
        """What the trainer says next, or None when it is gone.

        Raises:
            TrainerOverdue: it was ended; with its last lines and the stack of each thread.
        """
        hearing = asyncio.ensure_future(self._child.hear())
        try:
            while not hearing.done():
                left = self._until() - self._loop.time()
                if left <= 0:
                    raise await self._overdue()
                await asyncio.wait({hearing}, timeout=None if left == math.inf else left)
        finally:
            if not hearing.done():
                hearing.cancel()
        self._heard_at = self._loop.time()
        return hearing.result()

    def _until(self) -> float:
        request = self._request
        return min(
            self._began + (request.turn_s or math.inf),
            max(self._heard_at, self._child.printing.printed_at) + (request.progress_s or math.inf),
        )

    async def _overdue(self) -> TrainerOverdue:
        request, lines = self._request, self._child.printing.last_lines
        turn_s = request.turn_s or math.inf
        if self._loop.time() >= self._began + turn_s:
            why = f"the turn took longer than [failure] turn_s = {turn_s:g} s"
        else:
            limit = f"[failure] progress_s = {request.progress_s:g} s"
            why = f"the trainer logged nothing and printed nothing for {limit}"
        stacks = _innermost(await self._child.stacks())
        parts = (f"{why}, so that it was ended", lines[-MOST_LINES:], stacks[:MOST_STACKS])
        return TrainerOverdue("\n".join(part for part in parts if part))


def _innermost(stacks: str) -> str:
    """Where each thread of each process was, the main ones first; without our own."""
    threads = [part for part in stacks.split("\n\n") if "most recent call first" in part]
    theirs = [part.strip().splitlines() for part in threads if _OUR_OWN not in part]
    theirs.sort(key=lambda lines: not lines[0].startswith("Current thread"))
    return "\n".join("\n".join(lines[: 1 + MOST_FRAMES]) for lines in theirs)
