"""The run machine by example: one test a promise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from support.runs import FIRST, SITES, Relay, drops, moved, plan, sent, weights
from tasuki import errors
from tasuki.core import run
from tasuki.core.model import CONTROLLER, OnSilent, StopPolicy, TurnRecord
from tasuki.core.report import LASTING, OWN
from tasuki.core.run import Status

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
EVERY_POLICY = pytest.mark.parametrize("policy", list(OnSilent))


# A run without trouble.


def test_a_submitted_run_issues_its_first_turn_from_its_first_weights() -> None:
    relay = Relay()

    issued = relay.only(run.IssueTurn)
    assert ["IssueTurn", "StartLease"] == relay.kinds
    assert (FIRST, SITES, "a", CONTROLLER) == (
        issued.weights,
        issued.itinerary,
        issued.site,
        issued.at,
    )
    assert issued.id == relay.only(run.StartLease).id
    assert "a" == relay.state.lanes[0].relay.holder


def test_within_a_round_the_controller_only_watches() -> None:
    relay = Relay()
    record = relay.finish_turn()

    assert ["StartLease"] == relay.kinds
    assert relay.state.lanes[0].relay.expected == relay.only(run.StartLease).id
    assert ("b", record.sent, "b") == (
        relay.state.lanes[0].relay.holder,
        relay.state.weights,
        relay.state.lanes[0].relay.at,
    )


def test_the_last_turn_of_a_round_makes_the_controller_collect_the_weights() -> None:
    relay = Relay()
    for _ in SITES:
        record = relay.finish_turn()

    assert (
        run.EndLease(),
        run.CollectWeights(weights=record.sent, at=CONTROLLER),
    ) == relay.effects
    assert (Status.CLOSING, None) == (relay.state.status, relay.state.lanes[0].relay.holder)


def test_a_round_ends_with_a_checkpoint_before_the_next_is_issued() -> None:
    relay = Relay()
    relay.finish_round()

    saved = relay.only(run.SaveCheckpoint)
    assert ["SaveCheckpoint", "IssueTurn", "StartLease"] == relay.kinds
    assert (0, list(SITES)) == (saved.round, [record.site for record in saved.records])
    assert saved.weights == relay.only(run.IssueTurn).weights
    assert (1, 0) == (relay.state.round, relay.state.lanes[0].relay.hop)


def test_a_run_finishes_after_its_last_round() -> None:
    relay = Relay(plan(rounds=2))
    relay.finish_round()
    relay.finish_round()

    assert ["SaveCheckpoint", "EndLease", "Conclude"] == relay.kinds
    assert (Status.FINISHED, 6, ()) == (
        relay.state.status,
        relay.state.turns,
        relay.state.skipped,
    )


def test_each_round_has_a_term_of_its_own() -> None:
    relay = Relay()
    first = relay.state.lanes[0].relay.term
    relay.finish_round()
    assert first + 1 == relay.state.lanes[0].relay.term


def test_a_site_may_have_several_turns_of_a_listed_order() -> None:
    relay = Relay(plan(order=("a", "b", "a"), rounds=1))
    relay.finish_round()
    assert (Status.FINISHED, 3, "a") == (
        relay.state.status,
        relay.state.turns,
        relay.state.lanes[0].last,
    )


def test_the_order_policy_is_told_who_trained_last() -> None:
    relay = Relay(plan(order="random_without_same_in_a_row", rounds=30))
    for _ in range(29):
        last = relay.state.lanes[0].relay.itinerary[-1]
        relay.finish_round()
        assert last != relay.state.lanes[0].relay.itinerary[0]


# Results that never enter the chain.


def changed(**parts: int) -> Callable[[TurnRecord], TurnRecord]:
    return lambda record: replace(record, id=moved(record.id, **parts))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda record: replace(record, id=replace(record.id, run="other")), "other_run"),
        (changed(lane=1), "other_run"),
        (changed(term=0), "stale_term"),
        (changed(term=9), "not_awaited"),
        (changed(hop=0), "duplicate"),
        (changed(hop=3), "not_awaited"),
        (changed(round=0), "duplicate"),
        (changed(round=2), "not_awaited"),
        (lambda record: replace(record, site="a"), "wrong_site"),
        (lambda record: replace(record, site=CONTROLLER), "wrong_site"),
        (lambda record: replace(record, received=FIRST.digest), "broken_chain"),
        (lambda record: replace(record, received="blake3:" + "0" * 64), "broken_chain"),
    ],
)
def test_a_result_that_is_wrong_in_one_part_is_dropped(
    change: Callable[[TurnRecord], TurnRecord], reason: str
) -> None:
    relay = Relay(plan(rounds=3))
    relay.finish_round()
    relay.finish_turn()
    drops(relay, run.TurnFinished(record=change(relay.record())), reason)


def test_a_duplicated_result_is_dropped() -> None:
    relay = Relay()
    record = relay.finish_turn()
    drops(relay, run.TurnFinished(record=record), "duplicate")


def test_a_late_result_from_an_old_term_is_dropped() -> None:
    relay = Relay()
    late = relay.record()
    relay.expire()
    drops(relay, run.TurnFinished(record=late), "stale_term")


def test_a_late_result_is_dropped_though_its_site_has_the_same_turn_again() -> None:
    relay = Relay(plan(on_silent=OnSilent.RETRY))
    late = relay.record()
    relay.expire()
    again = relay.record()

    assert (late.site, late.received) == (again.site, again.received)
    drops(relay, run.TurnFinished(record=late), "stale_term")
    relay.finish_turn()
    assert (sent(again.id),) == tuple(record.sent for record in relay.state.records)


def test_a_result_of_a_round_that_is_being_collected_is_dropped() -> None:
    relay = Relay()
    for _ in SITES:
        last = relay.finish_turn()
    drops(relay, run.TurnFinished(record=last), "not_awaited")


@pytest.mark.parametrize(
    "event",
    [
        run.SiteHeard(site="a"),
        run.SiteForgot(site="b"),
        run.SiteForgot(site="unheard-of"),
        run.WeightsArrived(weights=FIRST),
        run.WeightsLost(weights=weights("others")),
    ],
)
def test_news_that_concern_nobody_who_matters_change_nothing(event: run.Event) -> None:
    relay = Relay()
    before = relay.state
    assert ["Drop"] == [type(effect).__name__ for effect in relay(event)]
    assert before == relay.state


def test_a_run_cannot_be_submitted_twice() -> None:
    relay = Relay()
    before = relay.state
    with pytest.raises(run.IllegalEvent, match="RunSubmitted while relaying"):
        relay(run.RunSubmitted())
    assert before == relay.state


# Results that overtake one another.


def test_a_result_before_its_predecessors_is_kept_and_accepted_in_its_turn() -> None:
    relay = Relay()
    first, second, third = (relay.record(ahead=ahead) for ahead in range(3))

    assert () == relay(run.TurnFinished(record=third))
    assert () == relay(run.TurnFinished(record=second))
    assert 0 == relay.state.turns
    relay(run.TurnFinished(record=first))

    assert (first, second, third) == relay.state.records
    assert ["EndLease", "CollectWeights"] == relay.kinds


def test_an_early_result_is_kept_once() -> None:
    relay = Relay()
    early = run.TurnFinished(record=relay.record(ahead=1))
    relay(early)
    drops(relay, early, "duplicate")


def test_an_early_result_of_another_chain_does_not_hide_the_one_that_let_it_in() -> None:
    """Bug: the accepted turn's lease was never started, since only the drop was returned."""
    relay = Relay()
    relay(run.TurnFinished(record=relay.record(ahead=1, received="blake3:" + "0" * 64)))
    first = relay.finish_turn()

    assert (first,) == relay.state.records
    assert (run.StartLease(id=relay.state.lanes[0].relay.expected, lease_s=60.0),) == relay.effects
    assert () == relay.state.lanes[0].relay.early


