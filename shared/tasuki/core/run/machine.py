"""The run machine: rounds, sites that come and go, pauses, the end.

`step(state, event) -> (state, effects)`. It plans each round and gives it to relays, one for each
model that is on its way, which decide who holds the weights; what a relay gives up, this decides
about: whether the lane goes on without that turn, all wait for more sites, or the run ends. A round
is over once every lane is in; now and then all lanes become one model, which all sites may score:
see `lanes`, `scoring`, and for what follows `judging`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tasuki.core import relay as one_lane
from tasuki.core.model import EVALUATION, Merge, OnSilent, TurnRecord, WeightsRef
from tasuki.core.order import Situation, itineraries, starts
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
)
from tasuki.core.run import scoring
from tasuki.core.run.cause import why_finished
from tasuki.core.run.effects import (
    AwaitLanes,
    CloseEvaluation,
    Conclude,
    DiscardWeights,
    Effect,
    KeepLane,
    MergeWeights,
    SaveCheckpoint,
)
from tasuki.core.run.evaluation import is_due, lane_of
from tasuki.core.run.events import (
    EvaluationRequested,
    Event,
    MergeFailed,
    PauseRequested,
    ResumeRequested,
    RoundsAdded,
    RunRemoved,
    RunSubmitted,
    SiteAdded,
    StopRequested,
    TimeUp,
    WaitOver,
    WeightsArrived,
    WeightsMerged,
)
from tasuki.core.run.judging import best_named, judged_by_turns
from tasuki.core.run.lanes import LaneState, Part, closed, one_again, parts, replaced, rested
from tasuki.core.run.pace import with_turn
from tasuki.core.run.state import OVER, RunState, Skip, Status

Step = tuple[RunState, tuple[Effect, ...]]

# Why a run gets no more rounds, or is not removed.
REMOVED = "removed_already"
NOT_OVER = "not_over"
NOT_FINISHED = "run_over"
HAS_AS_MANY = "has_as_many"
HAS_MORE = "has_more"

LATE = "late"
"""Why a lane's turns are void without which its round went on."""

IN_ROUND = frozenset({Status.RELAYING, Status.CLOSING, Status.MERGING, Status.EVALUATING})
"""Where a run stands that neither rests nor is over."""


def step(state: RunState, event: Event) -> Step:
    """Decide what one event means.

    Raises:
        IllegalEvent: a bug of ours; the state is unchanged.
    """
    after, effects = _decided(state, event)
    wait_s = state.plan.lanes.wait_s
    if wait_s is not None and waited_for(after) not in {None, waited_for(state)}:
        effects = (*effects, AwaitLanes(round=after.round, wait_s=wait_s))
    return after, effects


def waited_for(state: RunState) -> int | None:
    """The round in which lanes that are done wait for others, and not for ever; None: none do."""
    is_limited = state.has_lanes and state.plan.lanes.wait_s is not None
    if not is_limited or state.status is not Status.RELAYING:
        return None
    is_any_done = any(lane.relay.phase is Phase.DONE for lane in state.lanes)
    return state.round if is_any_done else None


def _decided(state: RunState, event: Event) -> Step:  # noqa: C901 - one table of all legal pairs
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
            if lane_of(event) >= len(state.lanes):
                is_result = isinstance(event, TurnFinished)
                return _drop(state, "other_run" if is_result else "not_awaited")
        case StopRequested() if state.is_over and state.evaluation is not None:
            return _scored(scoring.call_off(state))
    if state.is_over:
        return _drop(state, "run_over")
    match state.status, event:
        case Status.SUBMITTED, RunSubmitted():
            return _plan_round(state)
        case Status.EVALUATING, WeightsLost():
            return _drop(state, "not_awaited")
        case Status.MERGING, WeightsLost(lane=lane) if _is_for_good(state.lanes[lane], event):
            cause = f"the weights of lane {lane + 1} cannot be read any more"
            return _break_off(state, Status.FAILED, cause)
        case _, (TurnFinished() | TurnFailed() | TurnReturned() | LeaseExpired() | WeightsLost()):
            return _relay(state, event, state.lanes[lane_of(event)])
        case _, SiteHeard(site=site):
            return _hear(state, site)
        case _, SiteAdded(site=site):
            return _add_site(state, site)
        case _, WeightsArrived():
            return _arrive(state, event)
        case Status.MERGING, WeightsMerged(done=done, weights=weights) if done == state.done:
            return _close_merged(state, weights)
        case Status.MERGING, MergeFailed(done=done, cause=cause) if done == state.done:
            return _break_off(state, Status.FAILED, cause)
        case Status.RELAYING, WaitOver(round=round) if round == waited_for(state):
            return _go_without_late(state)
        case _, (WeightsMerged() | MergeFailed() | WaitOver()):
            return _drop(state, "not_awaited")
        case status, PauseRequested() if status in IN_ROUND:
            return replace(state, pausing=True), ()
        case Status.PAUSED, PauseRequested():
            paused = replace(state, unattended=False, pausing=False)
            return replace(paused, reason="paused by an operator"), ()
        case Status.PAUSED, ResumeRequested():
            return _resume(replace(state, pausing=False))
        case status, ResumeRequested() if status in IN_ROUND:
            return replace(state, pausing=False), ()
        case _, TimeUp():
            return _run_out_of_time(state)
        case _, StopRequested(reason=reason):
            return _break_off(state, Status.STOPPED, reason)
    raise IllegalEvent(f"{type(event).__name__} while {state.status}")


