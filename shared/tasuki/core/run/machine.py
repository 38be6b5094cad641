"""The run machine: rounds, sites that come and go, pauses, the end.

`step(state, event) -> (state, effects)`. It plans each round and gives it to a relay, which decides
who holds the weights; what the relay gives up, this decides about: whether the round goes on
without that turn, waits for more sites, or the run ends. After a round all sites may score what it
ended with, beside a round what an operator asks for: see `scoring`, and for what follows `judging`.
"""

from __future__ import annotations

from dataclasses import replace

from tasuki.core import relay as one_round
from tasuki.core.model import EVALUATION, OnSilent
from tasuki.core.order import Situation, itinerary
from tasuki.core.relay import (
    Drop,
    EndLease,
    GiveUpRelay,
    GiveUpTurn,
    GoneOn,
    IllegalEvent,
    LeaseExpired,
    PassedOver,
    Phase,
    RelayLost,
    RelayState,
    RoundPlanned,
    SiteForgot,
    SiteHeard,
    TakenBack,
    TurnFailed,
    TurnFinished,
    TurnReturned,
    WeightsLost,
    at_rest,
)
from tasuki.core.run import scoring
from tasuki.core.run.cause import why_finished
from tasuki.core.run.effects import (
    CloseEvaluation,
    Conclude,
    DiscardWeights,
    Effect,
    SaveCheckpoint,
)
from tasuki.core.run.evaluation import is_due, lane_of
from tasuki.core.run.events import (
    EvaluationRequested,
    Event,
    PauseRequested,
    ResumeRequested,
    RoundsAdded,
    RunRemoved,
    RunSubmitted,
    SiteAdded,
    StopRequested,
    TimeUp,
    WeightsArrived,
)
from tasuki.core.run.judging import best_named, judged_by_turns
from tasuki.core.run.pace import with_turn
from tasuki.core.run.state import OVER, RunState, Skip, Status

Step = tuple[RunState, tuple[Effect, ...]]

# Why a run gets no more rounds, or is not removed.
REMOVED = "removed_already"
NOT_OVER = "not_over"
NOT_FINISHED = "run_over"
HAS_AS_MANY = "has_as_many"
HAS_MORE = "has_more"

_STATUS = {Phase.OUT: Status.RELAYING, Phase.DONE: Status.CLOSING}


def step(state: RunState, event: Event) -> Step:  # noqa: C901 - one table of all legal pairs
    """Decide what one event means.

    Raises:
        IllegalEvent: a bug of ours; the state is unchanged.
    """
    match event:
        case RoundsAdded():
            return _add_rounds(state, event)
        case RunRemoved():
            return _remove(state)
        case EvaluationRequested():
            return _scored(scoring.ask(state, event))
        case RelayLost() | SiteForgot():
            return _relays(state, event)
        case TurnFinished() | TurnFailed() | TurnReturned() | LeaseExpired() | WeightsLost():
            if lane_of(event) >= EVALUATION:
                return _scored(scoring.evaluate(state, event))
        case StopRequested() if state.is_over and state.evaluation is not None:
            return _scored(scoring.call_off(state))
    if state.is_over:
        return _drop(state, "run_over")
    match state.status, event:
        case Status.SUBMITTED, RunSubmitted():
            return _plan_round(state)
        case Status.EVALUATING, WeightsLost():
            return _drop(state, "not_awaited")
        case _, (TurnFinished() | TurnFailed() | TurnReturned() | LeaseExpired() | WeightsLost()):
            return _relay(state, event)
        case _, SiteHeard(site=site):
            return _hear(state, site)
        case _, SiteAdded(site=site):
            return _add_site(state, site)
        case Status.CLOSING, WeightsArrived(weights=weights) if weights == state.weights:
            return _close_round(state)
        case _, WeightsArrived():
            return _drop(state, "not_awaited")
        case ((Status.RELAYING | Status.CLOSING | Status.EVALUATING), PauseRequested()):
            return replace(state, pausing=True), ()
        case Status.PAUSED, PauseRequested():
            paused = replace(state, unattended=False, pausing=False)
            return replace(paused, reason="paused by an operator"), ()
        case Status.PAUSED, ResumeRequested():
            return _resume(replace(state, pausing=False))
        case ((Status.RELAYING | Status.CLOSING | Status.EVALUATING), ResumeRequested()):
            return replace(state, pausing=False), ()
        case _, TimeUp():
            return _run_out_of_time(state)
        case _, StopRequested(reason=reason):
            return _break_off(state, Status.STOPPED, reason)
    raise IllegalEvent(f"{type(event).__name__} while {state.status}")


