"""A run, as the controller judges it: state, events, effects, and the machine."""

from tasuki.core.run.cause import why_not_again
from tasuki.core.run.effects import (
    CollectWeights,
    Conclude,
    Drop,
    Effect,
    EndLease,
    Fence,
    IssueTurn,
    SaveCheckpoint,
    StartLease,
)
from tasuki.core.run.events import (
    Event,
    LeaseExpired,
    PauseRequested,
    RelayLost,
    ResumeRequested,
    RunSubmitted,
    SiteAdded,
    SiteForgot,
    SiteHeard,
    StopRequested,
    TurnFailed,
    TurnFinished,
    TurnReturned,
    WeightsArrived,
    WeightsLost,
)
from tasuki.core.run.lease import Lease
from tasuki.core.run.machine import IllegalEvent, Step, step
from tasuki.core.run.pace import is_overdue
from tasuki.core.run.state import OVER, RunState, Skip, Status, submitted

__all__ = [
    "OVER",
    "CollectWeights",
    "Conclude",
    "Drop",
    "Effect",
    "EndLease",
    "Event",
    "Fence",
    "IllegalEvent",
    "IssueTurn",
    "Lease",
    "LeaseExpired",
    "PauseRequested",
    "RelayLost",
    "ResumeRequested",
    "RunState",
    "RunSubmitted",
    "SaveCheckpoint",
    "SiteAdded",
    "SiteForgot",
    "SiteHeard",
    "Skip",
    "StartLease",
    "Status",
    "Step",
    "StopRequested",
    "TurnFailed",
    "TurnFinished",
    "TurnReturned",
    "WeightsArrived",
    "WeightsLost",
    "is_overdue",
    "step",
    "submitted",
    "why_not_again",
]