def test_early_results_are_void_once_the_weights_were_taken_back() -> None:
    relay = Relay()
    relay(run.TurnFinished(record=relay.record(ahead=1)))
    relay.expire()
    assert () == relay.state.lanes[0].relay.early
    relay.finish_turn()
    assert "b" == relay.state.lanes[0].relay.holder


# Silence.


def test_wait_leaves_the_turn_with_its_site() -> None:
    relay = Relay(plan(on_silent=OnSilent.WAIT))
    expected = relay.state.lanes[0].relay.expected
    relay.expire()

    assert not relay.effects
    assert (expected, "a") == (
        relay.state.lanes[0].relay.expected,
        relay.state.lanes[0].relay.holder,
    )
    assert "waiting: a was silent for 60 s" == relay.state.reason

    relay(run.SiteHeard(site="a"))
    assert (run.StartLease(id=expected, lease_s=60.0),) == relay.effects
    assert "" == relay.state.reason
    relay.finish_turn()
    assert "b" == relay.state.lanes[0].relay.holder


def test_retry_takes_the_turn_back_and_gives_it_to_the_same_site() -> None:
    relay = Relay(plan(on_silent=OnSilent.RETRY))
    before = relay.state
    relay.expire()

    assert ["Fence", "IssueTurn", "StartLease"] == relay.kinds
    assert before.lanes[0].relay.term + 1 == relay.only(run.Fence).term
    assert before.lanes[0].relay.term + 1 == relay.only(run.IssueTurn).id.term
    assert ("a", FIRST) == (relay.only(run.IssueTurn).site, relay.only(run.IssueTurn).weights)


def test_retry_fetches_the_weights_from_the_silent_sites_own_queue() -> None:
    relay = Relay(plan(on_silent=OnSilent.RETRY))
    record = relay.finish_turn()
    relay.expire()

    issued = relay.only(run.IssueTurn)
    assert ("b", record.sent, (record,)) == (issued.at, issued.weights, issued.records)


def test_retry_gives_up_after_so_many_attempts() -> None:
    relay = Relay(plan(on_silent=OnSilent.RETRY, max_attempts=3))
    relay.expire()
    relay.expire()
    assert Status.RELAYING is relay.state.status
    relay.expire()

    assert ["Fence", "EndLease", "Conclude"] == relay.kinds
    assert (Status.FAILED, "a was silent for 60 s (3 attempts)") == (
        relay.state.status,
        relay.state.reason,
    )


def test_attempts_are_counted_for_each_turn() -> None:
    relay = Relay(plan(on_silent=OnSilent.RETRY, max_attempts=2))
    relay.expire()
    relay.finish_turn()
    relay.expire()
    assert (Status.RELAYING, "b") == (relay.state.status, relay.state.lanes[0].relay.holder)


def test_skip_takes_the_turn_back_and_gives_it_to_the_next_site() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    relay.expire()

    assert ["Fence", "IssueTurn", "StartLease"] == relay.kinds
    assert ("b", FIRST) == (relay.only(run.IssueTurn).site, relay.only(run.IssueTurn).weights)
    assert (run.Skip(round=0, hop=0, site="a", reason="silent"),) == relay.state.skipped


