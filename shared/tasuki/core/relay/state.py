"""What is known of one lane's way through one round."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tasuki.core.model import CONTROLLER, Failure, Kind, TurnId, TurnRecord, WeightsRef


class Phase(StrEnum):
    """Where a relay stands."""

    RESTING = "resting"  # no turn is out: it was not begun yet, or taken back
    OUT = "out"  # a turn is out
    DONE = "done"  # every turn is in, or passed over


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """How an attempt ended, in its site's words."""

    error: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """One relay, now.

    Attributes:
        kind: what its turns ask for; where they evaluate, nothing is handed on.
        split: the data that they are to score on.
        failure: what may go wrong before a turn is given up.
        itinerary: who has a turn, in which order; empty: the round was not planned yet.
        weights: the newest accepted weights.
        base: the weights that the round started from; the controller has these on disk.
        is_merged: those were made of several lanes'.
        at: whose queue the newest weights were sent to; `CONTROLLER` if it has them itself.
        attempts: how often the expected turn has been issued.
        failed: how the attempt before this one failed; None if it did not, or ended otherwise.
        waits: why the turn that is out is waited for beyond its lease; empty if it is not.
        losses: how often the relay began anew because its weights were lost.
        early: results that arrived before their predecessor's.
        records: results that were accepted, in their order.
    """

    run: str
    lane: int = 0
    kind: Kind = Kind.TRAIN
    split: str = ""
    failure: Failure = field(default_factory=Failure)
    phase: Phase = Phase.RESTING
    term: int = 0
    round: int = 0
    hop: int = 0
    itinerary: tuple[str, ...] = ()
    weights: WeightsRef
    base: WeightsRef
    is_merged: bool = False
    at: str = CONTROLLER
    attempts: int = 0
    failed: Failed | None = None
    waits: str = ""
    losses: int = 0
    early: tuple[TurnRecord, ...] = ()
    records: tuple[TurnRecord, ...] = ()

    @property
    def expected(self) -> TurnId:
        """The one turn whose result may be accepted now."""
        return TurnId(run=self.run, lane=self.lane, term=self.term, round=self.round, hop=self.hop)

    @property
    def holder(self) -> str | None:
        """Who has the weights now, as far as is known; nobody while no turn is out."""
        return self.itinerary[self.hop] if self.phase is Phase.OUT else None

    @property
    def successor(self) -> str:
        """Whom the holder hands over to."""
        following = self.itinerary[self.hop + 1 : self.hop + 2]
        return following[0] if following else CONTROLLER


def at_rest(before: RelayState, *, round: int) -> RelayState:
    """The same lane before a round of which nothing is decided yet, not even who takes part."""
    return RelayState(
        run=before.run,
        lane=before.lane,
        failure=before.failure,
        term=before.term,
        round=round,
        weights=before.weights,
        base=before.weights,
        is_merged=before.is_merged,
    )
