"""How far a stream of chunks has been read for good: where to go on after a restart."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

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
