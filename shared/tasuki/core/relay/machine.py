"""The relay machine: how one lane's weights go from site to site through one round.

`step(state, event) -> (state, effects)`. Two rules: everything that decides who holds the weights
lives in this file; and a result enters the chain only if all five parts of its identity, its site
and the digest of what it received are exactly those expected now.

It knows of no other lane and no other round, nor which sites there are: a turn without an attempt
left is given up, and its run says whether the relay goes on without it. Stale and duplicated events
are legal, since they happen every day: they change nothing and return a `Drop` that says why.
"""

from __future__ import annotations

from dataclasses import replace

from tasuki.core.model import CONTROLLER, Kind, OnSilent, TurnId, TurnRecord, WeightsRef
from tasuki.core.relay.cause import how_it_failed, why_expired, why_not_again
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
from tasuki.core.relay.state import Phase, RelayState
from tasuki.core.report import OVERDUE

Step = tuple[RelayState, tuple[Effect, ...]]


class IllegalEvent(RuntimeError):
    """A bug of ours: this event cannot happen in this state."""


def step(state: RelayState, event: Event) -> Step:  # noqa: C901 - one table of all legal pairs
    """Decide what one event means.

    Raises:
        IllegalEvent: a bug of ours; the state is unchanged.
    """
    match state.phase, event:
        case Phase.RESTING, RoundPlanned(itinerary=itinerary) if itinerary:
            return _issue(replace(state, itinerary=itinerary, term=state.term + 1))
        case Phase.RESTING, GoneOn(absent=absent):
            return _issue(_without_absent(replace(state, term=state.term + 1), absent))
        case Phase.OUT, PassedOver(absent=absent):
            state, fence = _voided(state)
            return _after(fence, _issue(_without_absent(_passed_over(state), absent)))
        case _, TakenBack(is_blamed=is_blamed):
            attempts = state.attempts - (state.phase is Phase.OUT and not is_blamed)
            state, fence = _voided(state)
            return replace(state, phase=Phase.RESTING, attempts=attempts), (fence,)
        case _, TurnFinished(record=record):
            return _consider(state, record)
        case _, TurnFailed():
            return _fail(state, event)
        case _, TurnReturned(id=id, site=site):
            return _take_over(state, id, site)
        case _, LeaseExpired():
            return _expire(state, event)
        case _, SiteForgot(site=site):
            return _reissue(state) if site == state.holder else _drop(state, "not_the_holder")
        case Phase.OUT, SiteHeard(site=site) if site == state.holder and _waits(state):
            return replace(state, waits=""), (_lease(state),)
        case ((Phase.OUT | Phase.DONE), WeightsLost(weights=weights)):
            return _fall_back(state, weights)
        case Phase.OUT, RelayLost():
            return _reissue(state)
        case Phase.DONE, RelayLost():
            return state, (_collection(state),)
        case _, (SiteHeard() | WeightsLost() | RelayLost()):
            return _drop(state, "not_awaited")
    raise IllegalEvent(f"{type(event).__name__} while {state.phase}")


# Results.


def _consider(state: RelayState, record: TurnRecord) -> Step:
    """Accept a result, keep it for later, or say why it never enters the chain."""
    expected = state.expected
    if record.id.run != expected.run or record.id.lane != expected.lane:
        return _drop(state, "other_run")
    if record.id.term != expected.term or state.phase is not Phase.OUT:
        return _drop(state, "stale_term" if record.id.term < expected.term else "not_awaited")
    if (record.id.round, record.id.hop) < (expected.round, expected.hop):
        return _drop(state, "duplicate")
    if record.id.round != expected.round or record.id.hop >= len(state.itinerary):
        return _drop(state, "not_awaited")
    if record.site != state.itinerary[record.id.hop]:
        return _drop(state, "wrong_site")
    if record.kind is not state.kind:
        return _drop(state, "wrong_kind")
    if record.id.hop > expected.hop:
        return _keep_early(state, record)
    if record.kind is Kind.EVALUATE and record.sent != state.weights:
        return _drop(state, "broken_chain")
    if record.received != state.weights.digest:
        return _drop(state, "broken_chain")
    return _accept(state, record)


def _keep_early(state: RelayState, record: TurnRecord) -> Step:
    if any(kept.id == record.id for kept in state.early):
        return _drop(state, "duplicate")
    return replace(state, early=(*state.early, record)), ()


