"""The run machine: the controller's whole judgement of one run.

`step(state, event) -> (state, effects)`. Two rules: everything that decides who holds the weights
lives in this file; and a result enters the chain only if all five parts of its identity, its site
and the digest of what it received are exactly those expected now.

Stale and duplicated events are legal, since they happen every day: they change nothing and return
a `Drop` that says why.
"""

from __future__ import annotations

from dataclasses import replace

from tasuki.core.model import CONTROLLER, OnSilent, TurnId, TurnRecord, WeightsRef
from tasuki.core.order import Situation, itinerary
from tasuki.core.report import OVERDUE
from tasuki.core.run.cause import how_it_failed, why_expired, why_finished, why_not_again
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
from tasuki.core.run.pace import with_turn
from tasuki.core.run.state import OVER, RunState, Skip, Status

Step = tuple[RunState, tuple[Effect, ...]]


class IllegalEvent(RuntimeError):
    """A bug of ours: this event cannot happen in this state."""


def step(state: RunState, event: Event) -> Step:  # noqa: C901 - one table of all legal pairs
    """Decide what one event means.

    Raises:
        IllegalEvent: a bug of ours; the state is unchanged.
    """
    if state.status in OVER:
        return _drop(state, "run_over")
    match state.status, event:
        case Status.SUBMITTED, RunSubmitted():
            return _plan_round(state, number=0)
        case _, TurnFinished(record=record):
            return _consider(state, record)
        case _, TurnFailed():
            return _give_up_turn(state, event)
        case _, TurnReturned(id=id, site=site):
            return _take_over(state, id, site)
        case _, LeaseExpired():
            return _expire(state, event)
        case _, SiteHeard(site=site):
            return _hear(state, site)
        case _, SiteForgot(site=site):
            return _reissue(state) if site == state.holder else _drop(state, "not_the_holder")
        case _, SiteAdded(site=site):
            return _add_site(state, site)
        case Status.CLOSING, WeightsArrived(weights=weights) if weights == state.weights:
            return _close_round(state)
        case ((Status.RELAYING | Status.CLOSING), WeightsLost(weights=weights)):
            return _fall_back(state, weights)
        case Status.RELAYING, RelayLost():
            return _reissue(state)
        case Status.CLOSING, RelayLost():
            return state, (CollectWeights(weights=state.weights, at=state.at),)
        case ((Status.RELAYING | Status.CLOSING), PauseRequested()):
            return replace(state, pausing=True), ()
        case Status.PAUSED, PauseRequested():
            paused = replace(state, unattended=False, pausing=False)
            return replace(paused, reason="paused by an operator"), ()
        case Status.PAUSED, ResumeRequested():
            return _resume(replace(state, pausing=False))
        case ((Status.RELAYING | Status.CLOSING), ResumeRequested()):
            return replace(state, pausing=False), ()
        case _, StopRequested(reason=reason):
            return _conclude(state, Status.STOPPED, reason)
        case _, (WeightsArrived() | WeightsLost() | RelayLost()):
            return _drop(state, "not_awaited")
    raise IllegalEvent(f"{type(event).__name__} while {state.status}")


# Results.


def _consider(state: RunState, record: TurnRecord) -> Step:
    """Accept a result, keep it for later, or say why it never enters the chain."""
    expected = state.expected
    if record.id.run != expected.run or record.id.lane != expected.lane:
        return _drop(state, "other_run")
    if record.id.term != expected.term or state.status is not Status.RELAYING:
        return _drop(state, "stale_term" if record.id.term < expected.term else "not_awaited")
    if (record.id.round, record.id.hop) < (expected.round, expected.hop):
        return _drop(state, "duplicate")
    if record.id.round != expected.round or record.id.hop >= len(state.itinerary):
        return _drop(state, "not_awaited")
    if record.site != state.itinerary[record.id.hop]:
        return _drop(state, "wrong_site")
    if record.id.hop > expected.hop:
        return _keep_early(state, record)
    if record.received != state.weights.digest:
        return _drop(state, "broken_chain")
    return _accept(state, record)


def _keep_early(state: RunState, record: TurnRecord) -> Step:
    if any(kept.id == record.id for kept in state.early):
        return _drop(state, "duplicate")
    return replace(state, early=(*state.early, record)), ()


