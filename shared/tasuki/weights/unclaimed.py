"""Transfers that no turn has asked for yet: how many a sender may have lying with a receiver.

Weights come before their turn, so a receiver takes them in on trust. What a peer can make it keep
that way has an end: beyond it, the oldest of the same sender's give way. Senders do not share:
a hostile one pushes out nobody else's.
"""

from __future__ import annotations

from dataclasses import dataclass

Name = tuple[str, bytes]
"""A transfer and who sends it. Two senders' are two, or one could spoil the other's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of each sender, until a turn claims them.

    Attributes:
        open: transfers that are not complete, each a file handle. A sender of ours has no more
            than 32 under way at a time.
        transfers: complete or not. A controller that was away finds one for each run.
        size: the bytes that they promise.
    """

    open: int = 64
    transfers: int = 1024
    size: int = 20 * 10**9


@dataclass(slots=True)
class _Transfer:
    size: int
    is_open: bool = True


class Unclaimed:
    """Which transfers are unclaimed, in the order in which they began."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of: dict[str, dict[bytes, _Transfer]] = {}

    def add(self, name: Name, size: int) -> list[Name]:
        """A transfer of so many bytes begins; those that have to go for it, maybe itself."""
        sender, transfer = name
        mine = self._of.setdefault(sender, {})
        mine.pop(transfer, None)
        mine[transfer] = _Transfer(size)
        gone: list[Name] = []
        while (oldest := self._one_too_many(mine)) is not None:
            del mine[oldest]
            gone.append((sender, oldest))
        return gone

    def complete(self, name: Name) -> None:
        """All of it is here."""
        sender, transfer = name
        if transfer in self._of.get(sender, {}):
            self._of[sender][transfer].is_open = False

    def remove(self, transfer: bytes) -> None:
        """It was claimed, or is gone; whoever sent it."""
        for mine in self._of.values():
            mine.pop(transfer, None)

    def _one_too_many(self, mine: dict[bytes, _Transfer]) -> bytes | None:
        most = self._limits
        if len(mine) > most.transfers or sum(each.size for each in mine.values()) > most.size:
            return next(iter(mine))
        still_open = [transfer for transfer, each in mine.items() if each.is_open]
        return still_open[0] if len(still_open) > most.open else None
