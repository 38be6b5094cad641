"""What can happen to a run. What happens to its relay is defined there."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import WeightsRef
from tasuki.core.relay import (
    LeaseExpired,
    RelayLost,
    SiteForgot,
    SiteHeard,
    TurnFailed,
    TurnFinished,
    TurnReturned,
    WeightsLost,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSubmitted:
    """An operator started the run; its first weights are with the controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAdded:
    """An operator wants this site to take part from the next round on."""

    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsArrived:
    """The controller has the weights that a lane ended its round with on disk, digest checked."""

    weights: WeightsRef
    lane: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsMerged:
    """The controller has made one of all lanes' weights after so many rounds."""

    done: int
    weights: WeightsRef


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeFailed:
    """It cannot, whatever it does again. `cause`: why, in a sentence."""

    done: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOver:
    """Lanes of this round have waited for the others for as long as they may."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRequested:
    """An operator wants the run to pause when the round ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRequested:
    """An operator wants a paused run to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsAdded:
    """An operator wants the run to have so many rounds in all, be it that it has finished.

    Attributes:
        is_time_up: it has lasted for as long as it may by then, which is not meant any more.
    """

    rounds: int
    is_time_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequested:
    """An operator wants all sites to score these weights, which the controller has.

    Attributes:
        after: of which round's end they are, from 1; 0: the run's first; None: a file's.
        split: the data to score on; empty: the trainer's choice.
    """

    weights: WeightsRef
    after: int | None
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeUp:
    """The run has lasted for as long as it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRemoved:
    """An operator wants nothing of a run that is over but its rows: its weights go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """An operator wants the run to end now."""

    reason: str = "stopped by an operator"


Event = (
    RunSubmitted
    | TurnFinished
    | TurnFailed
    | TurnReturned
    | LeaseExpired
    | SiteHeard
    | SiteForgot
    | SiteAdded
    | WeightsArrived
    | WeightsMerged
    | MergeFailed
    | WaitOver
    | WeightsLost
    | RelayLost
    | PauseRequested
    | ResumeRequested
    | StopRequested
    | RoundsAdded
    | EvaluationRequested
    | TimeUp
    | RunRemoved
)
