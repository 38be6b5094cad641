"""How far a stream of chunks has been read for good: where to go on after a restart."""

from __future__ import annotations

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
        self._open: dict[bytes, _Open] = {}

    def note(self, transfer: bytes, offset: int, *, is_open: bool) -> int:
        """Take note of a chunk; the first message that would be needed again now.

        Args:
            is_open: more of this transfer has to come.
        """
        if is_open:
            self._open.setdefault(transfer, _Open(offset, offset)).last = offset
        else:
            self._open.pop(transfer, None)
        for name, span in list(self._open.items()):
            if offset - span.last > FORGOTTEN:
                del self._open[name]
        return min((span.first for span in self._open.values()), default=offset + 1)
