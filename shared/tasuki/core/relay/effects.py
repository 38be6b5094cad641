"""What follows from it: for the controller to do in the order given, or for the run to decide."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import Kind, TurnId, TurnRecord, WeightsRef


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueTurn:
    """Send these weights, then the turn, to the site at its hop.

    `merged`: they were just made of several lanes'.
    """

    id: TurnId
    itinerary: tuple[str, ...]
    weights: WeightsRef
    at: str
    records: tuple[TurnRecord, ...]
    kind: Kind = Kind.TRAIN
    split: str = ""
    merged: bool = False

    @property
    def site(self) -> str:
        return self.itinerary[self.id.hop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Tell every site that anything below this term is void."""

    run: str
    lane: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLease:
    """Report `LeaseExpired` if this turn does not come on for so long."""

    id: TurnId
    lease_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndLease:
    """Nobody holds the weights: watch nothing."""

    lane: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectWeights:
    """Get these weights onto our disk, then report `WeightsArrived` or `WeightsLost`."""

    weights: WeightsRef
    at: str
    lane: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Change nothing; count it and say why."""

    reason: str


# For the run.


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUpTurn:
    """The expected turn has no attempt left: pass it over, or end the run.

    Attributes:
        reason: why, in a word, for a turn that is passed over.
        cause: why, in a sentence, for a run that ends by it.
    """

    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUpRelay:
    """There is nothing to go on from: the run ends."""

    cause: str


Effect = (
    IssueTurn | Fence | StartLease | EndLease | CollectWeights | Drop | GiveUpTurn | GiveUpRelay
)