def _relays(state: RunState, event: RelayLost | SiteForgot) -> Step:
    """What is about no lane: for the round's relays, and for those of sites that are to score."""
    effects: tuple[Effect, ...] = (Drop(reason="run_over" if state.is_over else "not_awaited"),)
    for number in range(len(state.lanes)):
        if state.is_over or state.status is Status.EVALUATING:
            break
        state, more = _relay(state, event, state.lanes[number])
        effects = _both(effects, more)
    if state.evaluation is None:
        return state, effects
    after, scored = _scored(scoring.evaluate(state, event))
    if after == state:
        return state, effects
    return after, _both(effects, scored)


def _both(effects: tuple[Effect, ...], more: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """What is to be done after two steps; nothing only if neither calls for anything."""
    to_do = tuple(e for e in (*effects, *more) if not isinstance(e, Drop))
    return to_do or more


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


def _is_for_good(lane: LaneState, lost: WeightsLost) -> bool:
    """Whether a lane has nothing to fall back to: no turn of this round is in its weights."""
    return lane.relay.phase is Phase.RESTING and closed(lane).relay.weights == lost.weights


# The relays of the round under way.


def _relay(state: RunState, event: one_lane.Event, lane: LaneState) -> Step:
    """Let it decide, and decide about what it gives up."""
    relay, effects = one_lane.step(lane.relay, event)
    match effects:
        case (Drop(reason=reason),):
            return _drop(state, reason)
        case (GiveUpTurn(reason=reason, cause=cause),):
            return _go_without(_marked(state, event, lane.relay), lane, reason, cause)
        case (GiveUpRelay(cause=cause),):
            return _break_off(state, Status.FAILED, cause)
    after = _moved(_marked(state, event, lane.relay), lane, relay)
    if state.status is not Status.PAUSED:
        return after, _to_do(effects)
    # A lane that is done when the run waits for sites may lose its weights: it waits as they do.
    after = replace(after, status=state.status, reason=state.reason)
    if relay.phase is not Phase.OUT:
        return after, _to_do(effects)
    relay, fence = _steer(relay, TakenBack(is_blamed=False))
    return replace(after, lanes=replaced(after.lanes, _with(after, relay))), fence


def _steer(relay: RelayState, event: one_lane.Event) -> tuple[RelayState, tuple[Effect, ...]]:
    """Let it do what was decided here, of which nothing is given up."""
    relay, effects = one_lane.step(relay, event)
    return relay, _to_do(effects)


def _to_do(effects: tuple[one_lane.Effect, ...]) -> tuple[Effect, ...]:
    return tuple(effect for effect in effects if not isinstance(effect, GiveUpTurn | GiveUpRelay))


def _with(state: RunState, relay: RelayState) -> LaneState:
    """The lane of a relay, with that as it is now."""
    return replace(state.lanes[relay.lane], relay=relay)


def _marked(state: RunState, event: one_lane.Event, relay: RelayState) -> RunState:
    """Whose lease ran out is silent; so is who gave its turn back, where it is not waited for."""
    skips = state.plan.failure.on_silent is OnSilent.SKIP
    is_silent = isinstance(event, LeaseExpired) or (isinstance(event, TurnReturned) and skips)
    return (
        replace(state, silent=state.silent | {relay.itinerary[relay.hop]}) if is_silent else state
    )


def _moved(state: RunState, lane: LaneState, relay: RelayState) -> RunState:
    """The run with one of its relays as it is now, and with what that did to it."""
    before, records = len(lane.relay.records), relay.records
    if len(records) < before:
        state = _undone(state, lane)
    is_here = lane.is_here and relay.phase is Phase.DONE
    lane = replace(lane, relay=relay, is_here=is_here)
    for record in records[before:]:
        took = with_turn(state.took, record)
        lane = replace(lane, last=record.site)
        state = replace(state, turns=state.turns + 1, took=took)
    return _standing(replace(state, lanes=replaced(state.lanes, lane)))


def _standing(state: RunState) -> RunState:
    """Where it stands, by its relays: a turn is out, or all that is left is the controller's."""
    out = [lane.relay for lane in state.lanes if lane.relay.phase is Phase.OUT]
    waits = [relay.waits for relay in out if relay.waits]
    reason = f"waiting: {'; '.join(waits)}" if waits else ""
    if out:
        return replace(state, status=Status.RELAYING, reason=reason)
    status = Status.MERGING if state.status is Status.MERGING else Status.CLOSING
    return replace(state, status=status, reason=reason)


def _undone(state: RunState, lane: LaneState) -> RunState:
    """A lane begins its round anew. Those that it was planned without are left out still."""
    number, there = lane.relay.lane, lane.itinerary
    kept = tuple(
        skip
        for skip in state.skipped
        if (skip.round, skip.lane) != (state.round, number) or skip.site not in there
    )
    return replace(state, turns=state.turns - len(lane.relay.records), skipped=kept)


def _go_without(state: RunState, lane: LaneState, reason: str, cause: str) -> Step:
    """The expected turn of a lane is given up: pass it over, or wait for sites, or end."""
    if state.plan.failure.on_silent is not OnSilent.SKIP:
        return _break_off(state, Status.FAILED, cause)
    if len(state.eligible) < state.plan.failure.min_sites:
        others = [each for each in state.lanes if each.relay.phase is Phase.OUT and each != lane]
        state, fence = _taken_back(state, [lane])
        state, fences = _taken_back(state, others, is_blamed=False)
        state, effects = _wait_for_sites(state)
        return state, (*fence, *fences, *effects)
    return _pass_over(state, lane, PassedOver(absent=_absent(state, lane)), reason)


def _taken_back(state: RunState, lanes: Iterable[LaneState], *, is_blamed: bool = True) -> Step:
    """Nothing of these lanes is out any more."""
    effects: list[Effect] = []
    for lane in lanes:
        relay, fence = _steer(lane.relay, TakenBack(is_blamed=is_blamed))
        state = replace(state, lanes=replaced(state.lanes, _with(state, relay)))
        effects += fence
    return state, tuple(effects)


def _pass_over(state: RunState, lane: LaneState, event: PassedOver | GoneOn, reason: str) -> Step:
    """Go on without some turns. `reason`: why the first of them is passed over."""
    before = lane.relay
    relay, effects = _steer(before, event)
    skips = tuple(
        Skip(
            round=before.round,
            hop=hop,
            site=before.itinerary[hop],
            reason=reason if hop == before.hop else "silent",
            lane=before.lane,
        )
        for hop in range(before.hop, relay.hop)
    )
    return _moved(replace(state, skipped=(*state.skipped, *skips)), lane, relay), effects


def _absent(state: RunState, lane: LaneState) -> frozenset[str]:
    return frozenset(lane.itinerary) - frozenset(state.eligible)


def _arrive(state: RunState, event: WeightsArrived) -> Step:
    """What a lane ended its round with is here; once all are, the round is over."""
    known = state.lanes[event.lane : event.lane + 1]
    is_awaited = any(
        lane.relay.phase is Phase.DONE and lane.relay.weights == event.weights and not lane.is_in
        for lane in known
    )
    if not is_awaited:
        return _drop(state, "not_awaited")
    here = tuple(replace(lane, is_here=True) for lane in known)
    state = replace(state, lanes=replaced(state.lanes, here[0]))
    return (state, ()) if state.status is Status.PAUSED else _close_if_all_in(state)


def _go_without_late(state: RunState) -> Step:
    """Those that are not done are waited for no longer: what they were trained by is void."""
    late = [lane for lane in state.lanes if lane.is_under_way]
    state, fences = _taken_back(state, late)
    for lane in late:
        number = lane.relay.lane
        state = _undone(state, lane)
        gone = replace(state.lanes[number], is_late=True)
        skips = tuple(
            Skip(round=state.round, hop=hop, site=site, reason=LATE, lane=number)
            for hop, site in enumerate(lane.itinerary)
        )
        state = replace(state, lanes=replaced(state.lanes, gone), skipped=(*state.skipped, *skips))
    ended = tuple(EndLease(lane=lane.relay.lane) for lane in late)
    state, effects = _close_if_all_in(_standing(state))
    return state, (*fences, *ended, *effects)


# Rounds.


def _plan_round(state: RunState) -> Step:
    """The relays are at rest before the round that is to be planned."""
    if state.enough:
        return _end_between_rounds(state)
    plan = state.plan
    situation = Situation(
        seed=plan.task.seed,
        round=state.round,
        sites=state.eligible,
        lasts=tuple(lane.last for lane in state.lanes),
        starts=starts(plan.lanes, len(state.eligible)),
    )
    orders = itineraries(plan.order, situation, plan.lanes)
    if len(state.eligible) < plan.failure.min_sites or not any(orders):
        return _wait_for_sites(state)
    state = replace(state, skipped=(*state.skipped, *_left_out(state, situation)))
    effects: list[Effect] = []
    for lane, order in zip(state.lanes, orders, strict=True):
        if order:  # there may be fewer sites than lanes now
            relay, issued = _steer(lane.relay, RoundPlanned(itinerary=order))
            state = _moved(state, lane, relay)
            effects += issued
    return state, tuple(effects)


def _left_out(state: RunState, situation: Situation) -> tuple[Skip, ...]:
    """Turns that the round would have if its silent sites were there: none is missing unseen."""
    plan = state.plan
    all_there = replace(situation, sites=plan.sites, starts=starts(plan.lanes, len(plan.sites)))
    whole = itineraries(plan.order, all_there, plan.lanes)
    return tuple(
        Skip(round=state.round, hop=hop, site=site, reason="silent", lane=lane)
        for lane, order in enumerate(whole)
        for hop, site in enumerate(order)
        if site not in state.eligible
    )


def _close_if_all_in(state: RunState) -> Step:
    """Once every lane is in: one model is checkpointed; several become one, if it is time."""
    if not all(lane.is_in for lane in state.lanes):
        return state, ()
    if not state.has_lanes:
        return _close_round(state)
    if state.done % state.plan.lanes.every_n_rounds == 0 or _is_last(state):
        return _merge(state)
    unmerged = (*state.unmerged, *state.records)
    state = _noted(replace(state, lanes=tuple(map(closed, state.lanes))), state.records)
    state = replace(state, unmerged=unmerged)
    kept = tuple(KeepLane(lane=lane.relay.lane, weights=lane.relay.weights) for lane in state.lanes)
    state, effects = _decide(state)
    return state, (*kept, *effects)


def _merge(state: RunState) -> Step:
    """Of two lanes or more; where only one was trained, all go on from that."""
    found = parts(tuple(map(closed, state.lanes)))
    if len(found) < 2:
        return _close_merged(state, found[0].weights if found else state.merged)
    equally = state.plan.lanes.merge is Merge.EQUAL
    merging = MergeWeights(done=state.done, parts=found, equally=equally)
    # A pause between rounds ends by it, if it was one.
    return replace(state, status=Status.MERGING, reason="", unattended=False), (merging,)


def _close_merged(state: RunState, weights: WeightsRef) -> Step:
    """All lanes are one."""
    lanes = tuple(map(closed, state.lanes))
    found = parts(lanes)
    lanes = tuple(one_again(lane, weights, made_of=found) for lane in lanes)
    return _close_round(replace(state, merged=weights, lanes=lanes), found)


def _noted(state: RunState, records: Sequence[TurnRecord]) -> RunState:
    """Who has trained in a round that is over."""
    return replace(state, trained=state.trained | {record.site for record in records})


def _is_last(state: RunState) -> bool:
    return bool(state.enough) or state.done >= state.plan.task.rounds


def _close_round(state: RunState, made_of: tuple[Part, ...] = ()) -> Step:
    """Its weights are here: keep them, and let all sites score them if they are to."""
    done = state.done
    saved = SaveCheckpoint(
        round=done - 1,
        weights=state.weights,
        records=state.records,
        parts=made_of,
        earlier=state.unmerged,
    )
    state = replace(_noted(state, state.records), unmerged=())
    state, named = best_named(state, judged_by_turns(state))
    if is_due(state.plan.evaluate, rounds_done=done, is_last=_is_last(state)):
        state, effects = _scored(scoring.ask_for_round(state, done))
    else:
        state, effects = _decide(state)
    return state, (saved, *named, *effects)


def _decide(state: RunState) -> Step:
    """The round is over and judged: end, pause, or go on with the next one."""
    if _is_last(state):
        return _conclude(state, Status.FINISHED, _why_finished(state))
    state = replace(state, lanes=tuple(rested(lane, round=state.done) for lane in state.lanes))
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
    if state.status is Status.PAUSED and not state.is_in_round:
        return _end_between_rounds(state)
    return state, ()


def _end_between_rounds(state: RunState) -> Step:
    """The last round was not known to be the last when it ended."""
    if any(lane.turns for lane in state.lanes) and state.has_lanes:
        return _merge(state)
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
    news: tuple[Effect, ...] = ()
    for lane in state.lanes:
        relay, effects = _steer(lane.relay, SiteHeard(site=site))
        if not any(isinstance(effect, Drop) for effect in effects):
            state, news = _moved(state, lane, relay), (*news, *effects)
    return state, news


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
    return replace(paused, pausing=pausing), _no_leases(state)


def _no_leases(state: RunState) -> tuple[EndLease, ...]:
    return tuple(EndLease(lane=lane.relay.lane) for lane in state.lanes)


def _resume(state: RunState) -> Step:
    """Go on where the pause began: inside a round, or with the next one."""
    state = replace(state, unattended=False)
    if not state.is_in_round:
        return _plan_round(state)
    if len(state.eligible) < state.plan.failure.min_sites:
        return _wait_for_sites(state)
    effects: list[Effect] = []
    for lane in state.lanes:
        if lane.is_under_way:
            state, gone_on = _pass_over(state, lane, GoneOn(absent=_absent(state, lane)), "silent")
            effects += gone_on
    state, closing = _close_if_all_in(_standing(state))
    return state, (*effects, *closing)


def why_no_rounds(state: RunState, rounds: int) -> str:
    """Why the run cannot have so many rounds in all; "" if it can.

    One that failed or was stopped ended in the middle of a round, whose order would be another now.
    """
    if state.removed:
        return REMOVED
    if state.status in OVER - {Status.FINISHED}:
        return NOT_FINISHED
    has = state.plan.task.rounds
    if rounds == has and state.status is Status.FINISHED and state.done < has:
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
    following, top = state.done, state.top
    lanes = tuple(rested(_from(lane, top), round=following) for lane in state.lanes)
    state = replace(state, lanes=lanes, reason="", silent=frozenset())
    # Whoever asks for more does not mean the limits that it has reached.
    goes_beyond = state.goes_beyond or bool(state.enough)
    state = replace(state, is_time_up=state.is_time_up or event.is_time_up)
    return _plan_round(replace(state, enough="", waited=0, goes_beyond=goes_beyond))


def _from(lane: LaneState, term: int) -> LaneState:
    return replace(lane, relay=replace(lane.relay, term=term))


def _remove(state: RunState) -> Step:
    if why := why_not_removed(state):
        return _drop(state, why)
    return replace(state, removed=True), (DiscardWeights(),)


def _break_off(state: RunState, status: Status, reason: str) -> Step:
    """The run ends before its last round did: whatever is under way is void."""
    state, fences = _taken_back(state, state.lanes)
    state, effects = _conclude(state, status, reason)
    state, called_off = _scored(scoring.call_off(state))
    return state, (*fences, *effects, *called_off)


def _conclude(state: RunState, status: Status, reason: str) -> Step:
    """An evaluation that an operator has asked for goes on; its sites are told after it."""
    over = replace(state, status=status, reason=reason, pausing=False, unattended=False)
    ended = _no_leases(state)
    return over, (*ended, _concluded(over)) if over.is_done else ended


def _concluded(state: RunState) -> Conclude:
    return Conclude(status=state.status, reason=state.reason, term=state.top)


def _drop(state: RunState, reason: str) -> Step:
    return state, (Drop(reason=reason),)