def test_a_silent_site_is_left_out_of_the_next_round_until_it_is_heard() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, rounds=3))
    relay.expire()
    relay.finish_round()
    assert ("b", "c") == relay.state.lanes[0].relay.itinerary
    relay(run.SiteHeard(site="a"))
    relay.finish_round()
    assert list(SITES) == list(relay.state.lanes[0].relay.itinerary)


def test_skipping_passes_over_silent_sites_behind_the_silent_one() -> None:
    relay = Relay(plan(sites=("a", "b", "c", "d"), order=("a", "b", "a", "c"), rounds=1,
                       on_silent=OnSilent.SKIP))  # fmt: skip
    relay.expire()
    relay.finish_turn()

    relay.expire()  # the relay went to the silent site by itself
    assert ["a", "a"] == [skip.site for skip in relay.state.skipped]
    assert "c" == relay.state.lanes[0].relay.holder


def test_a_round_whose_last_site_is_skipped_ends_with_the_newest_weights() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    relay.finish_turn()
    newest = relay.finish_turn()
    relay.expire()

    assert run.CollectWeights(weights=newest.sent, at="c") == relay.only(run.CollectWeights)
    relay(run.WeightsArrived(weights=newest.sent))
    assert 2 == len(relay.only(run.SaveCheckpoint).records)


def test_fail_ends_the_run_at_the_first_silence() -> None:
    relay = Relay(plan(on_silent=OnSilent.FAIL))
    relay.expire()
    assert ["Fence", "EndLease", "Conclude"] == relay.kinds
    assert (Status.FAILED, "a was silent for 60 s") == (relay.state.status, relay.state.reason)


@pytest.mark.parametrize(
    ("phase", "cause"),
    [
        ("", "b was silent for 60 s"),
        ("given_out", "nothing more could be sent to b for 60 s"),
        ("waiting", "b has another turn before this one, which has not come on for 60 s"),
        ("taken", "b has received no weights for 60 s"),
        ("trained", "b has handed nothing on to c for 60 s"),
        ("training", "b has not come on for 60 s"),
        ("of another version", "b has not come on for 60 s"),
    ],
)
def test_a_run_says_with_what_its_holder_did_not_come_on(phase: str, cause: str) -> None:
    relay = Relay(plan(on_silent=OnSilent.FAIL))
    relay.finish_turn()
    relay.expire(phase)
    assert (Status.FAILED, cause) == (relay.state.status, relay.state.reason)


def test_the_last_site_of_a_round_hands_over_to_the_controller() -> None:
    relay = Relay(plan(on_silent=OnSilent.FAIL))
    relay.finish_turn()
    relay.finish_turn()
    relay.expire("trained")
    assert "c has handed nothing on to the controller for 60 s" == relay.state.reason


@EVERY_POLICY
def test_a_turn_that_stands_still_is_treated_as_a_silent_one_is(policy: OnSilent) -> None:
    silent, stands = (Relay(plan(on_silent=policy)) for _ in range(2))
    silent.expire()
    stands.expire("trained")
    assert silent.kinds == stands.kinds
    assert silent.state.status is stands.state.status
    assert silent.state.lanes[0].relay.expected == stands.state.lanes[0].relay.expected


def test_a_turn_that_is_passed_over_because_it_stood_still_is_not_called_silent() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    relay.expire("trained")
    assert [("a", "stood_still")] == [(skip.site, skip.reason) for skip in relay.state.skipped]


def test_a_run_that_waits_says_so_no_more_once_the_result_is_there() -> None:
    """Bug: it stayed so in the list of runs when the result came by the next site's report."""
    relay = Relay(plan(on_silent=OnSilent.WAIT))
    relay.expire("trained")
    assert relay.state.reason.startswith("waiting: ")
    relay.finish_turn()
    assert "" == relay.state.reason


@EVERY_POLICY
def test_a_lease_of_an_earlier_turn_means_nothing(policy: OnSilent) -> None:
    relay = Relay(plan(on_silent=policy))
    lease = relay.only(run.StartLease)
    relay.finish_turn()
    drops(relay, run.LeaseExpired(id=lease.id), "stale_lease")


def test_a_lease_means_nothing_while_nobody_holds_the_weights() -> None:
    relay = Relay()
    for _ in SITES:
        relay.finish_turn()
    drops(relay, run.LeaseExpired(id=relay.state.lanes[0].relay.expected), "stale_lease")


# Turns that fail.


@pytest.mark.parametrize("policy", [OnSilent.WAIT, OnSilent.RETRY, OnSilent.SKIP])
def test_a_failed_turn_is_tried_again(policy: OnSilent) -> None:
    relay = Relay(plan(on_silent=policy))
    relay.fail()
    assert ["Fence", "IssueTurn", "StartLease"] == relay.kinds
    assert ("a", 2) == (relay.state.lanes[0].relay.holder, relay.state.lanes[0].relay.attempts)


@pytest.mark.parametrize("policy", [OnSilent.WAIT, OnSilent.RETRY])
def test_a_turn_that_fails_too_often_ends_the_run(policy: OnSilent) -> None:
    relay = Relay(plan(on_silent=policy, max_attempts=2))
    relay.fail()
    relay.fail()
    assert (Status.FAILED, "a: boom (2 attempts)") == (relay.state.status, relay.state.reason)


