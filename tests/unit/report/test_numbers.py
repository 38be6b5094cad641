"""What a report says, from documents alone."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from math import nan

import pytest

from support.reports import STEP_S, OnRecord, closes, scores, trains
from support.runs import FIRST, Relay, plan
from support.several import finish_lane, finish_round, finish_turn, record_of, several
from tasuki.core import run
from tasuki.core.model import CheckpointPolicy, Cover, EvaluatePolicy, OnSilent
from tasuki.core.run import Status
from tasuki_controller import documents
from tasuki_controller.documents import (
    EvaluatedRow,
    EvaluatedScores,
    Evaluation,
    LeftOut,
    SiteScore,
)
from tasuki_report.numbers.curves import by_number, curves_of
from tasuki_report.numbers.forgetting import forgotten
from tasuki_report.numbers.lineage import lineage_of
from tasuki_report.numbers.matrix import Cell, matrices_of
from tasuki_report.numbers.tables import tables_of
from tasuki_report.numbers.timeline import How, timeline_of


def two_rounds() -> Relay:
    """Three sites that score what they receive; the second round is the worse one."""
    best = CheckpointPolicy(best="accuracy")
    relay = Relay(replace(plan(), checkpoint=best))
    for received, trained in ((0.1, 0.5), (0.2, 0.6), (0.3, 0.7)):
        trains(relay, received_accuracy=received, accuracy=trained)
    closes(relay)
    for received, trained in ((0.4, 0.1), (0.5, 0.2), (0.6, nan)):
        trains(relay, received_accuracy=received, accuracy=trained)
    closes(relay)
    return relay


def evaluated(relay: Relay, *, round: int | None = 1) -> documents.Scores:
    """Site a and b have scored the weights of a round's end; c was silent."""
    records = OnRecord(relay=relay).records
    ends = [record for record in records if round and record.id.round < round]
    digest = ends[-1].sent.digest if ends else FIRST.digest
    sites = [
        SiteScore(site="a", value=0.25, samples=10, forgotten=0.1),
        SiteScore(site="b", value=None, samples=10, forgotten=None),
    ]
    row = EvaluatedRow(
        number=1, round=round, sites=sites, mean=None, worst=None, worst_site="b", spread=None
    )
    asked = Evaluation(
        number=1,
        round=round,
        digest=digest,
        split="test",
        asked=True,
        is_over=True,
        scored=["a", "b"],
        left_out=[LeftOut(site="c", reason="silent", detail="")],
    )
    table = EvaluatedScores(
        metric="accuracy",
        mode="max",
        split="test",
        rows=[row],
        forgotten=0.1,
        swing=None,
        swing_rounds=5,
        monotonicity=None,
    )
    return documents.Scores(run="r", best=None, evaluations=[asked], evaluated=[table], rolling=[])


def fails_to_score(relay: Relay, site: str) -> None:
    """A site cannot score the weights of the evaluation that is under way."""
    assert relay.state.evaluation is not None
    id = relay.state.evaluation.relays[site].expected
    relay(run.TurnFailed(id=id, site=site, error="TrainerRaised", detail="boom"))


def test_a_curve_has_a_value_for_each_round_of_each_site() -> None:
    (curves,) = curves_of(OnRecord(relay=two_rounds()).material.turns)
    assert ("accuracy", (1, 2)) == (curves.metric, curves.rounds)
    by_site = {curve.site: (curve.received, curve.trained) for curve in curves.sites}
    assert {
        "a": ((0.1, 0.4), (0.5, 0.1)),
        "b": ((0.2, 0.5), (0.6, 0.2)),
        "c": ((0.3, 0.6), (0.7, None)),
    } == by_site
    assert [(0.5, 0.6, 0.7), (0.1, 0.2)] == curves.over_sites(lambda curve: curve.trained)


