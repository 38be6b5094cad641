"""What the controller does about it, in the order given; what a relay calls for is among it."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import MOST, TurnRecord, WeightsRef
from tasuki.core.relay import CollectWeights, Drop, EndLease, Fence, IssueTurn, StartLease
from tasuki.core.run.evaluation import Evaluation
from tasuki.core.run.lanes import Part
from tasuki.core.run.state import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveCheckpoint:
    """Keep the weights of this round's end, with what its turns reported.

    Attributes:
        parts: the lanes' weights that they were made of; none if one model is on its way.
        earlier: the turns of rounds before it after which the lanes were not made one.
    """

    round: int
    weights: WeightsRef
    records: tuple[TurnRecord, ...]
    parts: tuple[Part, ...] = ()
    earlier: tuple[TurnRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepLane:
    """Keep the weights that a lane goes on from, until it goes on from others."""

    lane: int
    weights: WeightsRef


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeWeights:
    """Make one of all lanes' weights after so many rounds, then report `WeightsMerged`.

    `equally`: whatever they were trained on.
    """

    done: int
    parts: tuple[Part, ...]
    equally: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitLanes:
    """Report `WaitOver` if the lanes of this round that are not done are not so long from now."""

    round: int
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NameBest:
    """The checkpoint of this round's end is the best one now. `round`: from 0."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseEvaluation:
    """Everybody has scored or was left out."""

    evaluation: Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude:
    """The run is over, and nothing of it is under way.

    Attributes:
        term: turns up to this one are void at their sites; of a run that goes on, later ones come.
    """

    status: Status
    reason: str
    term: int = MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardWeights:
    """Nothing of the run's weights is wanted any more."""


Effect = (
    IssueTurn
    | Fence
    | StartLease
    | EndLease
    | CollectWeights
    | SaveCheckpoint
    | KeepLane
    | MergeWeights
    | AwaitLanes
    | NameBest
    | CloseEvaluation
    | Conclude
    | DiscardWeights
    | Drop
)
