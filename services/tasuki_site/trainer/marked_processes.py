"""All processes that a launcher started, found by a mark in their environment.

Launchers put their workers into sessions of their own, where no signal to a group reaches them.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

MARK_VARIABLE = "TASUKI_TRAINER_MARK"

PASSES = 20
"""A process may have started another while it was killed."""


def end_marked(mark: str) -> None:
    """Kill every process that carries the mark, but this one; where there is a /proc."""
    for _ in range(PASSES):
        if not _killed(f"{MARK_VARIABLE}={mark}\0".encode()):
            return


def _killed(wanted: bytes) -> int:
    count = 0
    for place in Path("/proc").glob("[0-9]*"):
        # Gone meanwhile, somebody else's, or never to be seen.
        with suppress(OSError):
            if wanted in (place / "environ").read_bytes() and int(place.name) != os.getpid():
                os.kill(int(place.name), signal.SIGKILL)
                count += 1
    return count