def _relays(state: RunState, event: RelayLost | SiteForgot) -> Step:
    """What is about no lane: for the round's relay, and for those of sites that are to score."""
    dropped: tuple[Effect, ...] = (Drop(reason="run_over" if state.is_over else "not_awaited"),)
    effects = dropped
    if not (state.is_over or state.status is Status.EVALUATING):
        state, effects = _relay(state, event)
    if state.evaluation is None:
        return state, effects
    after, scored = _scored(scoring.evaluate(state, event))
    if after == state:
        return state, effects
    return after, (*(e for e in effects if not isinstance(e, Drop)), *scored)


def _scored(scored: Step) -> Step:
    """Once sites have scored what it made, a round is decided, and a run that is over is done."""
    state, effects = scored
    closed = [e.evaluation.asked for e in effects if isinstance(e, CloseEvaluation)]
    if state.status is Status.EVALUATING and any(asked.is_planned for asked in closed):
        state, decided = _decide(state)
        return state, (*effects, *decided)
    if closed and state.is_done:
        return state, (*effects, _concluded(state))
    return state, effects


# The relay of the round under way.


def _relay(state: RunState, event: one_round.Event) -> Step:
    """Let it decide, and decide about what it gives up."""
    relay, effects = one_round.step(state.relay, event)
    match effects:
        case (Drop(reason=reason),):
            return _drop(state, reason)
        case (GiveUpTurn(reason=reason, cause=cause),):
            return _go_without(_marked(state, event), reason, cause)
        case (GiveUpRelay(cause=cause),):
            return _break_off(state, Status.FAILED, cause)
    return _moved(_marked(state, event), relay), _to_do(effects)


def _steer(relay: RelayState, event: one_round.Event) -> tuple[RelayState, tuple[Effect, ...]]:
    """Let it do what was decided here, of which nothing is given up."""
    relay, effects = one_round.step(relay, event)
    return relay, _to_do(effects)


def _to_do(effects: tuple[one_round.Effect, ...]) -> tuple[Effect, ...]:
    return tuple(effect for effect in effects if not isinstance(effect, GiveUpTurn | GiveUpRelay))


def _marked(state: RunState, event: one_round.Event) -> RunState:
    """Whose lease ran out is silent; so is who gave its turn back, where it is not waited for."""
    skips = state.plan.failure.on_silent is OnSilent.SKIP
    is_silent = isinstance(event, LeaseExpired) or (isinstance(event, TurnReturned) and skips)
    return (
        replace(state, silent=state.silent | {state.itinerary[state.hop]}) if is_silent else state
    )


def _moved(state: RunState, relay: RelayState) -> RunState:
    """The run with its relay as it is now, and with what that did to it."""
    before, records = len(state.records), relay.records
    if len(records) < before:
        state = _undone(state)
    for record in records[before:]:
        took = with_turn(state.took, record)
        state = replace(state, last=record.site, turns=state.turns + 1, took=took)
    reason = f"waiting: {relay.waits}" if relay.waits else ""
    return replace(state, relay=relay, status=_STATUS[relay.phase], reason=reason)


def _undone(state: RunState) -> RunState:
    """The round begins anew. Those that it was planned without are left out still."""
    kept = (s for s in state.skipped if s.round != state.round or s.site not in state.itinerary)
    return replace(state, turns=state.turns - len(state.records), skipped=tuple(kept))


def _go_without(state: RunState, reason: str, cause: str) -> Step:
    """The expected turn is given up: pass it over, or wait for sites, or end."""
    if state.plan.failure.on_silent is not OnSilent.SKIP:
        return _break_off(state, Status.FAILED, cause)
    if len(state.eligible) < state.plan.failure.min_sites:
        relay, fence = _steer(state.relay, TakenBack())
        state, effects = _wait_for_sites(replace(state, relay=relay))
        return state, (*fence, *effects)
    return _pass_over(state, PassedOver(absent=_absent(state)), reason)