def test_a_turn_that_fails_too_often_is_skipped_if_the_policy_says_so() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, max_attempts=2))
    relay.fail()
    relay.fail()
    assert (run.Skip(round=0, hop=0, site="a", reason="TrainerRaised"),) == relay.state.skipped
    assert ("b", SITES) == (relay.state.lanes[0].relay.holder, relay.state.eligible)


@pytest.mark.parametrize("policy", [OnSilent.WAIT, OnSilent.RETRY])
@pytest.mark.parametrize("error", sorted(OWN))
def test_the_same_failure_twice_ends_the_attempts(policy: OnSilent, error: str) -> None:
    """Bug: a typo in a trainer was tried three times, with the same seed and the same error."""
    relay = Relay(plan(on_silent=policy, max_attempts=9))
    relay.fail(error=error)
    relay.fail(error=error)
    assert (Status.FAILED, "a: boom (the same failure twice: not tried again)") == (
        relay.state.status,
        relay.state.reason,
    )


def test_a_turn_that_fails_the_same_way_twice_is_skipped_if_the_policy_says_so() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, max_attempts=9))
    relay.fail()
    relay.fail()
    assert (run.Skip(round=0, hop=0, site="a", reason="TrainerRaised"),) == relay.state.skipped
    assert ("b", SITES) == (relay.state.lanes[0].relay.holder, relay.state.eligible)


@pytest.mark.parametrize("error", sorted({kind.__name__ for kind in ERRORS} - OWN - LASTING))
def test_what_may_be_gone_the_next_time_keeps_its_attempts(error: str) -> None:
    relay = Relay(plan(max_attempts=3))
    relay.fail(error=error)
    relay.fail(error=error)
    assert ("a", 3) == (relay.state.lanes[0].relay.holder, relay.state.lanes[0].relay.attempts)
    relay.fail(error=error)
    assert "a: boom (3 attempts)" == relay.state.reason


@pytest.mark.parametrize(
    ("detail", "error"),
    [("bang", "TrainerRaised"), ("boom", "GateRejected"), ("", "TrainerRaised")],
)
def test_another_failure_is_none_that_repeats_itself(detail: str, error: str) -> None:
    relay = Relay(plan(max_attempts=9))
    relay.fail()
    relay.fail(detail, error=error)
    relay.fail()
    assert ("a", 4) == (relay.state.lanes[0].relay.holder, relay.state.lanes[0].relay.attempts)


@pytest.mark.parametrize(
    "between",
    [
        lambda relay: run.LeaseExpired(id=relay.state.lanes[0].relay.expected),
        lambda relay: run.TurnReturned(id=relay.state.lanes[0].relay.expected, site="a"),
        lambda _: run.SiteForgot(site="a"),
        lambda _: run.RelayLost(),
    ],
)
def test_only_the_attempt_before_is_compared_with(between: Callable[[Relay], run.Event]) -> None:
    relay = Relay(plan(max_attempts=9))
    relay.fail()
    relay(between(relay))
    relay.fail()
    assert "a" == relay.state.lanes[0].relay.holder


def test_another_turn_may_fail_as_the_one_before_it_did() -> None:
    relay = Relay(plan(order=("a", "a"), max_attempts=9))
    relay.fail()
    relay.finish_turn()
    relay.fail()
    assert ("a", 1) == (relay.state.lanes[0].relay.holder, relay.state.lanes[0].relay.hop)


def test_a_site_behind_one_that_was_skipped_may_fail_as_that_did() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, max_attempts=9))
    relay.fail()
    relay.fail()
    relay.fail()
    assert ("b", 2) == (relay.state.lanes[0].relay.holder, relay.state.lanes[0].relay.attempts)


def test_a_round_that_begins_anew_may_fail_as_it_did_before() -> None:
    relay = Relay(plan(max_attempts=9))
    relay.finish_turn()
    relay.fail()
    relay(run.WeightsLost(weights=relay.state.weights))
    relay.finish_turn()
    relay.fail()
    assert ("b", 2) == (relay.state.lanes[0].relay.holder, relay.state.lanes[0].relay.attempts)


def test_a_run_from_before_keeps_the_attempts_that_it_was_planned_with() -> None:
    before = plan(max_attempts=9)
    relay = Relay(replace(before, failure=replace(before.failure, same_twice_ends=False)))
    relay.fail()
    relay.fail()
    assert ("a", 3) == (relay.state.lanes[0].relay.holder, relay.state.lanes[0].relay.attempts)
    assert before == relay.plan  # who resumes it asks for nothing else


@pytest.mark.parametrize("policy", [OnSilent.WAIT, OnSilent.RETRY])
@pytest.mark.parametrize("error", sorted(LASTING))
def test_what_no_attempt_can_change_is_tried_once(policy: OnSilent, error: str) -> None:
    relay = Relay(plan(on_silent=policy, max_attempts=9))
    relay.fail(error=error)
    assert (Status.FAILED, "a: boom (another attempt cannot change that: not tried again)") == (
        relay.state.status,
        relay.state.reason,
    )


def test_what_no_attempt_can_change_is_skipped_at_once_if_the_policy_says_so() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, max_attempts=9))
    relay.fail(error="TurnTooLarge")
    assert (run.Skip(round=0, hop=0, site="a", reason="TurnTooLarge"),) == relay.state.skipped
    assert ("b", 1, SITES) == (
        relay.state.lanes[0].relay.holder,
        relay.state.lanes[0].relay.attempts,
        relay.state.eligible,
    )


