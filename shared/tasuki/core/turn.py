"""The turn machine: a site's whole judgement of the turns that reach it.

`step(state, event) -> (state, effects)`. Two rules: everything that decides whether a site trains
and hands over lives in this file; and a turn is journaled before its message is acknowledged, its
result before it is sent. Effects are carried out in the order given, each durable before the next.

One turn is trained at a time; others wait in the order in which they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tasuki.core.model import CONTROLLER, Turn, TurnId, TurnRecord

Lane = tuple[str, int]  # (run, lane)


class Phase(StrEnum):
    """How far the current turn has come; each is what the journal says after a restart."""

    TAKEN = "taken"  # waiting for its weights
    TRAINING = "training"  # never journaled: after a restart it is taken again
    TRAINED = "trained"  # the result is in the spool
    DONE = "done"  # the next queue has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A turn at this site and how far it has come."""

    turn: Turn
    phase: Phase = Phase.TAKEN
    record: TurnRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """One site, now.

    Attributes:
        seen: the highest (term, round, hop) taken, per lane. Only ever grows.
        fenced: the lowest term that is still valid, per lane.
    """

    site: str
    current: Progress | None = None
    waiting: tuple[Progress, ...] = ()
    seen: Mapping[Lane, tuple[int, int, int]] = field(default_factory=dict)
    fenced: Mapping[Lane, int] = field(default_factory=dict)
    draining: bool = False


# Events: what happened.


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
    """The trainer's result is in the spool and passed the gate."""

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
    | Restarted
    | DrainRequested
)


# Effects: what to do about it, in this order.


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """Write this down, durably."""

    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Acknowledge the message that the event came with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitWeights:
    """Report `WeightsReady` once the weights of this turn are complete."""

    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTrainer:
    """Train; report `TrainingFinished` or `TrainingFailed`."""

    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortTrainer:
    """Its result would be void: end the trainer of this turn."""

    id: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Send the weights, then the next turn (or the round's end); report `HandedOver`."""

    turn: Turn
    record: TurnRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFinished:
    """Tell the controller what was trained and sent."""

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
    """Tell the controller that this turn was not trained and will not be."""

    id: TurnId


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
    | Settle
    | AwaitWeights
    | StartTrainer
    | AbortTrainer
    | HandOver
    | ReportFinished
    | ReportFailed
    | GiveBack
    | Drop
    | Idle
)
Step = tuple[SiteState, tuple[Effect, ...]]


class IllegalEvent(RuntimeError):
    """A bug of ours: this event cannot happen in this state."""


def step(state: SiteState, event: Event) -> Step:
    """Decide what one event means.

    Raises:
        IllegalEvent: a bug of ours; the state is unchanged.
    """
    match event:
        case TurnArrived(turn=turn, sender=sender):
            return _take(state, turn, sender)
        case WeightsReady(id=id):
            return _train(state, id)
        case TrainingFinished(record=record):
            return _keep(state, record)
        case TrainingFailed(id=id):
            return _fail(state, event) if _is_current(state, id) else _drop(state, id, "void")
        case HandedOver(id=id):
            return _finish(state, id)
        case TermRaised(run=run, lane=lane, term=term):
            return _fence(state, (run, lane), term)
        case Restarted(done=done):
            return _go_on(state, done)
        case DrainRequested():
            return _drain(state)


def _take(state: SiteState, turn: Turn, sender: str) -> Step:
    reason = _refusal(state, turn, sender)
    if reason:
        return state, (Drop(id=turn.id, reason=reason), Settle())
    lane = (turn.id.run, turn.id.lane)
    progress = Progress(turn=turn)
    seen = {**state.seen, lane: turn.id.fence}
    state, aborted = _forget(replace(state, seen=seen), lane)
    if state.draining:
        state, effects = _next(state)
        return state, (*aborted, _closed(progress), Settle(), GiveBack(id=turn.id), *effects)
    taken = (Journal(progress=progress), Settle())
    state, effects = _next(replace(state, waiting=(*state.waiting, progress)))
    return state, (*aborted, *taken, *effects)


def _refusal(state: SiteState, turn: Turn, sender: str) -> str:
    """Why this turn must not be taken; empty if it may."""
    lane = (turn.id.run, turn.id.lane)
    if turn.site != state.site:
        return "wrong_site"
    if sender not in {turn.predecessor, CONTROLLER}:
        return "wrong_sender"
    if turn.id.term < state.fenced.get(lane, 0):
        return "stale_term"
    seen = state.seen.get(lane)
    if seen is None or turn.id.fence > seen:
        return ""
    return "duplicate" if turn.id.fence == seen else "stale_position"


