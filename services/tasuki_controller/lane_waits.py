"""How long lanes that are done wait for the others: `[lanes] wait_s`, one timer for each run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tasuki.core import run as machine
from tasuki.core.run import RunState


class LaneWaits:
    """Args: expire: told of a run, and of the round in which lanes have waited for long enough."""

    def __init__(self, expire: Callable[[str, int], object]) -> None:
        self._expire = expire
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def begin(self, run: str, wait: machine.AwaitLanes) -> None:
        """From now on, whatever was waited for before."""
        if run in self._timers:
            self._timers[run].cancel()
        loop = asyncio.get_running_loop()
        self._timers[run] = loop.call_later(wait.wait_s, self._expire, run, wait.round)

    def resume(self, state: RunState) -> None:
        """After a restart: the whole time once more, as with leases."""
        wait_s, round = state.plan.lanes.wait_s, machine.waited_for(state)
        if wait_s is not None and round is not None:
            self.begin(state.plan.run, machine.AwaitLanes(round=round, wait_s=wait_s))

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