def test_a_curve_has_the_mean_of_the_lanes_in_which_its_site_trains() -> None:
    """Bug: it had that of the last lane, whose weights are not those of the others."""
    relay = Relay(several(sites=("a", "b"), cover=Cover.ALL, rounds=1))
    said = {("a", 0): 0.2, ("b", 0): 0.5, ("b", 1): 0.7, ("a", 1): 0.4}
    for (_, lane), value in said.items():
        relay(run.TurnFinished(record=record_of(relay, lane, {"accuracy": value})))
    (curves,) = curves_of(OnRecord(relay=relay).material.turns)
    assert curves.means
    assert {"a": (0.3,), "b": (0.6,)} == {curve.site: curve.trained for curve in curves.sites}


def test_a_skipped_turn_is_a_gap_in_its_curve() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    trains(relay, accuracy=0.5)
    relay.expire()
    trains(relay, accuracy=0.7)
    (curves,) = curves_of(OnRecord(relay=relay).material.turns)
    assert ["a", "c"] == [curve.site for curve in curves.sites]


def test_a_run_without_metrics_has_no_curve() -> None:
    relay = Relay()
    trains(relay)
    material = OnRecord(relay=relay).material
    assert [] == curves_of(material.turns)
    assert [] == matrices_of(material.turns, material.scores)
    assert [] == forgotten(material.scores)


def test_sites_are_in_the_order_in_which_people_count() -> None:
    assert ["a", "site-2", "site-10"] == sorted(["site-10", "a", "site-2"], key=by_number)


def test_the_matrix_has_who_scored_what_the_site_before_it_had_trained() -> None:
    material = OnRecord(relay=two_rounds()).material
    (matrix,) = matrices_of(material.turns, material.scores)
    assert (None, ["a", "b", "c"]) == (matrix.split, matrix.sites)
    assert {
        ("b", "a"): Cell(value=0.5, round=2),  # the newer one
        ("c", "b"): Cell(value=0.6, round=2),
        ("a", "c"): Cell(value=0.4, round=2),  # over the end of a round
        ("a", "a"): Cell(value=0.1, round=2),
        ("b", "b"): Cell(value=0.2, round=2),
        ("c", "c"): Cell(value=None, round=2),
    } == matrix.cells


def test_who_hands_on_what_it_received_has_not_trained_it_last() -> None:
    relay = Relay()
    trains(relay, received_accuracy=0.1, accuracy=0.5)
    record = replace(relay.record(), sent=relay.state.weights, metrics={"accuracy": 0.5})
    relay(run.TurnFinished(record=record))
    trains(relay, received_accuracy=0.3, accuracy=0.7)
    material = OnRecord(relay=relay).material
    (matrix,) = matrices_of(material.turns, material.scores)
    assert {("a", "a"), ("c", "a"), ("c", "c")} == set(matrix.cells)


def test_an_evaluation_fills_the_column_of_who_trained_the_round_s_end() -> None:
    relay = two_rounds()
    (matrix,) = matrices_of(OnRecord(relay=relay).material.turns, evaluated(relay))
    assert "test" == matrix.split
    assert {
        ("a", "c"): Cell(value=0.25, round=1),
        ("b", "c"): Cell(value=None, round=1),
    } == matrix.cells


def test_a_column_is_of_the_newest_round_also_if_a_site_was_left_out_then() -> None:
    relay = Relay(replace(plan(max_attempts=1), evaluate=EvaluatePolicy(every_n_rounds=1)))
    ends = []
    for scored_by, accuracy in (("abc", 0.25), ("ab", 0.5)):
        for _ in relay.plan.sites:
            trains(relay)
        ends.append(relay.state.weights)
        closes(relay)
        for site in scored_by:
            scores(relay, site, accuracy=accuracy)
    fails_to_score(relay, "c")
    relay(run.EvaluationRequested(weights=ends[0], after=1))
    for site in relay.plan.sites:
        scores(relay, site, accuracy=0.75)
    material = OnRecord(relay=relay).material
    (matrix,) = matrices_of(material.turns, material.scores)
    assert {
        ("a", "c"): Cell(value=0.5, round=2),
        ("b", "c"): Cell(value=0.5, round=2),
    } == matrix.cells
    assert {("a", "c"), ("b", "c")} == {
        (row["scored_at"], row["trained_at"]) for row in read(relay, "matrix.csv")
    }


