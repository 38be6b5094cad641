"""What an onlooker is told is what happened."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

from support.reports import STEP_S, OnRecord
from support.runs import Relay, plan
from support.several import finish_lane, finish_round, finish_turn, record_of, several
from tasuki.core.model import CheckpointPolicy, TurnRecord
from tasuki.core.report import Stage, TurnProgressed, TurnTaken
from tasuki.core.run import (
    EvaluationRequested,
    Event,
    LeaseExpired,
    PauseRequested,
    ResumeRequested,
    RoundsAdded,
    RunState,
    Skip,
    Status,
    StopRequested,
    TurnFailed,
    TurnFinished,
    WaitOver,
    WeightsArrived,
)
from tasuki.observe.board import Board
from tasuki.observe.catalogue import CATALOGUE
from tasuki.observe.runs import Runs
from tasuki_controller.documents import AcceptedTurn, BestRound, Standing, run_row, summary
from tasuki_controller.live_updates import LiveUpdate
from tasuki_controller.news import HeldUp, TurnOut, Update
from tasuki_controller.turn_now import TurnNow


def told(line: str) -> Update:
    """As an onlooker hears it."""
    return LiveUpdate.model_validate_json(line).update()


def test_a_state_and_what_led_to_it_arrive_as_they_were() -> None:
    relay = Relay()
    record = relay.finish_turn()
    relay.expire()
    for what in (
        TurnFinished(record=record),
        TurnFailed(id=record.id, site="a", error="TrainerRaised", detail="boom"),
        LeaseExpired(id=record.id),
        LeaseExpired(id=record.id, phase="trained"),
        TurnProgressed(id=record.id, site="a", phase="trained", values={"loss": 0.5}, still_s=23.5),
        HeldUp(reason="the broker takes nothing: low on memory"),
        TurnOut(held_s=700.5),
    ):
        update = Update(run=relay.state, what=what, outcome="duplicate")
        assert told(LiveUpdate.of(update).line()) == update


def test_of_what_is_not_shown_only_the_state_is_told() -> None:
    relay = Relay()
    taken = TurnTaken(id=relay.state.lanes[0].relay.expected, site="a", history=(b"\xff\x00",))
    line = LiveUpdate.of(Update(run=relay.state, what=taken)).line()
    assert "\n" not in line
    assert json.loads(line)["kind"] == "TurnTaken"
    assert told(line) == Update(run=relay.state, what=None)


def test_metrics_that_are_no_numbers_pass_through_json() -> None:
    """JSON has no NaN: the controller's answers have null instead."""
    relay = Relay()
    record = replace(relay.finish_turn(), metrics={"auc": math.nan, "loss": 0.5})
    shown = summary(relay.state, [record], wall_s=1.0)
    assert {"auc": None, "loss": 0.5} == shown.metrics
    now = {"holder": None, "phase": "", "still_s": 0.0, "error": None, "best": None}
    answer = Standing.model_validate({**dict(shown), **now, "history": [AcceptedTurn.of(record)]})
    heard = Standing.model_validate_json(answer.line())
    assert [{"loss": 0.5}] == [each.record().metrics for each in heard.history]


def test_a_run_is_watched_one_of_whose_turns_has_a_metric_that_is_no_number() -> None:
    """Bug: `tasuki watch` ended with a traceback of pydantic's."""
    relay = Relay()
    relay(TurnFinished(record=replace(relay.record(), metrics={"auc": math.nan, "loss": 0.5})))
    state = told(LiveUpdate.of(Update(run=relay.state, what=None)).line()).run
    assert state is not None
    assert [{"loss": 0.5}] == [each.metrics for each in state.records]


def test_a_loss_that_became_nan_is_shown_as_that_and_is_told_as_null() -> None:
    relay = Relay()
    record = replace(relay.finish_turn(), metrics={"loss": math.inf})
    id, values = record.id, {"loss": math.nan, "step": 3.0}
    for what in (
        TurnProgressed(id=id, site="a", phase="training", values=values),
        TurnFinished(record=record),
    ):
        line = LiveUpdate.of(Update(run=relay.state, what=what)).line()
        assert "NaN" not in line
        assert "Infinity" not in line
        heard = told(line).what
        if isinstance(heard, TurnProgressed):
            assert (str(values)) == str(heard.values)
        else:
            assert isinstance(heard, TurnFinished)
            assert math.isnan(heard.record.metrics["loss"])


def test_a_long_run_is_shown_and_counted_without_a_pause() -> None:
    """Bug: looking at ten thousand turns, or a turn after as many skips, took seconds."""
    relay = Relay()
    record = relay.finish_turn()
    records = [replace(record, id=replace(record.id, round=number)) for number in range(10_000)]
    skips = [Skip(round=number, hop=0, site="b", reason="silent") for number in range(10_000)]
    state = replace(relay.state, skipped=tuple(skips))
    board = Board(CATALOGUE.values(), own={"service": "controller"})
    began = time.monotonic()
    assert 10_000 == summary(state, records, wall_s=1.0).rounds
    runs = Runs(board, time.time)
    runs.changed(state, None, "")
    runs.changed(state, None, "")
    assert time.monotonic() - began < 2


def test_a_run_took_until_it_was_over_and_one_that_goes_on_until_now() -> None:
    """Bug: each evaluation after its end made it longer."""
    relay = Relay()

    def took() -> float:
        return OnRecord(relay=relay).standing("r").wall_s

    relay.finish_round()
    assert STEP_S * (1 + len(relay.history)) == took()
    relay.finish_round()
    over = STEP_S * (1 + len(relay.history))
    assert over == took()
    relay(EvaluationRequested(weights=relay.state.weights, after=2))
    assert over == took()
    relay(RoundsAdded(rounds=3))
    assert STEP_S * (1 + len(relay.history)) == took()


