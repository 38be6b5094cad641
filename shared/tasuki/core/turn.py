"""The turn machine: a site's whole judgement of the turns that reach it.

`step(state, event) -> (state, effects)`. Two rules: everything that decides whether a site trains
and hands over lives in this file; and a turn is journaled before its message is acknowledged, its
result before it is sent. Effects are carried out in the order given, each durable before the next.

A site trains as many turns at a time as its capacity allows, each of another run or lane; others
wait in the order in which they came.
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
        capacity: turns that may be under way at a time.
        active: the turns under way, no more than that, in the order in which they began.
        seen: the highest (term, round, hop) taken, per lane. Only ever grows.
        fenced: the lowest term that is still valid, per lane.
    """

    site: str
    capacity: int = 1
    active: tuple[Progress, ...] = ()
    waiting: tuple[Progress, ...] = ()
    seen: Mapping[Lane, tuple[int, int, int]] = field(default_factory=dict)
    fenced: Mapping[Lane, int] = field(default_factory=dict)
    draining: bool = False

    @property
    def current(self) -> Progress | None:
        """The turn that has been under way for longest."""
        return self.active[0] if self.active else None

    def under_way(self, id: TurnId) -> Progress | None:
        """How far this turn has come, if it is one of those under way."""
        return next((held for held in self.active if held.turn.id == id), None)


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
class JournalFence:
    """Write down, durably, that whatever is below this term stays void."""

    run: str
    lane: int
    term: int


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
    | JournalFence
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
            return _fail(state, event) if state.under_way(id) else _drop(state, id, "void")
        case HandedOver(id=id):
            return _finish(state, id)
        case TermRaised(run=run, lane=lane, term=term):
            return _fence(state, (run, lane), term)
        case Restarted(done=done):
            return _go_on(state, done)
        case DrainRequested():
            return _drain(state)


def is_past(state: SiteState, id: TurnId) -> bool:
    """Whether this turn is not here and can never be taken, whoever sends it."""
    if id in {held.turn.id for held in (*state.active, *state.waiting)}:
        return False
    lane = (id.run, id.lane)
    is_seen = lane in state.seen and id.fence <= state.seen[lane]
    return is_seen or id.term < state.fenced.get(lane, 0)


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
    held = state.under_way(id)
    if held is None:
        return _drop(state, id, "void")
    if held.phase is not Phase.TAKEN:
        return _drop(state, id, "duplicate")
    training = replace(held, phase=Phase.TRAINING)
    return _put(state, training), (StartTrainer(turn=training.turn),)


def _keep(state: SiteState, record: TurnRecord) -> Step:
    held = state.under_way(record.id)
    if held is None:
        return _drop(state, record.id, "void")
    if held.phase is not Phase.TRAINING:
        raise IllegalEvent(f"a result while {held.phase}")
    trained = replace(held, phase=Phase.TRAINED, record=record)
    hand_over = HandOver(turn=trained.turn, record=record)
    return _put(state, trained), (Journal(progress=trained), hand_over)


def _finish(state: SiteState, id: TurnId) -> Step:
    held = state.under_way(id)
    if held is None or held.record is None:
        return _drop(state, id, "void")
    done = replace(held, phase=Phase.DONE)
    report = ReportFinished(turn=done.turn, record=held.record)
    state, effects = _next(_without(state, held))
    return state, (Journal(progress=done), report, *effects)


def _fail(state: SiteState, event: TrainingFailed) -> Step:
    held = state.under_way(event.id)
    assert held is not None  # noqa: S101 - the caller looked
    report = ReportFailed(id=event.id, error=event.error, detail=event.detail)
    state, effects = _next(_without(state, held))
    return state, (_closed(held), report, *effects)


def _fence(state: SiteState, lane: Lane, term: int) -> Step:
    if term <= state.fenced.get(lane, 0):
        return state, (Settle(),)
    state = replace(state, fenced={**state.fenced, lane: term})
    known = (JournalFence(run=lane[0], lane=lane[1], term=term), Settle())
    held = (*state.active, *state.waiting)
    if any(_lane(each) == lane and each.turn.id.term >= term for each in held):
        return state, known
    state, aborted = _forget(state, lane)
    state, effects = _next(state)
    return state, (*known, *aborted, *effects)


def _forget(state: SiteState, lane: Lane) -> Step:
    """Whatever this lane had under way here is void: a newer turn or term has come."""
    void = [progress for progress in state.waiting if _lane(progress) == lane]
    state = replace(state, waiting=tuple(p for p in state.waiting if p not in void))
    effects: list[Effect] = []
    for held in state.active:
        if _lane(held) == lane:
            if held.phase in {Phase.TAKEN, Phase.TRAINING}:
                effects.append(AbortTrainer(id=held.turn.id))
            void.append(held)
            state = _without(state, held)
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
    again = tuple(_again(held) for held in state.active)
    state, effects = _next(state)
    return state, (*reports, *again, *effects)


def _again(held: Progress) -> Effect:
    if held.record is not None and held.phase is Phase.TRAINED:
        return HandOver(turn=held.turn, record=held.record)
    return AwaitWeights(turn=held.turn)


def _drain(state: SiteState) -> Step:
    """Take nothing more: give back what is not being trained yet, hand over what is."""
    untrained = tuple(held for held in state.active if held.phase is Phase.TAKEN)
    returned = (*untrained, *state.waiting)
    for held in untrained:
        state = _without(state, held)
    effects: list[Effect] = []
    for progress in returned:
        effects += [_closed(progress), GiveBack(id=progress.turn.id)]
    state = replace(state, draining=True, waiting=())
    return state, (*effects, *(() if state.active else (Idle(),)))


def _closed(progress: Progress) -> Journal:
    """Without its result, if it had one: nobody got that, so no restart may report it."""
    return Journal(progress=replace(progress, phase=Phase.DONE, record=None))


def _next(state: SiteState) -> Step:
    """Start on the turns that have waited longest, as far as the site is free."""
    free = max(0, state.capacity - len(state.active))
    begun, waiting = state.waiting[:free], state.waiting[free:]
    state = replace(state, active=(*state.active, *begun), waiting=waiting)
    if not state.active:
        return state, (Idle(),)
    return state, tuple(AwaitWeights(turn=progress.turn) for progress in begun)


def _put(state: SiteState, progress: Progress) -> SiteState:
    """The same turn, further on."""
    id = progress.turn.id
    active = tuple(progress if held.turn.id == id else held for held in state.active)
    return replace(state, active=active)


def _without(state: SiteState, progress: Progress) -> SiteState:
    return replace(state, active=tuple(held for held in state.active if held is not progress))


def _lane(progress: Progress) -> Lane:
    return (progress.turn.id.run, progress.turn.id.lane)


def _drop(state: SiteState, id: TurnId, reason: str) -> Step:
    return state, (Drop(id=id, reason=reason),)