@pytest.mark.parametrize("round", [0, None])
def test_weights_that_no_site_trained_are_in_no_column(round: int | None) -> None:
    relay = two_rounds()
    turns = OnRecord(relay=relay).material.turns
    assert [] == matrices_of(turns, evaluated(relay, round=round))


def test_what_was_forgotten_is_each_site_s_newest_and_the_mean_of_each_round() -> None:
    (found,) = forgotten(OnRecord(relay=two_rounds()).material.scores)
    assert {
        "a": pytest.approx(0.1),
        "b": pytest.approx(0.1),
        "c": pytest.approx(0.1),
    } == found.sites
    assert {2: pytest.approx(0.1)} == found.rounds
    assert pytest.approx(0.1) == found.mean


def test_the_lineage_of_the_best_ends_with_its_round_and_begins_with_the_first_weights() -> None:
    lineage = lineage_of(OnRecord(relay=two_rounds()).material)
    assert lineage.best is not None
    assert (1, [1, 1, 1]) == (lineage.best.round, [turn.round for turn in lineage.turns])
    assert (FIRST.digest, True) == (lineage.began, lineage.is_whole)
    assert lineage.turns[-1].sent == lineage.of


def test_without_a_best_round_it_is_the_lineage_of_the_newest_weights() -> None:
    relay = Relay()
    record = trains(relay, accuracy=0.5)
    lineage = lineage_of(OnRecord(relay=relay).material)
    assert (None, record.sent.digest) == (lineage.best, lineage.of)
    assert (1, True) == (len(lineage.turns), lineage.is_whole)


def test_a_chain_with_a_link_missing_is_not_whole() -> None:
    material = OnRecord(relay=two_rounds()).material
    turns = material.turns.model_copy(update={"turns": material.turns.turns[1:]})
    assert not lineage_of(replace(material, turns=turns)).is_whole


def test_a_run_that_has_trained_nothing_has_an_empty_lineage() -> None:
    lineage = lineage_of(OnRecord(relay=Relay()).material)
    assert ([], True) == (list(lineage.turns), lineage.is_whole)


def test_a_spell_lasts_from_the_hand_over_before_to_its_own() -> None:
    relay = Relay()
    trains(relay)
    trains(relay)
    first, second = timeline_of(OnRecord(relay=relay).material).spells
    assert ("a", 1, 1, How.TRAINED) == (first.site, first.round, first.turn, first.how)
    assert first.until == second.since
    assert (STEP_S - 1.5, 1.5) == (second.waited_s, second.held_s)


def test_what_was_tried_in_vain_is_a_spell_too() -> None:
    relay = Relay(plan(on_silent=OnSilent.RETRY))
    relay.fail()
    relay.expire()
    relay(run.TurnReturned(id=relay.state.lanes[0].relay.expected, site="a"))
    trains(relay)
    timeline = timeline_of(OnRecord(relay=relay).material)
    ways = [(spell.site, spell.how) for spell in timeline.spells]
    assert [
        ("a", How.FAILED),
        ("a", How.SILENT),
        ("a", How.RETURNED),
        ("a", How.TRAINED),
    ] == ways
    assert ["TurnFailed", "LeaseExpired", "TurnReturned"] == [
        row.event for row in timeline.happened
    ]
    assert (STEP_S, 1.5) == (timeline.seconds[How.FAILED], timeline.seconds[How.TRAINED])


def test_turns_of_a_round_that_began_anew_are_undone() -> None:
    relay = Relay()
    trains(relay)
    relay(run.WeightsLost(weights=relay.state.weights))
    trains(relay)
    timeline = timeline_of(OnRecord(relay=relay).material)
    assert [How.UNDONE, How.TRAINED] == [spell.how for spell in timeline.spells]