def test_a_failed_turn_ends_the_run_at_once_if_the_policy_says_so() -> None:
    relay = Relay(plan(on_silent=OnSilent.FAIL))
    relay.fail()
    assert (Status.FAILED, "a: boom") == (relay.state.status, relay.state.reason)


@pytest.mark.parametrize(
    ("site", "parts", "reason"),
    [
        ("b", {}, "not_awaited"),
        ("a", {"hop": 1}, "not_awaited"),
        ("a", {"lane": 1}, "not_awaited"),
        ("a", {"term": 0}, "stale_term"),
    ],
)
def test_a_failure_of_another_turn_is_dropped(
    site: str, parts: dict[str, int], reason: str
) -> None:
    relay = Relay()
    id = moved(relay.state.lanes[0].relay.expected, **parts)
    drops(relay, run.TurnFailed(id=id, site=site, error="TrainerRaised"), reason)


def test_an_overdue_turn_is_skipped_at_once_where_silent_ones_are() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=1, max_attempts=3))
    site = relay.state.lanes[0].relay.itinerary[0]
    relay(run.TurnFailed(id=relay.state.lanes[0].relay.expected, site=site, error="TrainerOverdue"))
    assert [(site, "TrainerOverdue")] == [(s.site, s.reason) for s in relay.state.skipped]
    assert site in relay.state.eligible  # it takes part in the next round


def test_an_error_that_is_told_apart_is_one_of_ours() -> None:
    assert set() == (OWN | LASTING) - {kind.__name__ for kind in ERRORS}


# Sites of which the weights have nothing.


def with_c_skipped(relay: Relay) -> None:
    relay.finish_turn()
    relay.finish_turn()
    relay.fail()
    relay.fail()
    relay(run.WeightsArrived(weights=relay.state.weights))


def test_a_site_that_was_skipped_in_every_round_is_named_at_the_end() -> None:
    """Bug: the run was finished, and only its long list of skipped turns told of it."""
    relay = Relay(plan(on_silent=OnSilent.SKIP, rounds=2))
    with_c_skipped(relay)
    with_c_skipped(relay)
    assert (Status.FINISHED, ("c",)) == (relay.state.status, relay.state.left_out)
    reason = "every round is done, and no turn of c was accepted in any"
    assert reason == relay.state.reason == relay.only(run.Conclude).reason


def test_a_site_that_had_one_turn_accepted_is_not_left_out() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, rounds=3))
    with_c_skipped(relay)
    relay.finish_round()
    with_c_skipped(relay)
    assert ((), "every round is done") == (relay.state.left_out, relay.state.reason)


def test_a_site_that_trained_in_the_last_round_alone_is_not_left_out() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, rounds=2))
    with_c_skipped(relay)
    assert ("c",) == relay.state.left_out  # so far
    relay.finish_round()
    assert not relay.state.left_out
    assert 2 * 3 - 1 == relay.state.turns


def test_a_site_that_was_silent_when_every_round_was_planned_is_left_out() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, rounds=3))
    relay.expire()
    for _ in range(3):
        relay.finish_round()
    assert (Status.FINISHED, ("a",)) == (relay.state.status, relay.state.left_out)


def test_a_turn_that_was_undone_with_its_round_is_none_that_was_accepted() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, rounds=1))
    relay.finish_turn()
    relay(run.WeightsLost(weights=relay.state.weights))
    relay.expire()
    relay.finish_round()
    assert (Status.FINISHED, ("a",)) == (relay.state.status, relay.state.left_out)


def test_a_site_that_the_order_never_names_is_not_left_out() -> None:
    relay = Relay(plan(order=("a", "b"), rounds=1))
    relay.finish_round()
    assert ((), "every round is done") == (relay.state.left_out, relay.state.reason)


def test_of_many_sites_that_were_left_out_the_first_are_named() -> None:
    sites = tuple(f"s{number}" for number in range(12))
    relay = Relay(plan(sites=sites, on_silent=OnSilent.SKIP, rounds=1, max_attempts=1))
    for _ in sites[:-1]:
        relay.fail()
    relay.finish_round()
    assert sites[:-1] == relay.state.left_out
    assert "no turn of s0, s1, s2, s3, s4, s5, s6, s7 and 3 more was" in relay.state.reason


# Turns that are given back.


@pytest.mark.parametrize("policy", [OnSilent.WAIT, OnSilent.RETRY, OnSilent.FAIL])
def test_a_turn_given_back_costs_no_attempt(policy: OnSilent) -> None:
    relay = Relay(plan(on_silent=policy, max_attempts=1))
    for _ in range(5):
        relay(run.TurnReturned(id=relay.state.lanes[0].relay.expected, site="a"))
    assert ["Fence", "IssueTurn", "StartLease"] == relay.kinds
    assert ("a", 1) == (relay.state.lanes[0].relay.holder, relay.state.lanes[0].relay.attempts)


def test_a_turn_given_back_goes_to_the_next_site_if_the_policy_is_to_skip() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    relay(run.TurnReturned(id=relay.state.lanes[0].relay.expected, site="a"))
    assert ("b", ("b", "c")) == (relay.state.lanes[0].relay.holder, relay.state.eligible)
    assert (run.Skip(round=0, hop=0, site="a", reason="given_back"),) == relay.state.skipped


def test_only_the_holder_can_give_the_turn_back() -> None:
    relay = Relay()
    drops(relay, run.TurnReturned(id=relay.state.lanes[0].relay.expected, site="b"), "not_awaited")
    other = replace(relay.state.lanes[0].relay.expected, term=0)
    drops(relay, run.TurnReturned(id=other, site="a"), "not_awaited")


