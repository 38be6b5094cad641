"""The machine's own clock, the `Clock` of every service outside tests."""

from __future__ import annotations

import time


class SystemClock:
    """UTC as this machine knows it."""

    def now(self) -> float:
        return time.time()
