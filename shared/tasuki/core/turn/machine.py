"""The turn machine: a site's whole judgement of the turns that reach it.

`step(state, event) -> (state, effects)`. Two rules: everything that decides whether a site trains
and hands over lives in this file; and a turn is journaled before its message is acknowledged, its
result before it is sent. Effects are carried out in the order given, each durable before the next.

A site trains as many turns at a time as its capacity allows, each of another run or lane; others
wait in the order in which they came. A turn that evaluates has its own lane, waits as they do, and
is done with its scores: nothing is sent on.
"""

from __future__ import annotations

from dataclasses import replace

from tasuki.core.model import CONTROLLER, MOST, Kind, Lane, Turn, TurnId, TurnRecord
from tasuki.core.turn.effects import (
    AbortHandOver,
    AbortTrainer,
    AwaitWeights,
    Drop,
    Effect,
    ForgetLanes,
    ForgetRun,
    GiveBack,
    HandOver,
    Idle,
    Journal,
    JournalFence,
    ReportFailed,
    ReportFinished,
    Settle,
    StartTrainer,
)
from tasuki.core.turn.events import (
    DrainRequested,
    Event,
    HandedOver,
    Restarted,
    RunBegan,
    RunOver,
    TermRaised,
    TrainingFailed,
    TrainingFinished,
    TurnArrived,
    WeightsReady,
)
from tasuki.core.turn.state import Phase, Progress, SiteState

Step = tuple[SiteState, tuple[Effect, ...]]


class IllegalEvent(RuntimeError):
    """A bug of ours: this event cannot happen in this state."""


def step(state: SiteState, event: Event) -> Step:  # noqa: C901 - one table of all events
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
        case RunOver(run=run, term=term):
            return _forget_run(state, run, term)
        case RunBegan(run=run):
            return _begin(state, run)
        case Restarted(done=done):
            return _go_on(state, done)
        case DrainRequested():
            return _drain(state)


def is_past(state: SiteState, id: TurnId) -> bool:
    """Whether this turn is not here and can never be taken, whoever sends it."""
    if id in {held.turn.id for held in (*state.active, *state.waiting)}:
        return False
    lane = id.of_lane
    is_seen = lane in state.seen and id.fence <= state.seen[lane]
    return is_seen or id.term < state.fenced.get(lane, 0)


def _take(state: SiteState, turn: Turn, sender: str) -> Step:
    reason = _refusal(state, turn, sender)
    if reason:
        return state, (Drop(id=turn.id, reason=reason), Settle())
    lane = turn.id.of_lane
    progress = Progress(turn=turn)
    seen = {**state.seen, lane: turn.id.fence}
    state, aborted = _forget(replace(state, seen=seen), lane)
    if state.draining:
        state, effects = _next(state)
        return state, (*aborted, _closed(progress), Settle(), _given_back(turn), *effects)
    taken = (Journal(progress=progress), Settle())
    state, effects = _next(replace(state, waiting=(*state.waiting, progress)))
    return state, (*aborted, *taken, *effects)


def _refusal(state: SiteState, turn: Turn, sender: str) -> str:
    """Why this turn must not be taken; empty if it may."""
    lane = turn.id.of_lane
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
    if held.turn.kind is Kind.EVALUATE:
        return _close(state, held, record)
    trained = replace(held, phase=Phase.TRAINED, record=record)
    hand_over = HandOver(turn=trained.turn, record=record)
    return _put(state, trained), (Journal(progress=trained), hand_over)


def _finish(state: SiteState, id: TurnId) -> Step:
    held = state.under_way(id)
    if held is None or held.record is None:
        return _drop(state, id, "void")
    return _close(state, held, held.record)


def _close(state: SiteState, held: Progress, record: TurnRecord) -> Step:
    """Nothing is left to do about this turn but to tell what it did."""
    done = replace(held, phase=Phase.DONE, record=record)
    report = ReportFinished(turn=done.turn, record=record)
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
    if any(each.turn.id.of_lane == lane and each.turn.id.term >= term for each in state.held):
        return state, known
    state, aborted = _forget(state, lane)
    state, effects = _next(state)
    # What it voids first: a fence that is known already would not void it after a restart.
    return state, (*aborted, *known, *effects)


def _forget_run(state: SiteState, run: str, term: int) -> Step:
    """What is left of it here is void, be it a result that never was confirmed.

    Unless it has gone on since: its turns come by another queue, and may be here before this.
    """
    if any(lane[0] == run and seen[0] > term for lane, seen in state.seen.items()):
        return state, (Settle(),)
    effects: list[Effect] = []
    for id in [held.turn.id for held in state.held if held.turn.id.run == run]:
        state, fenced = _fence(state, (run, id.lane), min(id.term + 1, MOST))
        effects += [effect for effect in fenced if not isinstance(effect, Settle)]
    return state, (*effects, ForgetRun(run=run), Settle())


def _begin(state: SiteState, run: str) -> Step:
    """Nothing of an earlier run of this name counts any more, neither turns nor terms."""
    effects: list[Effect] = []
    for lane in dict.fromkeys(held.turn.id.of_lane for held in state.held):
        if lane[0] == run:
            state, void = _forget(state, lane)
            effects += void
    seen = {lane: fence for lane, fence in state.seen.items() if lane[0] != run}
    fenced = {lane: term for lane, term in state.fenced.items() if lane[0] != run}
    state, begun = _next(replace(state, seen=seen, fenced=fenced))
    return state, (*effects, ForgetLanes(run=run), *begun)


def _forget(state: SiteState, lane: Lane) -> Step:
    """Whatever this lane had under way here is void: a newer turn or term has come."""
    void = [progress for progress in state.waiting if progress.turn.id.of_lane == lane]
    state = replace(state, waiting=tuple(p for p in state.waiting if p not in void))
    effects: list[Effect] = []
    for held in state.active:
        if held.turn.id.of_lane == lane:
            if held.record is not None:
                effects.append(AbortHandOver(turn=held.turn, record=held.record))
            else:
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
        effects += [_closed(progress), _given_back(progress.turn)]
    state = replace(state, draining=True, waiting=())
    return state, (*effects, *(() if state.active else (Idle(),)))


def _given_back(turn: Turn) -> GiveBack:
    return GiveBack(id=turn.id, history=turn.history)


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
    return state, tuple(_again(progress) for progress in begun)


def _put(state: SiteState, progress: Progress) -> SiteState:
    """The same turn, further on."""
    id = progress.turn.id
    active = tuple(progress if held.turn.id == id else held for held in state.active)
    return replace(state, active=active)


def _without(state: SiteState, progress: Progress) -> SiteState:
    return replace(state, active=tuple(held for held in state.active if held is not progress))


def _drop(state: SiteState, id: TurnId, reason: str) -> Step:
    return state, (Drop(id=id, reason=reason),)