# Sites and brokers that forgot.


@EVERY_POLICY
def test_a_holder_that_lost_its_journal_gets_its_turn_again(policy: OnSilent) -> None:
    relay = Relay(plan(on_silent=policy))
    newest = relay.finish_turn()
    relay(run.SiteForgot(site="b"))

    assert ["Fence", "IssueTurn", "StartLease"] == relay.kinds
    issued = relay.only(run.IssueTurn)
    assert ("b", newest.sent, "b") == (issued.site, issued.weights, issued.at)


def test_empty_queues_make_the_controller_issue_the_turn_again() -> None:
    relay = Relay()
    relay.finish_turn()
    relay(run.RelayLost())
    assert ["Fence", "IssueTurn", "StartLease"] == relay.kinds
    assert "b" == relay.only(run.IssueTurn).site


def test_empty_queues_at_a_rounds_end_make_the_controller_collect_again() -> None:
    relay = Relay()
    for _ in SITES:
        last = relay.finish_turn()
    relay(run.RelayLost())
    assert (run.CollectWeights(weights=last.sent, at=CONTROLLER),) == relay.effects


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_round_whose_weights_are_lost_starts_again_from_its_first(turns: int) -> None:
    relay = Relay(plan(rounds=3))
    relay.finish_round()
    base, term, done = relay.state.weights, relay.state.lanes[0].relay.term, relay.state.turns
    for _ in range(turns):
        relay.finish_turn()

    relay(run.WeightsLost(weights=relay.state.weights))

    assert ["Fence", "IssueTurn", "StartLease"] == relay.kinds
    issued = relay.only(run.IssueTurn)
    assert (base, CONTROLLER, (), "a") == (issued.weights, issued.at, issued.records, issued.site)
    assert (term + 1, done, 0) == (
        relay.state.lanes[0].relay.term,
        relay.state.turns,
        relay.state.lanes[0].relay.hop,
    )
    relay.finish_round()
    assert 3 == len(relay.only(run.SaveCheckpoint).records)


def test_a_round_that_starts_again_gives_the_skipped_sites_another_turn() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    relay.expire()
    newest = relay.finish_turn()
    relay(run.WeightsLost(weights=newest.sent))
    assert ((), "a") == (relay.state.skipped, relay.state.lanes[0].relay.holder)


def test_a_round_whose_weights_are_lost_every_time_ends_the_run() -> None:
    relay = Relay(plan(max_attempts=3))
    for _ in range(2):
        newest = relay.finish_turn()
        relay(run.WeightsLost(weights=newest.sent))
        assert (Status.RELAYING, "a") == (relay.state.status, relay.state.lanes[0].relay.holder)
    newest = relay.finish_turn()

    relay(run.WeightsLost(weights=newest.sent))

    assert ["Fence", "EndLease", "Conclude"] == relay.kinds
    assert (Status.FAILED, "round 1: weights were lost in each of 3 attempts") == (
        relay.state.status,
        relay.state.reason,
    )


def test_lost_weights_are_counted_for_each_round() -> None:
    relay = Relay(plan(rounds=3, max_attempts=2))
    for _ in range(3):
        newest = relay.finish_turn()
        relay(run.WeightsLost(weights=newest.sent))
        relay.finish_round()
    assert Status.FINISHED is relay.state.status


def test_a_run_fails_when_even_the_rounds_first_weights_are_lost() -> None:
    relay = Relay()
    relay(run.WeightsLost(weights=FIRST))
    assert Status.FAILED is relay.state.status
    assert "first weights" in relay.state.reason


# Too few sites.


def test_below_min_sites_the_run_pauses_and_fences_the_turn() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=2))
    relay.expire()
    relay.expire()
    assert ["Fence", "EndLease"] == relay.kinds
    assert (Status.PAUSED, None, "1 of at least 2 sites are there") == (
        relay.state.status,
        relay.state.lanes[0].relay.holder,
        relay.state.reason,
    )


def test_a_run_below_min_sites_goes_on_by_itself_when_a_site_is_back() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=2))
    relay.expire()
    relay.expire()
    paused = relay.state

    relay(run.SiteHeard(site="a"))  # its turn has been passed over; b is still silent

    assert ["IssueTurn", "StartLease"] == relay.kinds
    assert "c" == relay.only(run.IssueTurn).site
    assert paused.lanes[0].relay.term < relay.only(run.IssueTurn).id.term
    assert ["a", "b"] == [skip.site for skip in relay.state.skipped]
    assert "" == relay.state.reason


def test_a_run_below_min_sites_gives_the_turn_to_the_site_it_waited_for() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=3))
    relay.expire()
    assert Status.PAUSED is relay.state.status
    relay(run.SiteHeard(site="a"))
    assert ("a", ()) == (relay.state.lanes[0].relay.holder, relay.state.skipped)


def test_a_run_with_too_few_sites_for_the_next_round_pauses_after_its_checkpoint() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=2, order=("a",), sites=("a", "b")))
    relay.finish_turn()
    closing = replace(relay.state, silent=frozenset({"a"}))
    relay.state = closing
    relay(run.WeightsArrived(weights=closing.weights))

    assert ["SaveCheckpoint", "EndLease"] == relay.kinds
    assert (Status.PAUSED, 1) == (relay.state.status, relay.state.round)
    relay(run.SiteHeard(site="a"))
    assert ("a", 1) == (relay.state.lanes[0].relay.holder, relay.state.round)