def test_an_evaluation_is_no_turn_and_takes_nothing_from_the_one_after_it() -> None:
    """Its rows have lanes of their own; the round after it waits for them."""
    evaluate = EvaluatePolicy(every_n_rounds=1)
    relay = Relay(replace(plan(sites=("a", "b"), rounds=2), evaluate=evaluate))
    trains(relay)
    trains(relay)
    closes(relay)
    assert relay.state.evaluation is not None
    for site in relay.state.evaluation.sites:
        scores(relay, site, accuracy=0.5)
    trains(relay)
    timeline = timeline_of(OnRecord(relay=relay).material)
    assert ["a", "b"] == [each.site for each in timeline.scored]
    assert [How.TRAINED] * 3 == [spell.how for spell in timeline.spells]
    assert STEP_S - 1.5 == timeline.spells[-1].waited_s
    assert [] == list(timeline.happened)


def test_scores_that_were_asked_for_later_stretch_neither_the_run_nor_its_timeline() -> None:
    relay = Relay(replace(plan(sites=("a", "b"), rounds=1), evaluate=EvaluatePolicy()))
    trains(relay)
    trains(relay)
    closes(relay)
    for site in ("a", "b"):
        scores(relay, site, accuracy=0.5)
    at_end = OnRecord(relay=relay).material
    assert Status.FINISHED == at_end.standing.status
    relay(run.EvaluationRequested(weights=relay.state.weights, after=1))
    for site in ("a", "b"):
        scores(relay, site, accuracy=0.5)
    later = OnRecord(relay=relay).material
    assert at_end.standing.wall_s == later.standing.wall_s
    assert list(timeline_of(at_end).scored) == list(timeline_of(later).scored)
    assert ["a", "b"] == [each.site for each in timeline_of(later).scored]


def test_skips_are_told_with_their_reason() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    trains(relay)
    relay.expire()
    (skipped,) = timeline_of(OnRecord(relay=relay).material).skipped
    assert ("b", 1, 2, "silent") == (skipped.site, skipped.round, skipped.turn, skipped.reason)


def read(relay: Relay, name: str, said: documents.Scores | None = None) -> list[dict[str, str]]:
    tables = tables_of(OnRecord(relay=relay, scores_instead=said).material)
    return list(csv.DictReader(io.StringIO(tables[name])))


def test_the_tables_have_what_is_drawn() -> None:
    relay = two_rounds()
    assert 6 == len(read(relay, "turns.csv"))
    matrix = {(row["scored_at"], row["trained_at"]): row for row in read(relay, "matrix.csv")}
    assert ("rolling", "0.5", "2") == tuple(
        matrix["b", "a"][key] for key in ("by", "score", "round")
    )
    assert "NaN" == matrix["c", "c"]["score"]
    (last, *_) = reversed(read(relay, "timeline.csv"))
    assert ("c", "2", "trained", "8.5", "1.5") == tuple(
        last[key] for key in ("site", "round", "how", "waited_s", "held_s")
    )
    assert ["a", "b", "c"] == [row["site"] for row in read(relay, "lineage.csv")]


def test_the_tables_have_who_was_left_out_of_an_evaluation() -> None:
    relay = two_rounds()
    (row,) = read(relay, "evaluations.csv", evaluated(relay))
    assert ("NaN", "b", "c", "2") == tuple(
        row[key] for key in ("mean", "worst_site", "left_out", "scored")
    )
    values = [each["score"] for each in read(relay, "evaluated_scores.csv", evaluated(relay))]
    assert ["0.25", "NaN"] == values


def test_no_table_holds_a_formula() -> None:
    relay = Relay(plan(max_attempts=2))
    relay.fail("=cmd|' /C calc'!A0\n-2")
    trains(relay, {"=1+1": 0.5, "received_=1+1": 0.5})
    for name, text in tables_of(OnRecord(relay=relay).material).items():
        for row in csv.reader(io.StringIO(text)):
            assert not [field for field in row if field.startswith(("=", "@", "+"))], name
    (happened,) = read(relay, "happened.csv")
    assert happened["detail"].startswith("'=cmd")


