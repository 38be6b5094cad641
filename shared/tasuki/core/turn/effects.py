"""What a site does about it: in the order given, each durable before the next."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import Turn, TurnId, TurnRecord
from tasuki.core.turn.state import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """Write this down, durably."""

    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFence:
    """Write down, durably, that whatever is below this term stays void."""

    run: str
    lane: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRun:
    """It is over: end its trainers, and keep no result of it."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetLanes:
    """Its name is another run's: end its trainers, and keep nothing of its turns and fences."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Acknowledge the message that the event came with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitWeights:
    """Report `WeightsReady` once the weights of this turn are complete."""

    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTrainer:
    """Train, or evaluate; report `TrainingFinished` or `TrainingFailed`."""

    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortTrainer:
    """Its result would be void: end the trainer of this turn."""

    id: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortHandOver:
    """Its result is void: send no more of it, and let go of it."""

    turn: Turn
    record: TurnRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Send the weights, then the next turn (or the round's end); report `HandedOver`."""

    turn: Turn
    record: TurnRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFinished:
    """Tell the controller what was trained and sent, or what the scores are."""

    turn: Turn
    record: TurnRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFailed:
    """Tell the controller that there will be no result."""

    id: TurnId
    error: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """Tell the controller that this turn was not trained and will not be.

    `history`: the round's records that it came with.
    """

    id: TurnId
    history: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Change nothing; count it and say why."""

    id: TurnId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing is left to do here; a draining service ends."""


Effect = (
    Journal
    | JournalFence
    | ForgetRun
    | ForgetLanes
    | Settle
    | AwaitWeights
    | StartTrainer
    | AbortTrainer
    | AbortHandOver
    | HandOver
    | ReportFinished
    | ReportFailed
    | GiveBack
    | Drop
    | Idle
)