def _train(state: SiteState, id: TurnId) -> Step:
    if not _is_current(state, id) or state.current is None:
        return _drop(state, id, "void")
    if state.current.phase is not Phase.TAKEN:
        return _drop(state, id, "duplicate")
    training = replace(state.current, phase=Phase.TRAINING)
    return replace(state, current=training), (StartTrainer(turn=training.turn),)


def _keep(state: SiteState, record: TurnRecord) -> Step:
    if not _is_current(state, record.id) or state.current is None:
        return _drop(state, record.id, "void")
    if state.current.phase is not Phase.TRAINING:
        raise IllegalEvent(f"a result while {state.current.phase}")
    trained = replace(state.current, phase=Phase.TRAINED, record=record)
    hand_over = HandOver(turn=trained.turn, record=record)
    return replace(state, current=trained), (Journal(progress=trained), hand_over)


def _finish(state: SiteState, id: TurnId) -> Step:
    if not _is_current(state, id) or state.current is None or state.current.record is None:
        return _drop(state, id, "void")
    done = replace(state.current, phase=Phase.DONE)
    report = ReportFinished(turn=done.turn, record=state.current.record)
    state, effects = _next(replace(state, current=None))
    return state, (Journal(progress=done), report, *effects)


def _fail(state: SiteState, event: TrainingFailed) -> Step:
    assert state.current is not None  # noqa: S101 - the caller compared its identity
    report = ReportFailed(id=event.id, error=event.error, detail=event.detail)
    closed = _closed(state.current)
    state, effects = _next(replace(state, current=None))
    return state, (closed, report, *effects)


def _fence(state: SiteState, lane: Lane, term: int) -> Step:
    if term <= state.fenced.get(lane, 0):
        return state, (Settle(),)
    state = replace(state, fenced={**state.fenced, lane: term})
    if any(_lane(held) == lane and held.turn.id.term >= term for held in _under_way(state)):
        return state, (Settle(),)
    state, aborted = _forget(state, lane)
    state, effects = _next(state)
    return state, (Settle(), *aborted, *effects)


def _forget(state: SiteState, lane: Lane) -> Step:
    """Whatever this lane had under way here is void: a newer turn or term has come."""
    void = [progress for progress in state.waiting if _lane(progress) == lane]
    state = replace(state, waiting=tuple(p for p in state.waiting if p not in void))
    effects: list[Effect] = []
    if state.current is not None and _lane(state.current) == lane:
        if state.current.phase in {Phase.TAKEN, Phase.TRAINING}:
            effects.append(AbortTrainer(id=state.current.turn.id))
        void.append(state.current)
        state = replace(state, current=None)
    for progress in void:
        effects += [_closed(progress), Drop(id=progress.turn.id, reason="fenced")]
    return state, tuple(effects)


def _go_on(state: SiteState, done: tuple[Progress, ...]) -> Step:
    """After a restart: do again what the journal does not say was done."""
    reports = tuple(
        ReportFinished(turn=progress.turn, record=progress.record)
        for progress in done
        if progress.record is not None
    )
    held = state.current
    if held is None:
        state, effects = _next(state)
        return state, (*reports, *effects)
    if held.record is not None and held.phase is Phase.TRAINED:
        return state, (*reports, HandOver(turn=held.turn, record=held.record))
    return state, (*reports, AwaitWeights(turn=held.turn))


def _drain(state: SiteState) -> Step:
    """Take nothing more: give back what is not being trained yet, hand over what is."""
    returned = list(state.waiting)
    if state.current is not None and state.current.phase is Phase.TAKEN:
        returned.insert(0, state.current)
        state = replace(state, current=None)
    effects: list[Effect] = []
    for progress in returned:
        effects += [_closed(progress), GiveBack(id=progress.turn.id)]
    state = replace(state, draining=True, waiting=())
    return state, (*effects, *(() if state.current else (Idle(),)))


def _closed(progress: Progress) -> Journal:
    return Journal(progress=replace(progress, phase=Phase.DONE))


def _next(state: SiteState) -> Step:
    """Start on the turn that has waited longest, if the site is free."""
    if state.current is not None:
        return state, ()
    if not state.waiting:
        return state, (Idle(),)
    first, *rest = state.waiting
    state = replace(state, current=first, waiting=tuple(rest))
    return state, (AwaitWeights(turn=first.turn),)


def _is_current(state: SiteState, id: TurnId) -> bool:
    return state.current is not None and state.current.turn.id == id


def _under_way(state: SiteState) -> tuple[Progress, ...]:
    return (*(() if state.current is None else (state.current,)), *state.waiting)


def _lane(progress: Progress) -> Lane:
    return (progress.turn.id.run, progress.turn.id.lane)


def _drop(state: SiteState, id: TurnId, reason: str) -> Step:
    return state, (Drop(id=id, reason=reason),)
