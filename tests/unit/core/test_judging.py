"""Which round is best, and when a run has done enough: by its sites, or by its turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan

import pytest

from support.evaluations import goes_silent, scores, waited_for
from support.runs import SITES, Relay, plan
from tasuki.core import run
from tasuki.core.model import CheckpointPolicy, EvaluatePolicy, Of, Plan, StopPolicy
from tasuki.core.run.state import OVER, Status

EACH = EvaluatePolicy(every_n_rounds=1)
Row = tuple[float, ...]
"""What `a`, `b` and so on say, in a round."""


def judging(
    *,
    rounds: int = 6,
    best: str | None = "accuracy",
    mode: str = "max",
    of: Of = Of.MEAN,
    stop: StopPolicy | None = None,
    evaluate: EvaluatePolicy | None = EACH,
) -> Plan:
    checkpoint = CheckpointPolicy(best=best, best_mode=mode, of=of)
    return replace(plan(rounds=rounds), checkpoint=checkpoint, stop=stop, evaluate=evaluate)


def evaluated(of: Plan, rows: Sequence[Row], *, samples: Sequence[int] = (10, 10, 10)) -> Relay:
    """Rounds in which sites say this of what each of them ended with; their turns say 0.5."""
    relay = Relay(of)
    for row in rows:
        if relay.state.status in OVER:
            break
        relay.finish_round()
        for site, value, weight in zip(SITES, row, samples, strict=True):
            if site in waited_for(relay):
                scores(relay, site, value, samples=weight)
    return relay


def rolling(of: Plan, rows: Sequence[Row]) -> Relay:
    """Rounds whose turns say this."""
    relay = Relay(of)
    for row in rows:
        for value in row:
            if relay.state.lanes[0].relay.holder is not None:
                record = replace(relay.record(), metrics={"accuracy": value})
                relay(run.TurnFinished(record=record))
        relay(run.WeightsArrived(weights=relay.state.weights))
    return relay


def best(relay: Relay) -> tuple[int, float] | None:
    return None if relay.state.best is None else (relay.state.best.after, relay.state.best.value)


def best_round(relay: Relay) -> int | None:
    return None if relay.state.best is None else relay.state.best.after


def status(relay: Relay) -> Status:
    return relay.state.status


FALLING = [(0.9, 0.9, 0.9), (0.7, 0.7, 0.7)]


def test_the_best_round_is_that_of_the_best_mean_weighted_by_samples() -> None:
    rows = [(0.9, 0.1, 0.1), (0.4, 0.4, 0.4), (0.5, 0.3, 0.1)]
    assert (2, 0.4) == best(evaluated(judging(), rows))
    # 0.9 * 10 / 12 + 0.1 * 2 / 12
    found = best(evaluated(judging(), rows, samples=(10, 1, 1)))
    assert (1, (10 * 0.9 + 0.1 + 0.1) / 12) == found


def test_the_best_of_the_worst_is_another_round() -> None:
    rows = [(0.9, 0.9, 0.1), (0.4, 0.4, 0.4)]
    assert 1 == best_round(evaluated(judging(), rows))
    assert (2, 0.4) == best(evaluated(judging(of=Of.WORST), rows))


def test_less_is_better_where_the_run_says_so() -> None:
    rows = [(0.9, 0.9, 0.1), (0.7, 0.7, 0.7), (0.2, 0.2, 0.8)]
    assert 3 == best_round(evaluated(judging(mode="min"), rows))
    assert (2, 0.7) == best(evaluated(judging(mode="min", of=Of.WORST), rows))


def test_the_first_of_equals_is_the_best() -> None:
    assert (1, 0.5) == best(evaluated(judging(), [(0.5, 0.5, 0.5), (0.5, 0.5, 0.5)]))


def test_a_run_that_evaluates_has_no_best_round_by_what_its_turns_say() -> None:
    """Their scores are of other weights each; what all sites say of the same is what counts."""
    relay = Relay(judging())
    relay.finish_round()
    assert best(relay) is None
    for site in SITES:
        scores(relay, site, 0.2)
    assert (1, 0.2) == best(relay)
    assert 0 == relay.only(run.NameBest).round


@pytest.mark.parametrize("policy", [None, EvaluatePolicy(), EvaluatePolicy(at_end=False)])
def test_a_run_that_does_not_evaluate_its_rounds_has_one_by_what_its_turns_say(
    policy: EvaluatePolicy | None,
) -> None:
    relay = rolling(judging(evaluate=policy), FALLING)
    assert (1, 0.9) == best(relay)


def test_a_rolling_score_is_judged_by_the_turns_though_the_run_evaluates() -> None:
    relay = Relay(judging(best="received_accuracy"))
    record = replace(relay.record(), metrics={"received_accuracy": 0.3, "accuracy": 0.9})
    relay(run.TurnFinished(record=record))
    relay.finish_round()
    assert (1, 0.3) == best(relay)


def test_a_site_that_is_left_out_has_no_say() -> None:
    relay = Relay(judging())
    relay.finish_round()
    goes_silent(relay, "c")
    scores(relay, "a", 0.2, samples=10)
    scores(relay, "b", 0.6, samples=30)
    assert (1, (10 * 0.2 + 30 * 0.6) / 40) == best(relay)


@pytest.mark.parametrize("of", Of)
def test_what_is_no_number_makes_no_round_the_best(of: Of) -> None:
    rows = [(nan, 0.9, 0.9), (0.2, inf, 0.2), (0.1, 0.1, 0.1)]
    found = best(evaluated(judging(of=of), rows))
    # The worst of 0.2 and infinity is a number, and their mean is none.
    assert ((3, 0.1) if of is Of.MEAN else (2, 0.2)) == found


def test_an_evaluation_that_an_operator_asks_for_chooses_no_round() -> None:
    relay = Relay(judging(evaluate=EvaluatePolicy(every_n_rounds=2)))
    relay.finish_round()
    relay(run.EvaluationRequested(weights=relay.state.weights, after=1))
    for site in SITES:
        scores(relay, site, 0.99)
    assert best(relay) is None


# Enough.


def stopping(**changes: object) -> Plan:
    return judging(stop=StopPolicy(metric="accuracy", **changes))  # type: ignore[arg-type]


def test_a_target_ends_the_run_with_its_round() -> None:
    relay = evaluated(stopping(target=0.6), [(0.5, 0.5, 0.5), (0.6, 0.6, 0.6), (0.7, 0.7, 0.7)])
    assert (Status.FINISHED, 2) == (relay.state.status, relay.state.round + 1)
    said = "enough: mean of accuracy by evaluation (3 of 3 sites) is 0.6, the target 0.6 is reached"
    assert said == relay.state.reason == relay.only(run.Conclude).reason


def test_a_target_below_is_reached_from_above() -> None:
    rows = [(0.9, 0.9, 0.9), (0.3, 0.3, 0.3)]
    relay = evaluated(stopping(target=0.5, mode="min"), rows)
    assert "mean of accuracy by evaluation (3 of 3 sites) is 0.3" in relay.state.reason


def test_the_target_of_the_worst_waits_for_the_worst() -> None:
    rows = [(0.9, 0.9, 0.1), (0.6, 0.6, 0.6)]
    relay = evaluated(stopping(target=0.6, of=Of.WORST), rows)
    assert 2 == relay.state.round + 1
    assert "worst of accuracy by evaluation (3 of 3 sites) is 0.6" in relay.state.reason


def test_patience_ends_the_run_after_so_many_scores_that_were_no_better() -> None:
    rows = [(value,) * 3 for value in (0.5, 0.4, 0.6, 0.5, 0.6, 0.9)]
    relay = evaluated(stopping(patience=2), rows)
    assert (Status.FINISHED, 5) == (relay.state.status, relay.state.round + 1)
    said = (
        "mean of accuracy by evaluation (3 of 3 sites): the last 2 scores were no better than 0.6"
    )
    assert f"enough: {said}" == relay.state.reason


def test_what_is_better_by_too_little_does_not_count_as_better() -> None:
    rows = [(value,) * 3 for value in (0.50, 0.52, 0.54, 0.90)]
    relay = evaluated(stopping(patience=2, min_delta=0.05), rows)
    assert "no better than 0.5" in relay.state.reason
    assert 3 == relay.state.round + 1
    patient = evaluated(stopping(patience=2, min_delta=0.03), rows)
    assert Status.RELAYING is patient.state.status


def test_without_evaluation_a_run_has_enough_by_its_turns_and_says_so() -> None:
    relay = rolling(replace(stopping(target=0.8), evaluate=None), FALLING)
    assert 1 == relay.state.round + 1
    assert "enough: mean of accuracy by the round's turns is 0.9" in relay.state.reason


def test_a_round_that_nobody_scores_is_neither_better_nor_worse() -> None:
    relay = Relay(stopping(patience=1))
    for _ in range(3):
        relay.finish_round()
        for site in SITES:
            goes_silent(relay, site)
    assert (Status.RELAYING, 0) == (relay.state.status, relay.state.waited)


def test_a_run_that_had_enough_goes_on_if_it_gets_more_rounds() -> None:
    relay = evaluated(stopping(target=0.4), [(0.5, 0.5, 0.5)])
    assert Status.FINISHED is status(relay)
    relay(run.RoundsAdded(rounds=7))
    assert (Status.RELAYING, 1) == (relay.state.status, relay.state.round)


@pytest.mark.parametrize("rounds", [6, 8])
def test_what_it_has_reached_does_not_end_it_again(rounds: int) -> None:
    """Bugs: with as many rounds as it was to have it did not go on; with more it ended again."""
    relay = evaluated(stopping(target=0.4), [(0.5, 0.5, 0.5)])
    relay(run.RoundsAdded(rounds=rounds))
    relay.finish_round()
    for site in SITES:
        scores(relay, site, 0.9)
    assert (Status.RELAYING, 2) == (relay.state.status, relay.state.round)


@pytest.mark.parametrize(("is_time_up", "ends"), [(False, True), (True, False)])
def test_time_that_was_not_up_when_it_got_more_rounds_still_counts(
    is_time_up: bool, ends: bool
) -> None:
    relay = evaluated(judging(rounds=1, stop=HOURS), [(0.5, 0.5, 0.5)])
    assert Status.FINISHED is status(relay)
    relay(run.RoundsAdded(rounds=3, is_time_up=is_time_up))
    timed(relay)
    assert ends is bool(relay.state.enough)


def test_fewer_sites_than_a_round_needs_choose_nothing() -> None:
    """Bug: in an outage one site that was left chose the model, and ended the run."""
    few = replace(stopping(target=0.4), failure=replace(plan().failure, min_sites=2))
    relay = Relay(few)
    relay.finish_round()
    for site in SITES[1:]:
        goes_silent(relay, site)
    scores(relay, SITES[0], 0.9)
    assert (None, Status.RELAYING) == (best(relay), status(relay))


def timed(relay: Relay) -> None:
    relay(run.TimeUp())


HOURS = StopPolicy(hours=2.5)


def test_a_run_whose_time_is_up_ends_with_its_round_and_is_judged_once_more() -> None:
    relay = Relay(judging(stop=HOURS, evaluate=EvaluatePolicy()))
    relay.finish_turn()
    timed(relay)
    assert Status.RELAYING is status(relay)
    relay.finish_round()
    assert Status.EVALUATING is status(relay)
    for site in SITES:
        scores(relay, site)
    assert Status.FINISHED is status(relay)
    assert "enough: its 2.5 hours are over" == relay.state.reason


def test_a_run_whose_time_is_up_in_a_pause_is_judged_before_it_ends() -> None:
    """Bug: it ended at once, and what it ended with was never evaluated."""
    relay = Relay(judging(stop=HOURS, evaluate=EvaluatePolicy()))
    relay(run.PauseRequested())
    relay.finish_round()
    assert Status.PAUSED is status(relay)
    timed(relay)
    assert Status.EVALUATING is status(relay)
    for site in SITES:
        scores(relay, site)
    assert (Status.FINISHED, "enough: its 2.5 hours are over") == (
        relay.state.status,
        relay.state.reason,
    )


@pytest.mark.parametrize("policy", [None, EvaluatePolicy(at_end=False), EACH])
def test_a_run_whose_time_is_up_in_a_pause_ends_if_it_was_judged_or_is_not_to_be(
    policy: EvaluatePolicy | None,
) -> None:
    relay = Relay(judging(stop=HOURS, evaluate=policy))
    relay(run.PauseRequested())
    relay.finish_round()
    for site in waited_for(relay):
        scores(relay, site)
    assert Status.PAUSED is status(relay)
    timed(relay)
    assert Status.FINISHED is status(relay)


def test_time_that_is_up_before_the_first_round_ends_the_run_and_judges_nothing() -> None:
    relay = Relay(replace(judging(stop=HOURS), failure=replace(plan().failure, min_sites=9)))
    assert Status.PAUSED is status(relay)
    timed(relay)
    assert Status.FINISHED is status(relay)


def test_time_is_up_once_and_only_for_a_run_that_has_a_limit() -> None:
    limited, free = Relay(judging(stop=HOURS)), Relay(judging())
    timed(limited)
    for relay in (limited, free):
        before = relay.state
        timed(relay)
        assert (before, (run.Drop(reason="not_limited"),)) == (relay.state, relay.effects)
