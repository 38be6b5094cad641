"""What an order policy may look at, and nothing else: it is a pure function of this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The run at the start of a round.

    Attributes:
        seed: the run's seed.
        round: counted from 0.
        lane: of the models that circulate at once, which one is on its way.
        sites: those eligible now, in the run's order.
        last: the site that trained last in the round before, if any.
    """

    seed: int
    round: int
    sites: tuple[str, ...]
    last: str | None
    lane: int = 0