def _pass_over(state: RunState, event: PassedOver | GoneOn, reason: str) -> Step:
    """Go on without some turns. `reason`: why the first of them is passed over."""
    relay, effects = _steer(state.relay, event)
    skips = tuple(
        Skip(
            round=state.round,
            hop=hop,
            site=state.itinerary[hop],
            reason=reason if hop == state.hop else "silent",
        )
        for hop in range(state.hop, relay.hop)
    )
    return _moved(replace(state, skipped=(*state.skipped, *skips)), relay), effects


def _absent(state: RunState) -> frozenset[str]:
    return frozenset(state.itinerary) - frozenset(state.eligible)


# Rounds.


def _plan_round(state: RunState) -> Step:
    """The relay is at rest before the round that is to be planned."""
    if state.enough:
        return _end_between_rounds(state)
    situation = Situation(
        seed=state.plan.task.seed,
        lane=state.relay.lane,
        round=state.round,
        sites=state.eligible,
        last=state.last,
    )
    order = itinerary(state.plan.order, situation)
    if len(state.eligible) < state.plan.failure.min_sites or not order:
        return _wait_for_sites(state)
    skipped = (*state.skipped, *_left_out(state, situation))
    relay, effects = _steer(state.relay, RoundPlanned(itinerary=order))
    return _moved(replace(state, skipped=skipped), relay), effects


def _left_out(state: RunState, situation: Situation) -> tuple[Skip, ...]:
    """Turns that the round would have if its silent sites were there: none is missing unseen."""
    whole = itinerary(state.plan.order, replace(situation, sites=state.plan.sites))
    return tuple(
        Skip(round=state.round, hop=hop, site=site, reason="silent")
        for hop, site in enumerate(whole)
        if site not in state.eligible
    )


def _close_round(state: RunState) -> Step:
    """Its weights are here: keep them, and let all sites score them if they are to."""
    saved = SaveCheckpoint(round=state.round, weights=state.weights, records=state.records)
    trained = state.trained | {record.site for record in state.records}
    state, named = best_named(state, judged_by_turns(replace(state, trained=trained)))
    done = state.round + 1
    is_last = bool(state.enough) or done >= state.plan.task.rounds
    if is_due(state.plan.evaluate, rounds_done=done, is_last=is_last):
        state, effects = _scored(scoring.ask_for_round(state, done))
    else:
        state, effects = _decide(state)
    return state, (saved, *named, *effects)


def _decide(state: RunState) -> Step:
    """The round is over and judged: end, pause, or go on with the next one."""
    if state.enough or state.round + 1 >= state.plan.task.rounds:
        return _conclude(state, Status.FINISHED, _why_finished(state))
    state = replace(state, relay=at_rest(state.relay, round=state.round + 1))
    if state.pausing:
        return _pause(state, "paused by an operator", unattended=False)
    return _plan_round(state)


def _why_finished(state: RunState) -> str:
    unjudged = replace(state, status=Status.FINISHED).unjudged
    return why_finished(state.left_out, enough=state.enough, unjudged=unjudged)


def _run_out_of_time(state: RunState) -> Step:
    """It ends with its round; between rounds, now."""
    hours = state.plan.stop.hours if state.plan.stop else None
    if hours is None or state.is_time_up or state.status is Status.SUBMITTED:
        return _drop(state, "not_limited")
    state = replace(state, is_time_up=True, enough=f"its {hours:g} hours are over")
    if state.status is Status.PAUSED and not state.itinerary:
        return _end_between_rounds(state)
    return state, ()


def _end_between_rounds(state: RunState) -> Step:
    """The last round was not known to be the last when it ended."""
    policy, done = state.plan.evaluate, state.round
    was_due = is_due(policy, rounds_done=done, is_last=False)
    if done and not was_due and is_due(policy, rounds_done=done, is_last=True):
        return _scored(scoring.ask_for_round(state, done))
    return _conclude(state, Status.FINISHED, _why_finished(state))


# Sites that come and go, pauses, the end.


def _hear(state: RunState, site: str) -> Step:
    if site not in state.silent:
        return _drop(state, "not_silent")
    state = replace(state, silent=state.silent - {site})
    if state.unattended:
        return _resume_if_enough(state)
    relay, effects = _steer(state.relay, SiteHeard(site=site))
    is_news = not any(isinstance(effect, Drop) for effect in effects)
    return (_moved(state, relay), effects) if is_news else (state, ())


