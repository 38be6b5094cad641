"""What can happen to a run."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import TurnId, TurnRecord, WeightsRef


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSubmitted:
    """An operator started the run; its first weights are with the controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinished:
    """A site trained and handed over."""

    record: TurnRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed:
    """A site gave its turn up: its trainer failed, or its result did not pass the gate."""

    id: TurnId
    site: str
    error: str  # the class of `tasuki.errors` that says it best
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReturned:
    """A site that is shutting down gave its turn back untrained."""

    id: TurnId
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpired:
    """The turn has not come on for a lease.

    Attributes:
        phase: the `Stage` that it stands still in, as its holder says; empty: its holder is silent.
    """

    id: TurnId
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteHeard:
    """A site that had been silent said something."""

    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteForgot:
    """A site came back without its journal: it no longer knows its turn."""

    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAdded:
    """An operator wants this site to take part from the next round on."""

    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsArrived:
    """The controller has these weights on disk, digest checked."""

    weights: WeightsRef


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsLost:
    """These weights cannot be had anywhere any more."""

    weights: WeightsRef


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLost:
    """The queues are empty though a turn was out: a new broker, or a new simulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRequested:
    """An operator wants the run to pause when the round ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRequested:
    """An operator wants a paused run to go on."""


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
    | WeightsLost
    | RelayLost
    | PauseRequested
    | ResumeRequested
    | StopRequested
)