def _accept(state: RunState, record: TurnRecord) -> Step:
    hop = record.id.hop + 1
    state = replace(
        state,
        reason="",  # it may have been waited for
        hop=hop,
        weights=record.sent,
        at=state.itinerary[hop] if hop < len(state.itinerary) else CONTROLLER,
        attempts=1,  # the relay has issued the next turn already
        failed=None,
        records=(*state.records, record),
        last=record.site,
        turns=state.turns + 1,
        took=with_turn(state.took, record),
    )
    for kept in state.early:
        if kept.id == state.expected:
            rest = tuple(other for other in state.early if other is not kept)
            state = replace(state, early=rest)
            if kept.received == state.weights.digest:
                return _accept(state, kept)
    if hop == len(state.itinerary):
        return _collect(state)
    return state, (_lease(state),)


# Rounds.


def _plan_round(state: RunState, *, number: int) -> Step:
    state = _between_rounds(state, number=number)
    situation = Situation(
        seed=state.plan.task.seed, round=number, sites=state.eligible, last=state.last
    )
    order = itinerary(state.plan.order, situation)
    if len(state.eligible) < state.plan.failure.min_sites or not order:
        return _wait_for_sites(state)
    skipped = (*state.skipped, *_left_out(state, situation))
    return _issue(replace(state, itinerary=order, term=state.term + 1, skipped=skipped))


def _left_out(state: RunState, situation: Situation) -> tuple[Skip, ...]:
    """Turns that the round would have if its silent sites were there: none is missing unseen."""
    whole = itinerary(state.plan.order, replace(situation, sites=state.plan.sites))
    return tuple(
        Skip(round=state.round, hop=hop, site=site, reason="silent")
        for hop, site in enumerate(whole)
        if site not in state.eligible
    )


def _between_rounds(state: RunState, *, number: int) -> RunState:
    """Nothing of round `number` is decided yet; an empty itinerary says so."""
    return replace(
        state,
        round=number,
        hop=0,
        itinerary=(),
        base=state.weights,
        at=CONTROLLER,
        attempts=0,
        failed=None,
        losses=0,
        early=(),
        records=(),
    )


def _collect(state: RunState) -> Step:
    state = replace(state, status=Status.CLOSING, reason="")
    return state, (EndLease(), CollectWeights(weights=state.weights, at=state.at))


def _close_round(state: RunState) -> Step:
    saved = SaveCheckpoint(round=state.round, weights=state.weights, records=state.records)
    state = replace(state, trained=state.trained | {record.site for record in state.records})
    if state.round + 1 >= state.plan.task.rounds:
        state, effects = _conclude(state, Status.FINISHED, why_finished(state.left_out))
    elif state.pausing:
        state = _between_rounds(state, number=state.round + 1)
        state, effects = _pause(state, "paused by an operator", unattended=False)
    else:
        state, effects = _plan_round(state, number=state.round + 1)
    return state, (saved, *effects)


def _issue(state: RunState) -> Step:
    """Give the expected turn to its site; a site that is passed over anyway is not asked."""
    if state.hop == len(state.itinerary):
        return _collect(state)
    attempts = state.attempts + 1
    state = replace(state, status=Status.RELAYING, reason="", attempts=attempts, failed=None)
    issued = IssueTurn(
        id=state.expected,
        itinerary=state.itinerary,
        weights=state.weights,
        at=state.at,
        records=state.records,
    )
    return state, (issued, _lease(state))


# Trouble.


def _give_up_turn(state: RunState, event: TurnFailed) -> Step:
    if event.id != state.expected or event.site != state.holder:
        return _drop(state, "stale_term" if event.id.term < state.term else "not_awaited")
    cause = f"{event.site}: {event.detail or event.error}"
    failure = state.plan.failure
    if failure.on_silent is OnSilent.FAIL:
        return _conclude(state, Status.FAILED, cause)
    if failure.on_silent is OnSilent.SKIP and event.error == OVERDUE:
        return _skip(state, event.error)  # like a silent one, it is not waited for again
    final = why_not_again(state, event)
    if state.attempts < failure.max_attempts and not final:
        return _try_again(state, event)
    if failure.on_silent is OnSilent.SKIP:
        return _skip(state, event.error)
    return _conclude(state, Status.FAILED, f"{cause} ({final or f'{state.attempts} attempts'})")


def _try_again(state: RunState, event: TurnFailed) -> Step:
    state, effects = _reissue(state)
    return replace(state, failed=how_it_failed(event)), effects


def _take_over(state: RunState, id: TurnId, site: str) -> Step:
    """A turn given back costs no attempt: its site may return, or the next one goes on."""
    if id != state.expected or site != state.holder:
        return _drop(state, "not_awaited")
    if state.plan.failure.on_silent is OnSilent.SKIP:
        return _skip(replace(state, silent=state.silent | {site}), "given_back")
    return _reissue(replace(state, attempts=state.attempts - 1))