def _add_site(state: RunState, site: str) -> Step:
    """The round under way keeps its itinerary; the next one is planned with the site too."""
    plan = state.plan
    if site in plan.sites:
        return _drop(state, "takes_part_already")
    if not isinstance(plan.order, str):
        return _drop(state, "order_is_a_list")
    state = replace(state, plan=replace(plan, sites=(*plan.sites, site)))
    return _resume_if_enough(state)


def _resume_if_enough(state: RunState) -> Step:
    if state.unattended and len(state.eligible) >= state.plan.failure.min_sites:
        return _resume(state)
    return state, ()


def _wait_for_sites(state: RunState) -> Step:
    needed = state.plan.failure.min_sites
    reason = f"{len(state.eligible)} of at least {needed} sites are there"
    return _pause(state, reason, unattended=True)


def _pause(state: RunState, reason: str, *, unattended: bool) -> Step:
    # A pause that ends by itself leaves the one that an operator asked for to come.
    pausing = state.pausing and unattended
    paused = replace(state, status=Status.PAUSED, reason=reason, unattended=unattended)
    return replace(paused, pausing=pausing), (EndLease(lane=state.relay.lane),)


def _resume(state: RunState) -> Step:
    """Go on where the pause began: inside a round, or with the next one."""
    state = replace(state, unattended=False)
    if not state.itinerary:
        return _plan_round(state)
    if len(state.eligible) < state.plan.failure.min_sites:
        return _wait_for_sites(state)
    return _pass_over(state, GoneOn(absent=_absent(state)), "silent")


def why_no_rounds(state: RunState, rounds: int) -> str:
    """Why the run cannot have so many rounds in all; "" if it can.

    One that failed or was stopped ended in the middle of a round, whose order would be another now.
    """
    if state.removed:
        return REMOVED
    if state.status in OVER - {Status.FINISHED}:
        return NOT_FINISHED
    has = state.plan.task.rounds
    if rounds == has and state.status is Status.FINISHED and state.enough:
        return ""  # it had enough before its last round
    if rounds == has:
        return HAS_AS_MANY
    return HAS_MORE if rounds < has else ""


def why_not_removed(state: RunState) -> str:
    """Why the run's weights cannot go; "" if they can."""
    if state.removed:
        return REMOVED
    return "" if state.is_done else NOT_OVER


def _add_rounds(state: RunState, event: RoundsAdded) -> Step:
    """One under way just has more to do; one that finished goes on from its newest weights."""
    if why := why_no_rounds(state, event.rounds):
        return _drop(state, why)
    plan = state.plan
    state = replace(state, plan=replace(plan, task=replace(plan.task, rounds=event.rounds)))
    if state.status is not Status.FINISHED:
        return state, ()
    # Nobody has listened for those that were silent at its end: each is asked again.
    following = state.round + 1 if state.itinerary else state.round  # else it ended in a pause
    relay = at_rest(replace(state.relay, term=state.top), round=following)
    state = replace(state, relay=relay, reason="", silent=frozenset())
    # Whoever asks for more does not mean the limits that it has reached.
    goes_beyond = state.goes_beyond or bool(state.enough)
    state = replace(state, is_time_up=state.is_time_up or event.is_time_up)
    return _plan_round(replace(state, enough="", waited=0, goes_beyond=goes_beyond))


def _remove(state: RunState) -> Step:
    if why := why_not_removed(state):
        return _drop(state, why)
    return replace(state, removed=True), (DiscardWeights(),)


def _break_off(state: RunState, status: Status, reason: str) -> Step:
    """The run ends before its last round did: whatever is under way is void."""
    relay, fence = _steer(state.relay, TakenBack())
    state, effects = _conclude(replace(state, relay=relay), status, reason)
    state, called_off = _scored(scoring.call_off(state))
    return state, (*fence, *effects, *called_off)


def _conclude(state: RunState, status: Status, reason: str) -> Step:
    """An evaluation that an operator has asked for goes on; its sites are told after it."""
    over = replace(state, status=status, reason=reason, pausing=False, unattended=False)
    ended = EndLease(lane=state.relay.lane)
    return over, (ended, _concluded(over)) if over.is_done else (ended,)


def _concluded(state: RunState) -> Conclude:
    return Conclude(status=state.status, reason=state.reason, term=state.top)


def _drop(state: RunState, reason: str) -> Step:
    return state, (Drop(reason=reason),)