def test_resuming_by_hand_with_too_few_sites_keeps_waiting() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=3))
    relay.expire()
    relay(run.ResumeRequested())
    assert relay.state.lanes[0].relay.holder is None
    relay(run.SiteHeard(site="a"))
    assert Status.RELAYING is relay.state.status


# Operators.


def test_a_pause_waits_for_the_rounds_end() -> None:
    relay = Relay()
    assert () == relay(run.PauseRequested())
    assert Status.RELAYING is relay.state.status
    relay.finish_round()

    assert ["SaveCheckpoint", "EndLease"] == relay.kinds
    assert (Status.PAUSED, "paused by an operator", 1) == (
        relay.state.status,
        relay.state.reason,
        relay.state.round,
    )


def test_a_paused_run_resumes_with_the_next_round() -> None:
    relay = Relay()
    relay(run.PauseRequested())
    relay.finish_round()
    relay(run.ResumeRequested())
    assert ["IssueTurn", "StartLease"] == relay.kinds
    assert (1, 0) == (relay.state.round, relay.state.lanes[0].relay.hop)
    relay.finish_round()
    assert Status.FINISHED is relay.state.status


def test_a_pause_can_be_taken_back_before_it_begins() -> None:
    relay = Relay()
    relay(run.PauseRequested())
    relay(run.ResumeRequested())
    relay.finish_round()
    assert Status.RELAYING is relay.state.status


def test_a_pause_by_an_operator_does_not_end_by_itself() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=3))
    relay.expire()
    relay(run.PauseRequested())
    relay(run.SiteHeard(site="a"))
    assert (Status.PAUSED, "paused by an operator") == (relay.state.status, relay.state.reason)
    relay(run.ResumeRequested())
    assert "a" == relay.state.lanes[0].relay.holder


def test_a_pause_that_was_asked_for_outlives_one_for_want_of_sites() -> None:
    """Bug: the operator's pause was forgotten when the run paused for another reason first."""
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=3))
    relay(run.PauseRequested())
    relay.expire()
    relay(run.SiteHeard(site="a"))
    relay.finish_round()
    assert (Status.PAUSED, "paused by an operator") == (relay.state.status, relay.state.reason)


def test_a_run_that_goes_on_by_hand_does_not_pause_again() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=3))
    relay(run.PauseRequested())
    relay.expire()
    relay(run.SiteHeard(site="a"))
    relay.expire()
    relay.state = replace(relay.state, silent=frozenset())
    relay(run.ResumeRequested())
    relay.finish_round()
    assert Status.RELAYING is relay.state.status


def test_a_silent_site_that_a_round_is_planned_without_counts_as_skipped_there() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    relay.finish_turn()
    relay.expire()
    relay.finish_round()
    assert ("a", "c") == relay.state.lanes[0].relay.itinerary
    assert [(0, 1, "b"), (1, 1, "b")] == [
        (skip.round, skip.hop, skip.site) for skip in relay.state.skipped
    ]
    relay.finish_turn()
    relay.finish_turn()
    relay(run.WeightsLost(weights=relay.state.weights))
    assert 2 == len(relay.state.skipped)
    relay.finish_round()
    assert (Status.FINISHED, 4) == (relay.state.status, relay.state.turns)


def test_an_added_site_takes_part_from_the_next_round_on() -> None:
    relay = Relay()
    relay.finish_turn()
    assert () == relay(run.SiteAdded(site="d"))
    assert SITES == relay.state.lanes[0].relay.itinerary
    relay.finish_round()
    assert (*SITES, "d") == relay.only(run.IssueTurn).itinerary
    relay.finish_round()
    assert (Status.FINISHED, 7) == (relay.state.status, relay.state.turns)


def test_a_run_that_waits_for_sites_goes_on_when_enough_were_added() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=3))
    relay.expire()
    assert Status.PAUSED is relay.state.status
    relay(run.SiteAdded(site="d"))
    assert (Status.RELAYING, "b") == (relay.state.status, relay.state.lanes[0].relay.holder)


def test_a_site_is_added_to_a_run_that_an_operator_paused_without_ending_the_pause() -> None:
    relay = Relay()
    relay(run.PauseRequested())
    relay.finish_round()
    assert () == relay(run.SiteAdded(site="d"))
    assert Status.PAUSED is relay.state.status
    relay(run.ResumeRequested())
    assert (*SITES, "d") == relay.state.lanes[0].relay.itinerary


def test_a_site_that_takes_part_cannot_be_added_again() -> None:
    relay = Relay()
    drops(relay, run.SiteAdded(site="a"), "takes_part_already")
    relay(run.SiteAdded(site="d"))
    drops(relay, run.SiteAdded(site="d"), "takes_part_already")


def test_a_run_whose_order_is_a_list_takes_no_further_site() -> None:
    relay = Relay(plan(order=("c", "a", "b")))
    drops(relay, run.SiteAdded(site="d"), "order_is_a_list")


def test_a_stop_fences_whatever_is_under_way() -> None:
    relay = Relay()
    before = relay.state
    relay(run.StopRequested())
    assert (
        run.Fence(run="r", lane=0, term=before.lanes[0].relay.term + 1),
        run.EndLease(),
        run.Conclude(
            status=Status.STOPPED,
            reason="stopped by an operator",
            term=before.lanes[0].relay.term + 1,
        ),
    ) == relay.effects


