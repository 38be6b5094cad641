"""What the controller does about it: in the order given."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import TurnId, TurnRecord, WeightsRef
from tasuki.core.run.state import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueTurn:
    """Send these weights, then the turn, to the site at its hop."""

    id: TurnId
    itinerary: tuple[str, ...]
    weights: WeightsRef
    at: str
    records: tuple[TurnRecord, ...]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectWeights:
    """Get these weights onto our disk, then report `WeightsArrived` or `WeightsLost`."""

    weights: WeightsRef
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveCheckpoint:
    """Keep the weights of this round's end, with what its turns reported."""

    round: int
    weights: WeightsRef
    records: tuple[TurnRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude:
    """The run is over."""

    status: Status
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Change nothing; count it and say why."""

    reason: str


Effect = (
    IssueTurn | Fence | StartLease | EndLease | CollectWeights | SaveCheckpoint | Conclude | Drop
)
