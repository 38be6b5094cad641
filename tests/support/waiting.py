"""Waiting for a condition with a deadline: the only place in the tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02


def wait_until(
    condition: Callable[[], T], *, what: str, within_s: float = 20.0, poll_s: float = POLL_S
) -> T:
    """Ask until the answer is true, and return it; fail when the deadline has passed."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s: {what}")
        time.sleep(poll_s)
    return answer


async def until(condition: Callable[[], T], *, what: str, within_s: float = 20.0) -> T:
    """`wait_until` for a condition that comes true while the event loop goes on."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not (answer := condition()):
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"not within {within_s} s: {what}")
        await asyncio.sleep(POLL_S)
    return answer
