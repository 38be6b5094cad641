"""The relay machine by example: what it leaves to its run, and that it knows of nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.runs import FIRST, sent
from tasuki.core import relay
from tasuki.core.model import CONTROLLER, Failure, OnSilent, TurnRecord
from tasuki.core.relay import Phase, RelayState

SITES = ("a", "b", "c")
NOBODY: frozenset[str] = frozenset()


def out(policy: OnSilent = OnSilent.RETRY, *, lane: int = 0) -> RelayState:
    """A relay whose first turn is out."""
    failure = Failure(on_silent=policy, max_attempts=2)
    state = RelayState(run="r", lane=lane, failure=failure, weights=FIRST, base=FIRST)
    return happened(state, relay.RoundPlanned(itinerary=SITES))[0]


def happened(state: RelayState, *events: relay.Event) -> relay.Step:
    effects: tuple[relay.Effect, ...] = ()
    for event in events:
        state, effects = relay.step(state, event)
    return state, effects


def result(state: RelayState) -> TurnRecord:
    id = state.expected
    return TurnRecord(
        id=id, site=SITES[id.hop], received=state.weights.digest, sent=sent(id), samples=1
    )


def test_a_planned_round_gives_out_its_first_turn() -> None:
    state = out()
    assert (Phase.OUT, "a", 1) == (state.phase, state.holder, state.attempts)


def test_the_last_result_is_collected_and_nobody_is_waited_for() -> None:
    state = out()
    for _ in SITES:
        state, effects = happened(state, relay.TurnFinished(record=result(state)))
    assert (Phase.DONE, None) == (state.phase, state.holder)
    collected = relay.CollectWeights(weights=state.weights, at=CONTROLLER)
    assert (relay.EndLease(), collected) == effects


@pytest.mark.parametrize("lane", [0, 3])
def test_every_identity_and_effect_has_the_relays_lane(lane: int) -> None:
    state, effects = happened(out(lane=lane), relay.SiteForgot(site="a"))
    assert lane == state.expected.lane
    fence, issued, lease = effects
    assert isinstance(fence, relay.Fence)
    assert isinstance(issued, relay.IssueTurn)
    assert isinstance(lease, relay.StartLease)
    assert {lane} == {fence.lane, issued.id.lane, lease.id.lane}


def test_a_result_of_another_lane_is_none_of_its() -> None:
    state = out(lane=1)
    record = result(state)
    stray = replace(record, id=replace(record.id, lane=0))
    assert (state, (relay.Drop(reason="other_run"),)) == happened(
        state, relay.TurnFinished(record=stray)
    )


@pytest.mark.parametrize("policy", [OnSilent.RETRY, OnSilent.SKIP, OnSilent.FAIL])
def test_a_turn_without_an_attempt_left_is_given_up_and_the_relay_stays_as_it_was(
    policy: OnSilent,
) -> None:
    state = out(policy)
    if policy is OnSilent.RETRY:
        state, _ = happened(state, relay.LeaseExpired(id=state.expected))
    after, effects = happened(state, relay.LeaseExpired(id=state.expected))
    (given_up,) = effects
    assert isinstance(given_up, relay.GiveUpTurn)
    assert ("silent", True) == (given_up.reason, given_up.cause.startswith("a was silent for 60 s"))
    assert state == after


def test_whoever_is_waited_for_keeps_its_turn() -> None:
    state = out(OnSilent.WAIT)
    after, effects = happened(state, relay.LeaseExpired(id=state.expected))
    assert ((), "a was silent for 60 s") == (effects, after.waits)
    heard, effects = happened(after, relay.SiteHeard(site="a"))
    assert ("", state.expected) == (heard.waits, heard.expected)
    assert (relay.StartLease(id=state.expected, lease_s=60.0),) == effects


def test_a_turn_is_passed_over_with_those_of_the_absent_behind_it() -> None:
    state, effects = happened(out(), relay.PassedOver(absent=frozenset({"b"})))
    assert ("c", ["Fence", "IssueTurn", "StartLease"]) == (
        state.holder,
        [type(effect).__name__ for effect in effects],
    )


def test_a_relay_that_was_taken_back_accepts_nothing_until_it_goes_on() -> None:
    state = out()
    late = relay.TurnFinished(record=result(state))
    rests, _ = happened(state, relay.TakenBack())
    assert (rests, (relay.Drop(reason="stale_term"),)) == happened(rests, late)
    on, _ = happened(rests, relay.GoneOn(absent=NOBODY))
    assert ("a", 2, rests.term + 1) == (on.holder, on.attempts, on.term)
    assert (on, (relay.Drop(reason="stale_term"),)) == happened(on, late)


def test_lost_weights_begin_the_round_anew_and_in_the_end_there_is_nothing_to_go_on_from() -> None:
    state = out()
    state, _ = happened(state, relay.TurnFinished(record=result(state)))
    again, _ = happened(state, relay.WeightsLost(weights=state.weights))
    assert (FIRST, 0, ()) == (again.weights, again.hop, again.records)
    lost, effects = happened(again, relay.WeightsLost(weights=FIRST))
    assert again == lost
    assert isinstance(effects[0], relay.GiveUpRelay)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (out(), relay.RoundPlanned(itinerary=SITES)),
        (out(), relay.GoneOn(absent=NOBODY)),
        (happened(out(), relay.TakenBack())[0], relay.PassedOver(absent=NOBODY)),
    ],
)
def test_its_run_cannot_ask_for_what_makes_no_sense(state: RelayState, event: relay.Event) -> None:
    with pytest.raises(relay.IllegalEvent):
        relay.step(state, event)