def test_a_paused_run_can_be_stopped() -> None:
    relay = Relay()
    relay(run.PauseRequested())
    relay.finish_round()
    relay(run.StopRequested(reason="enough"))
    assert (Status.STOPPED, "enough") == (relay.state.status, relay.state.reason)


@pytest.mark.parametrize("end", ["finished", "failed", "stopped"])
def test_a_run_that_is_over_stays_so(end: str) -> None:
    relay = Relay(plan(rounds=1, on_silent=OnSilent.FAIL))
    record = relay.record()
    match end:
        case "finished":
            relay.finish_round()
        case "failed":
            relay.expire()
        case "stopped":
            relay(run.StopRequested())
    events: list[run.Event] = [
        run.TurnFinished(record=record),
        run.TurnFailed(id=record.id, site="a", error="x"),
        run.LeaseExpired(id=record.id),
        run.SiteForgot(site="a"),
        run.SiteAdded(site="d"),
        run.WeightsArrived(weights=relay.state.weights),
        run.RelayLost(),
        run.ResumeRequested(),
        run.StopRequested(),
        run.RunSubmitted(),
    ]
    for event in events:
        drops(relay, event, "run_over")
    assert end == relay.state.status


# More rounds, and removal.


def finished(rounds: int = 1, **of: Any) -> Relay:  # Any: of each part's own type
    relay = Relay(plan(rounds=rounds, **of))
    for _ in range(rounds):
        relay.finish_round()
    assert Status.FINISHED is relay.state.status
    return relay


def test_a_run_that_finished_goes_on_from_its_newest_weights() -> None:
    relay = finished()
    newest, term = relay.state.weights, relay.state.lanes[0].relay.term
    relay(run.RoundsAdded(rounds=2))
    issued = relay.only(run.IssueTurn)
    assert (newest, CONTROLLER, 1, term + 1) == (
        issued.weights,
        issued.at,
        issued.id.round,
        issued.id.term,
    )
    assert (Status.RELAYING, "") == (relay.state.status, relay.state.reason)
    relay.finish_round()
    assert (Status.FINISHED, 6) == (relay.state.status, relay.state.turns)


@pytest.mark.parametrize("order", ["fixed", "random", "random_without_same_in_a_row"])
def test_with_more_rounds_a_run_ends_as_one_that_had_them_from_the_start(order: str) -> None:
    whole, added = finished(rounds=5, order=order), finished(rounds=2, order=order)
    added(run.RoundsAdded(rounds=5))
    for _ in range(3):
        added.finish_round()
    assert whole.state == added.state


def test_a_run_under_way_has_more_rounds_to_do_and_nothing_else_changes() -> None:
    relay = Relay(plan(rounds=1))
    before = relay.state
    assert () == relay(run.RoundsAdded(rounds=2))
    assert (before.lanes[0].relay, 2) == (relay.state.lanes[0].relay, relay.state.plan.task.rounds)
    relay.finish_round()
    assert 1 == relay.state.round
    relay.finish_round()
    assert (Status.FINISHED, 6) == (relay.state.status, relay.state.turns)


def test_a_paused_run_stays_so_with_more_rounds() -> None:
    relay = Relay(plan(rounds=2))
    relay(run.PauseRequested())
    relay.finish_round()
    relay(run.RoundsAdded(rounds=3))
    assert (Status.PAUSED, 3) == (relay.state.status, relay.state.plan.task.rounds)


def test_a_site_that_was_silent_at_the_end_is_asked_again() -> None:
    relay = Relay(plan(rounds=1, on_silent=OnSilent.SKIP))
    relay.expire()
    relay.finish_round()
    relay(run.RoundsAdded(rounds=2))
    assert (SITES, frozenset()) == (relay.state.lanes[0].relay.itinerary, relay.state.silent)


def test_a_run_that_had_enough_in_its_last_round_gets_none_beyond_it() -> None:
    """Bug: whoever asked for as many rounds as it had, got one more."""
    relay = Relay(replace(plan(rounds=1), stop=StopPolicy(hours=1.0)))
    relay(run.TimeUp())
    relay.finish_round()
    assert Status.FINISHED is relay.state.status
    drops(relay, run.RoundsAdded(rounds=1), "has_as_many")


@pytest.mark.parametrize(("rounds", "reason"), [(1, "has_more"), (2, "has_as_many")])
def test_no_round_is_taken_back(rounds: int, reason: str) -> None:
    drops(finished(rounds=2), run.RoundsAdded(rounds=rounds), reason)


def test_a_run_that_failed_or_was_stopped_gets_no_more_rounds() -> None:
    stopped, failed = Relay(), Relay(plan(on_silent=OnSilent.FAIL))
    stopped(run.StopRequested())
    failed.expire()
    for relay in (stopped, failed):
        drops(relay, run.RoundsAdded(rounds=9), "run_over")


def test_what_a_site_is_told_of_the_end_says_up_to_which_term() -> None:
    relay = finished()
    assert relay.state.lanes[0].relay.term == relay.only(run.Conclude).term


def test_the_weights_of_a_run_that_is_over_are_discarded_once() -> None:
    relay = finished()
    assert (run.DiscardWeights(),) == relay(run.RunRemoved())
    assert (True, Status.FINISHED) == (relay.state.removed, relay.state.status)
    drops(relay, run.RunRemoved(), "removed_already")
    drops(relay, run.RoundsAdded(rounds=9), "removed_already")
    drops(relay, run.ResumeRequested(), "run_over")


def test_a_run_that_is_not_over_keeps_its_weights() -> None:
    drops(Relay(), run.RunRemoved(), "not_over")
