"""The roster's file, which an operator replaces while the controller serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from tasuki.errors import TasukiError
from tasuki.trust.rosters import Rosters, read_issued

log = structlog.get_logger()

EVERY_S = 5.0


async def watch(
    path: Path | None,
    rosters: Rosters | None,
    taken: Callable[[], None],
    *,
    every_s: float = EVERY_S,
) -> None:
    """Go by what is put there, until this is cancelled. What is not to be taken is told once.

    Args:
        taken: told that a newer one counts from now on.
    """
    if path is None or rosters is None:
        return
    seen = _stamp(path)
    while True:
        await asyncio.sleep(every_s)
        if (stamp := _stamp(path)) != seen:
            seen = stamp
            if stamp is not None and _take(path, rosters):
                taken()


def _take(path: Path, rosters: Rosters) -> bool:
    before = rosters.number
    try:
        rosters.take(read_issued(path))
    except TasukiError as exc:  # also one that counts from now on, and could not be kept
        log.warning("what is wrong with the new roster", path=str(path), reason=str(exc))
    if rosters.number > before:
        log.info("roster taken", path=str(path), number=rosters.number)
    return rosters.number > before


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
