"""When runs have lasted for as long as they may: `[stop] hours`, counted from their submission."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from tasuki.core.run import RunState
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.ports import Clock

LOOK_S = 3600.0
"""The clock may be set: who waits for long looks at it in between."""


class TimeLimits:
    """One timer for each run that has a limit.

    Args:
        runs: every run, as it stands at the time.
        expire: told of a run whose time is up.
    """

    def __init__(
        self,
        ledger: SqliteLedger,
        clock: Clock,
        runs: Mapping[str, RunState],
        *,
        expire: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._runs = runs
        self._expire = expire
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def watch(self, run: str) -> None:
        """From now on, if it has a limit that it has not reached."""
        state, left_s = self._runs[run], self._left_s(run)
        if left_s is None or state.is_over or state.is_time_up:
            return
        if left_s <= 0:
            self._expire(run)
            return
        later = asyncio.get_running_loop().call_later
        self._timers[run] = later(min(left_s, LOOK_S), partial(self.watch, run))

    def is_over(self, run: str) -> bool:
        """Whether it has lasted for as long as it may by now."""
        left_s = self._left_s(run)
        return left_s is not None and left_s <= 0

    def _left_s(self, run: str) -> float | None:
        """None: it has no limit."""
        stop = self._runs[run].plan.stop
        if stop is None or stop.hours is None:
            return None
        return next(iter(self._ledger.rows(run))).at + stop.hours * 3600 - self._clock.now()

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