def _expire(state: RunState, event: LeaseExpired) -> Step:
    if event.id != state.expected or state.holder is None:
        return _drop(state, "stale_lease")
    failure, site = state.plan.failure, state.holder
    cause = why_expired(
        event.phase, holder=site, successor=state.successor, lease_s=failure.lease_s
    )
    marked = replace(state, silent=state.silent | {site})
    match failure.on_silent:
        case OnSilent.WAIT:
            return replace(marked, reason=f"waiting: {cause}"), ()
        case OnSilent.FAIL:
            return _conclude(marked, Status.FAILED, cause)
        case OnSilent.SKIP:
            return _skip(marked, "stood_still" if event.phase else "silent")
        case OnSilent.RETRY if state.attempts < failure.max_attempts:
            return _reissue(marked)
    return _conclude(marked, Status.FAILED, f"{cause} ({state.attempts} attempts)")


def _reissue(state: RunState) -> Step:
    """Take the weights back and give them out again: whatever is under way is void."""
    state = replace(state, term=state.term + 1, early=())
    state, effects = _issue(state)
    return state, (_fence(state), *effects)


def _skip(state: RunState, reason: str) -> Step:
    """Pass over the expected turn, and over those of other silent sites behind it."""
    state = replace(state, term=state.term + 1, early=())
    fence = _fence(state)
    if len(state.eligible) < state.plan.failure.min_sites:
        state, effects = _wait_for_sites(state)
        return state, (fence, *effects)
    state, effects = _issue(_pass_over_silent(_pass_over(state, reason)))
    return state, (fence, *effects)


def _pass_over_silent(state: RunState) -> RunState:
    while state.hop < len(state.itinerary) and state.itinerary[state.hop] not in state.eligible:
        state = _pass_over(state, "silent")
    return state


def _pass_over(state: RunState, reason: str) -> RunState:
    skip = Skip(round=state.round, hop=state.hop, site=state.itinerary[state.hop], reason=reason)
    passed = replace(state, hop=state.hop + 1, attempts=0, failed=None)
    return replace(passed, skipped=(*state.skipped, skip))


def _fall_back(state: RunState, lost: WeightsRef) -> Step:
    """The newest weights are gone: the round starts again from those it started with."""
    if lost != state.weights:
        return _drop(state, "not_awaited")
    if lost == state.base:
        return _conclude(state, Status.FAILED, "the round's first weights cannot be read any more")
    if (attempts := state.losses + 1) >= state.plan.failure.max_attempts:
        cause = f"weights were lost in each of {attempts} attempts"
        return _conclude(state, Status.FAILED, f"round {state.round + 1}: {cause}")
    # Those that the round was planned without are left out still.
    kept = (s for s in state.skipped if s.round != state.round or s.site not in state.itinerary)
    undone = replace(
        state,
        weights=state.base,
        at=CONTROLLER,
        hop=0,
        attempts=0,
        losses=attempts,
        records=(),
        turns=state.turns - len(state.records),
        skipped=tuple(kept),
    )
    return _reissue(undone)


# Sites that come and go, pauses, the end.


def _hear(state: RunState, site: str) -> Step:
    if site not in state.silent:
        return _drop(state, "not_silent")
    state = replace(state, silent=state.silent - {site})
    if state.unattended:
        return _resume_if_enough(state)
    if site == state.holder and state.plan.failure.on_silent is OnSilent.WAIT:
        return replace(state, reason=""), (_lease(state),)
    return state, ()


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
    return replace(paused, pausing=pausing), (EndLease(),)


def _resume(state: RunState) -> Step:
    """Go on where the pause began: inside a round, or with the next one."""
    state = replace(state, unattended=False)
    if not state.itinerary:
        return _plan_round(state, number=state.round)
    if len(state.eligible) < state.plan.failure.min_sites:
        return _wait_for_sites(state)
    return _issue(_pass_over_silent(replace(state, term=state.term + 1)))


def _conclude(state: RunState, status: Status, reason: str) -> Step:
    over = replace(state, status=status, reason=reason, pausing=False, unattended=False)
    ends = (EndLease(), Conclude(status=status, reason=reason))
    if status is Status.FINISHED:
        return over, ends
    over = replace(over, term=state.term + 1)
    return over, (_fence(over), *ends)


def _drop(state: RunState, reason: str) -> Step:
    return state, (Drop(reason=reason),)


def _fence(state: RunState) -> Fence:
    return Fence(run=state.plan.run, lane=state.expected.lane, term=state.term)


def _lease(state: RunState) -> StartLease:
    return StartLease(id=state.expected, lease_s=state.plan.failure.lease_s)
