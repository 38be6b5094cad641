"""What an order policy may look at, and nothing else: it is a pure function of this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The run at the start of a round.

    Attributes:
        seed: the run's seed.
        round: counted from 0.
        sites: those eligible now, in the run's order.
        lasts: the site that trained last in each lane, if any.
        starts: at which place of the order each lane begins.
    """

    seed: int
    round: int
    sites: tuple[str, ...]
    lasts: tuple[str | None, ...] = (None,)
    starts: tuple[int, ...] = (0,)

    @property
    def last(self) -> str | None:
        """Where one model circulates: the site that trained last."""
        return self.lasts[0]

    def lasts_at(self, place: int) -> frozenset[str | None]:
        """The sites that trained last in lanes that begin at this place: several, if many do."""
        begin = zip(self.starts, self.lasts, strict=True)
        return frozenset(last for start, last in begin if start == place)

    def meets_last(self, order: Sequence[str]) -> bool:
        """Whether a lane would begin at the site that trained it last."""
        begin = zip(self.starts, self.lasts, strict=True)
        return any(order[start : start + 1] == [last] for start, last in begin)