def judged(relay: Relay, *values: float) -> list[TurnRecord]:
    """A round for each of these, which is what its turns are worth."""
    records = []
    for value in values:
        while relay.state.lanes[0].relay.holder is not None:
            records.append(replace(relay.record(), metrics={"accuracy": value}))
            relay(TurnFinished(record=records[-1]))
        relay(WeightsArrived(weights=relay.state.weights))
    return records


CHOOSING = replace(plan(rounds=3), checkpoint=CheckpointPolicy(best="accuracy"))


def test_the_best_round_is_named_with_what_chose_it() -> None:
    relay = Relay(CHOOSING)
    records = judged(relay, 0.25, 0.75, 0.5)
    best = summary(relay.state, records, wall_s=1.0).best_round
    assert BestRound(round=2, metric="accuracy", mode="max", value=0.75) == best


def test_a_round_that_is_not_over_is_not_the_best() -> None:
    relay = Relay(CHOOSING)
    records = judged(relay, 0.25)
    records.append(replace(relay.record(), metrics={"accuracy": 0.9}))
    relay(TurnFinished(record=records[-1]))
    relay(StopRequested(reason="enough"))
    best = summary(relay.state, records, wall_s=1.0).best_round
    assert best is not None
    assert (1, 0.25) == (best.round, best.value)


def test_no_round_is_the_best_where_none_is_asked_for_or_none_has_a_number() -> None:
    for policy, value in ((CheckpointPolicy(), 0.5), (CHOOSING.checkpoint, math.nan)):
        relay = Relay(replace(CHOOSING, checkpoint=policy))
        records = judged(relay, value, value, value)
        assert summary(relay.state, records, wall_s=1.0).best_round is None


# Runs with several lanes.


def as_onlookers_know_it(state: RunState) -> RunState:
    """Without what only the controller goes by: what lanes weigh and have, and fall back to."""
    lanes = (
        replace(lane, before=None, turns=0, samples=0, relay=replace(lane.relay, is_merged=False))
        for lane in state.lanes
    )
    return replace(state, lanes=tuple(lanes), unmerged=())


def test_a_state_with_several_lanes_arrives_as_it_was() -> None:
    """Whatever its lanes are at: out, done, late, in a pause, merging, under way again."""
    relay = Relay(several(3, sites=(*"abcdef",), rounds=3, every_n_rounds=2, wait_s=5.0))
    seen = [relay.state]

    def takes(event: Event) -> None:
        relay(event)
        seen.append(relay.state)

    early = record_of(relay, 1)
    takes(TurnFailed(id=early.id, site=early.site, error="TrainerRaised", detail="boom"))
    takes(TurnFinished(record=record_of(relay, 0)))
    finish_lane(relay, 0)
    seen.append(relay.state)
    finish_lane(relay, 1)
    takes(WaitOver(round=0))
    takes(PauseRequested())
    finish_round(relay)
    seen.append(relay.state)
    takes(ResumeRequested())
    finish_round(relay)
    seen.append(relay.state)
    assert {Status.RELAYING, Status.PAUSED, Status.FINISHED} <= {state.status for state in seen}
    for state in seen:
        update = Update(run=state, what=TurnOut(held_s=1.5, lane=1))
        heard = told(LiveUpdate.of(update).line())
        assert heard == replace(update, run=as_onlookers_know_it(state))


def test_the_lanes_of_a_run_have_a_row_each() -> None:
    relay = Relay(several(3, sites=(*"abcdef",), wait_s=5.0))
    finish_turn(relay, 1)
    finish_lane(relay, 0)
    turns = [TurnNow(), TurnNow(phase=Stage.TRAINING, still_s=2.04), TurnNow()]
    row = run_row(relay.state, turns)
    assert [
        ("done", None, 2, "", 0.0),
        ("out", "e", 1, "training", 2.0),
        ("out", "c", 0, "", 0.0),
    ] == [(each.status, each.holder, each.hop, each.phase, each.still_s) for each in row.lanes]
    assert [1, 2, 3] == [each.lane for each in row.lanes]
    assert {(1, 2)} == {(each.round, each.hops) for each in row.lanes}
    finish_turn(relay, 1)
    relay(WaitOver(round=0))
    assert ["done", "done", "late"] == [each.status for each in run_row(relay.state).lanes]
    standing = OnRecord(relay=relay).standing("r")
    assert ["done", "done", "late"] == [each.status for each in standing.lanes]


def test_a_run_of_one_model_has_no_rows_of_lanes() -> None:
    relay = Relay()
    assert [] == run_row(relay.state).lanes == OnRecord(relay=relay).standing("r").lanes


def test_trouble_in_a_lane_is_the_reason_of_its_run() -> None:
    silent = TurnNow(phase=Stage.TRAINING, silent_s=31, still_s=31)
    state = Relay(several()).state
    row = run_row(state, [TurnNow(), silent])
    assert "lane 2: b was last heard of 31 s ago" == row.reason
    said = "lane 1: a was last heard of 31 s ago; lane 2: b was last heard of 31 s ago"
    assert said == run_row(state, [silent, silent]).reason
    full = TurnNow(held_up="the broker is full")
    assert "the broker is full" == run_row(state, [full, full]).reason


def test_a_report_that_was_signed_is_shown_without_its_signature() -> None:
    """Bug: the envelope is no text, so that the display of a run broke off at a failed turn."""
    relay = Relay()
    id = relay.state.lanes[0].relay.expected
    failed = TurnFailed(id=id, site="a", error="TrainerDied", said=b"\x88\xff")
    update = Update(run=relay.state, what=failed)
    assert update == told(LiveUpdate.of(update).line())
