"""What a site knows of its turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasuki.core.model import Lane, Turn, TurnId, TurnRecord


class Phase(StrEnum):
    """How far the current turn has come; each is what the journal says after a restart."""

    TAKEN = "taken"  # waiting for its weights
    TRAINING = "training"  # never journaled: after a restart it is taken again
    TRAINED = "trained"  # the result is in the spool
    DONE = "done"  # the next queue has it, or it evaluated and its scores are in the journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A turn at this site and how far it has come."""

    turn: Turn
    phase: Phase = Phase.TAKEN
    record: TurnRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """One site, now.

    Attributes:
        capacity: turns that may be under way at a time.
        active: the turns under way, no more than that, in the order in which they began.
        seen: the highest (term, round, hop) taken, per lane. Only ever grows.
        fenced: the lowest term that is still valid, per lane.
    """

    site: str
    capacity: int = 1
    active: tuple[Progress, ...] = ()
    waiting: tuple[Progress, ...] = ()
    seen: Mapping[Lane, tuple[int, int, int]] = field(default_factory=dict)
    fenced: Mapping[Lane, int] = field(default_factory=dict)
    draining: bool = False

    @property
    def held(self) -> tuple[Progress, ...]:
        """All turns that the site has."""
        return (*self.active, *self.waiting)

    @property
    def current(self) -> Progress | None:
        """The turn that has been under way for longest."""
        return self.active[0] if self.active else None

    def under_way(self, id: TurnId) -> Progress | None:
        """How far this turn has come, if it is one of those under way."""
        return next((held for held in self.active if held.turn.id == id), None)
