"""The machine's own clock, the `Clock` of every service outside tests, and what is timed by one."""

from __future__ import annotations

import time

from tasuki.ports import Clock


class SystemClock:
    """UTC as this machine knows it."""

    def now(self) -> float:
        return time.time()


class Stopwatch:
    """Says how long something takes, from now or from when it is started again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.now()

    def start(self) -> None:
        """What was before does not count."""
        self._began = self._clock.now()

    @property
    def seconds(self) -> float:
        return self._clock.now() - self._began