@pytest.mark.parametrize("name", sorted(tables_of(OnRecord(relay=Relay()).material)))
def test_a_run_that_has_done_nothing_yet_has_tables_with_heads(name: str) -> None:
    text = tables_of(OnRecord(relay=Relay()).material)[name]
    assert 1 == len(text.splitlines())


# Runs with several lanes.


def lanes(*, rounds: int = 2, every_n_rounds: int = 1) -> OnRecord:
    relay = Relay(several(rounds=rounds, every_n_rounds=every_n_rounds))
    while not relay.state.is_over:
        finish_round(relay)
    return OnRecord(relay=relay)


def test_the_lineage_of_merged_weights_has_the_turns_of_all_lanes_that_went_in() -> None:
    of = lanes()
    lineage = lineage_of(of.material)
    assert (of.relay.state.weights.digest, FIRST.digest) == (lineage.of, lineage.began)
    assert lineage.is_whole
    assert [1, 2] == [merge.round for merge in lineage.merges]
    assert [(1, 1, 2), (1, 2, 2), (2, 1, 2), (2, 2, 2)] == [
        (round, lane, len(turns)) for round, lane, turns in lineage.lanes
    ]


def test_between_merges_the_lineage_follows_each_lane_through_its_rounds() -> None:
    lineage = lineage_of(lanes(rounds=3, every_n_rounds=2).material)
    assert lineage.is_whole
    assert ([2, 3], 12) == ([merge.round for merge in lineage.merges], len(lineage.turns))


def test_a_late_lane_is_no_part_of_the_lineage_and_its_turns_are_undone() -> None:
    relay = Relay(several(rounds=1, wait_s=5.0))
    finish_turn(relay, 1)
    finish_lane(relay, 0)
    relay(run.WaitOver(round=0))
    material = OnRecord(relay=relay).material
    lineage, timeline = lineage_of(material), timeline_of(material)
    assert (True, {1}) == (lineage.is_whole, {turn.lane for turn in lineage.turns})
    assert ("b", 2, How.UNDONE) == (
        timeline.spells[0].site,
        timeline.spells[0].lane,
        timeline.spells[0].how,
    )
    assert [("b", 2, "late"), ("d", 2, "late")] == [
        (each.site, each.lane, each.reason) for each in timeline.skipped
    ]
    assert ["WaitOver"] == [row.event for row in timeline.happened]


def test_a_lane_that_is_missing_a_turn_breaks_the_lineage() -> None:
    material = lanes().material
    rest = [
        turn for turn in material.turns.turns if (turn.round, turn.lane, turn.turn) != (1, 2, 2)
    ]
    turns = material.turns.model_copy(update={"turns": rest})
    assert not lineage_of(replace(material, turns=turns)).is_whole


def test_a_spell_begins_when_its_own_lane_was_handed_on() -> None:
    """The other lanes' rows are none of its business."""
    of = lanes()
    timeline = timeline_of(of.material)
    assert timeline.has_lanes
    rows = {row.event: row.at for row in of.rows("r")[:3]}
    began = rows["RunSubmitted"]
    first = {spell.lane: spell for spell in timeline.spells if (spell.round, spell.turn) == (1, 1)}
    assert {1: began, 2: began} == {lane: spell.since for lane, spell in first.items()}
    merged = [row.at for row in of.rows("r") if row.event == "WeightsMerged"]
    second = [spell.since for spell in timeline.spells if (spell.round, spell.turn) == (2, 1)]
    assert [merged[0]] * 2 == second
    assert [] == list(timeline.happened)


def test_the_files_name_the_lane_of_each_turn_and_what_was_made_one() -> None:
    tables = tables_of(lanes().material)

    def rows(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(tables[name])))

    for name in ("turns.csv", "timeline.csv", "lineage.csv"):
        assert {"1", "2"} == {row["lane"] for row in rows(name)}, name
    assert [("1", "1", "20"), ("1", "2", "20"), ("2", "1", "20"), ("2", "2", "20")] == [
        (row["round"], row["lane"], row["samples"]) for row in rows("merges.csv")
    ]