def _accept(state: RelayState, record: TurnRecord) -> Step:
    hop = record.id.hop + 1
    state = replace(
        state,
        hop=hop,
        weights=record.sent,
        at=state.itinerary[hop] if hop < len(state.itinerary) else CONTROLLER,
        attempts=1,  # the relay has issued the next turn already
        failed=None,
        waits="",
        records=(*state.records, record),
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


def _issue(state: RelayState) -> Step:
    """Give the expected turn to its site; one that is passed over anyway is not asked."""
    if state.hop == len(state.itinerary):
        return _collect(state)
    state = replace(state, phase=Phase.OUT, attempts=state.attempts + 1, failed=None, waits="")
    issued = IssueTurn(
        id=state.expected,
        itinerary=state.itinerary,
        weights=state.weights,
        at=state.at,
        records=state.records,
        kind=state.kind,
        split=state.split,
        merged=state.is_merged and not state.records,
    )
    return state, (issued, _lease(state))


def _collect(state: RelayState) -> Step:
    state = replace(state, phase=Phase.DONE, waits="")
    if state.kind is Kind.EVALUATE:
        return state, (EndLease(lane=state.lane),)  # its weights are where they were
    return state, (EndLease(lane=state.lane), _collection(state))


# Trouble.


def _fail(state: RelayState, event: TurnFailed) -> Step:
    if event.id != state.expected or event.site != state.holder:
        return _drop(state, "stale_term" if event.id.term < state.term else "not_awaited")
    cause = f"{event.site}: {event.detail or event.error}"
    failure = state.failure
    # Like a silent one, one that takes too long is not waited for again.
    is_skipped = failure.on_silent is OnSilent.SKIP and event.error == OVERDUE
    if failure.on_silent is OnSilent.FAIL or is_skipped:
        return _give_up(state, event.error, cause)
    final = why_not_again(state, event)
    if state.attempts < failure.max_attempts and not final:
        state, effects = _reissue(state)
        return replace(state, failed=how_it_failed(event)), effects
    return _give_up(state, event.error, f"{cause} ({final or f'{state.attempts} attempts'})")


def _take_over(state: RelayState, id: TurnId, site: str) -> Step:
    """A turn given back costs no attempt: its site may return, or the next one goes on."""
    if id != state.expected or site != state.holder:
        return _drop(state, "not_awaited")
    if state.failure.on_silent is OnSilent.SKIP:
        return _give_up(state, "given_back", f"{site} gave its turn back")
    return _reissue(replace(state, attempts=state.attempts - 1))


def _expire(state: RelayState, event: LeaseExpired) -> Step:
    if event.id != state.expected or state.holder is None:
        return _drop(state, "stale_lease")
    failure = state.failure
    cause = why_expired(
        event.phase, holder=state.holder, successor=state.successor, lease_s=failure.lease_s
    )
    match failure.on_silent:
        case OnSilent.WAIT:
            return replace(state, waits=cause), ()
        case OnSilent.RETRY if state.attempts < failure.max_attempts:
            return _reissue(state)
        case OnSilent.RETRY:
            cause = f"{cause} ({state.attempts} attempts)"
    return _give_up(state, "stood_still" if event.phase else "silent", cause)


def _waits(state: RelayState) -> bool:
    return state.failure.on_silent is OnSilent.WAIT


def _reissue(state: RelayState) -> Step:
    """Take the weights back and give them out again: whatever is under way is void."""
    state, fence = _voided(state)
    return _after(fence, _issue(state))


def _voided(state: RelayState) -> tuple[RelayState, Fence]:
    state = replace(state, term=state.term + 1, early=())
    return state, Fence(run=state.run, lane=state.lane, term=state.term)


def _passed_over(state: RelayState) -> RelayState:
    return replace(state, hop=state.hop + 1, attempts=0, failed=None)


def _without_absent(state: RelayState, absent: frozenset[str]) -> RelayState:
    while state.hop < len(state.itinerary) and state.itinerary[state.hop] in absent:
        state = _passed_over(state)
    return state


def _fall_back(state: RelayState, lost: WeightsRef) -> Step:
    """The newest weights are gone: the round starts again from those it started with."""
    if lost != state.weights:
        return _drop(state, "not_awaited")
    if lost == state.base:
        cause = "the round's first weights cannot be read any more"
        return state, (GiveUpRelay(cause=cause),)
    if (losses := state.losses + 1) >= state.failure.max_attempts:
        cause = f"round {state.round + 1}: weights were lost in each of {losses} attempts"
        return state, (GiveUpRelay(cause=cause),)
    return _reissue(
        replace(
            state,
            weights=state.base,
            at=CONTROLLER,
            hop=0,
            attempts=0,
            losses=losses,
            records=(),
        )
    )


def _give_up(state: RelayState, reason: str, cause: str) -> Step:
    return state, (GiveUpTurn(reason=reason, cause=cause),)


def _drop(state: RelayState, reason: str) -> Step:
    return state, (Drop(reason=reason),)


def _after(fence: Fence, following: Step) -> Step:
    state, effects = following
    return state, (fence, *effects)


def _collection(state: RelayState) -> CollectWeights:
    return CollectWeights(weights=state.weights, at=state.at, lane=state.lane)


def _lease(state: RelayState) -> StartLease:
    return StartLease(id=state.expected, lease_s=state.failure.lease_s)
