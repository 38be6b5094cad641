"""What can happen to a site's turns."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import MOST, Turn, TurnId, TurnRecord
from tasuki.core.turn.state import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnArrived:
    """A turn came in; the broker vouches for its sender."""

    turn: Turn
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsReady:
    """The weights of this turn are in the spool, digest checked."""

    id: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFinished:
    """The trainer's result is in the spool and passed the gate; or it evaluated, and has scores."""

    record: TurnRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFailed:
    """There will be no result: trainer, weights or gate."""

    id: TurnId
    error: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """The broker confirmed the weights and the turn in the next queue."""

    id: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class TermRaised:
    """The controller fenced a lane: anything below this term is void."""

    run: str
    lane: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOver:
    """The controller ended a run: nobody wants anything of it any more up to this term."""

    run: str
    term: int = MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegan:
    """A run of this name began that was submitted after the one that the site knows.

    Known by the controller's signature alone; where nobody signs, a name is used once.
    """

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """The service started; this state comes from the journal, and so do these finished turns."""

    done: tuple[Progress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRequested:
    """The service is to end: finish or give back."""


Event = (
    TurnArrived
    | WeightsReady
    | TrainingFinished
    | TrainingFailed
    | HandedOver
    | TermRaised
    | RunOver
    | RunBegan
    | Restarted
    | DrainRequested
)
