"""What a ledger's rows tell of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.evaluations import all_score, asked_for, fails, scores
from support.runs import FIRST, Relay, plan
from tasuki.core import run
from tasuki.core.model import EvaluatePolicy
from tasuki.ledger.sqlite import Row
from tasuki.wire.messages import encode
from tasuki_controller import history
from tasuki_controller.scoreboard import scores_of


def rows_of(relay: Relay) -> list[Row]:
    return [
        Row(run="r", seq=seq, at=float(seq), event=encode(event), outcome="", hash="")
        for seq, event in enumerate([relay.plan, FIRST, *relay.history], start=1)
    ]


def test_an_evaluation_that_failed_is_not_why_a_run_did() -> None:
    """Bug: a run that failed had the class of error that a site had said of its scores."""
    relay = Relay()
    relay.fail("no memory", error="TrainerDied")
    asked_for(relay)
    fails(relay, "a", error="CannotEvaluate")
    assert "TrainerDied" == history.failure(rows_of(relay))


def test_no_error_of_scoring_is_an_error_of_the_run() -> None:
    relay = Relay()
    asked_for(relay)
    fails(relay, "a", error="CannotEvaluate")
    assert history.failure(rows_of(relay)) is None


def test_evaluations_are_told_in_their_order_and_the_last_may_be_under_way() -> None:
    relay = Relay(replace(plan(rounds=1), evaluate=EvaluatePolicy()))
    asked_for(relay)
    all_score(relay)
    relay.finish_round()
    all_score(relay, a=0.1)
    asked_for(relay)
    scores(relay, "b")
    found = history.evaluations(history.steps(rows_of(relay)))
    assert [(1, 3), (2, 3), (3, 1)] == [(each.asked.number, len(each.scores)) for each in found]
    assert [True, True, False] == [each.is_over for each in found]
    assert [None, 1, None] == [each.asked.after for each in found]


def test_scores_are_no_turns_of_a_run() -> None:
    relay = Relay(replace(plan(rounds=1), evaluate=EvaluatePolicy()))
    relay.finish_round()
    all_score(relay)
    assert isinstance(relay.effects[-1], run.Conclude)
    assert {0} == {record.id.lane for record in history.records(history.steps(rows_of(relay)))}


def test_an_evaluation_that_was_called_off_speaks_for_no_round() -> None:
    """Bug: one site's score stood for its round in what the rounds say together."""
    relay = Relay(plan(rounds=3))
    for after, value in ((1, 0.5), (2, 0.6)):
        asked_for(relay, after=after)
        all_score(relay, a=value, b=value, c=value)
    asked_for(relay, after=2)
    scores(relay, "a", 0.1)
    relay(run.StopRequested())
    evaluations = history.evaluations(history.steps(rows_of(relay)))
    (table,) = scores_of(relay.state, [], evaluations, metric="accuracy").evaluated
    assert [0.5, 0.6, 0.1] == [row.mean for row in table.rows]
    assert 1.0 == table.monotonicity
    assert pytest.approx(0.05) == table.swing
