"""A relay, one lane's way through one round: state, events, effects, and the machine."""

from tasuki.core.relay.cause import why_not_again
from tasuki.core.relay.effects import (
    CollectWeights,
    Drop,
    Effect,
    EndLease,
    Fence,
    GiveUpRelay,
    GiveUpTurn,
    IssueTurn,
    StartLease,
)
from tasuki.core.relay.events import (
    Event,
    GoneOn,
    LeaseExpired,
    PassedOver,
    RelayLost,
    RoundPlanned,
    SiteForgot,
    SiteHeard,
    TakenBack,
    TurnFailed,
    TurnFinished,
    TurnReturned,
    WeightsLost,
)
from tasuki.core.relay.machine import IllegalEvent, Step, step
from tasuki.core.relay.state import Failed, Phase, RelayState, at_rest

__all__ = [
    "CollectWeights",
    "Drop",
    "Effect",
    "EndLease",
    "Event",
    "Failed",
    "Fence",
    "GiveUpRelay",
    "GiveUpTurn",
    "GoneOn",
    "IllegalEvent",
    "IssueTurn",
    "LeaseExpired",
    "PassedOver",
    "Phase",
    "RelayLost",
    "RelayState",
    "RoundPlanned",
    "SiteForgot",
    "SiteHeard",
    "StartLease",
    "Step",
    "TakenBack",
    "TurnFailed",
    "TurnFinished",
    "TurnReturned",
    "WeightsLost",
    "at_rest",
    "step",
    "why_not_again",
]
