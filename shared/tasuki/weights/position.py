"""How far a stream of chunks has been read for good: where to go on after a restart."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tasuki.disk.writing import write_whole
from tasuki.weights.digest import verify_digest
from tasuki.weights.spool import SUFFIX

FORGOTTEN = 4096
"""A transfer of which that many messages brought nothing was given up by its sender."""


@dataclass(slots=True)
class _Open:
    first: int
    last: int


class Reading:
    """Transfers may be mixed: one that is complete says nothing about those around it."""

    def __init__(self) -> None:
        self._open: dict[Hashable, _Open] = {}  # those of which nothing came for longest first

    def note(self, transfer: Hashable, offset: int, *, is_open: bool) -> int:
        """Take note of a chunk; the first message that would be needed again now.

        Args:
            is_open: more of this transfer has to come.
        """
        span = self._open.pop(transfer, None)
        if is_open:
            first = offset if span is None else span.first
            self._open[transfer] = _Open(first, offset)
        while self._open and offset - next(iter(self._open.values())).last > FORGOTTEN:
            del self._open[next(iter(self._open))]
        return min((span.first for span in self._open.values()), default=offset + 1)


class KeptPosition(Protocol):
    """Where a position is kept. It outlives the process, and a power cut may take it back.

    That costs no more than reading some chunks twice; to force it to the disk, the turn that
    follows the weights would wait.
    """

    def next_offset(self) -> int | None:
        """Where to go on; None: from the start of the stream."""

    def write_offset(self, next_offset: int) -> None:
        """Raises StorageError: it is as it was."""


class PositionFile:
    """A position kept beside the spool that was filled up to there."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._path = spool / "position"

    def next_offset(self) -> int | None:
        """Where to go on; from the start if what had been spooled did not survive a power cut."""
        damaged = [path for path in self._spool.glob(f"*{SUFFIX}") if not _is_whole(path)]
        for path in damaged:
            path.unlink()
        with suppress(OSError, ValueError):
            return None if damaged else int(self._path.read_text())
        return None

    def write_offset(self, next_offset: int) -> None:
        write_whole(self._path, f"{next_offset}\n".encode(), lasting=False)


def _is_whole(path: Path) -> bool:
    """Spooled files are called `<digest>-<transfer>`, and are not forced to the disk."""
    return verify_digest(path).partition(":")[2] == path.name.partition("-")[0]
