"""What there is to show of a run, from what happens to it alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.displayed import Displayed
from support.runs import plan
from tasuki.core.model import CheckpointPolicy, EvaluatePolicy, Of, OnSilent, Plan, StopPolicy
from tasuki.core.report import TurnProgressed
from tasuki.core.run import EvaluationRequested, LeaseExpired, TurnFinished
from tasuki_cli.display.board import Board
from tasuki_cli.display.seen_scores import Judged, Trend
from tasuki_controller.news import HeldUp, Update

SITES = ("a", "b", "c")


def judged(
    best: str | None = "accuracy", *, mode: str = "max", of: Of = Of.MEAN, rounds: int = 3
) -> Plan:
    policy = CheckpointPolicy(best=best, best_mode=mode, of=of)
    return replace(plan(rounds=rounds), checkpoint=policy)


# Scores.


def test_a_site_has_its_newest_scores_and_the_ones_before() -> None:
    run = Displayed(judged())
    for value in (0.5, 0.6, 0.7, 0.4):
        run.turn(accuracy=value, received_accuracy=value / 2)
    trends = run.board.scores.of("a")
    assert {
        Judged.RECEIVED: Trend(value=0.2, before=0.25),
        Judged.TRAINED: Trend(value=0.4, before=0.5),
    } == trends
    assert (-1, 0) == (
        trends[Judged.TRAINED].change,
        run.board.scores.of("b")[Judged.TRAINED].change,
    )


@pytest.mark.parametrize(
    ("of", "metric", "mode"),
    [
        (judged("received_auc"), "auc", "max"),
        (judged("brier", mode="min"), "brier", "min"),
        (replace(judged(None), stop=StopPolicy(metric="brier", mode="min")), "brier", "min"),
        (judged(None), "accuracy", "max"),
    ],
)
def test_the_metric_is_the_run_s_own_or_else_one_that_is_reported(
    of: Plan, metric: str, mode: str
) -> None:
    run = Displayed(of)
    run.turn(zeal=1.0, accuracy=0.5, received_accuracy=0.4)
    run.turn(loss=1.0)
    assert (metric, mode) == (run.board.scores.metric, run.board.scores.mode)


def test_a_run_without_metrics_has_no_scores() -> None:
    run = Displayed(judged(None))
    run.turn()
    assert ((), "") == (run.view().kinds, run.view().by_round)


def test_rounds_come_to_the_mean_of_their_turns_and_the_best_is_named() -> None:
    run = Displayed(judged())
    for value in (0.5, 0.6, 0.7, 0.2, 0.3, 0.4, 0.9):
        run.turn(accuracy=value)
    assert "accuracy by round, mean of its turns: 1 0.6 (best), 2 0.3" == run.view().by_round


def test_who_has_not_seen_every_round_is_told_the_best_all_the_same() -> None:
    run = Displayed(judged(rounds=9))
    for value in (0.9, 0.9, 0.9, 0.3):
        run.turn(accuracy=value)
    run.board = Board()
    run.see(None)
    for value in (0.3, 0.3):
        run.turn(accuracy=value)
    assert "accuracy by round, mean of its turns: 1 0.9 (best), 2 0.3" == run.view().by_round


def test_an_event_that_what_is_told_at_once_has_overtaken_still_counts() -> None:
    """A follower tells events, the controller tells beats: they come from two threads."""
    run = Displayed(judged())
    for value in (0.5, 0.6):
        run.turn(accuracy=value)
    record = replace(run.relay.record(), metrics={"accuracy": 0.7})
    event = TurnFinished(record=record)
    run.relay(event)
    closing = run.relay.state
    run.relay.finish_round()
    run.log(step=1)
    for state, what in ((closing, event), (run.relay.state, run.relay.history[-1])):
        run.lines += run.board.take(Update(run=state, what=what), at=1.0)
    assert "1 0.6 (best)" in run.view().by_round


# Evaluations.


def evaluated(of: Of = Of.MEAN, *, split: str = "", rounds: int = 3) -> Plan:
    policy = EvaluatePolicy(every_n_rounds=1, split=split)
    return replace(judged(of=of, rounds=rounds), evaluate=policy)


def one_round(of: Plan) -> Displayed:
    """A run of which one round is over, and its end is evaluated."""
    run = Displayed(of)
    for _ in SITES:
        run.turn(accuracy=0.5)
    del run.lines[:]
    return run


def test_an_evaluation_is_one_line_once_all_sites_have_scored() -> None:
    run = one_round(evaluated())
    for site, value, samples in (("a", 0.8, 30), ("b", 0.6, 10), ("c", 0.7, 10)):
        assert [] == run.lines
        run.score(site, accuracy=value, samples=samples)
    assert ["r round 1 evaluated: accuracy 0.74 mean, 0.6 worst (b), 3 of 3 sites"] == run.said


def test_a_site_without_a_score_is_left_out_visibly() -> None:
    run = one_round(evaluated(split="test"))
    run.score("a", accuracy=0.8)
    run.no_score("b", detail="no such split")
    assert "all sites score round 1 on test: 1 of 3 have" == run.view().scoring
    assert ["✓", "✗", "○"] == [row.mark for row in run.view().rows]
    run.happens(LeaseExpired(id=run.asked("c")))
    assert [
        "b TrainerRaised: no such split",
        "b TrainerRaised: no such split (as before)",
        "b left out of the evaluation of round 1 on test: TrainerRaised: no such split",
        "c left out of the evaluation of round 1 on test: silent",
        "r round 1 on test evaluated: accuracy 0.8 mean, 0.8 worst (a), 1 of 3 sites",
    ] == run.said
    assert "c left out of the evaluation: silent (round 1)" in run.view().notices
    assert "" == run.view().scoring


def test_who_looks_on_from_the_middle_of_an_evaluation_sees_its_end() -> None:
    run = one_round(evaluated())
    run.score("a", accuracy=0.8)
    run.no_score("b", detail="boom")
    run.board = Board()
    run.see(None)
    del run.lines[:]
    run.score("c", accuracy=0.6)
    assert [
        "b left out of the evaluation of round 1: TrainerRaised: boom",
        "r round 1 evaluated: accuracy 0.7 mean, 0.6 worst (c), 2 of 3 sites",
    ] == run.said


def test_what_an_operator_asks_for_takes_no_turn_from_its_holder() -> None:
    run = Displayed(judged())
    run.log(step=3)
    run.happens(EvaluationRequested(weights=run.relay.state.weights, after=None))
    id = run.asked("b")
    run.see(TurnProgressed(id=id, site="b", phase="training", values={"batch": 1.0}))
    run.score("b", accuracy=0.5)
    now = run.view()
    assert {"step": 3} == now.progress.values
    assert ("a trains", "●") == (now.doing, now.rows[0].mark)
    assert "all sites score the weights of a file: 1 of 3 have" == now.scoring


def test_a_run_that_ends_calls_its_evaluation_off() -> None:
    run = one_round(evaluated())
    run.score("a", accuracy=0.8)
    run.end()
    assert "b left out of the evaluation of round 1: called off" in run.said


def test_nothing_that_was_scored_is_said_as_such() -> None:
    run = one_round(evaluated())
    for site in SITES:
        run.score(site, loss=0.5)
    assert "r round 1 evaluated: no accuracy, 3 of 3 sites" == run.said[-1]


def test_rounds_that_are_evaluated_come_to_what_all_sites_say() -> None:
    run = Displayed(evaluated(Of.WORST))
    for round in (0, 1):
        for _ in SITES:
            run.turn(accuracy=0.9)
        for site, value in zip(SITES, (0.5 - round / 10, 0.6, 0.7), strict=True):
            run.score(site, accuracy=value)
    assert "accuracy by round, worst of all sites: 1 0.5 (best), 2 0.4" == run.view().by_round


# Time.


def test_what_is_left_of_time_goes_by_what_was_done() -> None:
    run = Displayed(judged())
    assert "" == run.view().left
    for _ in range(3):
        run.turn(took_s=20, accuracy=0.5)
    assert "about 2 min left" == run.view().left
    run.at += 30
    assert "about 90 s left" == run.view().left


def test_a_run_that_may_stop_early_takes_no_longer_than_that() -> None:
    run = Displayed(replace(judged(), stop=StopPolicy(hours=1)))
    run.turn(took_s=1)
    assert "at most about 8 s left" == run.view().left


# Notices.


def test_what_repeats_itself_is_counted_and_its_sites_are_named() -> None:
    run = Displayed(judged(rounds=9))
    for _ in range(4):
        run.unchanged()
        run.turn()
        run.turn()
    run.unchanged()
    same = "trained nothing: it handed on exactly what it received"
    assert [f"a {same} (5 times, last in round 5)"] == run.view().notices
    run.unchanged()
    assert [f"b, a {same} (6 times, last in round 5)"] == run.view().notices


def test_a_failed_attempt_and_a_skipped_turn_stay() -> None:
    run = Displayed(plan(on_silent=OnSilent.SKIP))
    run.fail()
    run.fail()
    assert [
        "a skipped: TrainerRaised (round 1)",
        "a TrainerRaised: boom (twice, last in round 1)",
    ] == run.view().notices
    assert "failed" == run.view().rows[0].news
    run.turn()
    assert "a TrainerRaised: boom (twice, last in round 1)" in run.view().notices


def test_what_is_no_news_any_more_is_still_a_notice() -> None:
    run = Displayed(plan())
    run.fail()
    run.turn()
    assert (1, "") == (len(run.view().notices), run.view().rows[0].news)


def test_a_site_that_was_silent_for_a_lease_is_named() -> None:
    run = Displayed(plan())
    run.expire()
    assert ["a was silent for 60 s (round 1)"] == run.view().notices
    assert "r a was silent for 60 s" == run.said[-1]


def test_a_broker_that_holds_everybody_up_is_over_when_it_is() -> None:
    run = Displayed(plan())
    run.see(HeldUp(reason="the broker takes nothing"))
    assert ["the broker takes nothing (round 1)"] == run.view().notices
    run.see(HeldUp(reason=""))
    assert ["the broker takes nothing (round 1, over)"] == run.view().notices


def test_a_failure_of_many_lines_is_told_whole_and_noted_as_one() -> None:
    run = Displayed(plan())
    run.fail("RuntimeError: on fire\nTraceback (most recent call last):\n  File")
    assert ["a TrainerRaised: RuntimeError: on fire ... (round 1)"] == run.view().notices
    assert not run.lines[-1].shows
    assert "File" in run.lines[-1].text


def test_a_run_that_is_over_has_nobody_in_trouble() -> None:
    run = Displayed(plan())
    run.at += 40
    run.log()
    run.at += 31
    run.see(None)
    assert ["a was last heard of 31 s ago (round 1)"] == run.view().notices
    run.end()
    assert ["a was last heard of 31 s ago (round 1, over)"] == run.view().notices
    assert "stopped by an operator" == run.view().reason


# Which sites, where there is no room for all.


def test_of_many_sites_those_that_matter_have_a_row() -> None:
    sites = tuple(f"s{number:02}" for number in range(60))
    run = Displayed(replace(plan(sites=sites), checkpoint=CheckpointPolicy(best="accuracy")))
    for number in range(40):
        if number == 7:
            run.unchanged(accuracy=0.9)
        else:
            run.turn(accuracy=0.1 if number == 20 else 0.9)
    shown = [row.site for row in run.view().rows]
    assert 12 == len(shown)
    assert {"s07", "s20", "s39", "s40"} <= set(shown)
    assert sorted(shown) == shown
    assert 48 == run.view().more
    assert ["s40"] == [row.site for row in run.view().rows if row.holds]


def test_progress_is_shown_as_far_as_a_trainer_tells_it() -> None:
    run = Displayed(plan())
    run.log(epoch=1, epochs=4, loss=0.5)
    now = run.view().progress
    assert (0.25, "epoch 1 of 4", {"loss": 0.5}) == (now.share, now.told, now.values)
    run.log(epoch=1, epochs=4, step=30, steps=40)
    assert (0.75, "step 30 of 40, epoch 1 of 4") == (
        run.view().progress.share,
        run.view().progress.told,
    )


@pytest.mark.parametrize(
    "values",
    [
        {"step": 3.0},
        {"step": 9.0, "steps": 8.0},
        {"step": 1.0, "steps": float("inf")},
        {"step": float("nan"), "steps": 8.0},
        {"step": 0.0, "steps": 0.0},
    ],
)
def test_what_cannot_be_a_part_of_a_whole_is_no_bar(values: dict[str, float]) -> None:
    run = Displayed(plan())
    run.log(**values)
    now = run.view().progress
    assert (None, "", values.keys()) == (now.share, now.told, now.values.keys())
