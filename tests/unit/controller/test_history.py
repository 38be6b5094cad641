"""What a ledger's rows tell of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support.evaluations import all_score, asked_for, fails, scores
from support.runs import FIRST, Relay, plan
from support.several import finish_lane, finish_round, finish_turn, several
from support.transfers import digested
from tasuki.core import run
from tasuki.core.model import CheckpointPolicy, EvaluatePolicy, TurnId
from tasuki.errors import LedgerBroken
from tasuki.ledger.sqlite import Row
from tasuki.wire.messages import encode
from tasuki_controller import history
from tasuki_controller.checkpoints import Checkpoints
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


def apart() -> Relay:
    """Three rounds, the last two of which end with a merge; lane 2 was late in the first."""
    relay = Relay(several(rounds=3, every_n_rounds=2, wait_s=5.0))
    finish_turn(relay, 1)
    finish_lane(relay, 0)
    relay(run.WaitOver(round=0))
    finish_round(relay)
    finish_round(relay)
    return relay


def test_a_checkpoint_names_each_turn_since_the_merge_before_once() -> None:
    """Bug: those of rounds after which lanes stayed apart were in no checkpoint's document."""
    steps = list(history.steps(rows_of(apart())))
    documents = history.documents(steps)
    assert [0, 2, 3] == list(documents)
    told = [
        (number, turn["id"]["round"], turn["id"]["lane"], turn["site"])
        for number, document in documents.items()
        for turn in document["turns"]
    ]
    assert [
        (2, 0, 0, "a"),
        (2, 0, 0, "c"),
        *((2, 1, lane, site) for lane, site in [(0, "a"), (0, "c"), (1, "b"), (1, "d")]),
        *((3, 2, lane, site) for lane, site in [(0, "a"), (0, "c"), (1, "b"), (1, "d")]),
    ] == told
    assert [record.id for record in history.records(steps)] == [
        TurnId(**turn["id"]) for number in (2, 3) for turn in documents[number]["turns"]
    ]


def test_what_was_written_of_a_last_round_alone_still_holds(tmp_path: Path) -> None:
    steps = list(history.steps(rows_of(apart())))
    now, before = history.documents(steps), history.documents(steps, of_before=True)
    assert (now[0], now[3]) == (before[0], before[3])
    assert [1] * 4 == [turn["id"]["round"] for turn in before[2]["turns"]]
    assert now[2]["metrics"] == before[2]["metrics"]
    checkpoints, policy = Checkpoints(tmp_path / "r"), CheckpointPolicy()
    content, ref = b"weights", digested(b"weights")
    (tmp_path / "source").write_bytes(content)
    told = {**before[2], "digest": ref.digest}
    checkpoints.save(tmp_path / "source", told, policy)
    expected = {2: {**now[2], "digest": ref.digest}}
    with pytest.raises(LedgerBroken, match="is not what the ledger says"):
        checkpoints.verify(expected)
    assert 1 == checkpoints.verify(expected, before={2: told})


def test_the_document_of_one_model_is_the_same_as_before() -> None:
    relay = Relay(plan(rounds=2))
    relay.finish_round()
    relay.finish_round()
    steps = list(history.steps(rows_of(relay)))
    assert history.documents(steps, of_before=True) == history.documents(steps)
    assert "merged" not in history.documents(steps)[2]
